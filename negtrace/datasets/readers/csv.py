"""Rows of CSV files, read in constant memory; a bad row has a code for the reason."""

__all__ = ["LONGEST", "CsvRow", "check_row", "csv_rows", "garbled"]

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

LONGEST = 50
"""Most lines of one row. A quote that is open for longer counts as a stray one."""

_LONGEST_CELL = 20_000_000
"""Characters of the longest cell that is read. The limit of Python's csv is below a long report."""

_DETAILS = {"stray_quote": "a quote that is never closed", "mojibake": "not UTF-8"}


class CsvRow(NamedTuple):
    """A row of a CSV file."""

    row: int
    """Line on which it starts, from 1."""
    cells: Sequence[str] | None
    """None if it cannot be read."""
    trouble: str = ""
    """`stray_quote` or `mojibake` if it cannot be read."""


def csv_rows(
    file: Iterable[bytes], *, delimiter: str = ",", longest: int = LONGEST
) -> Iterator[CsvRow]:
    """Yield the rows of a file's lines, the header first. Empty lines are skipped.

    A quoted cell may hold newlines, over at most `longest` lines. If such lines do not make a row
    as wide as the header, their quote is a stray one: the first line is given up, and the next
    line is read as a row of its own.
    """
    lines = _Lines(file)
    width = 0
    while line := lines.peek(1):
        span = 1 if b'"' not in line[0] else _span(lines, longest)
        cells, trouble = _parse(lines.peek(span), delimiter)
        if span > 1 and width and (cells is None or len(cells) != width):
            span, cells, trouble = 1, None, "stray_quote"
        if trouble or any(cells or ()):
            yield CsvRow(lines.number, cells, trouble)
        width = width or len(cells or ())
        lines.drop(span)


def check_row(row: CsvRow, width: int) -> tuple[str, str]:
    """Return a code and a detail for a row that cannot be used; both are blank if it can.

    >>> check_row(CsvRow(2, ["a"]), 2)
    ('columns', '1 cells, expected 2')
    """
    if row.cells is None:
        return row.trouble, _DETAILS[row.trouble]
    if len(row.cells) != width:
        return "columns", f"{len(row.cells)} cells, expected {width}"
    if not "".join(row.cells).isascii() and any(map(garbled, row.cells)):
        return "mojibake", "decoded with the wrong encoding once; save it as UTF-8"
    return "", ""


def garbled(text: str) -> bool:
    """Tell whether a text was once decoded with the wrong encoding.

    >>> garbled("naÃ¯ve"), garbled("naïve"), garbled("caf\ufffd")
    (True, False, True)
    """
    if text.isascii():
        return False
    if "\ufffd" in text:
        return True
    try:
        return len(text.encode("cp1252").decode()) < len(text)
    except UnicodeError:
        return False


class _Lines:
    """The lines of a file. Lines can be looked at before they are dropped."""

    def __init__(self, file: Iterable[bytes]) -> None:
        self._file = _split(file)
        self._ahead: deque[bytes] = deque()
        self.number = 1
        """Number of the next line, from 1."""

    def peek(self, count: int) -> list[bytes]:
        """Return the next lines, fewer at the end of the file."""
        if count > len(self._ahead):
            self._ahead.extend(islice(self._file, count - len(self._ahead)))
        return list(islice(self._ahead, count))

    def drop(self, count: int) -> None:
        """Go past the next lines."""
        for _ in range(min(count, len(self._ahead))):
            self._ahead.popleft()
        self.number += count


def _split(file: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines without their ends. Some files end their lines with a carriage return alone."""
    for number, line in enumerate(file):
        yield from (line if number else line.removeprefix(b"\xef\xbb\xbf")).splitlines()


def _span(lines: _Lines, longest: int) -> int:
    """Return the number of lines until the quotes of the next row are even, or else 1."""
    quotes = 0
    for count in range(1, longest + 1):
        ahead = lines.peek(count)
        if len(ahead) < count:
            return 1
        quotes += ahead[-1].count(b'"')
        if quotes % 2 == 0:
            return count
    return 1


def _parse(lines: Sequence[bytes], delimiter: str) -> tuple[list[str] | None, str]:
    """Return the cells of a row, or None and the code of its trouble."""
    try:
        text = b"\n".join(lines).decode()
    except UnicodeDecodeError:
        return None, "mojibake"
    if '"' not in text:
        return text.split(delimiter) if text else [], ""
    if text.count('"') % 2:
        return None, "stray_quote"
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return next(rows, []), ""
    except csv.Error:
        return None, "stray_quote"
    finally:
        csv.field_size_limit(limit)
