"""Notes on rows of source files: a row was left out, or read differently, and why."""

__all__ = ["NOWHERE", "Note", "Origin"]

from dataclasses import dataclass

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
    """What came and what was expected. It may hold words or paths of the source, so it is exported
    on request only."""
    skipped: bool = True
    """Whether the row was left out. Otherwise it was read, but differently from how it stands."""
