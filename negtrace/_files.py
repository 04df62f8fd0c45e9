"""Bytes on disk: atomic writes, digests, canonical JSON, arrays with a JSON header."""

__all__ = ["canonical", "pack", "read_bytes", "require_writable", "sha256", "unpack", "write_bytes"]

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from negtrace.errors import CTEError, OutputError

# One key, because safetensors keeps no order among several and the bytes must be reproducible.
HEADER = "negtrace"


def sha256(data: bytes) -> str:
    """The digest of `data`, labelled.

    >>> sha256(b"")[:15]
    'sha256:e3b0c442'
    """
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical(value: Any) -> bytes:
    """The one JSON form of `value` that digests are taken of: sorted keys, no spaces, UTF-8.

    >>> canonical({"b": [1.0, None], "a": "é"}).decode()
    '{"a":"é","b":[1.0,null]}'
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` to a temporary neighbour, then rename it: `path` is whole or as it was.

    Raises:
        OutputError: when the place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose a writable place"
        ) from error
    finally:
        if temporary.exists():
            temporary.unlink()
    return path


def require_writable(folder: Path) -> None:
    """Make `folder`, and see that a file can be written there, before hours of work.

    Raises:
        OutputError: when it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write into {folder}: {error.strerror or error}; name another folder"
        ) from error


def read_bytes(path: Path) -> bytes:
    """The bytes of a result's file.

    Raises:
        CTEError: when it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CTEError(f"cannot read {path}: {error.strerror or error}; check the path") from error


def pack(arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> bytes:
    """Arrays and a JSON header as one safetensors file; like input gives like bytes."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(save(contiguous, metadata={HEADER: canonical(header).decode()}))


def unpack(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the header that `pack` took.

    Raises:
        CTEError: when `data` is no such file.
    """
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][HEADER])
    except (SafetensorError, ValueError, KeyError) as error:
        raise CTEError(f"not a safetensors file that negtrace wrote ({error})") from error
    return arrays, header
