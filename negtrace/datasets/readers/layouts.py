"""Which layout a source is in, seen by its name, columns and keys."""

__all__ = ["layout_of"]

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from negtrace.datasets.config import Config, Layout
from negtrace.datasets.readers.files import objects, opened
from negtrace.datasets.readers.labels import CHEXPERT
from negtrace.datasets.readers.reports import table_of_reports
from negtrace.errors import DatasetError

_AHEAD = 50
"""Records that are looked at."""


def layout_of(path: Path, config: Config) -> Layout:
    """Return the layout of a source: the one in the settings, or what it looks like.

    Raises:
        DatasetError: for a file that cannot be read or looks like nothing known.
    """
    if not path.exists():
        raise DatasetError(f"no file or folder {path}; give label files, claims or reports")
    if config.layout != "auto":
        return config.layout
    kind = path.suffix.lower()
    if path.is_dir() or kind not in (".csv", ".tsv", ".json", ".jsonl"):
        return "reports"
    keys: Sequence[str]
    if kind in (".csv", ".tsv"):
        with opened(path) as table:
            keys = table.columns
        found = _of_columns(keys, config)
    else:
        first = next((r for _, r in islice(objects(path), _AHEAD) if isinstance(r, dict)), {})
        keys = list(first)
        found = _of_keys(keys, config)
    if found is None:
        raise DatasetError(
            f"{path.name} has {', '.join(keys)[:200] or 'nothing'}; it looks like none of "
            "CheXpert's, MIMIC-CXR's, NIH's or CAD-Chest's files, of claims or reports: "
            "say with `layout` which it is, or with `column` where its texts are"
        )
    return found


def _of_columns(columns: Sequence[str], config: Config) -> Layout | None:
    if {"Finding Labels", "finding_labels"} & set(columns):
        return "nih"
    if set(CHEXPERT) & set(columns) and {"Path", "study_id"} & set(columns):
        return "chexpert"
    return "reports" if table_of_reports(columns, config) else None


def _of_keys(keys: Sequence[str], config: Config) -> Layout | None:
    if "entity" in keys:
        return "cad-chest"
    if "claims" in keys or "finding" in keys:
        return "claims"
    return "reports" if table_of_reports(keys, config) else None
