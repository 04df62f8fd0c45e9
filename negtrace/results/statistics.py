"""Aggregates over pairs, draws of pairs, ranks and rank correlation.

The cells of each pair are summed first. An aggregate then sees a pair only through how often it is
drawn, so a bootstrap over pairs is one matrix product. More than `MOST_UNITS` pairs are drawn in
that many groups, so neither time nor memory of the draws grows with them: the sums of groups of
independent pairs are independent too, and a standard error over 2,000 of them is known to 2 %.
The sums of single pairs are computed for some pairs at a time, and added up by group.
"""

__all__ = [
    "AGGREGATES",
    "AT_ONCE",
    "CellSums",
    "PairSums",
    "Quotient",
    "fixed_by_law",
    "grouped",
    "interval",
    "mid_ranks",
    "pairs_with_cell",
    "rank_of_correct",
    "resample",
    "spearman",
    "subsets",
    "units",
    "units_of",
]

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from typing_extensions import override

from negtrace._registry import Registry

ROUNDING = 1e-4
"""Largest distance of an effect from 0 or 1 that rounding can make, in single precision."""

MOST_UNITS = 2000
"""Largest number of pairs that are drawn one by one."""

AT_ONCE = 2000
"""Pairs whose cells are summed at once, which bounds the memory."""


def units(pairs: int) -> int:
    """Return how many units of pairs are drawn: the pairs, or groups where there are very many."""
    return min(pairs, MOST_UNITS)


def grouped(
    values: Float[np.ndarray, " pair *cell"], count: int
) -> Float[np.ndarray, " unit *cell"]:
    """Add up the values of all pairs of a unit; pair i belongs to unit i modulo `count`.

    >>> grouped(np.arange(5.0), 3)
    array([3., 5., 2.])
    """
    return values if len(values) <= count else units_of([values], count)


def units_of(
    parts: Iterable[Float[np.ndarray, " _ *cell"]], count: int
) -> Float[np.ndarray, " unit *cell"]:
    """Add up the values of all pairs of a unit, where the pairs come some at a time.

    >>> units_of([np.arange(2.0), np.arange(2.0, 5.0)], 3)
    array([3., 5., 2.])
    """
    sums, first = None, 0
    for part in parts:
        sums = np.zeros((count, *part.shape[1:])) if sums is None else sums
        done = 0
        while done < len(part):
            unit = (first + done) % count
            block = part[done : done + count - unit]
            sums[unit : unit + len(block)] += block
            done += len(block)
        first += len(part)
    return np.zeros(0) if sums is None else sums


class CellSums(ABC):
    """Sums of each pair's cells over the tokens of each label, some pairs at a time."""

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of pairs."""

    @abstractmethod
    def parts(self) -> "Iterator[PairSums]":
        """Yield the sums of some pairs at a time, in their order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairSums(CellSums):
    """Sums of each pair's cells over the tokens of each label: all that an aggregate needs."""

    numerators: Float[np.ndarray, "pair site layer label"]
    """Patched minus corrupt (denoising) or clean minus patched (noising), summed; score units."""
    tokens: Float[np.ndarray, "pair site layer label"]
    """Number of cells in the sum; 1 for any number of them where effects are added up."""
    d: Float[np.ndarray, " pair"]
    """Clean minus corrupt, never 0; score units."""

    @property
    @override
    def n(self) -> int:
        return len(self.d)

    @override
    def parts(self) -> "Iterator[PairSums]":
        yield self


def pairs_with_cell(sums: CellSums) -> Int[np.ndarray, "site layer label"]:
    """Count the pairs that have each cell."""
    counts = [(part.tokens > 0).sum(axis=0) for part in sums.parts()]
    return np.asarray(np.sum(counts, axis=0))


def fixed_by_law(sums: CellSums) -> Bool[np.ndarray, "site layer label"]:
    """Tell for each cell whether its effect is 0 in every pair, or 1 in every pair.

    Up to rounding, as laws of tracing say of some cells; such a cell has at least one pair.
    """
    occurs, zero, one = (np.array(start) for start in (False, True, True))
    for part in sums.parts():
        present = part.tokens > 0
        scale = np.where(present, part.tokens, 1.0) * part.d[:, None, None, None]
        ratios = part.numerators / scale
        occurs = occurs | present.any(axis=0)
        zero = zero & (~present | (np.abs(ratios) <= ROUNDING)).all(axis=0)
        one = one & (~present | (np.abs(ratios - 1.0) <= ROUNDING)).all(axis=0)
    return np.asarray(occurs & (zero | one))


