"""CSV files as they come, in memory of one record: a bad row is told by line and reason."""

__all__ = ["Row", "garbled", "judge", "stream"]

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

LONGEST = 50
"""How many lines one record may span before its quote is held to be a stray one."""

_CELL = 20_000_000
"""Characters of the longest cell that is read; csv's own limit is shorter than a long report."""

_TOLD = {"stray_quote": "a quote that is never closed", "mojibake": "not UTF-8"}


class Row(NamedTuple):
    """A record of a CSV file."""

    row: int
    """The line of the file it starts on, from 1."""
    cells: Sequence[str] | None
    """None where it cannot be read."""
    trouble: str = ""
    """`stray_quote` or `mojibake` where it cannot be read."""


def stream(file: Iterable[bytes], *, mark: str = ",", longest: int = LONGEST) -> Iterator[Row]:
    """Yield the records of a file's lines, the header first; empty lines are none.

    A quoted cell may hold newlines, over at most `longest` lines. What a quote embraces that does
    not make a record as wide as the header shows the quote to be a stray one: its line is given up
    and the next is read for itself.
    """
    lines = _Lines(file)
    width = 0
    while line := lines.peek(1):
        span = 1 if b'"' not in line[0] else _span(lines, longest)
        cells, trouble = _parse(lines.peek(span), mark)
        if span > 1 and width and (cells is None or len(cells) != width):
            span, cells, trouble = 1, None, "stray_quote"
        if trouble or any(cells or ()):
            yield Row(lines.number, cells, trouble)
        width = width or len(cells or ())
        lines.pass_over(span)


def judge(row: Row, width: int) -> tuple[str, str]:
    """Return the code and the detail of what is wrong with a row; blank where nothing is.

    >>> judge(Row(2, ["a"]), 2)
    ('columns', '1 cells, expected 2')
    """
    if row.cells is None:
        return row.trouble, _TOLD[row.trouble]
    if len(row.cells) != width:
        return "columns", f"{len(row.cells)} cells, expected {width}"
    if not "".join(row.cells).isascii() and any(map(garbled, row.cells)):
        return "mojibake", "decoded with the wrong encoding once; save it as UTF-8"
    return "", ""


def garbled(text: str) -> bool:
    """Tell whether a text was decoded with the wrong encoding.

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
    """The lines of a file, some of them looked at before they are taken."""

    def __init__(self, file: Iterable[bytes]) -> None:
        self._file = _cut(file)
        self._ahead: deque[bytes] = deque()
        self.number = 1
        """Of the next line, from 1."""

    def peek(self, count: int) -> list[bytes]:
        """Return the next lines, fewer at the end of the file."""
        if count > len(self._ahead):
            self._ahead.extend(islice(self._file, count - len(self._ahead)))
        return list(islice(self._ahead, count))

    def pass_over(self, count: int) -> None:
        """Take lines."""
        for _ in range(min(count, len(self._ahead))):
            self._ahead.popleft()
        self.number += count


def _cut(file: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines without their ends; a file may end them with a carriage return alone."""
    for number, line in enumerate(file):
        yield from (line if number else line.removeprefix(b"\xef\xbb\xbf")).splitlines()


def _span(lines: _Lines, longest: int) -> int:
    """Return how many lines the next record takes, until its quotes are even."""
    quotes = 0
    for place in range(longest):
        ahead = lines.peek(place + 1)
        if len(ahead) <= place:
            return 1
        quotes += ahead[place].count(b'"')
        if quotes % 2 == 0:
            return place + 1
    return 1


def _parse(lines: Sequence[bytes], mark: str) -> tuple[list[str] | None, str]:
    try:
        text = b"\n".join(lines).decode()
    except UnicodeDecodeError:
        return None, "mojibake"
    if '"' not in text:
        return text.split(mark) if text else [], ""
    if text.count('"') % 2:
        return None, "stray_quote"
    limit = csv.field_size_limit(_CELL)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
        return next(rows, []), ""
    except csv.Error:
        return None, "stray_quote"
    finally:
        csv.field_size_limit(limit)
