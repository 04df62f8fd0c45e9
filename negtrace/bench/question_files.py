"""Question files of other benchmarks: NegBench's CSV files and VALSE's JSON.

In NegBench's multiple choice (Alhamoud et al. 2025, arXiv 2501.09425) the right caption comes first
in every row, and in VALSE existence (Parcalabescu et al. 2022, arXiv 2112.07566) it always has the
same key. So the order of the options is shuffled. The images are those of COCO and other data sets.
Without them a text takes the place of the image: the list of its objects, or the affirmative
caption. A row without image and without such a text is left out and noted.
"""

__all__ = ["read_candidates", "read_choices", "read_valse"]

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from negtrace._messages import excerpt
from negtrace.bench.candidates import CandidateSet
from negtrace.bench.items import Item
from negtrace.datasets.note import Note, Origin, image_note
from negtrace.datasets.readers.files import Record, Table, read_table
from negtrace.errors import BenchError, PairError
from negtrace.language.cues import find_cues
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.valse import ValseRow, read_valse_rows

CAPTIONS = tuple(f"caption_{number}" for number in range(4))
CHOICE_COLUMNS = ("image_path", "correct_answer", "correct_answer_template", *CAPTIONS)
BINARY_COLUMNS = ("image_path", "correct_answer", *CAPTIONS[:2])
"""Columns of NegBench's questions on CheXpert, which have two captions and no template."""
RETRIEVAL_COLUMNS = ("filepath", "captions", "positive_objects")

VOTES = 2
"""Annotators, of three, who must have confirmed a caption of VALSE, as in the paper."""


@dataclass(frozen=True, kw_only=True)
class QuestionFile:
    """Items of a file, and notes on its rows."""

    items: tuple[Item, ...]
    notes: tuple[Note, ...]
    answers: Mapping[str, int]
    """Number of rows with each answer as the file has it, before the options are shuffled."""

    @property
    def accuracy_of_position(self) -> float:
        """Accuracy of always choosing the most frequent position of the file."""
        return max(self.answers.values()) / sum(self.answers.values())


def read_choices(
    path: Path | str, *, images: Path | None = None, anchors: Path | None = None, seed: int = 0
) -> QuestionFile:
    """Read NegBench's multiple choice CSV: four captions, or the two of its CheXpert questions.

    Two captions have no template; in its place stands whether the right one is negated.

    Args:
        path: the CSV.
        images: folder that `image_path` starts from.
        anchors: NegBench's retrieval CSV of the same images. Without `images`, its lists of objects
            become text anchors, such as "A photo of knife, oven.".
        seed: seed of the order of the options.

    Raises:
        BenchError: for a file with other columns, or without a usable row.
    """
    table = read_table(path)
    binary = set(BINARY_COLUMNS) <= set(table.columns) and not set(CAPTIONS) <= set(table.columns)
    columns = BINARY_COLUMNS if binary else CHOICE_COLUMNS
    _require_columns(table, columns, "multiple choice")
    texts = _object_texts(read_table(anchors)) if anchors else {}
    rng = Random(f"negbench {seed}")  # noqa: S311
    items, notes = [], [*_unknown_columns(table, columns), *table.notes]
    answers: Counter[str] = Counter()
    for record in table.records:
        anchor, anchor_notes = _anchor(table.file, record, "image_path", images, texts)
        notes += anchor_notes
        if anchor is None:
            continue
        try:
            captions = [name for name in columns if name in CAPTIONS]
            items.append(_choice(table.file, record, anchor, captions, rng))
        except BenchError as error:
            notes.append(Note(file=table.file, row=record.row, code="choices", detail=str(error)))
            continue
        answers[record.cells["correct_answer"].strip()] += 1
    if not items:
        raise BenchError(
            f"no usable row in {table.file}: {notes[-1].detail if notes else 'it is empty'}. "
            "Give the folder of the images (images), or NegBench's retrieval CSV (anchors)"
        )
    return QuestionFile(items=tuple(items), notes=tuple(notes), answers=dict(answers))


