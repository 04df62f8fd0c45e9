"""Labelled images of CheXpert and MIMIC-CXR, as cases to ask about."""

__all__ = ["read_cases"]

from collections.abc import Sequence
from pathlib import Path
from random import Random

from negtrace.bench.cases import Case
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note, image_note
from negtrace.datasets.readers.chexpert import LabelRow, open_label_file
from negtrace.datasets.study import Study
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor


def read_cases(
    path: Path | str, images: Path | str | None = None, *, limit: int | None = None, seed: int = 0
) -> tuple[tuple[Case, ...], tuple[Note, ...]]:
    """Return the cases of a label file, and notes on rows that were left out or read differently.

    The file has the columns of CheXpert (Irvin et al. 2019) or MIMIC-CXR. Labels are 1 present, 0
    absent, -1 uncertain, blank not mentioned; the last two are not asked about. Of a study with
    several images, the first that can be read is taken. Sixteen-bit and transparent images are
    read, and noted.

    Args:
        path: the CSV file.
        images: the folder that its paths start from; by default, the folder of the CSV file.
        limit: draw at most this many rows, so that not all images of a huge file are opened.
        seed: seed of the draw.

    Raises:
        DatasetError: for a file without paths, study ids or known labels.
        BenchError: for a file without a usable row.
    """
    path = Path(path)
    folder = Path(images or path.parent)
    with open_label_file(path, DatasetConfig(images=folder)) as file:
        unknown = list(file.unknown_columns())
        items = list(file.rows())
        notes = [item for item in items if isinstance(item, Note)]
        rows = _drawn([item for item in items if isinstance(item, LabelRow)], limit, seed)
        cases: dict[str, Case] = {}
        for row in rows:
            study = file.study(row)
            notes += [study] if isinstance(study, Note) else _take(study, folder, cases)
    notes.sort(key=lambda note: note.row)
    if not cases:
        raise BenchError(f"no usable row in {path.name}; {notes[0].detail if notes else 'empty'}")
    return tuple(cases.values()), (*unknown, *notes)


def _drawn(rows: Sequence[LabelRow], limit: int | None, seed: int) -> Sequence[LabelRow]:
    if limit is None or limit >= len(rows):
        return rows
    indices = Random(f"rows {seed}").sample(range(len(rows)), limit)  # noqa: S311
    return [rows[index] for index in sorted(indices)]


def _take(study: Study, folder: Path, cases: dict[str, Case]) -> list[Note]:
    """Add the case of a study, unless its image cannot be read; return what there is to note."""
    file, row = study.file, study.row
    if study.image is None:
        detail = f"no image of the study in {folder}"
        return [Note(file=file, row=row, code="missing_image", detail=detail)]
    image = folder / study.image
    note = image_note(image, file=file, row=row)
    if note and note.skipped:
        return [note]
    if study.key in cases:
        detail = "the study occurs before"
        return [Note(file=file, row=row, code="duplicate_study", detail=detail)]
    labels = {claim.finding: claim.present for claim in study.claims}
    cases[study.key] = Case(id=study.id, anchor=Anchor(image=image), labels=labels)
    return [note] if note else []
