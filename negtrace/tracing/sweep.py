"""The exact sweep: every layer and position of every contrast, at as little cost as is exact.

Rows are cells, and contrasts of one length share their batches. A row starts at its own layer
(`hooks.starting_at`); in a causal tower that allows it, it runs only the tokens a patch can reach
(`suffix`). Cells whose effect is known are not computed: a state that is equal on both sides
changes nothing; in a causal tower nothing before the first difference or after the read-out
matters; at the last layer only the read-out does.
"""

__all__ = ["DIRECTIONS", "Direction", "Swept", "sweep"]

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from negtrace.encoders.base import Encoder, PrefixAttention, batched
from negtrace.errors import EncoderError
from negtrace.hooks import Capture, captured, starting_at
from negtrace.tracing.corruption import Contrast, Run, Sources
from negtrace.tracing.suffix import scores_at

Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

ROW_TOKENS = 2048
"""Default number of tokens that run at once; bounds memory, and is near the fastest on a CPU."""

SPAN_SHARE = 4
"""Positions are run together until their rows fill this part of a batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Swept:
    """The raw scores of one contrast."""

    index: int
    """Which contrast, in the order given."""
    clean: float
    corrupt: float
    patched: Float[np.ndarray, "layer token"]
    """Score with one state replaced; NaN where the other run has no such position."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """What the clean, or the corrupted, runs of a batch left behind."""

    runs: Sequence[Run]
    sources: Sequence[Sources]
    """For each position of these runs, the other side's positions that stand for it."""
    ids: Int[Tensor, "run token"]
    capture: Capture
    scores: Float[Tensor, " run"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    """Contrasts of one length, both sides run, the donor's states at the base's positions."""

    base: _Side
    base_states: Float[Tensor, "layer run token width"]
    donor_states: Float[Tensor, "layer run token width"]
    exists: Bool[Tensor, "run token"]
    """Whether the other side has a position that corresponds."""
    needed: Bool[Tensor, "layer run token"]
    """Which cells can have an effect that is not known."""
    anchors: Float[Tensor, "run dim"]


def sweep(
    encoder: Encoder,
    contrasts: Sequence[Contrast],
    anchors: Float[Tensor, "contrast dim"],
    *,
    direction: Direction,
    row_tokens: int = ROW_TOKENS,
    done: Collection[int] = (),
    progress: bool | None = None,
) -> Iterator[Swept]:
    """Yield the raw scores of every contrast, batch by batch, in no promised order.

    Args:
        encoder: the model; it is left exactly as it came.
        contrasts: clean and corrupted runs.
        anchors: the embedding each contrast is scored against.
        direction: `denoising` restores the clean state in the corrupted run, `noising` injects
            the corrupted state into the clean run.
        row_tokens: how many tokens run at once.
        done: indices of contrasts not to run again; a batch is left out when it is done whole, so
            that the others are what they would have been.
        progress: show a bar; None shows it on a terminal only.
    """
    hidden = None if progress is None else not progress
    with tqdm(total=len(contrasts), unit="pair", disable=hidden, desc=direction) as bar:
        for indices in _batches(contrasts, row_tokens):
            bar.update(len(indices))
            if set(indices) <= set(done):
                continue
            chosen, anchor = [contrasts[i] for i in indices], anchors[list(indices)]
            clean = _side(encoder, [(c.clean, c.clean_from_corrupt) for c in chosen], anchor)
            corrupt = _side(encoder, [(c.corrupt, c.corrupt_from_clean) for c in chosen], anchor)
            base, donor = (corrupt, clean) if direction == "denoising" else (clean, corrupt)
            first = [c.first_difference for c in chosen]
            batch = _batch(encoder, base, donor, first, anchor)
            patched = _patched(encoder, batch, row_tokens)
            yield from (
                Swept(
                    index=index,
                    clean=clean.scores[i].item(),
                    corrupt=corrupt.scores[i].item(),
                    patched=patched[:, i].cpu().numpy(),
                )
                for i, index in enumerate(indices)
            )


def _batches(contrasts: Sequence[Contrast], row_tokens: int) -> Iterator[Sequence[int]]:
    """Yield indices of contrasts that share both lengths, as many as fill one layer's rows."""
    by_lengths: dict[tuple[int, int], list[int]] = {}
    for index, contrast in enumerate(contrasts):
        lengths = len(contrast.clean.ids), len(contrast.corrupt.ids)
        by_lengths.setdefault(lengths, []).append(index)
    for lengths, indices in sorted(by_lengths.items()):
        yield from batched(indices, max(1, row_tokens // max(lengths) ** 2))


def _side(
    encoder: Encoder,
    runs: Sequence[tuple[Run, Sources]],
    anchors: Float[Tensor, "run dim"],
) -> _Side:
    """Run one side of a batch plainly and keep every layer's state."""
    ids = torch.tensor([run.ids for run, _ in runs], device=anchors.device)

    def edit(hidden: Float[Tensor, "run token width"]) -> Float[Tensor, "run token width"]:
        return torch.stack(
            [run.edit(row) if run.edit else row for (run, _), row in zip(runs, hidden, strict=True)]
        )

    edited = any(run.edit for run, _ in runs)
    with captured(encoder.blocks, edit if edited else None) as capture:
        text = encoder.encode(ids)
    if len(capture.outputs) != len(encoder.blocks) or len(capture.embed) != 1:
        raise EncoderError(
            f"{encoder.name}: {len(capture.outputs)} block outputs in one forward, expected "
            f"{len(encoder.blocks)}; every named block must run exactly once"
        )
    return _Side(
        runs=[run for run, _ in runs],
        sources=[sources for _, sources in runs],
        ids=ids,
        capture=capture,
        scores=encoder.score(text, anchors),
    )


def _batch(
    encoder: Encoder,
    base: _Side,
    donor: _Side,
    first_difference: Sequence[int],
    anchors: Float[Tensor, "run dim"],
) -> _Batch:
    exists = torch.tensor([[bool(found) for found in row] for row in base.sources]).to(
        anchors.device
    )
    base_states = base.capture.states()
    donor_states = _aligned(donor.capture.states(), base.sources)
    needed = exists & (base_states != donor_states).any(-1)
    needed &= _matters(encoder, base.runs, first_difference).to(anchors.device)
    needed[-1] &= _read_at(base.runs).to(anchors.device)
    return _Batch(
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


def _patched(encoder: Encoder, batch: _Batch, row_tokens: int) -> Float[Tensor, "layer run token"]:
    """Return every cell's score: the base run's own where a patch changes nothing."""
    scores = batch.base.scores.double()[None, :, None].repeat(
        len(encoder.layers), 1, batch.exists.shape[1]
    )
    if encoder.prefix_attention is None:
        _patch_by_layer(encoder, batch, scores, row_tokens)
    else:
        _patch_by_position(encoder, encoder.prefix_attention, batch, scores, row_tokens)
    scores[:, ~batch.exists] = torch.nan
    return scores


def _patch_by_layer(
    encoder: Encoder, batch: _Batch, scores: Float[Tensor, "layer run token"], row_tokens: int
) -> None:
    """Run whole rows, all cells of a layer together."""
    size = max(1, row_tokens // batch.exists.shape[1])
    for layer, needed in enumerate(batch.needed):
        for run, position in _pieces(needed, size):
            state = batch.base_states[layer][run]
            state[torch.arange(len(run)), position] = batch.donor_states[layer][run, position]
            with starting_at(encoder.blocks, layer, state, batch.base.capture, run):
                text = encoder.encode(batch.base.ids[run])
            scores[layer, run, position] = encoder.score(text, batch.anchors[run]).double()


def _patch_by_position(
    encoder: Encoder,
    prefix: PrefixAttention,
    batch: _Batch,
    scores: Float[Tensor, "layer run token"],
    row_tokens: int,
) -> None:
    """Run tails, all cells at a position together."""
    kept = prefix.keep(batch.base.ids)
    count = batch.exists.shape[1]
    for start, stop in _spans(batch.needed, row_tokens):
        size = max(1, row_tokens // (count - start))
        for layers, runs, offsets in _pieces(batch.needed[:, :, start:stop], size):
            tail = batch.base_states[layers, runs, start:]
            tail[torch.arange(len(runs)), offsets] = batch.donor_states[
                layers, runs, start + offsets
            ]
            scores[layers, runs, start + offsets] = scores_at(
                encoder,
                prefix,
                kept,
                batch.base.capture,
                batch.base.ids,
                tail,
                (layers, runs),
                batch.anchors,
            ).double()


def _pieces(needed: Bool[Tensor, "..."], size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield the indices of the needed cells, in order, at most `size` at once."""
    for piece in torch.split(needed.nonzero(), size):
        if len(piece):
            yield piece.unbind(dim=1)


def _spans(needed: Bool[Tensor, "layer run token"], row_tokens: int) -> Iterator[tuple[int, int]]:
    """Cut the positions into spans, each as long as its rows need to make a worthwhile batch.

    Rows of a span all run from its start: a few tokens more, but far fewer and larger batches
    where there are few rows, as with one pair alone.
    """
    rows = needed.sum(dim=(0, 1)).tolist()
    start, held = 0, 0
    for position, found in enumerate(rows):
        if not held:
            start = position
        held += found
        if held * (len(rows) - start) >= row_tokens // SPAN_SHARE or position == len(rows) - 1:
            if held:
                yield start, position + 1
            held = 0
