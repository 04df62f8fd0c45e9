"""Selections of pairs by d = clean - corrupt: segments, and the floor below which ratios are noise.

A segment says how the model tells the two statements of a pair apart; the floor leaves out pairs
that it hardly tells apart.
"""

__all__ = ["FLOOR", "TAU", "above_floor", "counts_of", "segments_of"]

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from negtrace.results.options import SEGMENTS

TAU: Mapping[str, float] = {"logit": 1.0, "cosine": 0.01}
"""Least |d| of a pair that the model tells apart, by unit of score. One logit as in Quantmeyer et
al. (2024, arXiv 2407.10488); in cosines the same step at CLIP's logit scale of 100."""

FLOOR: Mapping[str, float] = {"logit": 0.1, "cosine": 0.001}
"""Least |d| of a pair that is reduced, by unit of score: tau / 10. Below it a ratio says more about
rounding and chance than about the model."""


def segments_of(d: Float[np.ndarray, " pair"], tau: float) -> tuple[str, ...]:
    """Segment of each pair: `correct` (d >= tau), `incorrect` (d <= -tau), else `ambiguous`.

    >>> segments_of(np.array([1.0, 0.2, -3.0]), tau=1.0)
    ('correct', 'ambiguous', 'incorrect')
    """
    _, correct, ambiguous, incorrect = SEGMENTS
    return tuple(np.select([d >= tau, d <= -tau], [correct, incorrect], ambiguous).tolist())


def counts_of(segments: Sequence[str]) -> dict[str, int]:
    """Count the pairs of each segment.

    >>> counts_of(("correct", "incorrect", "correct"))
    {'correct': 2, 'ambiguous': 0, 'incorrect': 1}
    """
    return {segment: segments.count(segment) for segment in SEGMENTS[1:]}


def above_floor(d: Float[np.ndarray, " pair"], floor: float) -> Bool[np.ndarray, " pair"]:
    """Tell for each pair whether it can be reduced: |d| >= floor, and d is not 0.

    >>> above_floor(np.array([0.0, 0.1, -2.0]), floor=0.1).tolist()
    [False, True, True]
    """
    return np.asarray((np.abs(d) >= floor) & (d != 0))
