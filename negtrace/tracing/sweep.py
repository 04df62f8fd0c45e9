"""The exact sweep: every layer and position of every contrast, at as little cost as is exact.

Rows are cells, and contrasts of one length share their batches. A row starts at its own layer
(`hooks.starting_at`); in a causal tower that allows it, it runs only the tokens a patch can reach
(`suffix`). Cells whose effect is known are not computed (`batch`).
"""

__all__ = ["DIRECTIONS", "Direction", "Swept", "sweep"]

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from negtrace.encoders.base import Encoder, batched
from negtrace.hooks import starting_at
from negtrace.tracing.batch import Batch, Cells, cells_of, run_side, set_out
from negtrace.tracing.corruption import Contrast
from negtrace.tracing.suffix import tails

Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

ROW_TOKENS = 4096
"""Default number of tokens that run at once; bounds memory, and is near the fastest on a CPU."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Swept:
    """The raw scores of one contrast."""

    index: int
    """Which contrast, in the order given."""
    clean: float
    corrupt: float
    patched: Float[np.ndarray, "layer token"]
    """Score with one state replaced; NaN where the other run has no such position."""


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
            if all(index in done for index in indices):
                bar.update(len(indices))
                continue
            chosen, anchor = [contrasts[i] for i in indices], anchors[list(indices)]
            clean = run_side(encoder, [(c.clean, c.clean_from_corrupt) for c in chosen], anchor)
            corrupt = run_side(encoder, [(c.corrupt, c.corrupt_from_clean) for c in chosen], anchor)
            base, donor = (corrupt, clean) if direction == "denoising" else (clean, corrupt)
            first = [c.first_difference for c in chosen]
            batch = set_out(encoder, base, donor, first, anchor)
            patched = _patched(encoder, batch, row_tokens)
            bar.update(len(indices))
            yield from (
                Swept(
                    index=index,
                    clean=clean.scores[i].item(),
                    corrupt=corrupt.scores[i].item(),
                    patched=patched[:, i].numpy(),
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


def _patched(encoder: Encoder, batch: Batch, row_tokens: int) -> Float[Tensor, "layer run token"]:
    """Return every cell's score: the base run's own where a patch changes nothing."""
    # Collected on the CPU, since not every device has float64.
    patched = (
        batch.base.scores.cpu()
        .double()[None, :, None]
        .repeat(len(encoder.layers), 1, batch.exists.shape[1])
    )
    prefix = encoder.prefix_attention
    done = (
        whole_rows(encoder, batch, row_tokens)
        if prefix is None
        else tails(encoder, prefix, batch, row_tokens)
    )
    for cells, scores in done:
        patched[tuple(index.cpu() for index in cells)] = scores.cpu().double()
    patched[:, ~batch.exists.cpu()] = torch.nan
    return patched


def whole_rows(
    encoder: Encoder, batch: Batch, row_tokens: int
) -> Iterator[tuple[Cells, Float[Tensor, " cell"]]]:
    """Yield cells and their scores, layer by layer; every row runs all its tokens."""
    size = max(1, row_tokens // batch.exists.shape[1])
    for layer in range(len(encoder.layers)):
        for _, runs, positions in cells_of(batch.needed[layer, None], size):
            rows = torch.arange(len(runs), device=runs.device)
            state = batch.base_states[layer][runs]
            state[rows, positions] = batch.donor_states[layer][runs, positions]
            with starting_at(encoder.blocks, layer, state, batch.base.capture, runs):
                text = encoder.encode(batch.base.ids[runs])
            cells = torch.full_like(runs, layer), runs, positions
            yield cells, encoder.score(text, batch.anchors[runs])
