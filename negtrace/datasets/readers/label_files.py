"""Studies of label files: CheXpert, MIMIC-CXR and NIH ChestX-ray14, in the columns they come in."""

__all__ = ["chexpert", "nih"]

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from negtrace.datasets.config import Config, Layout
from negtrace.datasets.note import Note
from negtrace.datasets.readers.files import Table, opened
from negtrace.datasets.readers.labels import BESIDE, CHEXPERT, NIH, VALUES, label, study_of
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY

_CLAIMS: Mapping[tuple[str, bool], Claim] = {
    (key, present): Claim(finding=key, present=present)
    for key in VOCABULARY
    for present in (True, False)
}
_AS_WRITTEN = {"1.0": "1", "0.0": "0", "-1.0": "-1"}
_PATIENT = re.compile(r"patient\d+")

Cells = Sequence[str]


def chexpert(path: Path, config: Config) -> Iterator[Study | Note]:
    """Yield the studies of a label file in CheXpert's columns (Irvin et al. 2019), or MIMIC-CXR's.

    A label is 1 (present), 0 (absent), -1 (uncertain: left out) or blank (not mentioned).

    Raises:
        DatasetError: without the columns that name images or studies, or known labels.
    """
    with opened(path) as table:
        columns = table.columns
        labels = [(place, CHEXPERT[c]) for place, c in enumerate(columns) if c in CHEXPERT]
        if not labels or not ("Path" in columns or {"subject_id", "study_id"} <= set(columns)):
            raise DatasetError(
                f"{path.name} has the columns {', '.join(columns)[:200]}; expected Path (CheXpert) "
                f"or subject_id and study_id (MIMIC-CXR), and labels such as {', '.join(CHEXPERT)}"
            )
        yield from _unread(table, {*BESIDE, *CHEXPERT})
        name = _named(path, columns, config)
        for row, cells in table.rows():
            if isinstance(cells, Note):
                yield cells
                continue
            yield _labelled(table, row, cells, labels, name)


def _labelled(
    table: Table, row: int, cells: Cells, labels: Sequence[tuple[int, str]], name: "_Name"
) -> Study | Note:
    claims, uncertain = [], 0
    for place, finding in labels:
        cell = cells[place]
        value = _AS_WRITTEN.get(cell) or label(cell)
        if value not in VALUES:
            told = f"{table.columns[place]} is {cell!r}; expected 1, 0, -1 or blank"
            return Note(file=table.file, row=row, code="label", detail=told)
        if (present := VALUES[value]) is not None:
            claims.append(_CLAIMS[finding, present])
        uncertain += value == "-1"
    key, patient, image = name(cells)
    if not key:
        told = "no path or study id"
        return Note(file=table.file, row=row, code="no_study", detail=told)
    return _study(table, row, "chexpert", (key, patient, image), claims, uncertain)


_Name = Callable[[Cells], tuple[str, str, str | None]]


def _named(path: Path, columns: Sequence[str], config: Config) -> _Name:
    """Return what tells the study, the patient and the image of a row."""
    folder = config.images or path.parent
    if "Path" in columns:
        place, strip = columns.index("Path"), _OwnFolder(folder)
        return lambda cells: _of_path(strip(cells[place].strip()))
    patient, study = columns.index("subject_id"), columns.index("study_id")
    view = columns.index("dicom_id") if "dicom_id" in columns else None

    def of_ids(cells: Cells) -> tuple[str, str, str | None]:
        who, what = cells[patient].strip(), cells[study].strip()
        inner = f"p{who[:2]}/p{who}/s{what}"
        if view is not None:
            return what, who, f"{inner}/{cells[view].strip()}.jpg"
        return what, who, None if config.anchors == "text" else _first(folder, inner)

    return of_ids


class _OwnFolder:
    """CheXpert's paths start with the data set's own folder, in which its label files lie."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._apart: bool | None = None

    def __call__(self, image: str) -> str:
        """Return a path from the folder of images, as the first path shows to be right."""
        first, _, rest = image.partition("/")
        if self._apart is None and rest:
            self._apart = (
                self._folder.resolve().name == first and not (self._folder / first).is_dir()
            )
        return rest if self._apart and rest else image


def _of_path(image: str) -> tuple[str, str, str | None]:
    found = _PATIENT.search(image)
    study = study_of(image)
    return study, found.group() if found else study, image or None


def _first(folder: Path, inner: str) -> str | None:
    """Return the first image of a MIMIC-CXR study that the folder of images holds."""
    views = [
        file.name for kind in ("jpg", "jpeg", "png") for file in (folder / inner).glob(f"*.{kind}")
    ]
    return f"{inner}/{min(views)}" if views else None


def nih(path: Path, config: Config) -> Iterator[Study | Note]:
    """Yield the images of NIH ChestX-ray14's label list (Wang et al. 2017), `Data_Entry_2017.csv`.

    `Finding Labels` holds those that are present, as in `Effusion|Mass`, or `No Finding`; the rest
    of the fourteen labels counts as absent, as the data set has it.

    Raises:
        DatasetError: without the columns for labels, image and patient.
    """
    with opened(path) as table:
        known = {re.sub(r"[\s_]+", "", c).casefold(): n for n, c in enumerate(table.columns)}
        image = known.get("imageindex", known.get("image"))
        places = (known.get("findinglabels"), image, known.get("patientid"))
        if None in places:
            raise DatasetError(
                f"{path.name} has the columns {', '.join(table.columns)[:200]}; expected "
                "Finding Labels, Image Index and Patient ID"
            )
        for row, cells in table.rows():
            if isinstance(cells, Note):
                yield cells
            else:
                yield _listed(
                    table, row, [cells[place].strip() for place in places if place is not None]
                )


def _listed(table: Table, row: int, cells: Cells) -> Study | Note:
    found, image, patient = cells
    present = set(found.split("|")) - {"No Finding"}
    if wrong := sorted(present - NIH.keys()):
        told = f"the label {wrong[0]!r}; known: {', '.join(NIH)}, No Finding"
        return Note(file=table.file, row=row, code="label", detail=told)
    if not image or not patient:
        told = "no image or patient"
        return Note(file=table.file, row=row, code="no_study", detail=told)
    made = [_CLAIMS[finding, name in present] for name, finding in NIH.items()]
    return _study(table, row, "nih", (image, patient, image), made)


def _study(
    table: Table,
    row: int,
    source: Layout,
    names: tuple[str, str, str | None],
    claims: Sequence[Claim],
    uncertain: int = 0,
) -> Study:
    key, patient, image = names
    return Study(
        id=f"{table.file}:{row}",
        file=table.file,
        row=row,
        source=source,
        key=key,
        patient=patient,
        claims=tuple(claims),
        image=image,
        uncertain=uncertain,
    )


def _unread(table: Table, known: set[str]) -> Iterator[Note]:
    for column in table.columns:
        if column not in known:
            told = f"the column {column!r} is not read"
            yield Note(file=table.file, row=1, code="unknown_column", detail=told, skipped=False)
