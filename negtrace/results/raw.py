"""The raw file of a result: arrays and their description in one safetensors file.

The description is a JSON header. A CTE JSON names the raw file beside it, and its SHA-256.
"""

__all__ = ["concatenated", "from_bytes", "sidecar_bytes", "sidecar_of", "to_bytes"]

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from negtrace._files import pack, read_bytes, sha256, unpack
from negtrace.errors import CTEError

FORMAT = {"format": "negtrace.cte.raw", "version": 1}


def concatenated(arrays: Sequence[np.ndarray], fill: float | int | None) -> np.ndarray:
    """Join arrays along their first axis; a shorter last axis is filled up unless `fill` is None.

    >>> concatenated([np.ones((1, 2), int), np.ones((1, 3), int)], fill=-1)
    array([[ 1,  1, -1],
           [ 1,  1,  1]])
    """
    if fill is None:
        return np.concatenate(arrays)
    length = max(array.shape[-1] for array in arrays)
    widths = [[(0, 0)] * (array.ndim - 1) + [(0, length - array.shape[-1])] for array in arrays]
    padded = zip(arrays, widths, strict=True)
    return np.concatenate([np.pad(array, width, constant_values=fill) for array, width in padded])


def to_bytes(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bytes:
    """Return the content of a raw file; the same input gives the same bytes."""
    return pack(arrays, {**FORMAT, **description})


def from_bytes(data: bytes, path: Path) -> dict[str, Any]:
    """Return the arrays and the description in `data` by name; lists become tuples.

    Args:
        data: content of a raw file.
        path: path of that file, for messages.

    Raises:
        CTEError: when it is not a raw file of negtrace, or of another version.
    """
    try:
        arrays, header = unpack(data)
    except CTEError as error:
        raise CTEError(f"cannot read {path}: {error}") from error
    stored = {key: header.pop(key, None) for key in FORMAT}
    if stored != FORMAT:
        raise CTEError(
            f"cannot read {path}: it holds {stored['format']} version {stored['version']}, this "
            f"negtrace reads {FORMAT['format']} version {FORMAT['version']}; upgrade negtrace if "
            "the file is newer"
        )
    return {**arrays, **{name: _as_tuples(value) for name, value in header.items()}}


def sidecar_of(document: Path, data: bytes) -> tuple[str, str]:
    """Return name and digest of the raw file that the CTE JSON in `data` keeps beside it.

    Raises:
        CTEError: when it names none.
    """
    try:
        raw = json.loads(data)["raw"]
        return str(raw["file"]), str(raw["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CTEError(
            f"{document} names no raw file, so it is no CTE JSON; pass a file of write_json"
        ) from error


def sidecar_bytes(document: Path, name: str, digest: str) -> bytes:
    """Read the raw file `name` beside `document`, and check its digest.

    Raises:
        CTEError: when it is missing or changed.
    """
    path = document.parent / Path(name).name
    if not path.exists():
        raise CTEError(
            f"{document} keeps its raw scores in {path.name}, which is not beside it; put it "
            "there, or use the numbers in the document alone (negtrace.read_json)"
        )
    data = read_bytes(path)
    if sha256(data) != digest:
        raise CTEError(
            f"the raw file {path} has changed since {document.name} was written: {sha256(data)}, "
            f"expected {digest}; restore it, or write the JSON again from the result you trust"
        )
    return data


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(item) for item in value) if isinstance(value, list) else value
