"""Source files, read one record at a time: tables (CSV, TSV) and JSON (JSONL or an array)."""

__all__ = [
    "Record",
    "Table",
    "TableReader",
    "is_json",
    "is_table",
    "json_entries",
    "json_objects",
    "open_table",
    "read_table",
]

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from negtrace._json import LEVELS, LONGEST_NUMBER, parse_json
from negtrace.datasets.note import Note
from negtrace.datasets.readers.csv import LONGEST, CsvRow, check_row, csv_rows
from negtrace.errors import DatasetError

_CHUNK = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def is_table(path: Path) -> bool:
    """Tell by its name whether a file is CSV or TSV."""
    return not path.is_dir() and path.suffix.lower() in (".csv", ".tsv")


def is_json(path: Path) -> bool:
    """Tell by its name whether a file is JSON or JSONL."""
    return not path.is_dir() and path.suffix.lower() in (".json", ".jsonl")


class TableReader:
    """A CSV or TSV file with a header, read from top to bottom."""

    def __init__(self, path: Path, rows: Iterator[CsvRow]) -> None:
        self.file = path.name
        self._rows = rows
        header = next(rows, None)
        self.columns: Sequence[str] = [cell.strip() for cell in (header and header.cells) or ()]
        if len(set(self.columns)) < len(self.columns) or not self.columns:
            raise DatasetError(f"{path.name} has no header of distinct columns in its first line")

    def rows(self) -> Iterator[tuple[int, Sequence[str] | Note]]:
        """Yield the first line of each row, and its cells or a note on why they cannot be used."""
        width = len(self.columns)
        for row in self._rows:
            code, detail = check_row(row, width)
            if code or row.cells is None:
                yield row.row, Note(file=self.file, row=row.row, code=code, detail=detail)
            else:
                yield row.row, row.cells


@contextmanager
def open_table(path: Path, *, longest: int = LONGEST) -> Iterator[TableReader]:
    """Open a CSV file, or a TSV file if its name says so; a row spans at most `longest` lines.

    Raises:
        DatasetError: for a file that cannot be read, or without a header of distinct columns.
    """
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with _open(path) as file:
        yield TableReader(path, csv_rows(file, delimiter=delimiter, longest=longest))


class Record(NamedTuple):
    """A row of a table."""

    row: int
    """Line on which it starts, from 1."""
    cells: Mapping[str, str]
    """Cells by column."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A whole CSV or TSV file."""

    file: str
    """File name without its folder."""
    columns: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[Note, ...]
    """Rows that were left out."""


def read_table(path: Path | str) -> Table:
    """Read a whole CSV or TSV file with a header.

    A quoted cell may hold newlines. A row is left out and noted if it is not UTF-8 or was once
    decoded wrongly (`mojibake`), has a quote that never closes (`stray_quote`), or has more or
    fewer cells than the header (`columns`).

    Raises:
        DatasetError: for a file that cannot be read, or without a header of distinct columns.
    """
    records: list[Record] = []
    notes: list[Note] = []
    with open_table(Path(path)) as table:
        for row, cells in table.rows():
            if isinstance(cells, Note):
                notes.append(cells)
            else:
                records.append(Record(row, dict(zip(table.columns, cells, strict=True))))
        return Table(
            file=table.file,
            columns=tuple(table.columns),
            records=tuple(records),
            notes=tuple(notes),
        )


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb", buffering=_CHUNK)
    except OSError as error:
        raise DatasetError(f"{path.name} cannot be read ({error.strerror}); give a file") from error
    with file:
        yield file


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | Note]]:
    """Yield the objects of a JSONL file by line, or of a JSON array by position, from 1.

    Raises:
        DatasetError: for a file that cannot be read.
    """
    with _open(path) as file:
        start = file.read(256).removeprefix(_BYTE_ORDER_MARK).lstrip()[:1]
        file.seek(0)
        yield from _array(path.name, file) if start == b"[" else _lines(path.name, file)


def _lines(name: str, file: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any] | Note]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line, foreign=True)
        except UnicodeDecodeError:
            yield number, Note(file=name, row=number, code="mojibake", detail="not UTF-8")
        except ValueError as error:
            yield number, Note(file=name, row=number, code="json", detail=f"not JSON: {error}")
        else:
            yield number, _object(name, number, value)


def _array(name: str, file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | Note]]:
    """Yield the elements of an array one by one. After an error, the rest of it is lost."""
    import ijson

    row = 0
    try:
        for row, value in enumerate(ijson.items(_Bounded(_ValidUtf8(file)), "item"), start=1):
            yield row, _object(name, row, value)
    except (ijson.JSONError, _OutOfBoundsError) as error:
        reason = str(error).partition("\n")[0]
        detail = f"not JSON from here on: {reason}"
        yield row + 1, Note(file=name, row=row + 1, code="json", detail=detail)


