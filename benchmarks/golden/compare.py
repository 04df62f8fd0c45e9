"""Compare two folders of stored outputs, file by file and value by value."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stored_form import ARRAYS

MOST_LINES = 20
"""Differences that are printed for one file, at most."""

MOST_CHARACTERS = 160
"""Length of a printed value, at most."""

MISSING = object()
"""Stands for a value that only one of the two files has."""


def compare(first: Path, second: Path, names: Sequence[str], *, quiet: bool) -> int:
    """Print which files of these jobs are equal and which differ; return 1 if any differs."""
    a, b = (_stored_files(folder, names) for folder in (first, second))
    counts = dict.fromkeys(("same", "differs", "only in A", "only in B"), 0)
    for name in sorted({*a, *b}):
        verdict = _verdict(a.get(name), b.get(name))
        counts[verdict] += 1
        if verdict != "same" or not quiet:
            print(f"{verdict:10} {name}")
        if verdict == "differs":
            for line in _differences(a[name], b[name]):
                print(f"    {line}")
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return int(sum(counts.values()) > counts["same"])


def _stored_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the files that jobs stored by name, without the values of arrays."""
    return {
        path.relative_to(folder).as_posix(): path
        for name in names
        for path in (folder / name).rglob("*")
        if path.is_file() and path.suffix != ARRAYS
    }


def _verdict(a: Path | None, b: Path | None) -> str:
    """Return whether two files are the same, differ, or are only in one folder."""
    if a is None or b is None:
        return "only in B" if a is None else "only in A"
    return "same" if a.read_bytes() == b.read_bytes() else "differs"


def _differences(a: Path, b: Path) -> list[str]:
    """Return the differences of two files: those of arrays first, then the first of the others."""
    is_json = a.suffix == ".json"
    texts = [path.read_text("utf-8") for path in (a, b)]
    values = [json.loads(text) if is_json else text.splitlines() for text in texts]
    lines = [
        f"{path}: {_shortened(left)} | {_shortened(right)}"
        for path, left, right in _unequal(*values, path="$" if is_json else "line")
    ]
    more = [f"... {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    arrays = _array_differences(a.with_suffix(ARRAYS), b.with_suffix(ARRAYS))
    return [*arrays, *lines[:MOST_LINES], *more]


def _unequal(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each difference between two JSON values, with both values there."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from _unequal(a.get(key, MISSING), b.get(key, MISSING), f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list):
        for index in range(max(len(a), len(b))):
            left, right = (side[index] if index < len(side) else MISSING for side in (a, b))
            yield from _unequal(left, right, f"{path}[{index}]")
    elif type(a) is not type(b) or a != b:
        yield path, a, b


def _shortened(value: Any) -> str:
    """Return a value as JSON, cut to a readable length."""
    text = "(none)" if value is MISSING else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."


def _array_differences(a: Path, b: Path) -> list[str]:
    """Return the largest difference of each array that two .npz files share."""
    if not (a.is_file() and b.is_file()):
        return []
    with np.load(a) as left, np.load(b) as right:
        names = sorted({*left.files} & {*right.files})
        return [line for name in names for line in _array_difference(name, left[name], right[name])]


def _array_difference(name: str, a: np.ndarray, b: np.ndarray) -> Iterator[str]:
    """Yield how far two arrays differ, if they have the same shape and other values."""
    if a.shape == b.shape and a.tobytes() != b.tobytes():
        gap = np.nanmax(np.abs(a.astype(float) - b.astype(float)), initial=0)
        nan = int((np.isnan(a) != np.isnan(b)).sum())
        yield f"array {name}: differs by at most {gap:.3g}, NaN in one only: {nan}"
