"""NegBench's files, their biases neutralised.

In NegBench's multiple choice (Alhamoud et al. 2025, arXiv 2501.09425) the right caption is the
first of every row: places are shuffled, and a tie counts against the model. The images are COCO's;
without them a row is anchored on a text that lists what is in its image, and left out with the
reason where there is none.
"""

__all__ = ["read_choices", "read_gallery"]

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from negtrace.bench.items import Item
from negtrace.bench.multiple_choice import Pool
from negtrace.bench.retrieval import Gallery
from negtrace.bench.tables import Record, Table, read_table
from negtrace.datasets.note import Note, Origin, image_note
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor

CAPTIONS = tuple(f"caption_{place}" for place in range(4))
CHOICES = ("image_path", "correct_answer", "correct_answer_template", *CAPTIONS)
RETRIEVAL = ("filepath", "captions", "positive_objects")


def _require(table: Table, columns: Sequence[str], kind: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise BenchError(
            f"{table.file} lacks the columns {', '.join(missing)}; a {kind} CSV of NegBench has "
            f"{', '.join(columns)}"
        )


def _extra(table: Table, known: Sequence[str]) -> list[Note]:
    return [
        Note(file=table.file, row=1, code="unknown_column", detail=column, skipped=False)
        for column in table.columns
        if column not in known
    ]


def read_choices(
    path: Path | str, *, images: Path | None = None, anchors: Path | None = None, seed: int = 0
) -> Pool:
    """Read NegBench's multiple choice; the places of the captions are shuffled by the seed.

    Args:
        path: the CSV.
        images: the folder that `image_path` starts from.
        anchors: NegBench's retrieval CSV of the same images: its lists of objects make text
            anchors ("A photo of knife, oven.") where there are no images.
        seed: of the places.

    Raises:
        BenchError: for a file of another layout, or when no row has an anchor.
    """
    table = read_table(path)
    _require(table, CHOICES, "multiple choice")
    said = _objects(read_table(anchors)) if anchors else {}
    rng = Random(f"negbench {seed}")  # noqa: S311
    items, noted = [], [*_extra(table, CHOICES), *table.noted]
    filed: Counter[str] = Counter()
    for record in table.records:
        anchor, found = _anchor(table.file, record, "image_path", images, said)
        noted += found
        if anchor is None:
            continue
        try:
            items.append(_choice(table.file, record, anchor, rng))
        except BenchError as error:
            noted.append(Note(file=table.file, row=record.row, code="choices", detail=str(error)))
            continue
        filed[record.cells["correct_answer"].strip()] += 1
    if not items:
        raise BenchError(
            f"no usable row in {table.file}: {noted[-1].detail if noted else 'it is empty'}. "
            "Give the folder of the images (images), or NegBench's retrieval CSV (anchors)"
        )
    return Pool(items=tuple(items), noted=tuple(noted), filed=dict(filed))


def _choice(file: str, record: Record, anchor: Anchor, rng: Random) -> Item:
    cells = record.cells
    texts = [cells[column].strip() for column in CAPTIONS]
    answer = cells["correct_answer"].strip()
    if answer not in ("0", "1", "2", "3"):
        raise BenchError(f"correct_answer is {answer!r}; expected 0, 1, 2 or 3")
    if not all(texts):
        raise BenchError("a caption is blank")
    right = texts[int(answer)]
    rng.shuffle(texts)
    return Item(
        id=f"{file}:{record.row}",
        anchor=anchor,
        texts=tuple(texts),
        answer=texts.index(right),
        group=cells["image_path"].strip(),
        tags={"template": (cells["correct_answer_template"].strip() or "none",)},
        source=(file, record.row),
    )


def _anchor(
    file: str, record: Record, column: str, images: Path | None, said: Mapping[str, str]
) -> tuple[Anchor | None, list[Note]]:
    """Return what a row is anchored on, None where it has nothing, and what there is to say."""
    named = record.cells[column].strip()
    if images is not None:
        note = image_note(images / named, file=file, row=record.row)
        seen = None if note is not None and note.skipped else Anchor(image=images / named)
        return seen, [note] if note is not None else []
    if named in said:
        return Anchor(text=said[named]), []
    told = "no image and no text stands for the row's image"
    return None, [Note(file=file, row=record.row, code="no_anchor", detail=told)]


def _objects(table: Table) -> dict[str, str]:
    """Return a text for each image that lists what is in it."""
    _require(table, RETRIEVAL, "retrieval")
    found = {}
    for record in table.records:
        objects = _listed(record.cells["positive_objects"])
        if objects:
            found[record.cells["filepath"].strip()] = f"A photo of {', '.join(objects)}."
    return found


def _listed(cell: str) -> list[str]:
    """Return the texts of a cell that holds a list; none where it holds anything else."""
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    texts = isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
    return list(value) if texts else []


def read_gallery(path: Path | str, *, images: Path | None = None) -> tuple[Gallery, list[Note]]:
    """Read NegBench's retrieval file: each image's first caption, which denies something.

    Without the images' folder an image is stood for by the list of what is in it. Images that
    list the same could not be told apart, so only the first of them is kept.

    Raises:
        BenchError: for a file of another layout, or with fewer than two usable rows.
    """
    table = read_table(path)
    _require(table, RETRIEVAL, "retrieval")
    said, noted = _objects(table), list(table.noted)
    found: dict[Anchor, tuple[str, Origin]] = {}
    for record in table.records:
        captions = _listed(record.cells["captions"])
        anchor, notes = _anchor(table.file, record, "filepath", images, said)
        noted += notes
        if anchor is not None and captions and anchor not in found:
            found[anchor] = captions[0], (table.file, record.row)
        elif anchor is not None:
            code = "same_anchor" if captions else "captions"
            told = "an earlier row has the same anchor" if captions else "no list of captions"
            noted.append(Note(file=table.file, row=record.row, code=code, detail=told))
    if len(found) < 2:
        raise BenchError(f"{len(found)} usable rows in {table.file}; two or more make a gallery")
    texts, sources = zip(*found.values(), strict=True)
    return Gallery(anchors=tuple(found), texts=texts, sources=sources), noted