Weights = Float[np.ndarray, "draw unit"]
"""Number of times each unit of pairs counts, by draw."""

Aggregated = Float[np.ndarray, "draw site layer label"]

Aggregate = Callable[[CellSums, np.ndarray], np.ndarray]
"""From sums and weights to one number per draw and cell; NaN where no drawn pair has the cell."""

AGGREGATES: Registry[Aggregate] = Registry("aggregate")


Terms = tuple[np.ndarray, np.ndarray]
"""Contributions of pairs above and below the line, each [pair, site, layer, label]."""


@dataclass(frozen=True)
class Quotient:
    """Aggregate that is one sum over pairs divided by another.

    Its standard error has a formula, so its intervals can be studentised.
    """

    terms: Callable[[PairSums], Terms]
    """Contribution of each pair to the upper and to the lower sum; the lower one is 0 or more."""

    def __call__(self, sums: CellSums, weights: Weights) -> Aggregated:
        """Return the quotient in every draw; NaN where no drawn pair has the cell."""
        return _quotient(weights, *self.of_units(sums, weights.shape[1]))

    def of_units(self, sums: CellSums, count: int) -> Terms:
        """Return the contributions of each of `count` units of pairs."""
        both = units_of((np.stack(self.terms(part), axis=1) for part in sums.parts()), count)
        return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


@AGGREGATES.register("ratio_of_means")
@Quotient
def ratio_of_means(sums: PairSums) -> Terms:
    """Sum of s n over sum of s d, where s is the sign of each pair's own d.

    Within one segment this is the plain ratio of means. Over mixed signs it is the mean of the
    ratios n / d weighted by |d|, so pairs of opposite sign do not cancel in the denominator.
    """
    d = sums.d[:, None, None, None]
    return np.sign(d) * sums.numerators, np.abs(d) * sums.tokens


@AGGREGATES.register("mean_of_ratios")
@Quotient
def mean_of_ratios(sums: PairSums) -> Terms:
    """Mean of n / d over tokens, as in the papers. Pairs with a small d dominate it."""
    return sums.numerators / sums.d[:, None, None, None], sums.tokens


@AGGREGATES.register("median")
def median(sums: CellSums, weights: Weights) -> Aggregated:
    """Median over pairs of each pair's mean ratio, weighted by its number of tokens."""
    parts = []
    for part in sums.parts():
        scale = np.where(part.tokens > 0, part.tokens, np.nan) * part.d[:, None, None, None]
        parts.append((part.numerators / scale, part.tokens))
    ratios, tokens = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    shape = ratios.shape[1:]
    weights = weights[:, np.arange(len(ratios)) % weights.shape[1]]
    columns = zip(*(array.reshape(len(array), -1).T for array in (ratios, tokens)), strict=True)
    medians = [_weighted_median(ratio, weights, token) for ratio, token in columns]
    return np.stack(medians, axis=-1).reshape(len(weights), *shape)


def _weighted_median(
    values: Float[np.ndarray, " pair"], weights: Weights, tokens: Float[np.ndarray, " pair"]
) -> Float[np.ndarray, " draw"]:
    order = np.argsort(values)[: np.count_nonzero(tokens)]  # pairs without the cell are NaN, last
    if not len(order):
        return np.full(len(weights), np.nan)
    mass = np.cumsum(weights[:, order] * tokens[order], axis=1)
    half = mass[:, -1:] / 2
    low, high = (mass >= half).argmax(axis=1), (mass > half).argmax(axis=1)
    middle = (values[order][low] + values[order][high]) / 2
    return np.where(mass[:, -1] > 0, middle, np.nan)


def _quotient(
    weights: Weights,
    over: Float[np.ndarray, "unit site layer label"],
    under: Float[np.ndarray, "unit site layer label"],
) -> Aggregated:
    top = weights @ over.reshape(len(over), -1)
    bottom = weights @ under.reshape(len(under), -1)
    ratio = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return np.reshape(ratio, (len(weights), *over.shape[1:]))


