"""Source files, opened and read a record at a time."""

__all__ = ["Table", "objects", "opened"]

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from negtrace.datasets.note import Note
from negtrace.datasets.readers.csv import LONGEST, Row, judge, stream
from negtrace.errors import DatasetError

_CHUNK = 1 << 20


class Table:
    """A CSV or TSV file with a header, read from top to bottom."""

    def __init__(self, path: Path, rows: Iterator[Row]) -> None:
        self.file = path.name
        self._rows = rows
        head = next(rows, None)
        self.columns: Sequence[str] = [cell.strip() for cell in (head and head.cells) or ()]
        if len(set(self.columns)) < len(self.columns) or not self.columns:
            raise DatasetError(f"{path.name} has no header of distinct columns in its first line")

    def rows(self) -> Iterator[tuple[int, Sequence[str] | Note]]:
        """Yield each record's first line, and its cells or what is wrong with it."""
        width = len(self.columns)
        for row in self._rows:
            code, detail = judge(row, width)
            if code or row.cells is None:
                yield row.row, Note(file=self.file, row=row.row, code=code, detail=detail)
            else:
                yield row.row, row.cells


@contextmanager
def opened(path: Path, *, longest: int = LONGEST) -> Iterator[Table]:
    """Open a CSV, or a TSV by its name; a record spans at most `longest` lines.

    Raises:
        DatasetError: for a file that cannot be read, or without a header of distinct columns.
    """
    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    with reading(path) as file:
        yield Table(path, stream(file, mark=mark, longest=longest))


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Open a file, or say why it cannot be read."""
    try:
        file = path.open("rb", buffering=_CHUNK)
    except OSError as error:
        raise DatasetError(f"{path.name} cannot be read ({error.strerror}); give a file") from error
    with file:
        yield file


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | Note]]:
    """Yield the objects of a JSONL file by line, or of a JSON array by place, from 1.

    Raises:
        DatasetError: for a file that cannot be read.
    """
    with reading(path) as file:
        start = file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        file.seek(0)
        if start != b"[":
            yield from _lines(path.name, file)
            return
        with path.open(encoding="utf-8-sig", errors="replace") as text:
            yield from _array(path.name, text)


def _lines(name: str, file: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | Note]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.removeprefix(b"\xef\xbb\xbf").decode())
        except UnicodeDecodeError:
            yield number, Note(file=name, row=number, code="mojibake", detail="not UTF-8")
        except (ValueError, RecursionError) as error:
            yield number, Note(file=name, row=number, code="json", detail=f"not JSON: {error}")
        else:
            yield number, _object(name, number, value)


def _object(name: str, row: int, value: Any) -> dict[str, Any] | Note:
    if isinstance(value, dict):
        return value
    told = f"a JSON {type(value).__name__}; expected an object"
    return Note(file=name, row=row, code="json", detail=told)


def _array(name: str, file: TextIO) -> Iterator[tuple[int, dict[str, Any] | Note]]:
    """Decode one element of an array after another; what is left of a broken one is lost."""
    decode = json.JSONDecoder().raw_decode
    text, place, row = file.read(_CHUNK), 0, 0
    place = text.index("[") + 1
    while True:
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        try:
            if place == len(text):
                raise ValueError("the array does not end")
            if text[place] == "]":
                return
            value, end = decode(text, place)
        except (ValueError, RecursionError) as error:
            if more := file.read(max(_CHUNK, len(text) - place)):
                text, place = text[place:] + more, 0
                continue
            told = f"not JSON from here on: {error}"
            yield row + 1, Note(file=name, row=row + 1, code="json", detail=told)
            return
        row, place = row + 1, end
        yield row, _object(name, row, value)
