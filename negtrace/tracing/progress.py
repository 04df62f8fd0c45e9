"""Progress of an earlier run of the same trace: what it depends on, and whether it still holds."""

__all__ = ["progress_of"]

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from negtrace.encoders.base import Encoder
from negtrace.errors import OutputError
from negtrace.pairs.pair import ordered_digest
from negtrace.results.provenance import Provenance
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.engines.exact import batch_indices, rerun
from negtrace.tracing.engines.sweep import ContrastScores, Sweep
from negtrace.tracing.prepare import PreparedPairs
from negtrace.tracing.scores import SweepScores
from negtrace.tracing.shard import shard_files

SHARE_OF_D = 1e-4
"""Largest change of a score that counts as none, as a share of |d|.

The model runs the same batches again, so on one machine nothing changes. Another machine, or an
engine that folds weights into each other, rounds otherwise.
"""

ROUNDING = 64
"""Units of rounding of the score that are allowed besides."""

EVERY = 8
"""Of the finished batches in a file, every so many are run again besides those that are the first
of their length."""


@contextmanager
def progress_of(
    path: Path | None,
    provenance: Provenance,
    prepared: PreparedPairs,
    sweep: Sweep,
    done: SweepScores,
) -> Iterator[Checkpoint | None]:
    """Hold the checkpoint in a file, after a check that this model would give its scores.

    What shards have finished beside it counts as its own.

    The file holds the settings, the weights, the pairs and their tokens. Besides, clean and
    corrupted runs of finished contrasts are run again: these scores change where the weights are
    the same but a setting of the model's own, a hook, or a buffer that is not saved with the
    weights is not. Such a change shows at every statement, or from some length on. So one batch of
    each length is run again, and every `EVERY`-th of the others, of each file.

    Args:
        path: the file; None for no checkpoint.
        provenance: how the trace is made.
        prepared: the pairs.
        sweep: what is run.
        done: the place for the scores that are finished.

    Raises:
        OutputError: when the file holds the progress of another trace, or another run holds it.
    """
    if path is None:
        yield None
        return
    identity = _identity(provenance, prepared, sweep)
    with Checkpoint.held(path, identity, done) as saved, ExitStack() as held:
        known = set(done)
        _require_same_scores(sweep, path, done, known)
        for file in shard_files(path):
            held.enter_context(Checkpoint.held(file, identity, done))
            _require_same_scores(sweep, file, done, set(done) - known)
            known.update(done)
        yield saved


def _identity(provenance: Provenance, prepared: PreparedPairs, sweep: Sweep) -> dict[str, Any]:
    """Return everything known beforehand that the scores of a sweep depend on, as JSON values."""
    made = {name: value for name, value in asdict(provenance).items() if name != "time"}
    return {
        **made,
        "pairs": ordered_digest(prepared.pairs()),
        "tokens": prepared.contrasts.digest,
        "row_tokens": sweep.row_tokens,
        "route": sweep.route.name,
    }


def _require_same_scores(
    sweep: Sweep, path: Path, done: Mapping[int, ContrastScores], of_file: Collection[int]
) -> None:
    """Raise an OutputError where the model no longer gives finished contrasts their scores.

    Args:
        sweep: what is run.
        path: the file that they are from.
        done: all finished scores.
        of_file: indices of those that are from this file.
    """
    encoder = sweep.encoder
    rounding, scale = ROUNDING * _epsilon(encoder), abs(encoder.scale)
    for again in _again(sweep, of_file):
        earlier = done[again.index]
        old = np.array([earlier.clean, earlier.corrupt])
        new = np.array([again.clean, again.corrupt])
        limit = SHARE_OF_D * abs(new[0] - new[1]) + rounding * (abs(new) + scale)
        if not np.all((abs(old - new) <= limit) | (np.isnan(old) & np.isnan(new))):
            raise OutputError(
                f"{path} holds scores that the model no longer gives: something besides its "
                "weights has changed, such as a buffer or a hook. Make the model as it was, or "
                "delete the file to start anew"
            )


def _again(sweep: Sweep, done: Collection[int]) -> Iterator[ContrastScores]:
    """Yield new scores of some finished contrasts, run in their old batches without any cell."""
    sites, layers = len(sweep.plan.sites), len(sweep.encoder.layers)
    for indices in _sampled(sweep, done):
        groups = [len(each.groups) for each in sweep.part(indices).patchings()]
        only = {
            index: np.zeros((sites, layers, count), bool)
            for index, count in zip(indices, groups, strict=True)
        }
        yield from (scores for scores in rerun(sweep, indices, only=only) if scores.index in done)


def _sampled(sweep: Sweep, done: Collection[int]) -> Iterator[list[int]]:
    """Yield batches with finished contrasts: the first of each length, and every `EVERY`-th."""
    if not done:
        return
    lengths, seen = list(sweep.lengths), set[tuple[int, int]]()
    whole = replace(sweep, progress=False, done=frozenset(), shard=None)
    finished = (each for each in batch_indices(whole) if any(index in done for index in each))
    for number, indices in enumerate(finished):
        if lengths[indices[0]] not in seen or number % EVERY == 0:
            seen.add(lengths[indices[0]])
            yield indices


def _epsilon(encoder: Encoder) -> float:
    """Return the unit of rounding of the coarsest type that the model computes in."""
    kind = encoder.device.type
    types = {weight.dtype for weight in encoder.model.parameters() if weight.is_floating_point()}
    if torch.is_autocast_enabled(kind):
        types.add(torch.get_autocast_dtype(kind))
    return max((torch.finfo(each).eps for each in types), default=torch.finfo(torch.float32).eps)
