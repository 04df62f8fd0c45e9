"""CSV files as they come: one bad row is named and left out, the rest is read."""

__all__ = ["Record", "Table", "garbled", "read_table"]

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from negtrace.bench.report import Noted
from negtrace.errors import BenchError

LONGEST = 50
"""How many lines one record may span before its quote is held to be a stray one."""


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
    noted: tuple[Noted, ...]
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
    rows = list(_rows(content))
    columns = tuple(cell.strip() for cell in rows[0][1] or ()) if rows else ()
    if len(set(columns)) < len(columns) or len(columns) < 2:
        raise BenchError(f"{path.name} has no header of distinct columns in its first line")
    records, noted = [], []
    for row, cells, trouble in rows[1:]:
        code, detail = _judge(cells, trouble, columns)
        if code:
            noted.append(Noted(file=path.name, row=row, code=code, detail=detail))
        else:
            records.append(Record(row=row, cells=dict(zip(columns, cells or (), strict=True))))
    return Table(
        file=path.name,
        columns=columns,
        records=tuple(records),
        noted=tuple(noted),
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
    )


def _judge(cells: Sequence[str] | None, trouble: str, columns: Sequence[str]) -> tuple[str, str]:
    """Return the code and the detail of what is wrong with a row; blank where nothing is."""
    if cells is None:
        told = {"stray_quote": "a quote that is never closed", "mojibake": "not UTF-8"}
        return trouble, told.get(trouble, trouble)
    if len(cells) != len(columns):
        return "columns", f"{len(cells)} cells, expected {len(columns)}"
    if any(map(garbled, cells)):
        return "mojibake", "decoded with the wrong encoding once; save it as UTF-8"
    return "", ""


def _rows(content: bytes) -> Iterator[tuple[int, list[str] | None, str]]:
    """Yield each record's first line, its cells (None where it has none), and the trouble."""
    lines = content.removeprefix(b"\xef\xbb\xbf").splitlines()
    width, place = 0, 0
    while place < len(lines):
        span = _span(lines, place)
        cells, trouble = _parse(lines[place : place + span])
        if span > 1 and width and (cells is None or len(cells) != width):
            # What the quote embraced is no record, so the quote was stray: give up its line alone.
            span, cells, trouble = 1, None, "stray_quote"
        if trouble or any(cells or ()):
            yield place + 1, cells, trouble
        width = width or len(cells or ())
        place += span


def _span(lines: Sequence[bytes], start: int) -> int:
    """Return how many lines the record at `start` takes, until its quotes are even."""
    quotes = 0
    for place, line in enumerate(lines[start : start + LONGEST]):
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            return place + 1
    return 1


def _parse(lines: Sequence[bytes]) -> tuple[list[str] | None, str]:
    try:
        text = b"\n".join(lines).decode()
    except UnicodeDecodeError:
        return None, "mojibake"
    if text.count('"') % 2:
        return None, "stray_quote"
    try:
        return next(csv.reader(io.StringIO(text, newline=""), strict=True), []), ""
    except csv.Error:
        return None, "stray_quote"


def garbled(text: str) -> bool:
    """Tell whether a text was decoded with the wrong encoding.

    >>> garbled("naÃ¯ve"), garbled("naïve"), garbled("caf\ufffd")
    (True, False, True)
    """
    if "\ufffd" in text:
        return True
    if text.isascii():
        return False
    try:
        return len(text.encode("cp1252").decode()) < len(text)
    except UnicodeError:
        return False
