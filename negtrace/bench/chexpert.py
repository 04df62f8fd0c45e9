"""CheXpert-style label files with their images: CheXpert's layout and MIMIC-CXR's."""

__all__ = ["LABELS", "Cohort", "read_cases"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from negtrace.bench.cases import Case
from negtrace.bench.tables import Record, Table, read_table
from negtrace.datasets.note import Note
from negtrace.datasets.readers.labels import BESIDE, CHEXPERT, VALUES, label, study_of
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.images import UNUSABLE, check_image

LABELS = CHEXPERT


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """The cases of a label file, what was noted about its rows, and the file's digest."""

    cases: tuple[Case, ...]
    noted: tuple[Note, ...]
    digest: str


def read_cases(
    path: Path | str, images: Path | str | None = None, *, limit: int | None = None, seed: int = 0
) -> Cohort:
    """Read a label file in the columns of CheXpert (Irvin et al. 2019) or MIMIC-CXR.

    Labels are 1 present, 0 absent, -1 uncertain, blank not mentioned; the last two are not asked
    about. CheXpert names its image in `Path`; for MIMIC-CXR, which names none, the first JPEG or
    PNG of `p10/p10000032/s50414267/` is taken. Of a study with several images the first one that
    can be read is taken. Sixteen-bit and transparent images are read, and noted.

    Args:
        path: the CSV.
        images: the folder that its paths start from; the CSV's own when not given.
        limit: draw at most so many rows, seeded, so that a huge file's images are not all opened.
        seed: which rows.

    Raises:
        BenchError: for a file without paths, study ids or known labels, or without a usable row.
    """
    path = Path(path)
    table = read_table(path)
    labels = [column for column in table.columns if column in LABELS]
    if not {"Path", "study_id"} & set(table.columns) or not labels:
        raise BenchError(
            f"{path.name} has the columns {', '.join(table.columns)[:200]}; expected Path "
            "(CheXpert) or subject_id and study_id (MIMIC-CXR), and labels such as "
            f"{', '.join(list(LABELS)[:3])}"
        )
    cases, noted = _cases(table, labels, Path(images or path.parent), limit, seed)
    if not cases:
        raise BenchError(f"no usable row in {path.name}; {noted[0].detail if noted else 'empty'}")
    return Cohort(cases=cases, noted=(*_unknown(table), *noted), digest=table.digest)


def _unknown(table: Table) -> Iterator[Note]:
    for column in table.columns:
        if column not in BESIDE and column not in LABELS:
            yield Note(
                file=table.file,
                row=1,
                code="unknown_column",
                detail=f"the column {column!r} is not read; known labels: {', '.join(LABELS)}",
                skipped=False,
            )


def _cases(
    table: Table, labels: Sequence[str], folder: Path, limit: int | None, seed: int
) -> tuple[tuple[Case, ...], list[Note]]:
    noted = list(table.noted)
    found: dict[str, Case] = {}
    for record in _drawn(table.records, limit, seed):
        code, detail, case = _case(table.file, record, labels, folder)
        study = _study(record.cells)
        if case is not None and study in found:
            code, detail, case = "duplicate_study", "the study occurs before", None
        if case is not None:
            found[study] = case
        if code:
            noted.append(
                Note(
                    file=table.file, row=record.row, code=code, detail=detail, skipped=case is None
                )
            )
    return tuple(found.values()), sorted(noted, key=lambda note: note.row)


def _drawn(records: Sequence[Record], limit: int | None, seed: int) -> Sequence[Record]:
    if limit is None or limit >= len(records):
        return records
    places = Random(f"rows {seed}").sample(range(len(records)), limit)  # noqa: S311
    return [records[place] for place in sorted(places)]


def _case(
    file: str, record: Record, labels: Sequence[str], folder: Path
) -> tuple[str, str, Case | None]:
    """Return what there is to say of a row, and its case unless it is to be left out."""
    values = {column: label(record.cells[column]) for column in labels}
    wrong = [column for column, value in values.items() if value not in VALUES]
    if wrong:
        told = f"{wrong[0]} is {record.cells[wrong[0]]!r}; expected 1, 0, -1 or blank"
        return "label", told, None
    known = {LABELS[c]: VALUES[v] for c, v in values.items() if VALUES[v] is not None}
    stated = {finding: bool(value) for finding, value in known.items()}
    image = _image(record.cells, folder)
    if image is None:
        return "missing_image", f"no image of the row in {folder}", None
    code, detail = check_image(image)
    if code in UNUSABLE:
        return code, detail, None
    case = Case(id=f"{file}:{record.row}", anchor=Anchor(image=image), labels=stated)
    return code, detail, case


def _study(cells: Mapping[str, str]) -> str:
    """Return what names the study: its id, or the folder that CheXpert keeps its views in."""
    if "study_id" in cells:
        return cells["study_id"].strip()
    return study_of(cells["Path"].strip())


def _image(cells: Mapping[str, str], folder: Path) -> Path | None:
    if "Path" in cells:
        named = Path(cells["Path"].strip())
        # CheXpert's paths start with the name of the data set's own folder.
        places = [folder / named, folder.parent / named, folder.joinpath(*named.parts[1:])]
        return next((place for place in places if place.is_file()), None)
    patient, study = cells.get("subject_id", "").strip(), cells["study_id"].strip()
    inner = folder / f"p{patient[:2]}" / f"p{patient}" / f"s{study}"
    views = [file for kind in ("jpg", "jpeg", "png") for file in inner.glob(f"*.{kind}")]
    return min(views, default=None)
