"""Tests of single cells against no effect, corrected for the number of cells."""

__all__ = ["ALPHA", "adjusted", "sign_flip_test"]

import numpy as np
from jaxtyping import Bool, Float

from negtrace.results.statistics import AGGREGATES, PairSums, Quotient

ALPHA = 0.05
"""Largest q at which a cell counts as clear of 0."""

FLIPS = 9999
"""Random patterns of signs; where pairs have no more patterns than that, all of them are used."""

CELLS = 256
"""Cells that are tested at once, which bounds the memory."""

ROUNDING = 1e-4
"""Largest distance of an effect from 0 or 1 that rounding can make, in single precision."""


def sign_flip_test(
    sums: PairSums, aggregate: str, *, seed: int
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
    terms = _contributions(sums, aggregate)
    shape = terms.shape[1:]
    columns = terms.reshape(len(terms), -1)
    signs, exact = _sign_patterns(len(terms), seed)
    p = np.full(columns.shape[1], np.nan)
    tested = np.flatnonzero(_open(sums).ravel())
    for start in range(0, len(tested), CELLS):
        part = tested[start : start + CELLS]
        reached = np.abs(columns[:, part].sum(axis=0)) * (1 - 1e-9)  # equal sums differ by rounding
        extreme = (np.abs(signs @ columns[:, part]) >= reached).sum(axis=0)
        p[part] = extreme / len(signs) if exact else (1 + extreme) / (1 + len(signs))
    return p.reshape(shape)


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


def _open(sums: PairSums) -> Bool[np.ndarray, "site layer label"]:
    """Tell for each cell whether its effect is not the same by law in every pair."""
    present = sums.tokens > 0
    scale = np.where(present, sums.tokens, 1.0) * sums.d[:, None, None, None]
    ratios = sums.numerators / scale
    lawful = [(~present | (np.abs(ratios - law) <= ROUNDING)).all(axis=0) for law in (0.0, 1.0)]
    return np.asarray(present.any(axis=0) & ~lawful[0] & ~lawful[1])


def _sign_patterns(pairs: int, seed: int) -> tuple[Float[np.ndarray, "flip pair"], bool]:
    """Return patterns of signs, and whether they are all that there are up to a turn of all."""
    if 2 ** (pairs - 1) <= FLIPS:
        bits = np.arange(2 ** (pairs - 1))[:, None] >> np.arange(pairs) & 1
        return 1.0 - 2.0 * bits, True
    drawn = np.random.default_rng([seed, 1]).integers(0, 2, size=(FLIPS, pairs))
    return 1.0 - 2.0 * drawn, False
