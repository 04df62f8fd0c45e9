"""The sweep of a causal tower by position: a row runs its own tail, from its own layer on.

All rows patched at one position share a forward, whatever their layer: they are ordered by
layer, each holds the state it starts from, and a block is given those that have started. So a
batch costs one block call for each block and position, on the tokens a patch can reach only.
"""

__all__ = ["scores_at"]

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import Encoder, Kept, PrefixAttention
from negtrace.hooks import Capture, edited, forward_replaced, hidden_of, with_hidden


def scores_at(
    encoder: Encoder,
    prefix: PrefixAttention,
    kept: Kept,
    base: Capture,
    ids: Int[Tensor, "run token"],
    tail: Float[Tensor, "row tail width"],
    cells: tuple[Int[Tensor, " row"], Int[Tensor, " row"]],
    anchors: Float[Tensor, "run dim"],
) -> Float[Tensor, " row"]:
    """Return the score of every row.

    Args:
        encoder: a causal tower.
        prefix: how it attends to kept keys and values.
        kept: those of the base runs.
        base: what the base runs left behind.
        ids: the base runs.
        tail: the state each row starts from, at the patched position and after; written over.
        cells: the layer each row starts at, in ascending order, and the run it continues.
        anchors: what each run is scored against.
    """
    layers, runs = cells
    started = torch.bincount(layers, minlength=len(encoder.layers)).cumsum(0).tolist()
    with ExitStack() as stack:
        for block, output, count in zip(encoder.blocks, base.outputs, started, strict=False):
            forward = _forward_of_started(block, with_hidden(output, tail), tail, count)
            stack.enter_context(forward_replaced(block, forward))
        text = prefix.encode_from(ids[runs], ids.shape[1] - tail.shape[1], kept, runs)
    return encoder.score(text, anchors[runs])


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
