"""A trace: prepare the pairs, run the sweep, and collect the result."""

__all__ = ["trace", "trace_shard"]

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
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
from negtrace.tracing.collect import collected
from negtrace.tracing.config import TraceConfig, TraceOptions
from negtrace.tracing.engines.agreement import Agreement
from negtrace.tracing.engines.base import Engine
from negtrace.tracing.engines.sweep import ContrastScores, Sweep
from negtrace.tracing.precision import deviation, half_precision
from negtrace.tracing.prepare import PreparedPair, warn_of_differences
from negtrace.tracing.progress import progress_of
from negtrace.tracing.shard import Shard
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
        begun = begun_trace(encoder, pairs, config, progress)
        warn_of_differences(begun.prepared)
        with progress_of(checkpoint, begun.provenance, begun.prepared, begun.sweep) as saved:
            scores = _run(begun, begun.sweep, saved)
        _require_all(begun.engine, begun.sweep, scores)
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
        begun = begun_trace(encoder, pairs, config, progress)
        warn_of_differences(begun.prepared)
        sweep = replace(begun.sweep, shard=shard)
        with progress_of(file, begun.provenance, begun.prepared, sweep) as saved:
            _run(begun, sweep, saved)
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


def _run(begun: Begun, sweep: Sweep, saved: Checkpoint | None) -> dict[int, ContrastScores]:
    """Return the scores of every contrast; finished ones are saved whatever happens."""
    compared, earlier = begun.agreement.scores, saved.done if saved else {}
    done = {**compared, **earlier}
    new = [compared[index] for index in compared if index not in earlier]
    for scores in chain(new, begun.engine.run(replace(sweep, done=frozenset(done)))):
        done[scores.index] = scores
        if saved:
            saved.add(scores)
    return done


def _require_all(engine: Engine, sweep: Sweep, scores: Mapping[int, ContrastScores]) -> None:
    """Raise a TraceError when the engine left a contrast out, or its cells have another shape."""
    sites, layers = len(sweep.plan.sites), len(sweep.encoder.layers)
    for index, patching in enumerate(sweep.patchings()):
        expected = sites, layers, len(patching.groups)
        shape = scores[index].patched.shape if index in scores else None
        if shape != expected:
            raise TraceError(
                f"engine {engine.name!r} gave contrast {index} cells of the shape {shape}; "
                f"expected {expected}: site, layer, group"
            )


def _measured(
    sweep: Sweep,
    scores: Mapping[int, ContrastScores],
    prepared: Sequence[PreparedPair],
    verify: int,
) -> dict[str, object]:
    """Return measurements of the result itself, for its provenance."""
    measured: dict[str, object] = {}
    if verify:
        measured["verified"] = verified(sweep, scores, count=verify)
    if half := half_precision(sweep.encoder):
        anchors = [each.pair.anchor for each in prepared for _ in each.contrasts]
        gaps = deviation(sweep, scores, anchors)
        measured["half_precision"] = {"dtype": half, **gaps}
        warnings.warn(
            f"traced in {half}: on {gaps['pairs']} pairs an effect is up to "
            f"{gaps['largest_gap_of_effect']:.2g} from the one in float32",
            NegtraceWarning,
            stacklevel=3,
        )
    return measured
