"""Estimates checked against exact scores: some of the cells run exactly."""

__all__ = ["verified"]

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from negtrace.results.statistics import spearman
from negtrace.tracing.engines.exact import rerun
from negtrace.tracing.engines.sweep import ContrastScores, Sweep


def verified(
    sweep: Sweep, estimates: Mapping[int, ContrastScores], *, count: int, seed: int = 0
) -> dict[str, float | int | None]:
    """Run the cells with the largest estimates and some random cells exactly, and compare.

    Args:
        sweep: the sweep that was estimated.
        estimates: its estimated scores, by contrast.
        count: how many of the largest, and how many random cells.
        seed: of the random cells.

    Returns:
        `top` and `random`, the number of cells of each kind. `pearson` and `spearman`, the
        correlations of the estimated with the exact change of the score over all these cells; the
        same over the random cells alone. `largest_gap`, in the unit of the score.
    """
    cells, changes = _cells(sweep, estimates)
    top, random = _chosen(changes, count, seed)
    chosen = np.concatenate([top, random])
    exact = _exact_changes(sweep, cells[chosen])
    pearson, ranks = _correlations(changes[chosen], exact)
    random_pearson, random_ranks = _correlations(changes[random], exact[len(top) :])
    return {
        "top": len(top),
        "random": len(random),
        "pearson": pearson,
        "spearman": ranks,
        "random_pearson": random_pearson,
        "random_spearman": random_ranks,
        "largest_gap": float(np.abs(changes[chosen] - exact).max()),
    }


def _cells(
    sweep: Sweep, estimates: Mapping[int, ContrastScores]
) -> tuple[Int[np.ndarray, "cell four"], Float[np.ndarray, " cell"]]:
    """Return contrast, site, layer and group of every cell, and the change of its score."""
    indices, changes = [], []
    for contrast in sorted(estimates):
        scores = estimates[contrast]
        finite = np.argwhere(np.isfinite(scores.patched))
        indices.append(np.column_stack([np.full(len(finite), contrast), finite]))
        changes.append(scores.patched[tuple(finite.T)] - sweep.base_score(scores))
    return np.concatenate(indices), np.concatenate(changes)


def _chosen(
    changes: Float[np.ndarray, " cell"], count: int, seed: int
) -> tuple[Int[np.ndarray, " top"], Int[np.ndarray, " random"]]:
    """Return the indices of the largest changes, and of random others."""
    order = np.argsort(-np.abs(changes), kind="stable")
    top, rest = order[:count], np.sort(order[count:])
    random = np.random.default_rng(seed).choice(rest, min(count, len(rest)), replace=False)
    return top, random


def _exact_changes(sweep: Sweep, cells: Int[np.ndarray, "cell four"]) -> Float[np.ndarray, " cell"]:
    """Return the exact change of the score in each cell."""
    shape = len(sweep.plan.sites), len(sweep.encoder.layers), int(cells[:, 3].max()) + 1
    only = {index: np.zeros(shape, dtype=bool) for index in sorted(set(cells[:, 0].tolist()))}
    for index, wanted in only.items():
        wanted[tuple(cells[cells[:, 0] == index, 1:].T)] = True
    changes = {
        scores.index: scores.patched - sweep.base_score(scores)
        for scores in rerun(sweep, list(only), only=only)
    }
    return np.array([changes[index][site, layer, group] for index, site, layer, group in cells])


def _correlations(
    one: Float[np.ndarray, " cell"], other: Float[np.ndarray, " cell"]
) -> tuple[float | None, float | None]:
    """Return Pearson's and Spearman's correlation; None where one of the two does not vary."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None, None
    return float(np.corrcoef(one, other)[0, 1]), float(spearman(one[None], other)[0])