def resample(pairs: int, *, resamples: int, seed: int) -> Weights:
    """Draw pairs with replacement and count how often each is drawn; row 0 takes each pair once.

    >>> resample(3, resamples=2, seed=0).sum(axis=1)
    array([3., 3., 3.])
    """
    chance = np.full(pairs, 1 / pairs)
    drawn = np.random.default_rng(seed).multinomial(pairs, chance, size=resamples)
    return np.concatenate([np.ones((1, pairs)), drawn.astype(float)])


def subsets(pairs: int, *, resamples: int, seed: int) -> Weights:
    """Draw random subsets of the pairs, none of them empty; each pair is in half of them.

    The middle 95 % of an estimate over random subsets is a 95 % interval where errors are as often
    above 0 as below (Hartigan 1969). It needs no standard error, so it serves the median.

    >>> bool(subsets(3, resamples=5, seed=0).any(axis=1).all())
    True
    """
    drawn = np.random.default_rng(seed).random((resamples, pairs)) < 0.5
    empty = np.flatnonzero(~drawn.any(axis=1))
    drawn[empty, empty % pairs] = True
    return drawn.astype(float)


def interval(
    draws: Float[np.ndarray, " draw *cell"], *, confidence: float
) -> tuple[Float[np.ndarray, "*cell"], Float[np.ndarray, "*cell"]]:
    """Lower and upper end of the percentile interval of bootstrap draws.

    A draw is left out where it is NaN, because it holds no pair with that cell. Without draws the
    ends are NaN.

    >>> low, high = interval(np.linspace(0, 1, 101), confidence=0.9)
    >>> print(f"{low:.2f} {high:.2f}")
    0.05 0.95
    """
    if not len(draws):
        missing = np.full(draws.shape[1:], np.nan)
        return missing, missing.copy()
    ordered = np.sort(draws, axis=0)  # NaN goes last
    last = np.maximum(np.isfinite(ordered).sum(axis=0) - 1, 0)
    tail = (1 - confidence) / 2
    return _quantile(ordered, last, tail), _quantile(ordered, last, 1 - tail)


def _quantile(
    ordered: Float[np.ndarray, " draw *cell"], last: np.ndarray | np.integer, level: float
) -> Float[np.ndarray, "*cell"]:
    """Interpolate linearly between the order statistics 0 to `last`."""
    position = level * np.asarray(last)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, last)
    low = np.take_along_axis(ordered, below[None], axis=0)[0]
    high = np.take_along_axis(ordered, above[None], axis=0)[0]
    return np.asarray(low + (position - below) * (high - low))


def mid_ranks(values: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, "draw item"]:
    """Rank of each value within its row, from 0; equal values share the middle of their ranks.

    >>> mid_ranks(np.array([[3.0, 1.0, 1.0]]))
    array([[2. , 0.5, 0.5]])
    """
    left, right = values[:, :, None], values[:, None, :]
    return np.asarray((left > right).sum(axis=2) + ((left == right).sum(axis=2) - 1) / 2)


def spearman(
    draws: Float[np.ndarray, "draw item"], reference: Float[np.ndarray, " item"]
) -> Float[np.ndarray, " draw"]:
    """Spearman's rank correlation of each row with `reference`; 0 where a row is constant.

    The same numbers as `scipy.stats.spearmanr`, for many rows at once and without SciPy.

    >>> spearman(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]]), np.arange(3.0))
    array([ 1., -1.,  0.])
    """
    middle = (len(reference) - 1) / 2
    ranks, reference_ranks = mid_ranks(draws) - middle, mid_ranks(reference[None])[0] - middle
    norm = np.sqrt((ranks**2).sum(axis=1) * (reference_ranks**2).sum())
    zero = np.zeros(len(draws))
    return np.asarray(np.divide(ranks @ reference_ranks, norm, out=zero, where=norm > 0))


def rank_of_correct(
    scores: Float[np.ndarray, "row option"], correct: Integer[np.ndarray, " row"]
) -> Integer[np.ndarray, " row"]:
    """Rank of the correct option in each row (1 is best). Ties and NaN count as worse.

    Args:
        scores: higher is better.
        correct: index of the correct option in each row.

    >>> rank_of_correct(np.array([[2.0, 1.0], [1.0, 1.0], [np.nan, 0.0]]), np.array([0, 0, 0]))
    array([1, 2, 2])
    """
    score = np.take_along_axis(scores, correct[:, None], axis=1)
    return np.asarray((~(scores < score)).sum(axis=1))
