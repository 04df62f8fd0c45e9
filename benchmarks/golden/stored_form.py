"""Stored form of outputs: bytes that are equal whenever the program gave the same.

JSON is stored with sorted keys, tables and pages as text. An array is stored as its digest; its
values lie beside it in an .npz file, for `compare`. Times, versions, checksums and paths differ
from run to run, so a placeholder takes their place.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ARRAYS = ".npz"
"""Suffix of the files that hold the values of arrays."""

INPUTS = "given"
"""Folder of the input files of a job, within the job's folder. It is not stored."""

PLACEHOLDERS = {
    "time": "<time>",
    "package_version": "<version>",
    "checksum": "<checksum>",
    "sweeper": "<module>",
    "base_model_name_or_path": "<path>",
    "_name_or_path": "<path>",
}
"""Placeholder by key, for values that are texts and differ from run to run."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")
VERSION = re.compile(r"\bnegtrace \d+\.\d+\.\d+\S*(?= )")
DURATION = re.compile(r"(runtime|seconds|_per_second)$")


def placeholders(value: Any, key: str = "", parent: str = "") -> Any:
    """Return a JSON value with placeholders for what differs from run to run.

    Args:
        value: any JSON value.
        key: the key of `value` in the object that holds it.
        parent: the key of that object.
    """
    if isinstance(value, Mapping):
        return {name: placeholders(item, name, key) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [placeholders(item, "", key) for item in value]
    if isinstance(value, str):
        return _placeholder(key, parent) or _text_placeholders(value)
    if isinstance(value, float) and DURATION.search(key):
        return "<seconds>"
    return value


def _placeholder(key: str, parent: str) -> str | None:
    """Return the placeholder of a text with that key, if it has one."""
    if key == "version" or key.endswith("_version"):
        return "<version>"
    if (parent, key) == ("raw", "sha256"):
        return "<checksum>"
    return PLACEHOLDERS.get(key)


def _text_placeholders(text: str) -> str:
    """Return a text with placeholders for times, the package's version and the job's folder."""
    for folder in (str(Path.cwd()), os.path.realpath(".")):
        text = text.replace(folder, "<folder>")
    return VERSION.sub("negtrace <version>", TIME.sub("<time>", text))


def to_json(value: Any) -> str:
    """Return a value as indented JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, default=str) + "\n"


def write(path: Path, text: str) -> None:
    """Write a text file, and create its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def store_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Any = None) -> None:
    """Write the digests of arrays as `path`.json, and their values as `path`.npz."""
    described = {
        name: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "digest": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
        }
        for name, array in arrays.items()
    }
    write(Path(f"{path}.json"), to_json({"about": about, "arrays": described}))
    np.savez(f"{path}{ARRAYS}", **arrays)


def store_files(folder: Path, target: Path) -> None:
    """Store all files that a job wrote into `folder`, and the list of their names.

    Files of other types than those in `STORE`, such as pictures, only count by their name.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in _outputs(folder))
    for name in names:
        if store := STORE.get(Path(name).suffix):
            store(folder / name, target / name)
    write(target / "names.json", to_json(names))


def _outputs(folder: Path) -> Iterator[Path]:
    """Yield the files of a job, except its inputs and the checkpoints of trainings."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[0] != INPUTS and "checkpoints" not in parts:
            yield path


def _store_json(path: Path, target: Path) -> None:
    """Store a JSON file."""
    write(target, to_json(placeholders(json.loads(path.read_bytes()))))


def _store_json_lines(path: Path, target: Path) -> None:
    """Store a file that holds one JSON value a line."""
    rows = [placeholders(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in rows]
    write(target, "".join(lines))


def _store_text(path: Path, target: Path) -> None:
    """Store a text file."""
    write(target, _text_placeholders(path.read_text("utf-8")))


def _store_safetensors(path: Path, target: Path) -> None:
    """Store the arrays and the header of a safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {name: _parsed(text) for name, text in (file.metadata() or {}).items()}
    store_arrays(target, arrays, placeholders(header))


def _parsed(text: str) -> Any:
    """Return the JSON value that a text holds, or else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _store_parquet(path: Path, target: Path) -> None:
    """Store the columns and rows of a Parquet file."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    columns = [[column.name, str(column.type)] for column in table.schema]
    write(Path(f"{target}.json"), to_json({"columns": columns, "rows": table.to_pylist()}))


STORE: Mapping[str, Callable[[Path, Path], None]] = {
    ".json": _store_json,
    ".jsonl": _store_json_lines,
    ".csv": _store_text,
    ".md": _store_text,
    ".txt": _store_text,
    ".safetensors": _store_safetensors,
    ".parquet": _store_parquet,
}
"""Function that stores a file, by the file's suffix."""
