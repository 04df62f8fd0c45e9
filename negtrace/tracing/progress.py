"""Progress of an earlier run of the same trace: what it depends on, and whether it still holds."""

__all__ = ["progress_of"]

from collections.abc import Iterator, Mapping
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

    The file holds the settings, the weights, the pairs and their tokens. Besides, the clean and the
    corrupted run of every finished contrast is run again: these scores change where the weights are
    the same but a setting of the model's own, a hook, or a buffer that is not saved with the
    weights is not.

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
        for file in shard_files(path):
            held.enter_context(Checkpoint.held(file, identity, done))
        _require_same_scores(sweep, saved)
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


def _require_same_scores(sweep: Sweep, saved: Checkpoint) -> None:
    """Raise an OutputError where the model no longer gives a finished contrast its scores."""
    encoder = sweep.encoder
    rounding, scale = ROUNDING * _epsilon(encoder), abs(encoder.scale)
    for again in _again(sweep, saved.done):
        earlier = saved.done[again.index]
        old = np.array([earlier.clean, earlier.corrupt])
        new = np.array([again.clean, again.corrupt])
        limit = SHARE_OF_D * abs(new[0] - new[1]) + rounding * (abs(new) + scale)
        if not np.all((abs(old - new) <= limit) | (np.isnan(old) & np.isnan(new))):
            raise OutputError(
                f"{saved.path} holds scores that the model no longer gives: something besides its "
                "weights has changed, such as a buffer or a hook. Make the model as it was, or "
                "delete the file to start anew"
            )


def _again(sweep: Sweep, done: Mapping[int, ContrastScores]) -> Iterator[ContrastScores]:
    """Yield new scores of the finished contrasts, run in their old batches without any cell."""
    sites, layers = len(sweep.plan.sites), len(sweep.encoder.layers)
    for indices in batch_indices(replace(sweep, progress=False, done=frozenset())):
        if any(index in done for index in indices):
            groups = [len(each.groups) for each in sweep.part(indices).patchings()]
            only = {
                index: np.zeros((sites, layers, count), bool)
                for index, count in zip(indices, groups, strict=True)
            }
            yield from (
                scores for scores in rerun(sweep, indices, only=only) if scores.index in done
            )


def _epsilon(encoder: Encoder) -> float:
    """Return the unit of rounding of the coarsest type that the model computes in."""
    kind = encoder.device.type
    types = {weight.dtype for weight in encoder.model.parameters() if weight.is_floating_point()}
    if torch.is_autocast_enabled(kind):
        types.add(torch.get_autocast_dtype(kind))
    return max((torch.finfo(each).eps for each in types), default=torch.finfo(torch.float32).eps)
