"""A trace: prepare the pairs, run the sweep, and collect the result."""

__all__ = ["trace", "trace_shard"]

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import torch

from negtrace._messages import listed
from negtrace._settings import with_settings
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating, hooks_in
from negtrace.errors import NegtraceWarning, TraceError
from negtrace.pairs.pair import Pair
from negtrace.results.cte import CTE
from negtrace.tracing.begun import Begun, begun_trace
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.collect import collected, patched_run
from negtrace.tracing.config import TraceConfig, TraceOptions
from negtrace.tracing.engines.agreement import Agreement
from negtrace.tracing.engines.sweep import ContrastScores, Sweep
from negtrace.tracing.precision import deviation, half_precision
from negtrace.tracing.prepare import PreparedPairs, warn_of_differences
from negtrace.tracing.progress import progress_of
from negtrace.tracing.scores import SweepScores
from negtrace.tracing.shard import Shard, shard_files
from negtrace.tracing.verify import verified


def trace(
    encoder: Encoder,
    pairs: Sequence[Pair] | None = None,
    config: TraceConfig | None = None,
    *,
    checkpoint: Path | None = None,
    progress: bool | None = None,
    **options: Unpack[TraceOptions],
) -> CTE:
    """Patch the state at every site, layer and position, and record the score of each patched run.

    Args:
        encoder: the model, from `negtrace.load` or `negtrace.wrap`. It is left unchanged.
        pairs: minimal contrasts. When not given, the built-in radiology pairs, anchored on text.
        config: what is corrupted, what is patched, and how scores are computed.
        checkpoint: file for finished work. If it exists, the trace resumes from it, and the result
            is identical to that of an uninterrupted trace. So does the work of `trace_shard` beside
            it. Files are left for the caller to delete. One trace at a time can hold it.
        progress: show a progress bar; None shows it on a terminal only.
        options: fields of `TraceConfig`, such as `direction="noising"`. They replace those of
            `config`.

    Returns:
        The raw scores of every pair and cell. Pairs that cannot be traced are in its `dropped`.

    Raises:
        UnknownNameError: for an unknown option, corruption, direction or method.
        SiteError: for a site that the model does not offer, or a window that is wider than the
            model is deep.
        TraceError: when no pair can be traced, or the model gives every clean run the score of its
            corrupted run.
        OutputError: when the checkpoint holds the progress of another trace (the differences are
            shown) or cannot be written, or another run holds it.
    """
    config = with_settings(config or TraceConfig(), options, "setting of a trace")
    with torch.inference_mode(), evaluating(encoder.model):
        _warn_of_hooks(encoder)  # with the model's lock: hooks of another thread are not the user's
        resumed = checkpoint is not None and (checkpoint.exists() or bool(shard_files(checkpoint)))
        begun = begun_trace(encoder, pairs, config, progress=progress, resumed=resumed)
        warn_of_differences(begun.prepared.differing)
        scores = _no_scores(begun)
        with progress_of(
            checkpoint, begun.provenance, begun.prepared, begun.sweep, scores
        ) as saved:
            _run(begun, begun.sweep, scores, saved)
        _require_all(begun, scores)
        measured = _measured(begun.sweep, scores, begun.prepared, config.verify)
    measured = _compared(begun.agreement) | measured
    return collected(
        config, begun.sweep, begun.prepared, scores, begun.dropped, begun.provenance, measured
    )


