"""Reports with the labels that a labeller gave them: CheXpert's, CheXbert's and NegBio's."""

__all__ = ["LabelledReports"]

from collections.abc import Iterator, Sequence
from pathlib import Path

from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.chexpert import CHEXPERT_LABELS, LabelRow, label_rows
from negtrace.datasets.readers.files import is_table, open_table
from negtrace.datasets.readers.reports import LONGEST_REPORT, PATIENTS, first_column
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError

_TEXTS = ("report impression", "reports", "report", "impression", "text")
"""Columns of the report: CheXbert's, then that of CheXpert's labeller, then other usual names."""


@LAYOUTS.register("labelled-reports")
class LabelledReports(Layout):
    """Reports with CheXpert's labels, as the labellers of CheXpert, CheXbert and NegBio write them.

    The columns are `Report Impression` (CheXbert) or `Reports` (CheXpert's labeller), and the
    labels: 1 (present), 0 (absent), -1 (in doubt: left out) or blank (not mentioned). The report is
    the anchor of statements about its labels.
    """

    name = "labelled-reports"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether a table has a label and a report, and names neither image nor study."""
        labels = set(CHEXPERT_LABELS) & set(columns)
        named = {"Path", "study_id"} & set(columns)
        text = first_column(columns, (config.column,) if config.column else _TEXTS)
        return is_table(path) and bool(labels) and not named and text is not None

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each row.

        Raises:
            DatasetError: for a file that cannot be read, or without labels or a column of reports.
        """
        with open_table(path, longest=LONGEST_REPORT) as table:
            columns = table.columns
            text = first_column(columns, (config.column,) if config.column else _TEXTS)
            patient = first_column(columns, (config.patient,) if config.patient else PATIENTS)
            if text is None or (config.patient and patient is None):
                raise DatasetError(
                    f"{path.name} has the columns {', '.join(columns)[:200]}; expected a label and "
                    f"a report in one of {', '.join(_TEXTS)}; name others with `column` and "
                    "`patient`"
                )
            texts, patients = columns.index(text), columns.index(patient) if patient else None
            for row in label_rows(table, path.name):
                if isinstance(row, Note):
                    yield row
                    continue
                name = row.cells[patients].strip() if patients is not None else ""
                yield _study(path.name, row, " ".join(row.cells[texts].split()), name)


def _study(file: str, row: LabelRow, text: str, patient: str) -> Study | Note:
    if not text:
        return Note(file=file, row=row.row, code="empty_report", detail="no words")
    return Study(
        file=file,
        row=row.row,
        source=LabelledReports.name,
        key=f"{file}:{row.row}",
        patient=patient,
        claims=row.claims,
        text=text,
        uncertain=row.uncertain,
    )
