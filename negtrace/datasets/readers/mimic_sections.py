"""MIMIC-CXR's reports in sections: `mimic_cxr_sectioned.csv` (Johnson et al. 2019)."""

__all__ = ["MimicSections"]

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.files import is_table, open_table
from negtrace.datasets.readers.reports import LONGEST_REPORT, study_of_report
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError

_FIRST = ("findings", "impression")
_ELSE = ("last_paragraph", "comparison")
"""Sections of a report that has none of these headings; the first that is not blank is read."""


@LAYOUTS.register("mimic-sections")
class MimicSections(Layout):
    """Sectioned reports of MIMIC-CXR, as its authors' `create_section_files.py` writes them.

    The columns are `study` (`s50414267`), `impression`, `findings`, `last_paragraph` and
    `comparison`. Findings and impression are read as one report, or else the first of the other
    two. The file names no patients: join `subject_id` from `cxr-study-list.csv`, so that the
    studies of a patient stay in one split.
    """

    name = "mimic-sections"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether a table has `study`, `findings`, `impression` and `last_paragraph`."""
        wanted = {"study", "findings", "impression", "last_paragraph"}
        return is_table(path) and not config.column and wanted <= set(columns)

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each row, and a note if there is no column of patients.

        Raises:
            DatasetError: for a file that cannot be read, or without the columns.
        """
        patient = config.patient or "subject_id"
        with open_table(path, longest=LONGEST_REPORT) as table:
            missing = {"study", *_FIRST}.difference(table.columns)
            if missing or (config.patient and patient not in table.columns):
                raise DatasetError(
                    f"{path.name} has the columns {', '.join(table.columns)[:200]}; expected "
                    f"study, impression and findings, and {config.patient or 'no others'}"
                )
            if patient not in table.columns:
                detail = "no column of patients: studies of one patient may be in two splits"
                yield Note(file=path.name, row=1, code="no_patients", detail=detail, skipped=False)
            for row, cells in table.rows():
                if isinstance(cells, Note):
                    yield cells
                    continue
                record = dict(zip(table.columns, cells, strict=True))
                fields = {"study": record["study"], "patient": record.get(patient, "")}
                yield study_of_report(path.name, row, _text(record), fields, source=self.name)


def _text(record: Mapping[str, str]) -> str:
    sections = [f"{name.upper()}: {record[name]}" for name in _FIRST if record[name].strip()]
    if sections:
        return "\n".join(sections)
    return next((record[name] for name in _ELSE if record.get(name, "").strip()), "")
