"""Confidence intervals over pairs, or over groups of questions, that hold from 8 of them on.

Percentile intervals of a plain bootstrap are far too short when pairs are few. Here a quotient of
sums is studentised: a draw counts by its distance from the estimate in units of its own standard
error. Other aggregates, such as the median, take random subsets of the pairs. A share, such as an
accuracy, has a formula instead of draws, which also holds where all answers are right.
`docs/explanation/intervals.md` shows how often intervals cover the true value.
"""

__all__ = [
    "MIN_GROUPS",
    "MIN_PAIRS",
    "confidence_interval",
    "jackknife_interval",
    "share_interval",
    "studentised",
    "too_few",
]

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

from negtrace.results.options import Resampling
from negtrace.results.statistics import (
    AGGREGATES,
    CellSums,
    Quotient,
    fixed_by_law,
    grouped,
    interval,
    pairs_with_cell,
    resample,
    subsets,
    units,
)

MIN_PAIRS = 8
"""Least number of pairs that an interval is given for: from here on, intervals of 95 % cover the
true value in 93 to 97 % of cases, also where effects depend on d."""

MIN_GROUPS = 8
"""Least number of groups of questions that the interval of a share or of a mean is given for."""

PRIOR_GROUPS = 0.25
"""Groups that are all right, and as many that are all wrong, in the estimated design effect. With
fewer, intervals are too short where few groups have a wrong answer; with more, they are longer than
they need be."""

PLUS_FOUR = 2 / 1.96**2
"""Right items that the interval of a share adds, and as many wrong ones, as a multiple of z ** 2:
two of each at 95 %."""

LEVERAGE = 1.5
"""Power of 1 - h by which a residual is divided, where h is the pair's share of the lower sum. The
jackknife has 1. A higher power widens intervals that few pairs decide; 1.5 covers best."""

CELLS = 512
"""Cells that are reduced at once, which bounds the memory."""

EXACT = 1e-12
"""Standard error below which all pairs have the same effect, up to rounding."""

Ends = tuple[np.ndarray, np.ndarray]
"""Lower and upper ends of intervals, one for each cell."""


def too_few(n: int) -> str:
    """Say that a number of pairs is too small for intervals; nothing where it is large enough.

    >>> too_few(5)
    'too few pairs (5 of at least 8)'
    >>> too_few(8)
    ''
    """
    return f"too few pairs ({n} of at least {MIN_PAIRS})" if n < MIN_PAIRS else ""


def confidence_interval(sums: CellSums, aggregate: str, options: Resampling) -> Ends:
    """Lower and upper end of the interval of every cell, each [site, layer, label].

    A quotient of sums has a studentised bootstrap interval. Any other aggregate has the interval of
    random subsets of the pairs. Ends are NaN where fewer than `MIN_PAIRS` pairs have the cell,
    without draws, and where the pairs do not determine them: an effect that few pairs have. Both
    ends are the effect itself where a law of tracing fixes it at 0 or 1 in every pair.

    Args:
        sums: cells of each pair, summed.
        aggregate: name of the aggregate.
        options: number of draws, confidence and seed.
    """
    counts = pairs_with_cell(sums)
    enough = counts >= MIN_PAIRS
    low, high = (np.full(counts.shape, np.nan) for _ in range(2))
    if options.resamples and enough.any():
        function = AGGREGATES[aggregate]
        named = {"resamples": options.resamples, "seed": options.seed}
        if isinstance(function, Quotient):
            drawn = resample(units(sums.n), **named)[1:]
            terms = function.of_units(sums, units(sums.n))
            low, high = studentised(*terms, drawn=drawn, confidence=options.confidence)
        else:
            draws = function(sums, subsets(units(sums.n), **named))
            low, high = interval(draws, confidence=options.confidence)
        # There, a spread is rounding alone, and would decide whether there is an interval.
        value = function(sums, np.ones((1, units(sums.n))))[0]
        fixed = fixed_by_law(sums)
        low, high = np.where(fixed, value, low), np.where(fixed, value, high)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def studentised(
    over: Float[np.ndarray, " pair *cell"],
    under: Float[np.ndarray, " pair *cell"],
    *,
    drawn: Float[np.ndarray, "draw unit"],
    confidence: float,
) -> Ends:
    """Studentised bootstrap interval of sum(over) / sum(under), cell by cell.

    With R the quotient, e = over - R under a residual, h = under / sum(under) and m the number of
    pairs with the cell, the standard error is

        s = sqrt(((m - 1) / m) ** 2 sum((e / (1 - h) ** 1.5) ** 2)) / sum(under),

    the formula of the delta method with more weight on pairs that decide much. A draw has the
    plain error s* of the delta method and t* = (R* - R) / s*. On each side the interval is the
    wider of the equal-tailed one and the symmetric one (Hall 1988, Annals of Statistics 16), so it
    holds for skewed and for heavy-tailed effects.

    Args:
        over: contribution of each pair to the upper sum; 0 where the pair lacks the cell.
        under: contribution to the lower sum, 0 or more; 0 where the pair lacks the cell.
        drawn: number of times each pair, or unit of pairs, is drawn.
        confidence: probability of covering, between 0 and 1.

    Returns:
        Lower and upper ends; NaN where a draw that matters has no spread, since it holds one
        distinct effect only.
    """
    over, under = (grouped(term, drawn.shape[1]) for term in (over, under))
    shape = over.shape[1:]
    columns = over.reshape(len(over), -1), under.reshape(len(under), -1)
    ends = np.full((2, columns[0].shape[1]), np.nan)
    for start in range(0, ends.shape[1], CELLS):
        part = slice(start, start + CELLS)
        ends[:, part] = _studentised(columns[0][:, part], columns[1][:, part], drawn, confidence)
    return ends[0].reshape(shape), ends[1].reshape(shape)


