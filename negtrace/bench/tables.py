"""CSV files as they come: one bad row is named and left out, the rest is read."""

__all__ = ["Record", "Table", "garbled", "json_lines", "read_table"]

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from negtrace.datasets.note import Note
from negtrace.datasets.readers.csv import garbled, judge, stream
from negtrace.errors import BenchError


@dataclass(frozen=True, kw_only=True)
class Record:
    """One row, and the line of the file it starts on, from 1."""

    row: int
    cells: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A CSV file with a header."""

    file: str
    columns: tuple[str, ...]
    records: tuple[Record, ...]
    noted: tuple[Note, ...]
    digest: str
    """SHA-256 of the file's bytes."""


def read_table(path: Path | str) -> Table:
    """Read a CSV file with a header, as UTF-8.

    A quoted cell may hold newlines. A row is left out, by line and reason, when it is not UTF-8 or
    was decoded wrongly before (`mojibake`), has a quote that never closes (`stray_quote`), or has
    more or fewer cells than the header (`columns`).

    Raises:
        BenchError: for a file that cannot be read, or without a header of distinct columns.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path.name} cannot be read ({error.strerror}); give a CSV") from error
    rows = list(stream(io.BytesIO(content)))
    columns = tuple(cell.strip() for cell in rows[0].cells or ()) if rows else ()
    if len(set(columns)) < len(columns) or len(columns) < 2:
        raise BenchError(f"{path.name} has no header of distinct columns in its first line")
    records, noted = [], []
    for row in rows[1:]:
        code, detail = judge(row, len(columns))
        if code:
            noted.append(Note(file=path.name, row=row.row, code=code, detail=detail))
        else:
            cells = dict(zip(columns, row.cells or (), strict=True))
            records.append(Record(row=row.row, cells=cells))
    return Table(
        file=path.name,
        columns=columns,
        records=tuple(records),
        noted=tuple(noted),
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
    )


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Return the lines of a JSONL file that hold something, with their numbers.

    Raises:
        BenchError: for a file that cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BenchError(f"{path.name} cannot be read ({error.strerror}); give JSONL") from error
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
