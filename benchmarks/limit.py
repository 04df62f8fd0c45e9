"""The floating-point operations that an exact sweep cannot avoid, and how long they take.

Every cell that can have an effect runs its own tail, from its own layer on: at position p and
layer l, (tokens - p) tokens through the blocks behind l. The last block needs the read-out's query
and MLP only, but every token's key and value. Both runs of a pair come on top. Only matrix
multiplications are counted, in the largest batches that share a shape.
"""

__all__ = ["limit_seconds"]

import statistics
import time
from collections.abc import Iterator

import torch

Shape = tuple[int, int, int]
"""Rows, inner and outer width of a matrix multiplication."""


def limit_seconds(
    *, pairs: int, tokens: int, first: int, blocks: int, width: int, repeats: int
) -> tuple[float, float]:
    """Return the median time of the multiplications, and their floating-point operations."""
    shapes = list(_shapes(pairs, tokens, first, blocks, width))
    operands = {
        shape: (torch.randn(shape[0], shape[1]), torch.randn(shape[1], shape[2]))
        for shape in shapes
    }
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for shape in shapes:
            torch.mm(*operands[shape])
        times.append(time.perf_counter() - start)
    return statistics.median(times), sum(2.0 * m * k * n for m, k, n in shapes)


def _shapes(pairs: int, tokens: int, first: int, blocks: int, width: int) -> Iterator[Shape]:
    for block in range(1, blocks + 1):  # both runs of every pair
        yield from _block(2 * pairs * tokens, 2 * pairs, width, last=block == blocks)
    for position in range(first, tokens):
        tail = tokens - position
        for block in range(1, blocks + 1):
            # Rows of the layers before this block; the input differs at the cue alone.
            entered = pairs * (block - 1 + (position == first))
            if entered:
                yield from _block(entered * tail, entered, width, last=block == blocks)


def _block(rows: int, read: int, width: int, *, last: bool) -> Iterator[Shape]:
    """Yield a block's multiplications on `rows` tokens, of which `read` are read out."""
    others = read if last else rows
    yield from [(rows, width, width)] * 2  # keys, values
    yield from [(others, width, width)] * 2  # queries, output
    yield others, width, 4 * width
    yield others, 4 * width, width