def _studentised(
    over: Float[np.ndarray, "pair cell"],
    under: Float[np.ndarray, "pair cell"],
    drawn: Float[np.ndarray, "draw pair"],
    confidence: float,
) -> Float[np.ndarray, "two cell"]:
    present, total = (under > 0).astype(float), under.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = over.sum(axis=0) / total
        residual = np.where(present > 0, over - value * under, 0.0)
        rest = np.where(present > 0, 1 - under / total, 1.0)
        count = present.sum(axis=0)
        squares = ((residual / rest**LEVERAGE) ** 2).sum(axis=0)
        error = np.sqrt(squares) * (count - 1) / count / total
        draws = _t_of_draws(residual, under, present, drawn)
        upper, lower = _reach(draws, confidence)
        ends = np.stack([value - lower * error, value + upper * error])
    ends = np.where(error <= EXACT, value, ends)
    return np.asarray(np.where(np.isfinite(ends).all(axis=0), ends, np.nan))


def _t_of_draws(
    residual: Float[np.ndarray, "pair cell"],
    under: Float[np.ndarray, "pair cell"],
    present: Float[np.ndarray, "pair cell"],
    drawn: Float[np.ndarray, "draw pair"],
) -> Float[np.ndarray, "draw cell"]:
    """Return the distance of each draw's quotient from the estimate in its own standard errors."""
    bottom = drawn @ under
    distance = (drawn @ residual) / bottom
    squares = drawn @ residual**2
    squares -= 2 * distance * (drawn @ (residual * under))
    squares += distance**2 * (drawn @ under**2)
    # Where all drawn pairs have the same effect up to rounding, there is no spread.
    scale = drawn @ residual**2 + distance**2 * (drawn @ under**2)
    squares[squares <= 1e-6 * scale] = 0
    count = len(residual) if present.all() else drawn @ present
    return np.asarray(distance * bottom * np.sqrt((count - 1) / count) / np.sqrt(squares))


def _reach(
    draws: Float[np.ndarray, "draw cell"], confidence: float
) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """Return how many standard errors an interval reaches above and below the estimate.

    NaN among draws, which hold no pair with the cell, count as infinitely far away.
    """
    last, tail = len(draws) - 1, (1 - confidence) / 2
    first = min(max(math.floor(tail * (len(draws) + 1)) - 1, 0), last)
    middle = min(max(math.ceil(confidence * (len(draws) + 1)) - 1, 0), last)
    draws = np.where(np.isnan(draws), np.inf, draws)
    ordered = np.partition(draws, [first, last - first], axis=0)
    distances = np.partition(np.abs(draws), middle, axis=0)[middle]
    return np.maximum(distances, -ordered[first]), np.maximum(distances, ordered[last - first])


