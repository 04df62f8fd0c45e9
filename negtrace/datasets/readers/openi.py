"""Reports of Open-i's chest radiographs (Demner-Fushman et al. 2016, doi 10.1093/jamia/ocv080)."""

__all__ = ["OpenI"]

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from negtrace._files import is_file
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.reports import study_of_report
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError

_SECTIONS = ("FINDINGS", "IMPRESSION")
"""Sections that are read. INDICATION and COMPARISON say nothing of the film."""

_LONGEST = 2_000_000
"""Bytes of the longest file that is read. Open-i's have a few thousand."""


@LAYOUTS.register("open-i")
class OpenI(Layout):
    """XML reports of Open-i: one file, or the folder `ecgen-radiology`.

    `AbstractText` holds the sections, of which FINDINGS and IMPRESSION are read, and `parentImage`
    names the images of the study. The first one that is in the folder of images is taken. A study
    stands for a patient, since Open-i names none.
    """

    name = "open-i"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether a source is an XML file, or a folder with one."""
        return next(_files(path), None) is not None

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each XML file.

        Raises:
            DatasetError: for a file that cannot be read.
        """
        images = config.images or (path if path.is_dir() else path.parent)
        for file in sorted(_files(path)):
            inner = (
                f"{path.name}/{file.relative_to(path).as_posix()}" if path.is_dir() else path.name
            )
            yield _study(file, inner, images)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from path.rglob("*.xml")
    elif path.suffix.lower() == ".xml":
        yield path


def _study(path: Path, name: str, images: Path) -> Study | Note:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{name} cannot be read ({error.strerror}); give a file") from error
    root = _root(data)
    if isinstance(root, str):
        return Note(file=name, row=1, code="xml", detail=root)
    sections = {
        (element.get("Label") or "").upper(): "".join(element.itertext()).strip()
        for element in root.iter("AbstractText")
    }
    text = "\n".join(f"{key}: {sections[key]}" for key in _SECTIONS if sections.get(key))
    named = [element.get("id") or "" for element in root.iter("parentImage")]
    there = (f"{image}.png" for image in named if image and is_file(images / f"{image}.png"))
    unique = next((element.get("id") for element in root.iter("uId")), None) or path.stem
    fields = {"study": unique, "patient": unique, "image": next(there, "")}
    return study_of_report(name, 1, text, fields, source=OpenI.name)


def _root(data: bytes) -> ElementTree.Element | str:
    """Return the root of an XML file, or the reason why there is none."""
    if len(data) > _LONGEST:
        return f"{len(data)} bytes; expected at most {_LONGEST}"
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        return "it declares types or entities; expected a report without"
    try:
        return ElementTree.fromstring(data)  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        return f"not XML: {error}"
