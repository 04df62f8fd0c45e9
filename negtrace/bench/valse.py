"""VALSE existence (arXiv 2112.07566) as questions: choose between a caption and its foil."""

__all__ = ["read_valse"]

from collections.abc import Sequence
from pathlib import Path
from random import Random

from negtrace.bench.items import Item
from negtrace.bench.multiple_choice import Pool
from negtrace.datasets.note import Note, Origin, image_note
from negtrace.errors import BenchError, PairError
from negtrace.pairs.valse import ValseRow, read_valse_rows

VOTES = 2
"""Annotators of three who must have confirmed a caption, as in the benchmark."""


def read_valse(path: Path | str, *, images: Path | None = None, seed: int = 0) -> Pool:
    """Read VALSE existence as questions; the positions of caption and foil are shuffled.

    Without the images only affirmative captions have a text as anchor, so affirmation is always
    right. A note says so, and the prior shows what that is worth. A row that cannot be used is
    noted by its number in the file, from 1.

    Args:
        path: VALSE's JSON.
        images: the folder of the image files.
        seed: seed of the positions.

    Raises:
        PairError: for a file that is not VALSE existence.
        BenchError: for a file without a usable row.
    """
    path = Path(path)
    rng = Random(f"valse {seed}")  # noqa: S311
    items: list[Item] = []
    notes: list[Note] = []
    for number, row in read_valse_rows(path):
        try:
            if isinstance(row, PairError):
                raise row
            note = _note(row, images, (path.name, number))
            notes += [note] if note else []
            if not (note and note.skipped):
                items.append(_item(row, images, rng, (path.name, number)))
        except PairError as error:
            notes.append(Note(file=path.name, row=number, code="row", detail=str(error)))
    if not items:
        raise BenchError(f"no usable row in {path.name}: {notes[0].detail if notes else 'empty'}")
    return Pool(
        items=tuple(items),
        noted=(*notes, *_one_sided(path.name, items)),
        filed={"0": len(items)},
    )


def _note(row: ValseRow, images: Path | None, origin: Origin) -> Note | None:
    """Return what there is to say about a row before it becomes a question."""
    file, number = origin
    if row.votes < VOTES:
        detail = f"{row.votes} annotators confirmed the caption; {VOTES} are needed"
        return Note(file=file, row=number, code="votes", detail=detail)
    if images is not None:
        return image_note(images / row.image_file, file=file, row=number)
    if not row.affirmative:
        detail = "a negated caption has no text for its image; give the folder of the images"
        return Note(file=file, row=number, code="no_anchor", detail=detail)
    return None


def _item(row: ValseRow, images: Path | None, rng: Random, origin: Origin) -> Item:
    pair = row.pair(rephrase=False, images=images)
    texts = [pair.true, pair.false]
    rng.shuffle(texts)
    return Item(
        id=row.key,
        anchor=pair.anchor,
        texts=tuple(texts),
        answer=texts.index(pair.true),
        group=row.image_file,
        tags={"template": (row.provenance,)},
        source=origin,
    )


def _one_sided(file: str, items: Sequence[Item]) -> list[Note]:
    """Return a note if every right statement has the same polarity."""
    if len({item.tags["template"] for item in items}) != 1:
        return []
    detail = "every right statement has the same polarity; compare with the prior"
    return [Note(file=file, row=0, code="one_sided", detail=detail, skipped=False)]
