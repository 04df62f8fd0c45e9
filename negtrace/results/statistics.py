"""Aggregates over pairs, their bootstrap intervals, and how alike two rankings are.

Each pair's cells are summed first; an aggregate then sees pairs only through how often each is
drawn, so a bootstrap over pairs is one matrix product.
"""

__all__ = [
    "AGGREGATES",
    "Cells",
    "interval",
    "mid_ranks",
    "rank_of_correct",
    "recall_at",
    "resample",
    "spearman",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from negtrace._registry import Registry
from negtrace.errors import CTEError


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """What an aggregate needs of each pair: sums over the tokens under each label."""

    numerators: Float[np.ndarray, "pair site layer label"]
    """Patched minus corrupt (denoising) or clean minus patched (noising), summed; score units."""
    tokens: Float[np.ndarray, "pair site layer label"]
    """Number of cells in the sum (1 for any number of them where the groups are summed)."""
    d: Float[np.ndarray, " pair"]
    """Clean minus corrupt, never 0; score units."""


Aggregate = Callable[[Cells, np.ndarray], np.ndarray]

AGGREGATES: Registry[Aggregate] = Registry("aggregate")


@AGGREGATES.register("ratio_of_means")
def ratio_of_means(
    cells: Cells, weights: Float[np.ndarray, "draw pair"]
) -> Float[np.ndarray, "draw site layer label"]:
    """Sum of s n over sum of s d, with s the sign of each pair's own d.

    Within one segment this is the plain ratio of means. Over mixed signs it is the mean of the
    ratios weighted by |d|, so opposite pairs do not cancel in the denominator and blow it up.
    """
    d = cells.d[:, None, None, None]
    return _quotient(weights, np.sign(d) * cells.numerators, np.abs(d) * cells.tokens)


@AGGREGATES.register("mean_of_ratios")
def mean_of_ratios(
    cells: Cells, weights: Float[np.ndarray, "draw pair"]
) -> Float[np.ndarray, "draw site layer label"]:
    """Mean of n / d over tokens: the papers' aggregate, run by the pairs with a small d."""
    return _quotient(weights, cells.numerators / cells.d[:, None, None, None], cells.tokens)


@AGGREGATES.register("median")
def median(
    cells: Cells, weights: Float[np.ndarray, "draw pair"]
) -> Float[np.ndarray, "draw site layer label"]:
    """Median over pairs of each pair's mean ratio, weighted by its number of tokens."""
    shape = cells.numerators.shape[1:]
    scale = np.where(cells.tokens > 0, cells.tokens, np.nan) * cells.d[:, None, None, None]
    ratios = (cells.numerators / scale).reshape(len(cells.d), -1)
    tokens = cells.tokens.reshape(len(cells.d), -1)
    columns = [_weighted_median(r, weights, t) for r, t in zip(ratios.T, tokens.T, strict=True)]
    return np.stack(columns, axis=-1).reshape(len(weights), *shape)


def _weighted_median(
    values: Float[np.ndarray, " pair"],
    weights: Float[np.ndarray, "draw pair"],
    tokens: Float[np.ndarray, " pair"],
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
    weights: Float[np.ndarray, "draw pair"],
    over: Float[np.ndarray, "pair site layer label"],
    under: Float[np.ndarray, "pair site layer label"],
) -> Float[np.ndarray, "draw site layer label"]:
    top = weights @ over.reshape(len(over), -1)
    bottom = weights @ under.reshape(len(under), -1)
    ratio = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return np.reshape(ratio, (len(weights), *over.shape[1:]))


def resample(pairs: int, *, resamples: int, seed: int) -> Float[np.ndarray, "draw pair"]:
    """How often each pair is drawn: row 0 takes each once, the others with replacement.

    >>> resample(3, resamples=2, seed=0).sum(axis=1)
    array([3., 3., 3.])

    Raises:
        CTEError: when `resamples` is negative.
    """
    if resamples < 0:
        raise CTEError(f"resamples must be 0 (no intervals) or more, not {resamples}")
    chance = np.full(pairs, 1 / pairs)
    drawn = np.random.default_rng(seed).multinomial(pairs, chance, size=resamples)
    return np.concatenate([np.ones((1, pairs)), drawn.astype(float)])


def interval(
    draws: Float[np.ndarray, " draw *cell"], *, confidence: float
) -> tuple[Float[np.ndarray, "*cell"], Float[np.ndarray, "*cell"]]:
    """The percentile interval of `draws`; draws that are NaN (no such pair drawn) do not count.

    >>> low, high = interval(np.linspace(0, 1, 101), confidence=0.9)
    >>> print(f"{low:.2f} {high:.2f}")
    0.05 0.95

    Raises:
        CTEError: when `confidence` does not lie between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise CTEError(f"confidence must lie between 0 and 1, not {confidence}")
    if not len(draws):
        nothing = np.full(draws.shape[1:], np.nan)
        return nothing, nothing.copy()
    ordered = np.sort(draws, axis=0)  # NaN goes last
    last = np.maximum(np.isfinite(ordered).sum(axis=0) - 1, 0)
    tail = (1 - confidence) / 2
    return _quantile(ordered, last, tail), _quantile(ordered, last, 1 - tail)


def _quantile(
    ordered: Float[np.ndarray, " draw *cell"], last: np.ndarray | np.integer, level: float
) -> Float[np.ndarray, "*cell"]:
    """Linear interpolation between the order statistics 0 to `last`."""
    place = level * np.asarray(last)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, last)
    low = np.take_along_axis(ordered, below[None], axis=0)[0]
    high = np.take_along_axis(ordered, above[None], axis=0)[0]
    return np.asarray(low + (place - below) * (high - low))


def mid_ranks(values: Float[np.ndarray, "draw item"]) -> Float[np.ndarray, "draw item"]:
    """Ranks within each row, from 0; equal values share the middle of their ranks.

    >>> mid_ranks(np.array([[3.0, 1.0, 1.0]]))
    array([[2. , 0.5, 0.5]])
    """
    left, right = values[:, :, None], values[:, None, :]
    return np.asarray((left > right).sum(axis=2) + ((left == right).sum(axis=2) - 1) / 2)


def spearman(
    draws: Float[np.ndarray, "draw item"], reference: Float[np.ndarray, " item"]
) -> Float[np.ndarray, " draw"]:
    """Spearman's correlation of each row with `reference`; 0 where a row ranks nothing.

    >>> spearman(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]]), np.arange(3.0))
    array([ 1., -1.,  0.])
    """
    ours = mid_ranks(draws) - (len(reference) - 1) / 2
    theirs = mid_ranks(reference[None])[0] - (len(reference) - 1) / 2
    norm = np.sqrt((ours**2).sum(axis=1) * (theirs**2).sum())
    found = np.divide(ours @ theirs, norm, out=np.zeros(len(draws)), where=norm > 0)
    return np.asarray(found)


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


def recall_at(
    scores: Float[np.ndarray, "row row"], ks: Sequence[int] = (1, 5, 10)
) -> dict[int, float]:
    """Recall at each k: share of rows whose correct option, on the diagonal, ranks k or better.

    >>> recall_at(np.eye(4), ks=(1,))
    {1: 1.0}
    """
    rank = rank_of_correct(scores, np.arange(len(scores)))
    return {k: float((rank <= k).mean()) for k in ks}
