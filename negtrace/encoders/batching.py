"""Batches of rows, in order or by length, so that no row needs padding."""

__all__ = ["batched", "batches_by_length"]

from collections.abc import Iterator, Sequence, Sized
from typing import TypeVar

T = TypeVar("T")

BATCH = 64
"""Statements or images embedded at once, where nothing else is asked for."""


def batched(items: Sequence[T], size: int = BATCH) -> Iterator[Sequence[T]]:
    """Cut `items` into batches of at most `size`, in order.

    >>> list(batched("abcde", 2))
    ['ab', 'cd', 'e']
    """
    return (items[start : start + size] for start in range(0, len(items), size))


def batches_by_length(rows: Sequence[Sized], size: int = BATCH) -> Iterator[list[int]]:
    """Yield the indices of rows of one length, at most `size` at a time, by first occurrence.

    >>> list(batches_by_length(["no", "mass", "is", "at"], 2))
    [[0, 2], [3], [1]]
    """
    indices: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        indices.setdefault(len(row), []).append(index)
    for same_length in indices.values():
        yield from map(list, batched(same_length, size))