def _require_columns(table: Table, columns: Sequence[str], kind: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise BenchError(
            f"{table.file} lacks the columns {', '.join(missing)}; a {kind} CSV of NegBench has "
            f"{', '.join(columns)}"
        )


def _unknown_columns(table: Table, known: Sequence[str]) -> list[Note]:
    return [
        Note(file=table.file, row=1, code="unknown_column", detail=column, skipped=False)
        for column in table.columns
        if column not in known
    ]


def _choice(
    file: str, record: Record, anchor: Anchor, captions: Sequence[str], rng: Random
) -> Item:
    cells = record.cells
    texts = [cells[column].strip() for column in captions]
    answer = cells["correct_answer"].strip()
    if answer not in map(str, range(len(texts))):
        *others, last = map(str, range(len(texts)))
        raise BenchError(
            f"correct_answer is {excerpt(answer)}; expected {', '.join(others)} or {last}"
        )
    if not all(texts):
        raise BenchError("a caption is blank")
    right = texts[int(answer)]
    rng.shuffle(texts)
    template = cells["correct_answer_template"].strip() if len(texts) > 2 else _polarity(right)
    return Item(
        id=f"{file}:{record.row}",
        anchor=anchor,
        texts=tuple(texts),
        answer=texts.index(right),
        group=cells["image_path"].strip(),
        tags={"template": (template or "none",)},
        source=(file, record.row),
    )


def _polarity(caption: str) -> str:
    return "negated" if find_cues(caption) else "affirmed"


def _anchor(
    file: str, record: Record, column: str, images: Path | None, texts: Mapping[str, str]
) -> tuple[Anchor | None, list[Note]]:
    """Anchor of a row, or None, and the notes on it."""
    name = record.cells[column].strip()
    if images is not None:
        note = image_note(images / name, file=file, row=record.row)
        usable = note is None or not note.skipped
        return Anchor(image=images / name) if usable else None, [] if note is None else [note]
    if name in texts:
        return Anchor(text=texts[name]), []
    detail = "no image and no text stands for the row's image"
    return None, [Note(file=file, row=record.row, code="no_anchor", detail=detail)]


def _object_texts(table: Table) -> dict[str, str]:
    """Text for each image that lists its objects."""
    _require_columns(table, RETRIEVAL_COLUMNS, "retrieval")
    texts = {}
    for record in table.records:
        objects = _list_in(record.cells["positive_objects"])
        if objects:
            texts[record.cells["filepath"].strip()] = f"A photo of {', '.join(objects)}."
    return texts


def _list_in(cell: str) -> list[str]:
    """Texts in a cell that holds a Python list of texts; empty for any other cell."""
    try:
        value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    if isinstance(value, list) and all(isinstance(text, str) and text.strip() for text in value):
        return value
    return []


def read_candidates(
    path: Path | str, *, images: Path | None = None
) -> tuple[CandidateSet, list[Note]]:
    """Read NegBench's retrieval CSV: the first caption of each image, which negates something.

    Args:
        path: the CSV.
        images: folder that `filepath` starts from. Without it, the list of an image's objects is
            its anchor. Rows with the same list could not be told apart, so the first one is used.

    Raises:
        BenchError: for a file with other columns, or with fewer than two usable rows.
    """
    table = read_table(path)
    _require_columns(table, RETRIEVAL_COLUMNS, "retrieval")
    objects, notes = _object_texts(table), list(table.notes)
    rows: dict[Anchor, tuple[str, Origin]] = {}
    for record in table.records:
        captions = _list_in(record.cells["captions"])
        anchor, anchor_notes = _anchor(table.file, record, "filepath", images, objects)
        notes += anchor_notes
        if anchor is not None and captions and anchor not in rows:
            rows[anchor] = captions[0], (table.file, record.row)
        elif anchor is not None:
            code = "same_anchor" if captions else "captions"
            detail = "an earlier row has the same anchor" if captions else "no list of captions"
            notes.append(Note(file=table.file, row=record.row, code=code, detail=detail))
    if len(rows) < 2:
        raise BenchError(f"{len(rows)} usable rows in {table.file}; retrieval needs two or more")
    texts, sources = zip(*rows.values(), strict=True)
    return CandidateSet(anchors=tuple(rows), texts=texts, sources=sources), notes


def read_valse(path: Path | str, *, images: Path | None = None, seed: int = 0) -> QuestionFile:
    """Read VALSE existence: a caption and its foil, which differ by a negator.

    Without the images only affirmative captions have an anchor, so the affirmative statement is
    always right. A note with code `one_sided` says so; compare the model with its prior.

    Args:
        path: VALSE's JSON. Notes name a row by its position in the file, from 1.
        images: folder of the image files.
        seed: seed of the order of the options.

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
            note = _valse_note(row, images, (path.name, number))
            notes += [note] if note else []
            if not (note and note.skipped):
                items.append(_valse_item(row, images, rng, (path.name, number)))
        except PairError as error:
            notes.append(Note(file=path.name, row=number, code="row", detail=str(error)))
    if not items:
        raise BenchError(f"no usable row in {path.name}: {notes[0].detail if notes else 'empty'}")
    return QuestionFile(
        items=tuple(items),
        notes=(*notes, *_one_sided(path.name, items)),
        answers={"0": len(items)},
    )


def _valse_note(row: ValseRow, images: Path | None, source: Origin) -> Note | None:
    file, number = source
    if row.votes < VOTES:
        detail = f"{row.votes} annotators confirmed the caption; {VOTES} are needed"
        return Note(file=file, row=number, code="votes", detail=detail)
    if images is not None:
        return image_note(images / row.image_file, file=file, row=number)
    if not row.affirmative:
        detail = "a negated caption has no text for its image; give the folder of the images"
        return Note(file=file, row=number, code="no_anchor", detail=detail)
    return None


def _valse_item(row: ValseRow, images: Path | None, rng: Random, source: Origin) -> Item:
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
        source=source,
    )


def _one_sided(file: str, items: Sequence[Item]) -> list[Note]:
    """Note on a file whose right statements all have the same polarity."""
    if len({item.tags["template"] for item in items}) != 1:
        return []
    detail = "every right statement has the same polarity; compare with the prior"
    return [Note(file=file, row=0, code="one_sided", detail=detail, skipped=False)]
