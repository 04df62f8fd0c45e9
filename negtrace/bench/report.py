"""A benchmark's report: tidy rows, provenance, what was left out; as JSON, version 1.

It holds no statement text and no image path unless asked to.
"""

__all__ = [
    "SCHEMA",
    "VERSION",
    "Report",
    "Row",
    "read_report",
    "schema",
    "write_report",
]

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any

import jsonschema

from negtrace._files import write_bytes
from negtrace.datasets.note import Note
from negtrace.errors import BenchError

SCHEMA = "negtrace.bench"
VERSION = 1
DECIMALS = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number of a report."""

    measure: str
    """`accuracy`, `gap`, `recall`, `similarity`, `margin` or `share`."""
    scorer: str
    """`model`, or a baseline: `prior` (an anchor that says nothing), `length` or `chance`."""
    series: str
    """What is set side by side, such as the wording."""
    axis: str
    """What it is broken down by; `all` where it is not."""
    level: str
    """Of the axis, such as the finding."""
    estimate: float
    low: float
    """Lower end of the bootstrap interval; NaN with fewer than two groups."""
    high: float
    n: int
    """Items in it."""
    chance: float | None = None
    """What guessing gives."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one suite found of one model."""

    suite: str
    model: Mapping[str, Any]
    """Name, family, revision, weights digest, tokenizer and unit of the score."""
    data: Mapping[str, Any]
    """What was asked about: its name, the kind of its anchors, digest and number of items."""
    config: Mapping[str, Any]
    rows: tuple[Row, ...]
    noted: tuple[Note, ...] = ()
    items: tuple[Mapping[str, Any], ...] = ()
    """Every item by its id: where its answer stands, and its statements if they are included."""
    made: Mapping[str, str]
    """Package version and time."""

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of the data were left out or noted, by reason."""
        return dict(sorted(Counter(note.code for note in self.noted).items()))

    def find(self, **wanted: str) -> Row:
        """Return the one row with these fields.

        Raises:
            BenchError: when there is none, or more than one.
        """
        found = [r for r in self.rows if all(getattr(r, k) == v for k, v in wanted.items())]
        if len(found) != 1:
            raise BenchError(f"{len(found)} rows have {wanted}; name measure, scorer, series, axis")
        return found[0]

    def document(self, *, include_text: bool = False) -> dict[str, Any]:
        """Return the report as JSON values; details of notes are included with the texts."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "suite": self.suite,
            "made": dict(self.made),
            "model": dict(self.model),
            "data": dict(self.data),
            "config": dict(self.config),
            "rows": [_plain(asdict(row)) for row in self.rows],
            "counts": self.counts,
            "noted": [_note(note, include_text) for note in self.noted],
            "items": [dict(item) for item in self.items],
        }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with rounded numbers, and null where there is none."""
    return {
        name: (round(value, DECIMALS) if isfinite(value) else None)
        if isinstance(value, float)
        else value
        for name, value in row.items()
    }


def _note(note: Note, include_text: bool) -> dict[str, Any]:
    known = asdict(note)
    return known if include_text else {k: v for k, v in known.items() if k != "detail"}


def schema() -> dict[str, Any]:
    """The published JSON Schema of version 1."""
    text = files("negtrace.bench").joinpath("bench-1.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def write_report(report: Report, path: Path | str, *, include_text: bool = False) -> Path:
    """Write the report as JSON, whole or not at all.

    Raises:
        OutputError: when the place cannot be written.
    """
    document = report.document(include_text=include_text)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return write_bytes(Path(path), (text + "\n").encode())


def read_report(path: Path | str) -> Report:
    """Read what `write_report` wrote; needs no torch.

    Raises:
        BenchError: for a file that cannot be read, is no report, or is of another version.
    """
    try:
        document = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} is no report of the benchmark ({error})") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise BenchError(f'{path} is no report of the benchmark: it lacks "schema": "{SCHEMA}"')
    if document.get("version") != VERSION:
        raise BenchError(f"{path} has version {document.get('version')!r}; this reads {VERSION}")
    wrong = jsonschema.exceptions.best_match(
        jsonschema.Draft202012Validator(schema()).iter_errors(document)
    )
    if wrong is not None:
        raise BenchError(f"{path} does not follow version {VERSION} at {wrong.json_path}")
    return Report(
        **{name: document[name] for name in ("suite", "made", "model", "data", "config")},
        rows=tuple(Row(**_numbers(row)) for row in document["rows"]),
        noted=tuple(Note(**{"detail": "", **note}) for note in document["noted"]),
        items=tuple(document["items"]),
    )


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    ends = {name: float("nan") for name in ("estimate", "low", "high") if row[name] is None}
    return {**row, **ends}
