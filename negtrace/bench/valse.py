"""VALSE's existence file (Parcalabescu et al. 2022, arXiv 2112.07566): a caption and its foil."""

__all__ = ["read_valse"]

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from negtrace.bench.items import Item
from negtrace.bench.multiple_choice import Pool
from negtrace.datasets.note import Note, Origin, image_note
from negtrace.errors import BenchError, PairError
from negtrace.pairs.sources import valse_pair

VOTES = 2
"""Annotators of three that must have upheld a caption, as the benchmark has it."""


def read_valse(path: Path | str, *, images: Path | None = None, seed: int = 0) -> Pool:
    """Read VALSE existence: a caption and its foil, which differ by a negator; places are shuffled.

    Without the images only affirmative captions have a text to be anchored on, so that affirmation
    is always right; the pool says so by a note, and the prior shows what that is worth. A row that
    cannot be used is noted by its number in the file, from 1.

    Args:
        path: VALSE's JSON.
        images: the folder of the image files.
        seed: of the places.

    Raises:
        BenchError: for a file that is not VALSE existence, or of which no row is usable.
    """
    path = Path(path)
    rng = Random(f"valse {seed}")  # noqa: S311
    items: list[Item] = []
    noted: list[Note] = []
    for number, (key, row) in enumerate(_rows(path).items(), start=1):
        try:
            found = _noted(path.name, number, row, images)
            noted += found
            if not any(note.skipped for note in found):
                items.append(_item(key, row, images, rng, (path.name, number)))
        except (PairError, KeyError, TypeError, AttributeError, IndexError) as error:
            noted.append(Note(file=path.name, row=number, code="row", detail=repr(error)))
    if not items:
        raise BenchError(f"no usable row in {path.name}: {noted[0].detail if noted else 'empty'}")
    return Pool(
        items=tuple(items),
        noted=(*noted, *_one_sided(path.name, items)),
        filed={"0": len(items)},
    )


def _rows(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        rows = json.loads(path.read_bytes())
    except OSError as error:
        raise BenchError(f"{path.name} cannot be read ({error.strerror}); give VALSE") from error
    except ValueError as error:
        raise BenchError(f"{path.name} is not VALSE existence: {error}") from error
    if not isinstance(rows, dict):
        raise BenchError(f"{path.name} is not VALSE existence; expected one object of rows by key")
    return rows


def _noted(file: str, number: int, row: Mapping[str, Any], images: Path | None) -> list[Note]:
    """Return what there is to say about a row before it is worded."""
    votes = int(row["mturk"]["caption"])
    if votes < VOTES:
        told = f"{votes} annotators upheld the caption; {VOTES} are needed"
        return [Note(file=file, row=number, code="votes", detail=told)]
    if images is not None:
        note = image_note(images / row["image_file"], file=file, row=number)
        return [] if note is None else [note]
    if row["provenance_of_foils"] != "something_to_zero":
        told = "a negated caption has no text that stands for its image; give the images' folder"
        return [Note(file=file, row=number, code="no_anchor", detail=told)]
    return []


def _item(
    key: str, row: Mapping[str, Any], images: Path | None, rng: Random, source: Origin
) -> Item:
    pair = valse_pair(key, row, rephrase=False, images=images)
    texts = [pair.true, pair.false]
    rng.shuffle(texts)
    return Item(
        id=key,
        anchor=pair.anchor,
        texts=tuple(texts),
        answer=texts.index(pair.true),
        group=str(row["image_file"]),
        tags={"template": (pair.tags["provenance"],)},
        source=source,
    )


def _one_sided(file: str, items: list[Item]) -> list[Note]:
    if len({item.tags["template"] for item in items}) != 1:
        return []
    told = "the right statement is of one polarity throughout; compare with the prior"
    return [Note(file=file, row=0, code="one_sided", detail=told, skipped=False)]
