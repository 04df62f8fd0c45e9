"""Notes on rows of source files: a row was left out, or read differently, and why."""

__all__ = ["NOWHERE", "Note", "Origin", "image_note"]

from dataclasses import dataclass
from pathlib import Path

from negtrace.pairs.images import UNUSABLE, check_image

Origin = tuple[str, int]
"""File name without its folder, and line number from 1; `NOWHERE` for made-up items."""

NOWHERE: Origin = ("", 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A remark on one row of a file.

    >>> Note(file="train.csv", row=7, code="columns", detail="3 cells, expected 4").skipped
    True
    """

    file: str
    """File name without its folder."""
    row: int
    """Line on which the row starts, or position in a JSON array, from 1; 0 for a whole file."""
    code: str
    """One word for the reason. Reports and data cards count notes by it."""
    detail: str
    """Message: the value that came and the one that was expected. It may hold words or paths of the
    source, so it is exported on request only."""
    skipped: bool = True
    """True if the row was left out. Otherwise it was read, but differently from how it stands."""


def image_note(image: Path, *, file: str, row: int) -> Note | None:
    """Open the image of a row in full; return a note if there is something to say about it."""
    code, detail = check_image(image)
    if not code:
        return None
    return Note(file=file, row=row, code=code, detail=detail, skipped=code in UNUSABLE)
