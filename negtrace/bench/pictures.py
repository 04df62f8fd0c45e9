"""What there is to note of a row's image."""

__all__ = ["look"]

from pathlib import Path

from negtrace.datasets.note import Note
from negtrace.pairs.images import UNUSABLE, judge


def look(image: Path, *, file: str, row: int) -> Note | None:
    """Open an image in full; return the note on a row's image, none where all is well."""
    code, detail = judge(image)
    if not code:
        return None
    return Note(file=file, row=row, code=code, detail=detail, skipped=code in UNUSABLE)
