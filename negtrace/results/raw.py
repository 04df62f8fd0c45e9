"""The raw file of a result: arrays and their description in one safetensors file.

The description is a JSON header. A CTE JSON names the raw file beside it, and its SHA-256.
"""

__all__ = ["concatenated", "from_bytes", "sidecar_bytes", "sidecar_of", "to_bytes"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from negtrace._files import pack, read_bytes, sha256, unpack
from negtrace._json import parse_json
from negtrace._messages import excerpt
from negtrace.errors import CTEError
from negtrace.results.provenance import Provenance

FORMAT = {"format": "negtrace.cte.raw", "version": 1}

_WAY_OUT = "restore the file, or trace again"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_counts(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_count, value)))


def _is_statements(value: object) -> bool:
    return value is None or (
        isinstance(value, list) and all(_is_texts(pair) and len(pair) == 2 for pair in value)
    )


def _is_dropped(value: object) -> bool:
    names = {"id", "code", "reason"}
    return isinstance(value, list) and all(
        isinstance(drop, dict) and set(drop) == names and all(map(_is_text, drop.values()))
        for drop in value
    )


def _is_provenance(value: object) -> bool:
    names = {field.name for field in fields(Provenance)}
    if not isinstance(value, dict) or set(value) | {"composition"} != names:
        return False
    kinds = {"config": dict, "composition": dict | None, "revision": str | None}
    return all(isinstance(part, kinds.get(name, str)) for name, part in value.items())


_FIELDS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "ids": ("a list of texts", _is_texts),
    "layers": ("a list of texts", _is_texts),
    "direction": ("a text", _is_text),
    "corruption": ("a text", _is_text),
    "unit": ("a text", _is_text),
    "sites": ("a list of texts", _is_texts),
    "positions": ("a text", _is_text),
    "window": ("a number of layers", _is_count),
    "estimator": ("a text", _is_text),
    "role_names": ("a list of texts", _is_texts),
    "dropped": ("a list of id, code and reason", _is_dropped),
    "provenance": (f"an object of {', '.join(f.name for f in fields(Provenance))}", _is_provenance),
    "texts": ("a list of two texts each, or null", _is_statements),
    "differing": ("a list of numbers of words, or null", _is_counts),
}
"""The description of a result: the expected value of each field, and its test."""

_ARRAYS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "clean": ("f", ("pair",)),
    "corrupt": ("f", ("pair",)),
    "patched": ("f", ("pair", "site", "layer", "position")),
    "roles": ("i", ("pair", "position")),
    "negated": ("b", ("pair",)),
}
"""The arrays of a result: kind of the numbers as NumPy names it, and axes."""


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
        raise CTEError(f"cannot read {path}: {error}; {_WAY_OUT}") from error
    stored = {key: header.pop(key, None) for key in FORMAT}
    if stored != FORMAT:
        raise CTEError(
            f"cannot read {path}: it holds {excerpt(stored['format'])} version "
            f"{excerpt(stored['version'])}, this negtrace reads {FORMAT['format']} version "
            f"{FORMAT['version']}; upgrade negtrace if the file is newer, else give a file of "
            "CTE.save"
        )
    header = {"differing": None, **header}  # older files lack it
    _require_fields(path, arrays, header)
    return {**arrays, **{name: _as_tuples(value) for name, value in header.items()}}


def _require_fields(
    path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]
) -> None:
    """Raise a CTEError for a field or an array that is missing, or of another kind or shape."""
    for name, (expected, fits) in _FIELDS.items():
        if name not in header or not fits(header[name]):
            shown = excerpt(header[name]) if name in header else "missing"
            raise CTEError(
                f"cannot read {path}: its field {name!r} is {shown}; expected {expected}; "
                f"{_WAY_OUT}"
            )
    roles = arrays.get("roles", np.empty(0))
    sizes = {"pair": len(header["ids"]), "position": roles.shape[-1] if roles.ndim else 0}
    sizes |= {"site": len(header["sites"]), "layer": len(header["layers"])}
    for name, (kind, axes) in _ARRAYS.items():
        array, shape = arrays.get(name), tuple(sizes[axis] for axis in axes)
        if array is None or (array.dtype.kind, array.shape) != (kind, shape):
            shown = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
            raise CTEError(
                f"cannot read {path}: its array {name!r} is {shown}; expected kind {kind!r} and "
                f"shape {shape}; {_WAY_OUT}"
            )


def sidecar_of(document: Path, data: bytes) -> tuple[str, str]:
    """Return name and digest of the raw file that the CTE JSON in `data` keeps beside it.

    Raises:
        CTEError: when it names none.
    """
    try:
        raw = parse_json(data)["raw"]
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
