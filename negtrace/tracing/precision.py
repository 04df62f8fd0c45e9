"""How far a trace in half precision is from float32, measured on a sample of its pairs."""

__all__ = ["deviation", "half_precision"]

from collections.abc import Mapping

import numpy as np
import torch

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import widened
from negtrace.tracing.engines.exact import Swept
from negtrace.tracing.prepare import Work

SAMPLE = 8
"""Contrasts that are run again in float32."""


def half_precision(encoder: Encoder) -> str | None:
    """Return the half precision of the encoder's weights or of autocast; None where it is full."""
    kind = encoder.device.type
    if torch.is_autocast_enabled(kind):
        return f"autocast {_name(torch.get_autocast_dtype(kind))}"
    half = (torch.float16, torch.bfloat16)
    found = {weight.dtype for weight in encoder.model.parameters()} & set(half)
    return ", ".join(sorted(map(_name, found))) or None


def deviation(work: Work, found: Mapping[int, Swept]) -> dict[str, float | int]:
    """Run a sample of the work again in float32, and compare the scores that were found.

    For the time of the call the weights are float32.

    Returns:
        The number of contrasts compared, the largest gap of a score in its unit, and the largest
        gap of an effect.
    """
    sample = np.linspace(0, len(found) - 1, min(SAMPLE, len(found)), dtype=int).tolist()
    sample = [index for index in dict.fromkeys(sample) if np.isfinite(found[index].clean)]
    gaps, of_effect = [0.0], [0.0]
    with widened(work.encoder.model), torch.autocast(work.encoder.device.type, enabled=False):
        anchors = work.encoder.embed_anchors([work.owners[index].anchor for index in sample])
        for index, swept in work.exactly(sample, anchors=anchors) if sample else ():
            half = found[index]
            gaps.append(_largest(_all(half) - _all(swept)))
            of_effect.append(_largest(_effect(work, half) - _effect(work, swept)))
    return {
        "pairs": len(sample),
        "largest_gap": max(gaps),
        "largest_gap_of_effect": max(of_effect),
    }


def _largest(gaps: np.ndarray) -> float:
    """Return the largest gap where both are numbers; 0 where none is."""
    return float(np.nan_to_num(np.abs(gaps), nan=0.0).max())


def _effect(work: Work, swept: Swept) -> np.ndarray:
    d = (swept.clean - swept.corrupt) or np.nan
    restored = swept.patched - swept.corrupt
    return np.asarray((restored if work.direction == "denoising" else d - restored) / d)


def _all(swept: Swept) -> np.ndarray:
    return np.array([swept.clean, swept.corrupt, *swept.patched.ravel()])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
