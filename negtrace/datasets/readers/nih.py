"""The label list of NIH ChestX-ray14 (Wang et al. 2017, arXiv 1705.02315): Data_Entry_2017.csv."""

__all__ = ["NIH", "NIH_LABELS"]

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from negtrace._messages import excerpt
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.files import is_table, open_table
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY

NIH_LABELS: Mapping[str, str] = {f.nih: key for key, f in VOCABULARY.items() if f.nih}
"""Key of the finding by its label in NIH ChestX-ray14. "No Finding" is not among them."""

_CLAIMS: Mapping[tuple[str, bool], Claim] = {
    (key, present): Claim(finding=key, present=present)
    for key in NIH_LABELS.values()
    for present in (True, False)
}


@LAYOUTS.register("nih")
class NIH(Layout):
    """Label list of NIH ChestX-ray14.

    `Finding Labels` holds the findings that are present, as in `Effusion|Mass`, or `No Finding`.
    The rest of the fourteen labels counts as absent, as in the data set.
    """

    name = "nih"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether a table has the column `Finding Labels`."""
        return is_table(path) and bool({"Finding Labels", "finding_labels"} & set(columns))

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each image of the list.

        Raises:
            DatasetError: without the columns for labels, image and patient.
        """
        with open_table(path) as table:
            known = {re.sub(r"[\s_]+", "", c).casefold(): n for n, c in enumerate(table.columns)}
            labels, patient = known.get("findinglabels"), known.get("patientid")
            image = known.get("imageindex", known.get("image"))
            if labels is None or image is None or patient is None:
                raise DatasetError(
                    f"{path.name} has the columns {', '.join(table.columns)[:200]}; expected "
                    "Finding Labels, Image Index and Patient ID"
                )
            for row, cells in table.rows():
                if isinstance(cells, Note):
                    yield cells
                else:
                    texts = [cells[position].strip() for position in (labels, image, patient)]
                    yield _study(table.file, row, *texts)


def _study(file: str, row: int, labels: str, image: str, patient: str) -> Study | Note:
    present = set(labels.split("|")) - {"No Finding"}
    if unknown := sorted(present - NIH_LABELS.keys()):
        detail = f"the label {excerpt(unknown[0])}; known: {', '.join(NIH_LABELS)}, No Finding"
        return Note(file=file, row=row, code="label", detail=detail)
    if not image or not patient:
        return Note(file=file, row=row, code="no_study", detail="no image or patient")
    return Study(
        file=file,
        row=row,
        source=NIH.name,
        key=image,
        patient=patient,
        claims=tuple(_CLAIMS[key, label in present] for label, key in NIH_LABELS.items()),
        image=image,
    )
