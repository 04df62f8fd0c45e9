"""The exact engine: every cell is run, at as little cost as is exact.

Each patched cell is a row of a batch, and contrasts of the same lengths share their batches. A row
starts at the layer that it patches. In a causal tower that allows it, a row runs only the tokens
that its patch can reach (see `patched_forward`). Cells whose score is known are not run (`batch`).
"""

__all__ = ["Exact", "batch_indices", "no_effect", "rerun", "scores_of_batch"]

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from negtrace.errors import EncoderError, NegtraceWarning
from negtrace.tracing.engines.base import ENGINES, Engine
from negtrace.tracing.engines.batch import Batch, Recording, batch_of, record
from negtrace.tracing.engines.patched_forward import patched_scores
from negtrace.tracing.engines.sweep import Cells, ContrastScores, Sweep


@ENGINES.register("exact")
@dataclass(frozen=True, kw_only=True)
class Exact(Engine):
    """Every cell is run, by hooks on the model."""

    name = "exact"

    @override
    def run(self, sweep: Sweep) -> Iterator[ContrastScores]:
        row_tokens = sweep.row_tokens
        for indices in batch_indices(sweep):
            while indices:
                batch = indices[: _fitting(sweep, indices[0], row_tokens)]
                part = replace(sweep.part(batch), row_tokens=row_tokens)
                try:
                    scores = _scores(part, batch)
                except (torch.OutOfMemoryError, EncoderError) as error:
                    if not _is_out_of_memory(error):
                        raise
                    row_tokens = _halved(row_tokens, error)
                else:
                    indices = indices[len(batch) :]
                    yield from scores


def _fitting(sweep: Sweep, index: int, row_tokens: int) -> int:
    """Return how many contrasts of the lengths of one make a batch."""
    contrast = sweep.contrasts[index]
    return _batch_size(max(len(contrast.clean.ids), len(contrast.corrupt.ids)), row_tokens)


def _batch_size(length: int, row_tokens: int) -> int:
    """Return how many contrasts make a batch: as many as fill the rows of one layer."""
    return max(1, row_tokens // length**2)


def _scores(part: Sweep, indices: Sequence[int]) -> list[ContrastScores]:
    """Return the scores of one batch, each under its index in the whole sweep."""
    patchings = part.patchings()
    source = record(part, [patching.source for patching in patchings])
    base = record(part, [patching.base for patching in patchings], cache=part.route.tail)
    if part.route.from_layer:
        part.encoder.learn_calls(base.ids[:1])
    batch = batch_of(part, base, source)
    if part.only is not None:
        _restrict(batch, part.only)
    return list(scores_of_batch(part, indices, base, source, _patched(part, batch)))


def _is_out_of_memory(error: Exception) -> bool:
    """Return True if an accelerator ran out of memory, or that is the cause of the error."""
    return isinstance(error, torch.OutOfMemoryError) or isinstance(
        error.__cause__, torch.OutOfMemoryError
    )


def _halved(row_tokens: int, error: Exception) -> int:
    """Return half the number of tokens that run at once, and say so.

    Raises:
        EncoderError: when not even one token at a time fits.
    """
    if row_tokens == 1:
        raise EncoderError(
            "the accelerator has too little memory for one statement at a time; free memory, load "
            "the model in half precision, or run it on the CPU"
        ) from error
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    warnings.warn(
        f"out of memory at row_tokens={row_tokens}; the trace goes on with {row_tokens // 2}, and "
        "scores differ by rounding from those of a trace that had the memory",
        NegtraceWarning,
        stacklevel=2,
    )
    return row_tokens // 2


def batch_indices(sweep: Sweep) -> Iterator[list[int]]:
    """Yield the contrasts of every batch: as many as fill the rows of one layer."""
    row_tokens = sweep.row_tokens if sweep.route.batched else 1
    return sweep.batches(lambda length: _batch_size(length, row_tokens))


def rerun(
    sweep: Sweep,
    indices: Sequence[int],
    *,
    only: Cells | None = None,
    anchors: Tensor | None = None,
) -> Iterator[ContrastScores]:
    """Yield the exact scores of some contrasts of a sweep, under their indices there.

    Args:
        sweep: the sweep.
        indices: the contrasts.
        only: cells to run, by index; all of them when not given.
        anchors: embedded anchors of these contrasts, in place of the sweep's own.
    """
    for scores in Exact().run(replace(sweep, only=only).part(indices, anchors)):
        yield replace(scores, index=indices[scores.index])


def _restrict(batch: Batch, only: Cells) -> None:
    """Leave only these cells to be run."""
    count = batch.needed.shape[3]
    for run, cells in only.items():
        wanted = torch.from_numpy(cells).to(batch.needed.device)
        batch.needed[:, :, run, : wanted.shape[2]] &= wanted[:, :, :count]


def _patched(sweep: Sweep, batch: Batch) -> Float[Tensor, "site layer run group"]:
    """Return every cell's score; the base run's own where a patch changes nothing."""
    patched = no_effect(batch)
    for cells, scores in patched_scores(sweep.encoder, batch, sweep.row_tokens):
        patched[tuple(index.cpu() for index in cells)] = scores.cpu().double()
    return patched


def no_effect(batch: Batch) -> Float[Tensor, "site layer run group"]:
    """Return the base run's score in every cell; NaN where there is no such cell."""
    sites, layers, _, groups = batch.needed.shape
    # Collected on the CPU, since not every device has float64.
    patched = batch.base.scores.cpu().double()[:, None].repeat(sites, layers, 1, groups)
    patched[:, :, ~batch.exists.cpu()] = torch.nan
    for index, site in enumerate(batch.plan.sites):
        empty = [not batch.plan.layers(layer, layers, site.kind) for layer in range(layers)]
        patched[index, torch.tensor(empty)] = torch.nan
    return patched


def scores_of_batch(
    sweep: Sweep,
    indices: Sequence[int],
    base: Recording,
    source: Recording,
    patched: Float[Tensor, "site layer run group"],
) -> Iterator[ContrastScores]:
    """Yield the scores of each contrast of a batch, cut to the groups that it has."""
    clean, corrupt = sweep.clean_first(base.scores, source.scores)
    for run, (index, patching) in enumerate(zip(indices, sweep.patchings(), strict=True)):
        yield ContrastScores(
            index=index,
            clean=clean[run].item(),
            corrupt=corrupt[run].item(),
            patched=patched[:, :, run, : len(patching.groups)].numpy(),
        )
