"""Cues of the texts in a file, one row each, read as they are asked for."""

__all__ = ["CueRow", "cue_rows"]

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from negtrace.errors import LanguageError
from negtrace.language.cues import Cue, read_cues
from negtrace.language.words import Span

_TABLES = {".csv": ",", ".tsv": "\t"}
_LONGEST = 10_000_000
"""Characters of the longest cell that is read; csv's own limit is shorter than a long report."""


@dataclass(frozen=True, kw_only=True)
class CueRow:
    """One cue or doubt in a file; without its words unless they were asked for."""

    line: int
    """Line of the file on which the record ends, from 1; a quoted cell may hold several lines."""
    category: str
    """before, after or uncertain."""
    start: int
    """First character of the cue in its text."""
    end: int
    scope: Span
    """Characters that are negated or left open."""
    reason: str
    """Which phrase of the lexicon matched."""
    text: str | None = None
    """The cue as the file has it, where text was asked for."""
    scope_text: str | None = None
    """What it negates, likewise."""


def cue_rows(
    path: str | Path, *, column: str | None = None, include_text: bool = False
) -> Iterator[CueRow]:
    """Yield the cues of a file's texts from top to bottom, in memory of one record.

    A `.csv` or `.tsv` holds the text in `column`, a `.jsonl` under the key `column`; any other file
    is text, a line each. Bytes that are not UTF-8 are replaced.

    Raises:
        LanguageError: naming file and line, for a file that cannot be read, a column that is not
            there, or a line that is not a JSON object with a text under that key.
    """
    path = Path(path)
    for line, text in _texts(path, column):
        reading = read_cues(text)
        for cue in sorted((*reading.cues, *reading.doubts), key=lambda found: found.start):
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
        raise LanguageError(f"{path} holds records; say with `column` which one is the text")
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            if kind in _TABLES:
                yield from _cells(path, file, _TABLES[kind], column)
            elif kind == ".jsonl":
                yield from ((n, _value(path, n, line, column)) for n, line in _lines(file))
            else:
                yield from _lines(file)
    except OSError as error:
        raise LanguageError(f"{path} cannot be read ({error.strerror}); give a file") from error


def _lines(file: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def _cells(
    path: Path, file: Iterable[str], mark: str, column: str | None
) -> Iterator[tuple[int, str]]:
    rows = csv.reader(file, delimiter=mark)
    header = next(rows, None) or []
    if column is None or column not in header:
        raise LanguageError(
            f"{path} has no column {column!r}; it has {', '.join(header) or 'none'}"
        )
    place = header.index(column)
    limit = csv.field_size_limit(_LONGEST)
    try:
        for row in rows:
            if row and len(row) <= place:
                where = f"{path}, line {rows.line_num}"
                raise LanguageError(f"{where}: {len(row)} cells; {column!r} is cell {place + 1}")
            if row:
                yield rows.line_num, row[place]
    except csv.Error as error:
        raise LanguageError(f"{path}, line {rows.line_num}: {error}; mend the quotes") from error
    finally:
        csv.field_size_limit(limit)


def _value(path: Path, number: int, line: str, column: str | None) -> str:
    try:
        record = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise LanguageError(
            f"{path}, line {number}: not JSON; expected one object a line"
        ) from error
    value = record.get(column) if isinstance(record, dict) else None
    if not isinstance(value, str):
        raise LanguageError(
            f"{path}, line {number}: no text under {column!r}; expected an object with that key"
        )
    return value
