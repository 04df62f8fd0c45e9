"""Label files of chest radiographs and the image files that they name."""

__all__ = ["CHEXPERT", "NIH", "VALUES", "label", "look", "study_of"]

import warnings
from collections.abc import Mapping
from pathlib import Path

from negtrace.anchors import Anchor
from negtrace.errors import PairError
from negtrace.language.findings import FINDINGS, VOCABULARY

CHEXPERT: Mapping[str, str] = {finding.label: key for key, finding in FINDINGS.items()}
"""Finding by its CheXpert label; "No Finding" is none."""

NIH: Mapping[str, str] = {finding.nih: key for key, finding in VOCABULARY.items() if finding.nih}
"""Finding by its label in NIH ChestX-ray14; "No Finding" is none."""

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


def look(image: Path) -> tuple[str, str]:
    """Open an image in full; return the code and the detail of what there is to say about it.

    `unreadable_image` and `huge_image` cannot be used; `sixteen_bit` and `transparent` are read.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(image) as file:
                mode = file.mode
            Anchor(image=image).open_image()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return "huge_image", f"{image}: {error}; make it smaller"
    except (PairError, OSError, ValueError, SyntaxError) as error:
        return "unreadable_image", f"{image}: {error}"
    if mode.startswith("I"):
        return "sixteen_bit", f"{image}: read as eight bits"
    return ("transparent", f"{image}: read without its alpha") if "A" in mode else ("", "")
