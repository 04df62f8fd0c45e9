"""Half precision: how far its scores are from those in float32, measured on a sample of pairs."""

__all__ = ["deviation", "half_precision"]

from collections.abc import Callable, Mapping

import numpy as np
import torch

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import widened
from negtrace.pairs.anchor import Anchor
from negtrace.tracing.engines.coupling import embedded_alone
from negtrace.tracing.engines.exact import rerun
from negtrace.tracing.engines.sweep import ContrastScores, Sweep

SAMPLE = 8
"""Contrasts that are run again in float32."""


def half_precision(encoder: Encoder) -> str | None:
    """Return the half precision of the encoder's weights or of autocast; None if there is none."""
    kind = encoder.device.type
    if torch.is_autocast_enabled(kind):
        return f"autocast {_name(torch.get_autocast_dtype(kind))}"
    half = {torch.float16, torch.bfloat16}
    dtypes = {weight.dtype for weight in encoder.model.parameters()} & half
    return ", ".join(sorted(map(_name, dtypes))) or None


def deviation(
    sweep: Sweep, scores: Mapping[int, ContrastScores], anchor_of: Callable[[int], Anchor]
) -> dict[str, float | int]:
    """Run a sample of the contrasts again in float32, and compare the scores.

    The weights are float32 during the call.

    Args:
        sweep: the sweep in half precision.
        scores: its scores, by contrast.
        anchor_of: returns the anchor of a contrast, which is embedded anew.

    Returns:
        `pairs`, the number of contrasts compared, 0 where the model runs in its own precision
        alone. `largest_gap` of a score, in its unit, and
        `largest_gap_of_effect`.
    """
    sample = np.linspace(0, len(scores) - 1, min(SAMPLE, len(scores)), dtype=int).tolist()
    sample = [index for index in dict.fromkeys(sample) if np.isfinite(scores[index].clean)]
    gaps, effect_gaps = [0.0], [0.0]
    encoder = sweep.encoder
    with widened(encoder.model), torch.autocast(encoder.device.type, enabled=False):
        if half_precision(encoder):  # a model that casts its states by itself stays as it is
            sample = []
        some = [anchor_of(index) for index in sample]
        embedded = encoder.embed_anchors(some) if some else None
        if embedded is not None and not sweep.route.batched:  # rows depend on each other
            embedded = embedded_alone(encoder, some, embedded)
        for full in rerun(sweep, sample, anchors=embedded) if sample else ():
            half = scores[full.index]
            gaps.append(_largest(_all(half) - _all(full)))
            effect_gaps.append(_largest(_effect(sweep, half) - _effect(sweep, full)))
    return {
        "pairs": len(sample),
        "largest_gap": max(gaps),
        "largest_gap_of_effect": max(effect_gaps),
    }


def _largest(gaps: np.ndarray) -> float:
    """Return the largest gap; NaN counts as none."""
    return float(np.nan_to_num(np.abs(gaps), nan=0.0).max())


def _effect(sweep: Sweep, scores: ContrastScores) -> np.ndarray:
    d = (scores.clean - scores.corrupt) or np.nan
    restored = scores.patched - scores.corrupt
    return np.asarray((restored if sweep.direction == "denoising" else d - restored) / d)


def _all(scores: ContrastScores) -> np.ndarray:
    return np.array([scores.clean, scores.corrupt, *scores.patched.ravel()])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
