"""Tests of single cells against no effect, corrected for the number of cells."""

__all__ = ["ALPHA", "adjusted", "sign_flip_test"]

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from negtrace.results.statistics import (
    AGGREGATES,
    CellSums,
    PairSums,
    Quotient,
    fixed_by_law,
    pairs_with_cell,
    units,
    units_of,
)

ALPHA = 0.05
"""Largest q at which a cell counts as clear of 0."""

FLIPS = 9999
"""Random patterns of signs; where pairs have no more patterns than that, all of them are used."""

CELLS, AT_ONCE = 256, 1000
"""Cells and patterns of signs that are tested at once, which bounds the memory."""


def sign_flip_test(
    sums: CellSums, aggregate: str, *, seed: int
) -> Float[np.ndarray, "site layer label"]:
    """Two-sided p-value of no effect in each cell, by flipping the signs of pairs.

    Without an effect, a pair's contribution is as likely to be x as -x. So |sum of s x| over signs
    s says how large the sum is by chance, and p is the share of sign patterns that reach the sum
    of the data. For ratios, x is the contribution to the upper sum; for other aggregates it is the
    sign of the pair's effect, weighted by its tokens, which tests the median.

    Up to 14 pairs every pattern is used; beyond, 9999 random ones and that of the data, so p is at
    least 1 / 10000. Of n pairs that have an effect, p is at least 2 / 2 ** n: below six pairs no
    cell can reach .05.

    Returns:
        p by cell. NaN where there is nothing to test: no pair has the cell, or its effect is 0 in
        every pair, or 1 in every pair, up to rounding, as laws of tracing say of some cells.
    """
    tested = (pairs_with_cell(sums) > 0) & ~fixed_by_law(sums)
    terms = (_contributions(part, aggregate) for part in sums.parts())
    columns = units_of(terms, units(sums.n))[:, tested]
    reached = np.abs(columns.sum(axis=0)) * (1 - 1e-9)  # equal sums differ by rounding
    extreme, count = np.zeros(columns.shape[1]), 0
    every = 2 ** (len(columns) - 1) <= FLIPS
    for signs in _every_pattern(len(columns)) if every else _random_patterns(len(columns), seed):
        for start in range(0, len(extreme), CELLS):
            part = slice(start, start + CELLS)
            flipped = np.abs(signs @ columns[:, part])
            extreme[part] += (flipped >= reached[part]).sum(axis=0)
        count += len(signs)
    p = np.full(tested.shape, np.nan)
    p[tested] = extreme / count if every else (1 + extreme) / (1 + count)
    return p


def adjusted(p: Float[np.ndarray, "*cell"]) -> Float[np.ndarray, "*cell"]:
    """q-value of each p-value: the least false discovery rate at which the cell is a discovery.

    The k-th smallest of m values becomes the least of p m / k over itself and the larger ones
    (Benjamini & Hochberg 1995). Cells without a p-value are no tests and stay NaN.

    >>> adjusted(np.array([0.01, np.nan, 0.04])).tolist()
    [0.02, nan, 0.04]
    """
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    values = p[tested]
    order = np.argsort(-values)
    ranks = np.arange(len(values), 0, -1)
    least = np.minimum.accumulate(values[order] * len(values) / ranks)
    corrected = np.empty_like(values)
    corrected[order] = least
    q[tested] = corrected
    return q


def _contributions(sums: PairSums, aggregate: str) -> Float[np.ndarray, "pair site layer label"]:
    function = AGGREGATES[aggregate]
    if isinstance(function, Quotient):
        return function.terms(sums)[0]
    return np.asarray(np.sign(sums.numerators / sums.d[:, None, None, None]) * sums.tokens)


def _every_pattern(count: int) -> Iterator[Float[np.ndarray, "flip unit"]]:
    """Yield all patterns of signs up to a turn of all."""
    bits = np.arange(2 ** (count - 1))[:, None] >> np.arange(count) & 1
    yield 1.0 - 2.0 * bits


def _random_patterns(count: int, seed: int) -> Iterator[Float[np.ndarray, "flip unit"]]:
    """Yield random patterns of signs, some at a time."""
    rng = np.random.default_rng([seed, 1])
    for start in range(0, FLIPS, AT_ONCE):
        drawn = rng.integers(0, 2, size=(min(AT_ONCE, FLIPS - start), count))
        yield 1.0 - 2.0 * drawn
