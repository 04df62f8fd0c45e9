"""A batch of contrasts of one length: both sides run, and which cells are worth a patch.

Cells whose effect is known are left out: a state that is equal on both sides changes nothing; in a
causal tower nothing before the first difference or after the read-out matters; at the last layer
only the read-out does.
"""

__all__ = ["Batch", "Cells", "Side", "cells_of", "run_side", "set_out"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.errors import EncoderError
from negtrace.hooks import Capture, captured
from negtrace.tracing.corruption import Run, Sources

Cells = tuple[Tensor, Tensor, Tensor]
"""Layers, runs and positions of some cells, each [cell], in ascending order of layer."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """What the clean, or the corrupted, runs of a batch left behind."""

    runs: Sequence[Run]
    sources: Sequence[Sources]
    """For each position of these runs, the other side's positions that stand for it."""
    ids: Int[Tensor, "run token"]
    capture: Capture
    scores: Float[Tensor, " run"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Contrasts of one length, both sides run, the donor's states at the base's positions."""

    base: Side
    base_states: Float[Tensor, "layer run token width"]
    donor_states: Float[Tensor, "layer run token width"]
    exists: Bool[Tensor, "run token"]
    """Whether the other side has a position that corresponds."""
    needed: Bool[Tensor, "layer run token"]
    """Which cells can have an effect that is not known."""
    anchors: Float[Tensor, "run dim"]


def run_side(
    encoder: Encoder,
    runs: Sequence[tuple[Run, Sources]],
    anchors: Float[Tensor, "run dim"],
) -> Side:
    """Run one side of a batch plainly and keep every layer's state."""
    ids = torch.tensor([run.ids for run, _ in runs], device=anchors.device)

    def edit(hidden: Float[Tensor, "run token width"]) -> Float[Tensor, "run token width"]:
        return torch.stack(
            [run.edit(row) if run.edit else row for (run, _), row in zip(runs, hidden, strict=True)]
        )

    edited = any(run.edit for run, _ in runs)
    with captured(encoder.blocks, edit if edited else None) as capture:
        text = encoder.encode_against(ids, anchors)
    if len(capture.outputs) != len(encoder.blocks) or len(capture.embed) != 1:
        raise EncoderError(
            f"{encoder.name}: {len(capture.outputs)} block outputs in one forward, expected "
            f"{len(encoder.blocks)}; every named block must run exactly once"
        )
    return Side(
        runs=[run for run, _ in runs],
        sources=[sources for _, sources in runs],
        ids=ids,
        capture=capture,
        scores=encoder.score(text, anchors),
    )


def set_out(
    encoder: Encoder,
    base: Side,
    donor: Side,
    first_difference: Sequence[int],
    anchors: Float[Tensor, "run dim"],
) -> Batch:
    """Bring the donor's states to the base's positions, and say which cells need a forward."""
    exists = torch.tensor([[bool(found) for found in row] for row in base.sources]).to(
        anchors.device
    )
    base_states = base.capture.states()
    donor_states = _aligned(donor.capture.states(), base.sources)
    needed = exists & (base_states != donor_states).any(-1)
    needed &= _matters(encoder, base.runs, first_difference).to(anchors.device)
    needed[-1] &= _read_at(base.runs).to(anchors.device)
    return Batch(
        base=base,
        base_states=base_states,
        donor_states=donor_states,
        exists=exists,
        needed=needed,
        anchors=anchors,
    )


def _aligned(
    states: Float[Tensor, "layer run donor width"], sources: Sequence[Sources]
) -> Float[Tensor, "layer run token width"]:
    """Bring the donor's states to the base's positions: the mean of each position's sources."""
    identity = tuple((i,) for i in range(states.shape[2]))
    if all(row == identity for row in sources):
        return states
    weights = states.new_zeros(len(sources), len(sources[0]), states.shape[2])
    for run, row in enumerate(sources):
        for position, found in enumerate(row):
            weights[run, position, list(found)] = 1 / max(1, len(found))
    return einsum(
        states, weights, "layer run donor width, run token donor -> layer run token width"
    )


def _matters(
    encoder: Encoder, runs: Sequence[Run], first_difference: Sequence[int]
) -> Bool[Tensor, "run token"]:
    """Return where a state can differ and be read at all."""
    positions = torch.arange(len(runs[0].ids))
    if not encoder.causal:
        return torch.ones(len(runs), len(positions), dtype=torch.bool)
    last = [len(positions) if run.read_out is None else run.read_out for run in runs]
    return (positions >= torch.tensor(first_difference)[:, None]) & (
        positions <= torch.tensor(last)[:, None]
    )


def _read_at(runs: Sequence[Run]) -> Bool[Tensor, "run token"]:
    """Return where the last layer is read."""
    positions = range(len(runs[0].ids))
    return torch.tensor([[run.read_out in (None, p) for p in positions] for run in runs])


def cells_of(needed: Bool[Tensor, "layer run token"], size: int) -> Iterator[Cells]:
    """Yield the needed cells in order, at most `size` at once."""
    for piece in torch.split(needed.nonzero(), size):
        if len(piece):
            layers, runs, positions = piece.unbind(dim=1)
            yield layers, runs, positions
