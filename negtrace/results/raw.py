"""The raw file of a result: every score and axis in one safetensors file with a JSON header."""

__all__ = ["ARRAYS", "NAMES", "from_bytes", "sidecar_bytes", "sidecar_of", "to_bytes"]

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from negtrace._files import pack, read_bytes, sha256, unpack
from negtrace.errors import CTEError
from negtrace.results.provenance import Dropped, Provenance

ARRAYS = ("clean", "corrupt", "patched", "roles", "negated")

NAMES = (
    "ids",
    "layers",
    "direction",
    "corruption",
    "unit",
    "sites",
    "positions",
    "window",
    "estimator",
    "role_names",
)
"""Fields that the header holds as they are."""

FORMAT = {"format": "negtrace.cte.raw", "version": 1}


def to_bytes(fields: Mapping[str, Any], *, include_text: bool) -> bytes:
    """The file of a result with these fields; statements only with `include_text`."""
    header = {
        **FORMAT,
        **{name: fields[name] for name in NAMES},
        "dropped": [asdict(drop) for drop in fields["dropped"]],
        "provenance": asdict(fields["provenance"]),
        "texts": fields["texts"] if include_text else None,
    }
    return pack({name: fields[name] for name in ARRAYS}, header)


def from_bytes(data: bytes, path: Path) -> dict[str, Any]:
    """The fields of the result in `data`; `path` is for messages.

    Raises:
        CTEError: when it is no raw file of negtrace, or of another version.
    """
    try:
        arrays, header = unpack(data)
    except CTEError as error:
        raise CTEError(f"cannot read {path}: {error}") from error
    found = {key: header.get(key) for key in FORMAT}
    if found != FORMAT:
        raise CTEError(
            f"cannot read {path}: it holds {found['format']} version {found['version']}, this "
            f"negtrace reads {FORMAT['format']} version {FORMAT['version']}; upgrade negtrace if "
            "the file is newer"
        )
    return {
        **{name: arrays[name] for name in ARRAYS},
        **{name: _tuples(header[name]) for name in NAMES},
        "dropped": tuple(Dropped(**drop) for drop in header["dropped"]),
        "provenance": Provenance(**header["provenance"]),
        "texts": _tuples(header["texts"]),
    }


def sidecar_of(document: Path, data: bytes) -> tuple[str, str]:
    """Name and digest of the raw file that the CTE JSON in `data` keeps beside it.

    Raises:
        CTEError: when it names none.
    """
    try:
        raw = json.loads(data)["raw"]
        return str(raw["file"]), str(raw["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CTEError(
            f"{document} names no raw file, so it is no CTE JSON; pass what write_json wrote"
        ) from error


def sidecar_bytes(document: Path, name: str, digest: str) -> bytes:
    """The raw file `name` beside `document`, if it is the one that was hashed.

    Raises:
        CTEError: when it is missing or changed.
    """
    path = document.parent / Path(name).name
    if not path.exists():
        raise CTEError(
            f"{document} keeps its raw scores in {path.name}, which is not beside it; put it "
            "there, or work from the document alone (negtrace.results.cte_json.read_json)"
        )
    data = read_bytes(path)
    if sha256(data) != digest:
        raise CTEError(
            f"the raw file {path} has changed since {document.name} was written: {sha256(data)}, "
            f"expected {digest}; restore it, or write the JSON again from the result you trust"
        )
    return data


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
