"""Label files of chest radiographs, in the words of CheXpert and of NIH ChestX-ray14."""

__all__ = ["BESIDE", "CHEXPERT", "NIH", "VALUES", "label", "study_of"]

from collections.abc import Mapping

from negtrace.language.findings import FINDINGS, VOCABULARY

CHEXPERT: Mapping[str, str] = {finding.label: key for key, finding in FINDINGS.items()}
"""Finding by its CheXpert label; "No Finding" is none."""

NIH: Mapping[str, str] = {finding.nih: key for key, finding in VOCABULARY.items() if finding.nih}
"""Finding by its label in NIH ChestX-ray14; "No Finding" is none."""

BESIDE = frozenset(
    {"Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "subject_id", "study_id", "split"}
    | {"No Finding", "dicom_id"}
)
"""Columns of CheXpert and MIMIC-CXR that label no finding."""

VALUES: Mapping[str, bool | None] = {"1": True, "0": False, "-1": None, "": None}
"""Present, absent, uncertain, not mentioned."""


def label(cell: str) -> str:
    """Return a label without the decimals that spreadsheets put there; else as it stands.

    >>> label(" -1.0"), label("yes")
    ('-1', 'yes')
    """
    return cell.strip().removesuffix(".0")


def study_of(path: str) -> str:
    """Return what names the study of an image: the folder that CheXpert keeps its views in.

    >>> study_of("train/patient00001/study1/view1_frontal.jpg")
    'train/patient00001/study1'
    >>> study_of("films/a.png")
    'films/a.png'
    """
    folder, _, _ = path.rpartition("/")
    return folder if folder.rpartition("/")[2].startswith("study") else path
