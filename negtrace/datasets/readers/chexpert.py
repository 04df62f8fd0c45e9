"""CheXpert's label files (Irvin et al. 2019, arXiv 1901.07031), and MIMIC-CXR's in its labels."""

__all__ = ["CHEXPERT_LABELS", "CheXpert", "LabelFile", "LabelRow", "label_rows", "open_label_file"]

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from negtrace._files import is_file, is_folder
from negtrace._messages import excerpt
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.files import TableReader, is_table, open_table
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS

CHEXPERT_LABELS: Mapping[str, str] = {finding.label: key for key, finding in FINDINGS.items()}
"""Key of the finding by its CheXpert label. "No Finding" is not among them."""

_OTHER_COLUMNS = frozenset(
    {"Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "subject_id", "study_id", "split"}
    | {"No Finding", "dicom_id"}
)
"""Columns of CheXpert and MIMIC-CXR that label no finding."""

_VALUES: Mapping[str, bool | None] = {"1": True, "0": False, "-1": None, "": None}
"""Present, absent, uncertain, not mentioned."""

_USUAL_CELLS = {"1.0": "1", "0.0": "0", "-1.0": "-1"}

_CLAIMS: Mapping[tuple[str, bool], Claim] = {
    (key, present): Claim(finding=key, present=present)
    for key in FINDINGS
    for present in (True, False)
}
_PATIENT = re.compile(r"patient\d+")

Cells = Sequence[str]


@LAYOUTS.register("chexpert")
class CheXpert(Layout):
    """Label files of CheXpert, and of MIMIC-CXR.

    A label is 1 (present), 0 (absent), -1 (uncertain: left out) or blank (not mentioned). CheXpert
    names its image in `Path`. MIMIC-CXR names it in `dicom_id`; without it, the first JPEG or PNG
    of `p10/p10000032/s50414267/` in the folder of images is taken.
    """

    name = "chexpert"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether a table has a CheXpert label, and `Path` or `study_id`."""
        has_label = bool(set(CHEXPERT_LABELS) & set(columns))
        return is_table(path) and has_label and bool({"Path", "study_id"} & set(columns))

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield the studies of a label file, one for each row.

        Raises:
            DatasetError: without known labels, or columns that name images or studies.
        """
        with open_label_file(path, config) as file:
            yield from file.unknown_columns()
            for row in file.rows():
                yield row if isinstance(row, Note) else file.study(row)


class LabelRow(NamedTuple):
    """A row of a label file."""

    row: int
    """Line on which it starts, from 1."""
    cells: Cells
    claims: tuple[Claim, ...]
    """Findings labelled present or absent."""
    uncertain: int
    """Number of findings labelled uncertain."""


class ImageNames(NamedTuple):
    """Names of a study, its patient and its image."""

    key: str
    patient: str
    image: str | None


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """An open label file. Images are looked for only when a row becomes a study."""

    table: TableReader
    labels: Sequence[tuple[int, str]]
    """Position of each label column, and its finding."""
    names: Callable[[Cells], ImageNames]

    def unknown_columns(self) -> Iterator[Note]:
        """Yield a note for each column that is not read."""
        for column in self.table.columns:
            if column not in _OTHER_COLUMNS and column not in CHEXPERT_LABELS:
                known = ", ".join(CHEXPERT_LABELS)
                detail = f"the column {excerpt(column)} is not read; labels: {known}"
                code = "unknown_column"
                yield Note(file=self.table.file, row=1, code=code, detail=detail, skipped=False)

    def rows(self) -> Iterator[LabelRow | Note]:
        """Yield each row, or a note on why it cannot be used."""
        return _label_rows(self.table, self.labels)

    def study(self, row: LabelRow) -> Study | Note:
        """Return the study of a row, or a note if the row does not name one."""
        file = self.table.file
        names = self.names(row.cells)
        if not names.key:
            return Note(file=file, row=row.row, code="no_study", detail="no path or study id")
        return Study(
            file=file,
            row=row.row,
            source=CheXpert.name,
            key=names.key,
            patient=names.patient,
            claims=row.claims,
            image=names.image,
            uncertain=row.uncertain,
        )


def label_rows(table: TableReader, name: str) -> Iterator[LabelRow | Note]:
    """Yield each row of a table with CheXpert's labels, or a note on why it cannot be used.

    Raises:
        DatasetError: without known labels.
    """
    labels = _labels_of(table)
    if not labels:
        raise DatasetError(
            f"{name} has the columns {', '.join(table.columns)[:200]}; expected a label of "
            f"{', '.join(CHEXPERT_LABELS)}"
        )
    return _label_rows(table, labels)


def _labels_of(table: TableReader) -> list[tuple[int, str]]:
    """Return the position of each label column, and its finding."""
    columns = enumerate(table.columns)
    return [(n, CHEXPERT_LABELS[c]) for n, c in columns if c in CHEXPERT_LABELS]


def _label_rows(table: TableReader, labels: Sequence[tuple[int, str]]) -> Iterator[LabelRow | Note]:
    for row, cells in table.rows():
        yield cells if isinstance(cells, Note) else _label_row(table, labels, row, cells)


def _label_row(
    table: TableReader, labels: Sequence[tuple[int, str]], row: int, cells: Cells
) -> LabelRow | Note:
    claims, uncertain = [], 0
    for position, finding in labels:
        cell = cells[position]
        value = _USUAL_CELLS.get(cell) or cell.strip().removesuffix(".0")
        if value not in _VALUES:
            column = table.columns[position]
            detail = f"{column} is {excerpt(cell)}; expected 1, 0, -1 or blank"
            return Note(file=table.file, row=row, code="label", detail=detail)
        if (present := _VALUES[value]) is not None:
            claims.append(_CLAIMS[finding, present])
        uncertain += value == "-1"
    return LabelRow(row, cells, tuple(claims), uncertain)


@contextmanager
def open_label_file(path: Path, config: DatasetConfig) -> Iterator[LabelFile]:
    """Open a label file in the columns of CheXpert or MIMIC-CXR.

    Raises:
        DatasetError: without known labels, or columns that name images or studies.
    """
    with open_table(path) as table:
        columns = table.columns
        labels = _labels_of(table)
        if not labels or not ("Path" in columns or {"subject_id", "study_id"} <= set(columns)):
            raise DatasetError(
                f"{path.name} has the columns {', '.join(columns)[:200]}; expected Path (CheXpert) "
                "or subject_id and study_id (MIMIC-CXR), and labels such as "
                f"{', '.join(CHEXPERT_LABELS)}"
            )
        folder = config.images or path.parent
        check = config.anchors == "image"
        if "Path" in columns:
            names = _names_of_chexpert(columns, folder, check=check)
        else:
            names = _names_of_mimic(columns, folder, check=check)
        yield LabelFile(table=table, labels=labels, names=names)


def _names_of_chexpert(
    columns: Sequence[str], folder: Path, *, check: bool
) -> Callable[[Cells], ImageNames]:
    position, inside = columns.index("Path"), _InsideFolder(folder, check=check)

    def names(cells: Cells) -> ImageNames:
        image = inside(cells[position].strip())
        study = _study_folder(image)
        patient = _PATIENT.search(image)
        return ImageNames(study, patient.group() if patient else study, image or None)

    return names


def _study_folder(path: str) -> str:
    """Return the folder in which CheXpert keeps a study's images, or else the path itself.

    >>> _study_folder("train/patient00001/study1/view1_frontal.jpg")
    'train/patient00001/study1'
    >>> _study_folder("films/a.png")
    'films/a.png'
    """
    folder, _, _ = path.rpartition("/")
    return folder if folder.rpartition("/")[2].startswith("study") else path


class _InsideFolder:
    """Paths from the folder of images, for paths that may start with the data set's own folder.

    CheXpert's paths start with `CheXpert-v1.0-small/`, and its label files lie in that folder. The
    first path whose file exists shows whether its first folder is to be left out. As long as no
    file exists, the first folder is left out if the folder of images has its name.
    """

    def __init__(self, folder: Path, *, check: bool) -> None:
        self._folder = folder
        self._left_to_check = 1000 if check else 0
        self._strip: bool | None = None

    def __call__(self, path: str) -> str:
        first, _, rest = path.partition("/")
        if not rest:
            return path
        if self._strip is None:
            return rest if self._look(path, first, rest) else path
        return rest if self._strip else path

    def _look(self, path: str, first: str, rest: str) -> bool:
        """Tell whether to leave out the first folder of this path, and of all if a file exists."""
        if self._left_to_check:
            self._left_to_check -= 1
            whole, inner = is_file(self._folder / path), is_file(self._folder / rest)
            if whole != inner:
                self._strip = inner
                return inner
        strip = self._folder.resolve().name == first and not is_folder(self._folder / first)
        if not self._left_to_check:
            self._strip = strip
        return strip


def _names_of_mimic(
    columns: Sequence[str], folder: Path, *, check: bool
) -> Callable[[Cells], ImageNames]:
    patient, study = columns.index("subject_id"), columns.index("study_id")
    view = columns.index("dicom_id") if "dicom_id" in columns else None

    def names(cells: Cells) -> ImageNames:
        subject, key = cells[patient].strip(), cells[study].strip()
        inner = f"p{subject[:2]}/p{subject}/s{key}"
        name = cells[view].strip() if view is not None else ""
        if name:
            return ImageNames(key, subject, f"{inner}/{name}.jpg")
        return ImageNames(key, subject, _first_image(folder, inner) if check else None)

    return names


def _first_image(folder: Path, inner: str) -> str | None:
    """Return the first image in the folder of a study, by name."""
    endings = ("jpg", "jpeg", "png")
    images = [file.name for ending in endings for file in (folder / inner).glob(f"*.{ending}")]
    return f"{inner}/{min(images)}" if images else None
