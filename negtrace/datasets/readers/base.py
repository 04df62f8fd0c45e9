"""Layouts: formats of source files, by name. Each has a reader that yields studies."""

__all__ = ["LAYOUTS", "Layout", "layout_of"]

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar

from negtrace._messages import listed
from negtrace._registry import Registry
from negtrace.datasets.config import AUTO, DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.files import is_json, is_table, json_objects, open_table
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError

_LOOKED_AT = 50
"""Records of a JSON file that are read to find its keys."""


class Layout(ABC):
    """A format of source files. The first line of the docstring says in a few words which."""

    name: ClassVar[str]

    fallback: ClassVar[bool] = False
    """True if another layout that matches is preferred."""

    @abstractmethod
    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether a source looks like this layout.

        Args:
            path: the file or folder.
            columns: the columns of a CSV or TSV file, or the keys of a JSON object; else empty.
            config: the settings of the data set.
        """

    @abstractmethod
    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield the studies of a source, and a note for each row that cannot be used.

        The reader is called again for a run that goes on after a stop, and must then yield the
        same in the same order.

        Raises:
            DatasetError: for a source that cannot be read or has another layout.
        """


LAYOUTS: Registry[type[Layout]] = Registry(
    "layout",
    modules={
        "cad-chest": "negtrace.datasets.readers.cad_chest",
        "chexpert": "negtrace.datasets.readers.chexpert",
        "claims": "negtrace.datasets.readers.records",
        "labelled-reports": "negtrace.datasets.readers.labelled_reports",
        "mimic-sections": "negtrace.datasets.readers.mimic_sections",
        "nih": "negtrace.datasets.readers.nih",
        "open-i": "negtrace.datasets.readers.openi",
        "radgraph": "negtrace.datasets.readers.radgraph",
        "reports": "negtrace.datasets.readers.reports",
    },
)
"""The layouts by name, as in `negtrace dataset --layout NAME`."""


def layout_of(path: Path, config: DatasetConfig) -> Layout:
    """Return the layout of a source: the one in the settings, or the one that matches.

    Raises:
        DatasetError: for a source that cannot be read, or that matches no layout or several.
        UnknownNameError: for a layout that is not registered.
    """
    if not path.exists():
        raise DatasetError(f"no file or folder {path}; give label files, claims or reports")
    if config.layout != AUTO:
        return LAYOUTS[config.layout]()
    columns = _columns(path)
    layouts = [LAYOUTS[name]() for name in LAYOUTS]
    matches = [layout for layout in layouts if layout.matches(path, columns, config)]
    matches = [layout for layout in matches if not layout.fallback] or matches
    if len(matches) == 1:
        return matches[0]
    names = [layout.name for layout in matches or layouts]
    looks = "any of several layouts" if matches else "none of the known layouts"
    raise DatasetError(
        f"{path.name} has {', '.join(columns)[:200] or 'nothing'}; it looks like {looks} "
        f"({listed(names, most=20)}): name one with `layout`, or the column of texts with `column`"
    )


def _columns(path: Path) -> Sequence[str]:
    if is_table(path):
        with open_table(path) as table:
            return table.columns
    if is_json(path):
        records = (record for _, record in islice(json_objects(path), _LOOKED_AT))
        return list(next((record for record in records if isinstance(record, dict)), {}))
    return ()
