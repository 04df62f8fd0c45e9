"""Cues in the texts of a file, one row for each cue; the file is read record by record."""

__all__ = ["CueRow", "cue_rows"]

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from negtrace._json import parse_json
from negtrace.errors import LanguageError
from negtrace.language.cues import Cue, read_cues
from negtrace.language.words import Span

_TABLES = {".csv": ",", ".tsv": "\t"}
_LONGEST = 10_000_000
"""Length of the longest cell, in characters. The default of `csv` is too short for long reports."""


@dataclass(frozen=True, kw_only=True)
class CueRow:
    """One cue or doubt in a file. Its words are included only on request."""

    line: int
    """Line of the file on which the record ends, from 1. A quoted cell may span several lines."""
    category: str
    """before, after or uncertain."""
    start: int
    """First character of the cue in its text."""
    end: int
    """Character after the last one of the cue."""
    scope: Span
    """Characters that the cue negates or leaves open."""
    reason: str
    """Category and phrase of the lexicon that matched."""
    text: str | None = None
    """Words of the cue; None without `include_text`."""
    scope_text: str | None = None
    """Words in its scope; None without `include_text`."""


def cue_rows(
    path: str | Path, *, column: str | None = None, include_text: bool = False
) -> Iterator[CueRow]:
    """Yield the cues in the texts of a file, from top to bottom.

    Only one record is held in memory. Bytes that are not UTF-8 are replaced.

    Args:
        path: a `.csv`, `.tsv` or `.jsonl` file. Any other file is read as text, one text a line.
        column: column of the texts, or their key in a `.jsonl` file.
        include_text: put the words of each cue and of its scope into the row.

    Raises:
        LanguageError: for a file that cannot be read, a missing column, and a line that is not a
            JSON object with a text under that key. The message names file and line.
    """
    path = Path(path)
    for line, text in _texts(path, column):
        reading = read_cues(text)
        for cue in sorted((*reading.cues, *reading.doubts), key=lambda cue: cue.start):
            yield _row(line, text, cue, include_text=include_text)


def _row(line: int, text: str, cue: Cue, *, include_text: bool) -> CueRow:
    return CueRow(
        line=line,
        category=cue.category,
        start=cue.start,
        end=cue.end,
        scope=cue.scope,
        reason=cue.reason,
        text=cue.text if include_text else None,
        scope_text=text[slice(*cue.scope)] if include_text else None,
    )


def _texts(path: Path, column: str | None) -> Iterator[tuple[int, str]]:
    kind = path.suffix.lower()
    if column is None and (kind in _TABLES or kind == ".jsonl"):
        raise LanguageError(
            f"{path} holds records; name the column or key of the text with `column`"
        )
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if kind in _TABLES:
                yield from _cells(path, file, _TABLES[kind], column)
            elif kind == ".jsonl":
                yield from ((n, _value(path, n, line, column)) for n, line in _lines(file))
            else:
                yield from _lines(file)
    except OSError as error:
        raise LanguageError(
            f"{path} cannot be read ({error.strerror}); give the path of a file"
        ) from error


def _lines(file: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def _cells(
    path: Path, file: Iterable[str], mark: str, column: str | None
) -> Iterator[tuple[int, str]]:
    rows = csv.reader(file, delimiter=mark)
    limit = csv.field_size_limit(_LONGEST)
    try:
        header = next(rows, None) or []
        if column is None or column not in header:
            shown = ", ".join(header)[:200] or "none"
            raise LanguageError(f"{path} has no column {column!r}; it has {shown}")
        index = header.index(column)
        for row in rows:
            if row and len(row) <= index:
                raise LanguageError(
                    f"{path}, line {rows.line_num}: {len(row)} cells; "
                    f"{column!r} is cell {index + 1}; complete the row"
                )
            if row:
                yield rows.line_num, row[index]
    except csv.Error as error:
        raise LanguageError(f"{path}, line {rows.line_num}: {error}; check the quotes") from error
    finally:
        csv.field_size_limit(limit)


def _value(path: Path, number: int, line: str, column: str | None) -> str:
    try:
        record = parse_json(line, foreign=True)
    except ValueError as error:
        raise LanguageError(
            f"{path}, line {number}: not JSON; expected one object a line"
        ) from error
    value = record.get(column) if isinstance(record, dict) else None
    if not isinstance(value, str):
        raise LanguageError(
            f"{path}, line {number}: no text under {column!r}; expected an object with that key"
        )
    return value
