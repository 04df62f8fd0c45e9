"""The sweep of a causal tower by position: a row runs its own tail, from its own layer on.

All rows patched at one position share a forward, whatever their layer: they are ordered by
layer, each holds the state it starts from, and a block is given those that have started. So a
batch costs one block call for each block and position, on the tokens a patch can reach only.
"""

__all__ = ["tails"]

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from negtrace.encoders.base import Encoder, Kept, PrefixAttention
from negtrace.hooks import (
    edited,
    embed_edited,
    forward_replaced,
    hidden_of,
    with_hidden,
)
from negtrace.tracing.batch import Batch, Cells, cells_of

SPAN_TOKENS = 256
"""Positions are run together until their rows have this many tokens: fewer make poor batches."""


def tails(
    encoder: Encoder, prefix: PrefixAttention, batch: Batch, row_tokens: int
) -> Iterator[tuple[Cells, Float[Tensor, " cell"]]]:
    """Yield cells and their scores, a span of positions at a time.

    Args:
        encoder: a causal tower.
        prefix: how it attends to the keys and values before a tail.
        batch: what to patch.
        row_tokens: how many tokens run at once.
    """
    # From the base runs' own embeddings, which a corruption may have edited.
    with embed_edited(encoder.blocks[0], lambda _: batch.base_states[0]):
        kept = prefix.keep(batch.base.ids)
    count = batch.exists.shape[1]
    for start, stop in _spans(batch.needed):
        size = max(1, row_tokens // (count - start))
        for layers, runs, offsets in cells_of(batch.needed[:, :, start:stop], size):
            cells = layers, runs, start + offsets
            yield cells, _scores(encoder, prefix, kept, batch, cells, start)


def _spans(needed: Bool[Tensor, "layer run token"]) -> Iterator[tuple[int, int]]:
    """Cut the positions into spans, each as long as its rows need to make a worthwhile batch.

    Rows of a span all run from its start: a few tokens more, but far fewer and larger batches
    where there are few rows, as with one pair alone.
    """
    rows = needed.sum(dim=(0, 1)).tolist()
    start, held = 0, 0
    for position, found in enumerate(rows):
        start = start if held else position
        held += found
        full = held * (len(rows) - start) >= SPAN_TOKENS
        if held and (full or position == len(rows) - 1):
            yield start, position + 1
            held = 0


def _scores(
    encoder: Encoder, prefix: PrefixAttention, kept: Kept, batch: Batch, cells: Cells, start: int
) -> Float[Tensor, " cell"]:
    """Return the score of every cell, its row run from `start` on."""
    layers, runs, positions = cells
    tail = batch.base_states[layers, runs, start:]
    rows = torch.arange(len(runs), device=runs.device)
    tail[rows, positions - start] = batch.donor_states[layers, runs, positions]
    started = torch.bincount(layers, minlength=len(encoder.layers)).cumsum(0).tolist()
    outputs = batch.base.capture.outputs
    with ExitStack() as stack:
        for block, output, count in zip(encoder.blocks, outputs, started, strict=False):
            forward = _forward_of_started(block, with_hidden(output, tail), tail, count)
            stack.enter_context(forward_replaced(block, forward))
        text = prefix.encode_from(batch.base.ids[runs], start, kept, runs)
    return encoder.score(text, batch.anchors[runs])


def _forward_of_started(
    block: nn.Module, answer: Any, tail: Float[Tensor, "row tail width"], count: int
) -> Callable[..., Any]:
    """Return a forward that runs the first `count` rows of `tail` in place, and gives `answer`."""
    run = block.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if count:
            args, kwargs = edited(args, kwargs, lambda _: tail)
            args, kwargs = _first_rows((args, kwargs), count, len(tail))
            tail[:count] = hidden_of(run(*args, **kwargs))
        return answer

    return forward


def _first_rows(value: Any, count: int, rows: int) -> Any:
    """Cut what has a row for each of `rows` down to the first `count`."""
    if isinstance(value, Tensor) and value.ndim and value.shape[0] == rows:
        return value[:count]
    if isinstance(value, tuple | list):
        return type(value)(_first_rows(part, count, rows) for part in value)
    if isinstance(value, dict):
        return {name: _first_rows(part, count, rows) for name, part in value.items()}
    return value