def jackknife_interval(
    values: Float[np.ndarray, " block"],
    draws: Float[np.ndarray, "draw block"],
    left_out: Float[np.ndarray, "pair block"],
    *,
    drawn: Float[np.ndarray, "draw pair"],
    confidence: float,
) -> Ends:
    """Symmetric studentised interval of any smooth statistic, from its jackknife.

    The influence of a pair is (n - 1) times what the statistic loses without it. It gives the
    standard error of the statistic and, over the pairs of a draw, that of the draw.

    Args:
        values: the statistic.
        draws: the statistic in every bootstrap draw.
        left_out: the statistic without each pair in turn.
        drawn: number of times each pair is drawn.
        confidence: probability of covering, between 0 and 1.

    Returns:
        Lower and upper ends; NaN where the pairs do not determine them.
    """
    n = len(left_out)
    influence = (n - 1) * (left_out.mean(axis=0) - left_out)
    spread = np.sqrt((influence**2).sum(axis=0) / (n - 1) / n)
    mean = drawn @ influence / n
    squares = np.maximum(drawn @ influence**2 / n - mean**2, 0) / (n - 1)
    squares[squares <= 1e-6 * mean**2] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        upper, lower = _reach((draws - values) / np.sqrt(squares), confidence)
        reach = np.maximum(upper, lower) * spread
    reach = np.where(spread <= EXACT, 0.0, reach)
    reach = np.where(np.isfinite(reach), reach, np.nan)
    return values - reach, values + reach


def share_interval(
    right: Float[np.ndarray, " group *cell"],
    size: Float[np.ndarray, " group *cell"],
    *,
    confidence: float,
) -> Ends:
    """Interval of a share of items, such as an accuracy, when the items come in groups.

    With p the share, n the number of items, G that of groups and m = sum(size ** 2) / n the mean
    size of an item's group, the design effect says how many items tell as much as one independent
    item. It is larger than 1 where items of a group tend to be right together:

        D = (G / (G - 1) sum((right - p size) ** 2) + c m ** 2) / (n ** 2 / (n - 1) p (1 - p) + c m)

    where c = (p ** 2 + (1 - p) ** 2) / 4 stands for a quarter of a group that is all right and a
    quarter of one that is all wrong. Groups of one item have D = 1. If all items are right, D = m,
    so each group counts as one item. The interval is that of Agresti & Coull (1998, The American
    Statistician 52) for k = n / D independent items. They add a = 2 (z / 1.96) ** 2 right items and
    as many wrong ones:

        q +- z sqrt(q (1 - q) / (k + 2 a)), q = (p k + a) / (k + 2 a)

    It is cut off at 0 and 1. Its length is never 0. Wilson's interval is a little shorter, and
    covers too little near 0 and 1.

    Args:
        right: number of right items in each group, or any sum of numbers between 0 and 1.
        size: number of items in each group, or the sum of their weights.
        confidence: probability of covering, between 0 and 1.

    Returns:
        Lower and upper ends; NaN with fewer than `MIN_GROUPS` groups.

    >>> low, high = share_interval(np.full(20, 4.0), np.full(20, 4.0), confidence=0.95)
    >>> print(f"{low:.2f} {high:.2f}")
    0.81 1.00
    """
    if len(right) < MIN_GROUPS:
        missing = np.full(right.shape[1:], np.nan)
        return missing, missing.copy()
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    items = size.sum(axis=0)
    share = right.sum(axis=0) / items
    independent = items / _design_effect(right, size)
    added = PLUS_FOUR * z**2
    total = independent + 2 * added
    middle = (share * independent + added) / total
    reach = z * np.sqrt(middle * (1 - middle) / total)
    low, high = np.maximum(middle - reach, 0.0), np.minimum(middle + reach, 1.0)
    return np.asarray(low), np.asarray(high)


def _design_effect(
    right: Float[np.ndarray, " group *cell"],
    size: Float[np.ndarray, " group *cell"],
) -> Float[np.ndarray, "*cell"]:
    """Return how many items tell as much as one that is independent of all others."""
    groups, items = len(right), size.sum(axis=0)
    share = right.sum(axis=0) / items
    typical = (size**2).sum(axis=0) / items
    prior = PRIOR_GROUPS * (share**2 + (1 - share) ** 2)
    found = groups / (groups - 1) * ((right - share * size) ** 2).sum(axis=0)
    expected = items**2 / (items - 1) * share * (1 - share)
    return np.asarray((found + prior * typical**2) / (expected + prior * typical))
