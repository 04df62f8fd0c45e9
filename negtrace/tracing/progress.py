"""Progress of an earlier run of the same trace: what it depends on, and whether it still holds."""

__all__ = ["progress_of"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from negtrace._files import canonical, sha256
from negtrace.encoders.base import Encoder
from negtrace.results.provenance import Provenance
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.engines.exact import batch_indices, rerun
from negtrace.tracing.engines.sweep import ContrastScores, Sweep
from negtrace.tracing.prepare import PreparedPair

SHARE_OF_D = 1e-4
"""Largest change of a score that counts as none, as a share of |d|.

The model runs the same batches again, so on one machine nothing changes. Another machine, or an
engine that folds weights into each other, rounds otherwise.
"""

ROUNDING = 64
"""Units of rounding of the score that are allowed besides."""


def progress_of(
    path: Path, provenance: Provenance, prepared: Sequence[PreparedPair], sweep: Sweep
) -> Checkpoint:
    """Return the checkpoint in a file, without scores that this model would not give.

    The file's key holds the settings, the weights, the pairs and their tokens. Besides, the clean
    and the corrupted run of every finished contrast is run again: these scores change where the
    weights are the same but an image file, an answer of the prompt, or a buffer that is not saved
    with the weights is not.
    """
    saved = Checkpoint(path, _key(provenance, prepared, sweep))
    if any(_differ(sweep, saved.done[again.index], again) for again in _again(sweep, saved.done)):
        saved.forget()
    return saved


def _key(provenance: Provenance, prepared: Sequence[PreparedPair], sweep: Sweep) -> str:
    """Return a digest of everything known beforehand that the scores of a sweep depend on."""
    runs = [
        [run.ids, run.read_out, run.groups]
        for contrast in sweep.contrasts
        for run in (contrast.clean, contrast.corrupt)
    ]
    maps = [[each.clean_from_corrupt, each.corrupt_from_clean] for each in sweep.contrasts]
    ids = [each.pair.id for each in prepared]
    how = [sweep.row_tokens, sweep.route.name]
    return sha256(canonical([asdict(replace(provenance, time="")), ids, runs, maps, how]))


def _again(sweep: Sweep, done: Mapping[int, ContrastScores]) -> Iterator[ContrastScores]:
    """Yield new scores of the finished contrasts, run in their old batches without any cell."""
    sites, layers = len(sweep.plan.sites), len(sweep.encoder.layers)
    for indices in batch_indices(replace(sweep, progress=False, done=frozenset())):
        if any(index in done for index in indices):
            groups = [len(each.groups) for each in sweep.part(indices).patchings()]
            cells = {n: np.zeros((sites, layers, count), bool) for n, count in enumerate(groups)}
            only = {indices[n]: none for n, none in cells.items()}
            yield from (
                scores for scores in rerun(sweep, indices, only=only) if scores.index in done
            )


def _differ(sweep: Sweep, saved: ContrastScores, again: ContrastScores) -> bool:
    """Return whether two scores of one contrast are not the same up to rounding."""
    old = np.array([saved.clean, saved.corrupt])
    new = np.array([again.clean, again.corrupt])
    rounding = ROUNDING * _epsilon(sweep.encoder) * (abs(new) + abs(sweep.encoder.scale))
    limit = SHARE_OF_D * abs(new[0] - new[1]) + rounding
    return not bool(np.all((abs(old - new) <= limit) | (np.isnan(old) & np.isnan(new))))


def _epsilon(encoder: Encoder) -> float:
    """Return the unit of rounding of the coarsest type that the model computes in."""
    kind = encoder.device.type
    types = {weight.dtype for weight in encoder.model.parameters() if weight.is_floating_point()}
    if torch.is_autocast_enabled(kind):
        types.add(torch.get_autocast_dtype(kind))
    return max((torch.finfo(each).eps for each in types), default=torch.finfo(torch.float32).eps)
