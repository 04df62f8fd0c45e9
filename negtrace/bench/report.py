"""Report of a benchmark: one row for each number, provenance and notes; saved as JSON, version 1.

A report holds no statement text and no image path unless they are asked for.
"""

__all__ = ["Report", "ReportRow", "read_report", "report_schema", "write_report"]

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

from negtrace._files import write_bytes
from negtrace._json import parse_json, violation
from negtrace._messages import excerpt
from negtrace.datasets.note import Note
from negtrace.errors import BenchError

REPORT_NAME = "negtrace.bench"
REPORT_VERSION = 1

_WAY_OUT = "restore it, or run the benchmark again"

TOO_FEW = "too few groups for an interval"
DECIMALS = 10
"""Decimals that numbers are rounded to in JSON."""


@dataclass(frozen=True, kw_only=True)
class ReportRow:
    """One number of a report, with its interval."""

    measure: str
    """Measured quantity, such as `accuracy`; `docs/explanation/measures.md` explains them all."""
    scorer: str
    """`model`, or a baseline: `prior` (the model with a blank anchor), `length` or `chance`."""
    series: str
    """Group of rows that are compared side by side, such as the wording."""
    axis: str
    """Name of the breakdown, such as `finding`; `all` without a breakdown."""
    level: str
    """Level of the axis, such as `effusion`."""
    estimate: float
    low: float
    """Lower end of the interval; NaN with fewer than eight groups of items."""
    high: float
    """Upper end of the interval; NaN with fewer than eight groups of items."""
    n: int
    """Number of items behind the estimate."""
    chance: float | None = None
    """Expected value of guessing; None when there is none."""

    @property
    def interval(self) -> str:
        """The interval with three decimals, or "too few groups for an interval".

        >>> about = {"measure": "gap", "scorer": "model", "series": "s", "axis": "all"}
        >>> ReportRow(**about, level="all", estimate=0.5, low=0.25, high=0.75, n=80).interval
        '[0.250, 0.750]'
        """
        if not isfinite(self.low):
            return TOO_FEW
        return f"[{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Result of one suite on one model, with everything needed to repeat it."""

    suite: str
    """Name of the suite."""
    model: Mapping[str, Any]
    """Name, family, revision, weights digest, tokenizer and unit of the score."""
    data: Mapping[str, Any]
    """Name of the data, kind of its anchors, digest and number of items."""
    config: Mapping[str, Any]
    """Every setting of `BenchConfig`; file names without folders."""
    rows: tuple[ReportRow, ...]
    notes: tuple[Note, ...] = ()
    """Rows of the data that were left out, or read differently from how they stand."""
    items: tuple[Mapping[str, Any], ...] = ()
    """Each item: its id, its answer, whether it was answered correctly, and, if they are included,
    its statements."""
    made: Mapping[str, str]
    """Package version and time."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of notes for each code."""
        return dict(sorted(Counter(note.code for note in self.notes).items()))

    def find(self, **fields: str) -> ReportRow:
        """Return the only row with these values of its fields.

        >>> report = Report(suite="s", model={}, data={}, config={}, rows=(), made={})
        >>> report.find(measure="gap")
        Traceback (most recent call last):
        negtrace.errors.BenchError: 0 rows have {'measure': 'gap'}; name measure, scorer, series, \
axis and level of exactly one

        Raises:
            BenchError: when no row matches, or more than one.
        """
        matches = [
            row
            for row in self.rows
            if all(getattr(row, name) == value for name, value in fields.items())
        ]
        if len(matches) != 1:
            raise BenchError(
                f"{len(matches)} rows have {fields}; name measure, scorer, series, axis and level "
                "of exactly one"
            )
        return matches[0]

    def document(self, *, include_text: bool = False) -> dict[str, Any]:
        """Return the report as JSON values.

        Args:
            include_text: include the details of notes, which may quote the data.
        """
        return {
            "schema": REPORT_NAME,
            "version": REPORT_VERSION,
            "suite": self.suite,
            "made": dict(self.made),
            "model": dict(self.model),
            "data": dict(self.data),
            "config": dict(self.config),
            "rows": [_row_to_json(row) for row in self.rows],
            "counts": self.counts,
            "noted": [_note_to_json(note, include_text) for note in self.notes],
            "items": [dict(item) for item in self.items],
        }


def _row_to_json(row: ReportRow) -> dict[str, Any]:
    """Convert a row to JSON values: numbers rounded, NaN as null."""
    return {
        name: (round(value, DECIMALS) if isfinite(value) else None)
        if isinstance(value, float)
        else value
        for name, value in asdict(row).items()
    }


def _row_from_json(row: Mapping[str, Any]) -> ReportRow:
    numbers = {name: row[name] for name in ("estimate", "low", "high")}
    numbers = {name: float("nan" if value is None else value) for name, value in numbers.items()}
    chance = None if row["chance"] is None else float(row["chance"])
    return ReportRow(**{**row, **numbers, "chance": chance, "n": int(row["n"])})


def _note_to_json(note: Note, include_text: bool) -> dict[str, Any]:
    values = asdict(note)
    return values if include_text else {k: v for k, v in values.items() if k != "detail"}


def report_schema() -> dict[str, Any]:
    """JSON Schema of a report, version 1."""
    text = files("negtrace.bench").joinpath("bench-1.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def write_report(report: Report, path: Path | str, *, include_text: bool = False) -> Path:
    """Write the report as JSON. An error leaves no partial file behind.

    Args:
        report: report to write.
        path: file to write.
        include_text: include the details of notes, which may quote the data.

    Raises:
        OutputError: when `path` cannot be written.
    """
    document = report.document(include_text=include_text)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return write_bytes(Path(path), (text + "\n").encode())


def read_report(path: Path | str) -> Report:
    """Read a report that `write_report` wrote. This does not import torch.

    Raises:
        BenchError: for a file that cannot be read, is not a report, or has another version.
    """
    document = _checked(path)
    return Report(
        **{name: document[name] for name in ("suite", "made", "model", "data", "config")},
        rows=tuple(map(_row_from_json, document["rows"])),
        notes=tuple(Note(**{"detail": "", **note}) for note in document["noted"]),
        items=tuple(document["items"]),
    )


def _checked(path: Path | str) -> dict[str, Any]:
    """Read a report's JSON and check it against the schema."""
    try:
        document = parse_json(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} is not a benchmark report ({error}); {_WAY_OUT}") from error
    if not isinstance(document, dict) or document.get("schema") != REPORT_NAME:
        raise BenchError(
            f'{path} is not a benchmark report: it lacks "schema": "{REPORT_NAME}"; give a file of '
            "negtrace bench"
        )
    if document.get("version") != REPORT_VERSION:
        raise BenchError(
            f"{path} has version {excerpt(document.get('version'))}; expected {REPORT_VERSION}. "
            "Read it with the negtrace that wrote it"
        )
    if broken := violation(document, report_schema()):
        raise BenchError(
            f"{path} does not follow version {REPORT_VERSION} at {broken[0]}; {_WAY_OUT}"
        )
    return document
