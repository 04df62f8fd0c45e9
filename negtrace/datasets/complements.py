"""Complements of your own: a JSONL file of denials and the affirmative sentences equal to them."""

__all__ = ["read_complements"]

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negtrace._messages import excerpt
from negtrace.datasets.note import Note
from negtrace.datasets.readers.files import json_objects
from negtrace.errors import DatasetError
from negtrace.language.complements import Complement
from negtrace.language.cues import find_cues
from negtrace.language.denials import denials_of

_NEEDED = ("denial", "complement")
_KEYS = (*_NEEDED, "affirmed", "group")


def read_complements(path: Path | str) -> tuple[Complement, ...]:
    """Read complements from JSONL, or from one JSON array.

    A line is `{"denial": "The lung isn't clear.", "complement": "The lung is cloudy."}`,
    optionally with `affirmed`, the denial taken back, and `group`. Without `affirmed` the cues of
    the denial are turned round (`denials_of`); without `group`, denials of one affirmed sentence
    are a group.

    >>> import tempfile
    >>> line = '{"denial": "The valve is not open.", "complement": "The valve is shut."}'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "mine.jsonl")
    ...     _ = file.write_text(line)
    ...     [pair] = read_complements(file)
    >>> pair.affirmed
    'The valve is open.'

    Raises:
        DatasetError: for a file that cannot be read or is empty, and for the first line that is
            no pair of complements; the message names the file and the line.
    """
    path = Path(path)
    pairs = []
    for number, record in json_objects(path):
        try:
            if isinstance(record, Note):
                raise DatasetError(f"{record.detail}; write one object a line, in UTF-8")
            pairs.append(_complement(record))
        except DatasetError as error:
            raise DatasetError(f"{path.name}, line {number}: {error}") from error
    if not pairs:
        raise DatasetError(
            f"{path.name} holds no complements; expected objects of denial and complement, one a "
            "line"
        )
    return tuple(pairs)


def _complement(record: Mapping[str, Any]) -> Complement:
    """Return the complements of a line; raise a DatasetError if they are none."""
    _require_keys(record)
    for key, value in record.items():
        _require_text(key, value)
    denial, complement = record["denial"], record["complement"]
    if denial.split() == complement.split():
        raise DatasetError("denial and complement are equal; say the denial in affirmative words")
    denials = denials_of(denial)
    if denials is None:
        raise DatasetError(
            f"the denial {excerpt(denial)} denies nothing: it has no cue of negation with a scope"
        )
    affirmed = record.get("affirmed", denials.affirmed)
    _require_affirmative("complement", complement)
    _require_affirmative("affirmed", affirmed)
    if affirmed.split() == complement.split():
        raise DatasetError(
            f"the complement {excerpt(complement)} is what the denial denies; say what "
            "holds instead"
        )
    return Complement(
        denial=denial,
        complement=complement,
        affirmed=affirmed,
        opposite=affirmed,
        group=record.get("group", affirmed),
    )


def _require_keys(record: Mapping[str, Any]) -> None:
    """Refuse a key that is unknown or missing."""
    for key in record:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_KEYS)}"
            raise DatasetError(f"unknown key {excerpt(key)}; {hint}")
    if missing := [key for key in _NEEDED if key not in record]:
        raise DatasetError(f"missing {' and '.join(map(repr, missing))}")


def _require_text(key: str, value: object) -> None:
    """Refuse a value that is no text, blank, or not to be written as UTF-8."""
    if not isinstance(value, str) or not value.strip():
        came = "blank" if isinstance(value, str) else excerpt(value)
        raise DatasetError(f"{key!r} is {came}; expected a text that is not blank")
    if not value.isascii() and value.encode(errors="replace").decode() != value:
        raise DatasetError(f"{key!r} holds half of a character (a lone surrogate)")


def _require_affirmative(key: str, text: str) -> None:
    """Refuse a text with a cue of negation."""
    if cues := find_cues(text):
        raise DatasetError(
            f"{key!r} {excerpt(text)} denies something itself: {excerpt(cues[0].text)}; give an "
            "affirmative sentence"
        )
