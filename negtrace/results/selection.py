"""Which pairs a result speaks of: how far the model tells their statements apart, what is true."""

__all__ = [
    "CONDITIONS",
    "FLOOR",
    "SEGMENTS",
    "TAU",
    "above_floor",
    "chosen",
    "counts_of",
    "segments_of",
]

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from negtrace._messages import one_of, tally
from negtrace.errors import CTEError

TAU: Mapping[str, float] = {"logit": 1.0, "cosine": 0.01}
"""A pair counts as told apart from |d| = tau on, by unit of score; in logits as Quantmeyer et al.
(2024), in cosines that same step at CLIP's logit scale of 100."""

FLOOR: Mapping[str, float] = {"logit": 0.1, "cosine": 0.001}
"""Below this |d| a ratio says more about rounding and luck than about the model: tau / 10."""

SEGMENTS = ("all", "correct", "ambiguous", "incorrect")

CONDITIONS = (None, "negated", "affirmative")
"""Which statement is true; None for both."""


def segments_of(d: Float[np.ndarray, " pair"], tau: float) -> tuple[str, ...]:
    """Each pair's segment: `correct` from d = tau on, `incorrect` from -tau on, else `ambiguous`.

    >>> segments_of(np.array([1.0, 0.2, -3.0]), tau=1.0)
    ('correct', 'ambiguous', 'incorrect')
    """
    return tuple(np.select([d >= tau, d <= -tau], SEGMENTS[1::2], SEGMENTS[2]).tolist())


def counts_of(segments: tuple[str, ...]) -> dict[str, int]:
    """Number of pairs in each segment.

    >>> counts_of(("correct", "incorrect", "correct"))
    {'correct': 2, 'ambiguous': 0, 'incorrect': 1}
    """
    return {segment: segments.count(segment) for segment in SEGMENTS[1:]}


def chosen(
    d: Float[np.ndarray, " pair"],
    negated: Bool[np.ndarray, " pair"],
    mask: Bool[np.ndarray, " pair"] | None,
    *,
    unit: str,
    segment: str,
    condition: str | None,
) -> Bool[np.ndarray, " pair"]:
    """The pairs under `mask`, in `segment` and of `condition`.

    Raises:
        CTEError: when there is none.
        UnknownNameError: when there is no such segment or condition.
    """
    one_of("segment", segment, SEGMENTS)
    one_of("condition", condition, CONDITIONS)
    segments = segments_of(d, TAU[unit])
    keep = np.ones(len(d), dtype=bool) if mask is None else mask
    if segment != "all":
        keep = keep & (np.array(segments) == segment)
    if condition is not None:
        keep = keep & (negated == (condition == "negated"))
    if not keep.any():
        raise CTEError(
            f"none of the {len(d)} pairs is left: segment {segment!r}, condition {condition!r}; "
            f"segments hold {tally(counts_of(segments))} (tau {TAU[unit]:g} {unit}), the negated "
            f"statement is true in {int(negated.sum())}; select another segment or condition"
        )
    return keep


def above_floor(
    d: Float[np.ndarray, " pair"], floor: float, unit: str
) -> Bool[np.ndarray, " pair"]:
    """The pairs whose |d| reaches the floor and is not 0.

    Raises:
        CTEError: when there is none.
    """
    size = np.abs(d)
    above = np.asarray((size >= floor) & (size > 0))
    if not above.any():
        raise CTEError(
            f"nothing to reduce: all {len(d)} selected pairs have |d| below the floor of "
            f"{floor:g} {unit} (largest |d| {size.max():.3g}), so the model hardly tells "
            "their statements apart and ratios are noise; trace pairs that it tells apart, or "
            "pass a lower floor"
        )
    return above