def trace_shard(
    encoder: Encoder,
    pairs: Sequence[Pair] | None = None,
    config: TraceConfig | None = None,
    *,
    shard: Shard,
    checkpoint: Path,
    progress: bool | None = None,
    **options: Unpack[TraceOptions],
) -> Path:
    """Run one of several parts of a trace, and keep its scores in a file beside the checkpoint.

    When every shard is finished, `trace` with the same arguments and the same checkpoint merges
    them: it runs what is missing, and its result is identical to that of a single process.

    Args:
        encoder: as for `trace`.
        pairs: all pairs of the trace.
        config: as for `trace`.
        shard: the part to run.
        checkpoint: the checkpoint of the whole trace.
        progress: as for `trace`.
        options: as for `trace`.

    Returns:
        The file of the shard's scores. If it exists, the shard resumes from it.

    Raises:
        UnknownNameError: as `trace` does.
        SiteError: as `trace` does.
        TraceError: as `trace` does.
        OutputError: as `trace` does, about the file of this shard.
    """
    config = with_settings(config or TraceConfig(), options, "setting of a trace")
    file = shard.file(checkpoint)
    with torch.inference_mode(), evaluating(encoder.model):
        _warn_of_hooks(encoder)
        begun = begun_trace(
            encoder, pairs, config, progress=progress, shard=shard, resumed=file.exists()
        )
        warn_of_differences(begun.prepared.differing)
        scores = _no_scores(begun)
        with progress_of(file, begun.provenance, begun.prepared, begun.sweep, scores) as saved:
            _run(begun, begun.sweep, scores, saved)
    return file


def _warn_of_hooks(encoder: Encoder) -> None:
    if hooked := hooks_in(encoder.model):
        warnings.warn(
            f"hooks of your own on {listed(hooked)} act in every run of this trace, and stay",
            NegtraceWarning,
            stacklevel=3,
        )


def _compared(agreement: Agreement) -> dict[str, object]:
    """Return the result of the comparison with plain forwards, for the provenance."""
    if not agreement.cells:
        return {}
    return {
        "self_check": {
            "cells": agreement.cells,
            "largest_gap": float(f"{agreement.gap:.1g}"),
            "route": agreement.route.name,
        }
    }


def _no_scores(begun: Begun) -> SweepScores:
    """Return the place for the scores of a trace."""
    sweep = begun.sweep
    return SweepScores(
        sites=len(sweep.plan.sites),
        layers=len(sweep.encoder.layers),
        widths=begun.prepared.contrasts.widths(patched_run(sweep.direction)),
    )


def _run(begun: Begun, sweep: Sweep, scores: SweepScores, saved: Checkpoint | None) -> None:
    """Run every contrast that has no scores yet; finished ones are saved whatever happens."""

    def add(new: ContrastScores) -> None:
        if new.patched.shape != (shape := scores.shape(new.index)):
            raise _misshapen(begun, new.index, new.patched.shape, shape)
        scores[new.index] = new
        if saved:
            saved.add(new)

    for compared in begun.agreement.scores.values():
        if compared.index not in scores:
            add(compared)
    for new in begun.engine.run(replace(sweep, done=frozenset(scores))):
        add(new)


def _require_all(begun: Begun, scores: SweepScores) -> None:
    """Raise a TraceError when the engine left a contrast out."""
    for index in range(len(begun.sweep.contrasts)):
        if index not in scores:
            raise _misshapen(begun, index, None, scores.shape(index))


def _misshapen(
    begun: Begun, index: int, shape: tuple[int, ...] | None, expected: tuple[int, ...]
) -> TraceError:
    return TraceError(
        f"engine {begun.engine.name!r} gave contrast {index} cells of the shape {shape}; "
        f"expected {expected}: site, layer, group"
    )


def _measured(
    sweep: Sweep,
    scores: Mapping[int, ContrastScores],
    prepared: PreparedPairs,
    verify: int,
) -> dict[str, object]:
    """Return measurements of the result itself, for its provenance."""
    measured: dict[str, object] = {}
    if verify:
        measured["verified"] = verified(sweep, scores, count=verify)
    if half := half_precision(sweep.encoder):
        gaps = deviation(sweep, scores, lambda index: prepared.of_contrast(index).anchor)
        measured["half_precision"] = {"dtype": half, **gaps}
        compared = (
            f"on {gaps['pairs']} pairs an effect is up to "
            f"{gaps['largest_gap_of_effect']:.2g} from the one in float32"
            if gaps["pairs"]
            else "no pair could be run in float32, to see how far an effect is from there"
        )
        warnings.warn(
            f"traced in {half}: {compared}",
            NegtraceWarning,
            stacklevel=3,
        )
    return measured