def json_entries(path: Path) -> Iterator[tuple[int, str, dict[str, Any] | Note]]:
    """Yield position, from 1, key and value of each entry of one JSON object, one by one.

    After an error, the rest of the file is lost.

    Raises:
        DatasetError: for a file that cannot be read.
    """
    import ijson

    row = 0
    with _open(path) as file:
        entries = ijson.kvitems(_Bounded(_ValidUtf8(file)), "")
        try:
            for row, (key, value) in enumerate(entries, start=1):
                yield row, key, _object(path.name, row, value)
        except (ijson.JSONError, _OutOfBoundsError) as error:
            reason = str(error).partition("\n")[0]
            detail = f"not JSON from here on: {reason}"
            yield row + 1, "", Note(file=path.name, row=row + 1, code="json", detail=detail)


class _ValidUtf8:
    """A file without a byte order mark, whose bytes that are not UTF-8 become U+FFFD.

    ijson stops at bytes that are not UTF-8; readers find U+FFFD and note the row as garbled.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")

    def read(self, size: int) -> bytes:
        """Return about `size` bytes; none at the end of the file."""
        chunk = self._file.read(size)
        if not size or not chunk:
            return self._decoder.decode(b"", final=bool(size)).encode()
        # A chunk may end within the first character, and an empty result would end the file.
        return self._decoder.decode(chunk).encode() or self.read(size)


class _OutOfBoundsError(Exception):
    """JSON with too many levels or too long a number."""


_TOKEN = re.compile(rb'\\.|["\[\]{}]|[-+.eE0-9]{%d,}' % (LONGEST_NUMBER + 1), re.DOTALL)
_NUMBER = b"-+.eE0123456789"
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_ZEROS = bytes(ord("0") if code in _NUMBER else ord(" ") for code in range(256))
"""Table that turns every character of a number into 0, and every other one into a space."""
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class _Bounded:
    """JSON in UTF-8, up to what ijson must not see: too many levels, or too long a number.

    For one array of many levels ijson takes gigabytes of memory, and it crashes at a number of
    thousands of digits.
    """

    def __init__(self, file: _ValidUtf8) -> None:
        self._file = file
        self._held = b""
        """Bytes that were read, and belong to what comes next: half a number, or a backslash."""
        self._level = 0
        self._in_text = False
        self._reason = ""

    def read(self, size: int) -> bytes:
        """Return about `size` bytes; none at the end of the file.

        Raises:
            _OutOfBoundsError: when everything up to the trouble was returned.
        """
        if not size:
            return b""
        while not self._reason:
            chunk = self._file.read(size)
            data, self._held = self._held + chunk, b""
            if content := self._checked(data, last=not chunk):
                return content
            if not chunk and not self._reason:
                return b""
        raise _OutOfBoundsError(self._reason)

    def _checked(self, data: bytes, *, last: bool) -> bytes:
        """Return the bytes before trouble, and hold those back that belong to what comes next."""
        if not self._passed(data) and (start := self._trouble(data)) is not None:
            return data[:start]
        if self._in_text:
            held = (len(data) - len(data.rstrip(b"\\"))) % 2
        else:
            held = len(data) - len(data.rstrip(_NUMBER))
        if held and not last:
            data, self._held = data[:-held], data[-held:]
        return data

    def _passed(self, data: bytes) -> bool:
        """Go on to the state behind the data, at the speed of C; False if there may be trouble."""
        plain = _ESCAPE.sub(b"", data) if b"\\" in data else data
        parts = plain.split(b'"')  # inside and outside of a text by turns
        outside = b" ".join(parts[self._in_text :: 2])
        brackets = outside.translate(None, _NO_BRACKETS)
        levels = list(accumulate(map(_STEP.__getitem__, brackets), initial=self._level))
        if max(levels) > LEVELS or b"0" * (LONGEST_NUMBER + 1) in outside.translate(_ZEROS):
            return False
        self._in_text ^= len(parts) % 2 == 0
        self._level = levels[-1]
        return True

    def _trouble(self, data: bytes) -> int | None:
        """Return where trouble begins; None if there is none, with the state behind the data."""
        for token in _TOKEN.finditer(data):
            if self._in_text or token[0] == b'"':
                self._in_text ^= token[0] == b'"'
            elif token[0] in (b"]", b"}"):
                self._level -= 1
            elif token[0] in (b"[", b"{"):
                self._level += 1
                if self._level > LEVELS:
                    self._reason = f"more than {LEVELS} levels of lists and objects"
            elif not token[0].startswith(b"\\"):
                self._reason = f"a number of more than {LONGEST_NUMBER} characters"
            if self._reason:
                return token.start()
        return None


def _object(name: str, row: int, value: Any) -> dict[str, Any] | Note:
    if isinstance(value, dict):
        return value
    detail = f"a JSON {type(value).__name__}; expected an object"
    return Note(file=name, row=row, code="json", detail=detail)
