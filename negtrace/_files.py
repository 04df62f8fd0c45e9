"""Bytes on disk: atomic writes, locks, digests, canonical JSON, arrays with a JSON header."""

__all__ = [
    "as_json",
    "canonical",
    "is_file",
    "is_folder",
    "locked",
    "pack",
    "pretty_json",
    "read_bytes",
    "remove_leftovers",
    "require_writable",
    "sha256",
    "unpack",
    "write_bytes",
    "write_csv",
]

import csv
import hashlib
import io
import json
import os
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.numpy import load, save

from negtrace._json import parse_json
from negtrace.errors import CTEError, OutputError

# One key, because safetensors keeps no order among several and the bytes must be reproducible.
HEADER = "negtrace"

LEFTOVER = re.compile(r"\.(?P<name>.+?)\.(lock|[0-9a-f]{16}\.tmp)")
"""Names of temporary files, and of locks of single files."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Characters that a cell of a spreadsheet begins with if it is a formula."""


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data`, labelled.

    >>> sha256(b"")[:15]
    'sha256:e3b0c442'
    """
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical(value: Any) -> bytes:
    """Return the JSON form of `value` that digests are taken of: sorted keys, no spaces, UTF-8.

    >>> canonical({"b": [1.0, None], "a": "é"}).decode()
    '{"a":"é","b":[1.0,null]}'
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def pretty_json(value: Any) -> bytes:
    """Return a JSON file for people: indented, with rows of numbers on one line.

    >>> print(pretty_json({"a": [1, 2], "b": {}}).decode(), end="")
    {
     "a": [1, 2],
     "b": {}
    }
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    # A bare newline occurs outside strings only.
    rows = re.sub(
        r'\[\n[^\[\]{}"]*\]', lambda row: "[" + " ".join(row[0][1:-1].split()) + "]", text
    )
    return (rows + "\n").encode()


def as_json(value: Any, decimals: int | None = None) -> Any:
    """Return arrays as lists, NaN as None and dataclasses as dicts; round numbers if asked to.

    >>> as_json(np.array([0.25, np.nan]), decimals=1)
    [0.2, None]
    """
    if isinstance(value, np.ndarray):
        return as_json(value.tolist(), decimals)
    if isinstance(value, list | tuple):
        return [as_json(item, decimals) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, float):
        if np.isnan(value):
            return None
        return value if decimals is None else round(value, decimals) + 0.0  # no minus zero
    return value


def write_bytes(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all: `data` goes to a temporary file, which is then renamed.

    Every file that the package writes goes through here, but for those that grow: data sets, and
    the progress of a trace. After a power failure the file holds its old or its new content.

    Raises:
        OutputError: when the file cannot be written.
    """
    # Random, because processes of several machines or containers can have the same number.
    temporary = path.with_name(f".{path.name[:99]}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose another path"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the system can."""
    with suppress(OSError):  # Windows opens no folder, and some file systems sync none.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(file: Path, place: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold `place` for one run at a time, by a lock file that is removed afterwards.

    The system lets go of the lock when the process ends, however it ends.

    Args:
        file: the lock file.
        place: folder or file that it stands for, for messages.
        wait: seconds to wait for another run.

    Raises:
        OutputError: when another run holds it, with its process, machine and time; or when the
            lock file cannot be written.
    """
    lock = FileLock(file, timeout=wait)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{place} is in use by {_holder(file)}; wait for it to end, or name another place"
        ) from None
    except OSError as error:
        raise OutputError(
            f"cannot write {file}: {error.strerror or error}; choose another path"
        ) from error
    try:
        holder = [os.getpid(), platform.node(), time.strftime("%Y-%m-%d %H:%M:%S")]
        with suppress(OSError):  # Windows lets nobody write into a locked file.
            file.write_text(json.dumps(holder), "utf-8")
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held, so that nobody else's is removed
        lock.release()


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and locks that killed runs left; call it while the folder is held.

    A file of the folder can have a lock of its own, beside it: `.NAME.lock`. While another process
    holds that one, its temporary files and the lock stay.
    """
    for path in sorted(folder.glob(".*")):
        if found := LEFTOVER.fullmatch(path.name):
            lock = path.with_name(f".{found['name']}.lock")
            with suppress(OutputError, OSError), locked(lock, path):
                if path != lock:
                    path.unlink()


def _holder(file: Path) -> str:
    """Return who holds a lock file, as far as it says."""
    try:
        process, node, since = parse_json(file.read_bytes())
    except (OSError, ValueError, TypeError):
        return "another run"
    return f"process {process} on {node} since {since}"


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table as CSV, whole or not at all; None and NaN become empty cells.

    A text that a spreadsheet would take for a formula gets an apostrophe before it. The rows of a
    pandas.DataFrame are `frame.itertuples(index=False)`.

    Raises:
        OutputError: when the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(_csv_cell, row) for row in rows)
    return write_bytes(path, text.getvalue().encode())


def _csv_cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if np.isnan(value) else repr(float(value))
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def require_writable(folder: Path) -> None:
    """Make `folder`, and check that a file can be written there, before hours of work.

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


def exists(path: Path) -> bool:
    """Tell whether there is a file or folder. `Path.exists` raises an error for too long a name."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: Path) -> bool:
    """Tell whether there is a file. `Path.is_file` raises an error for too long a name."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder. `Path.is_dir` raises an error for too long a name."""
    return os.path.isdir(path)  # noqa: PTH112


def read_bytes(path: Path) -> bytes:
    """Read the file of a result.

    Raises:
        CTEError: when it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CTEError(f"cannot read {path}: {error.strerror or error}; check the path") from error


def pack(arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> bytes:
    """Return arrays and a JSON header as one safetensors file; like input gives like bytes."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(save(contiguous, metadata={HEADER: canonical(header).decode()}))


def unpack(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the header of a file of `pack`.

    Raises:
        CTEError: when `data` is no such file.
    """
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        header = parse_json(parse_json(data[8 : 8 + size])["__metadata__"][HEADER])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CTEError(f"not a safetensors file that negtrace wrote ({error})") from error
    if not isinstance(header, dict):
        raise CTEError("not a safetensors file that negtrace wrote (its header is no object)")
    return arrays, header
