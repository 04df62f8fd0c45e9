"""How far an estimate can be trusted: some of its cells run exactly."""

__all__ = ["verified"]

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from negtrace.results.statistics import spearman
from negtrace.tracing.engines.exact import Swept
from negtrace.tracing.prepare import Work


def verified(
    work: Work, estimates: Mapping[int, Swept], *, count: int, seed: int = 0
) -> dict[str, float | int | None]:
    """Run the `count` largest estimates and as many random cells exactly, and compare.

    Returns:
        How many of each were run, the correlations (Pearson's, and Spearman's of ranks) of the
        estimated with the exact change of the score over all of them and over the random ones
        alone, and the largest gap in the unit of the score.
    """
    cells, changes = _cells(work, estimates)
    top, drawn = _chosen(changes, count, seed)
    chosen = np.concatenate([top, drawn])
    exact = _exactly(work, cells[chosen])
    pearson, ranks = _correlations(changes[chosen], exact)
    random_pearson, random_ranks = _correlations(changes[drawn], exact[len(top) :])
    return {
        "top": len(top),
        "random": len(drawn),
        "pearson": pearson,
        "spearman": ranks,
        "random_pearson": random_pearson,
        "random_spearman": random_ranks,
        "largest_gap": float(np.abs(changes[chosen] - exact).max()),
    }


def _cells(
    work: Work, estimates: Mapping[int, Swept]
) -> tuple[Int[np.ndarray, "cell four"], Float[np.ndarray, " cell"]]:
    """Return contrast, site, layer and group of every cell, and the change of its score."""
    places, changes = [], []
    for index in sorted(estimates):
        one = estimates[index]
        found = np.argwhere(np.isfinite(one.patched))
        places.append(np.column_stack([np.full(len(found), index), found]))
        changes.append(one.patched[tuple(found.T)] - work.base(one))
    return np.concatenate(places), np.concatenate(changes)


def _chosen(
    changes: Float[np.ndarray, " cell"], count: int, seed: int
) -> tuple[Int[np.ndarray, " top"], Int[np.ndarray, " drawn"]]:
    order = np.argsort(-np.abs(changes), kind="stable")
    top, rest = order[:count], np.sort(order[count:])
    drawn = np.random.default_rng(seed).choice(rest, min(count, len(rest)), replace=False)
    return top, drawn


def _exactly(work: Work, cells: Int[np.ndarray, "cell four"]) -> Float[np.ndarray, " cell"]:
    """Return the exact change of the score in each cell."""
    shape = len(work.plan.sites), len(work.encoder.layers), int(cells[:, 3].max()) + 1
    only = {index: np.zeros(shape, dtype=bool) for index in sorted(set(cells[:, 0].tolist()))}
    for index, wanted in only.items():
        wanted[tuple(cells[cells[:, 0] == index, 1:].T)] = True
    changes = {
        index: swept.patched - work.base(swept) for index, swept in work.exactly(list(only), only)
    }
    return np.array([changes[index][site, layer, group] for index, site, layer, group in cells])


def _correlations(
    one: Float[np.ndarray, " cell"], other: Float[np.ndarray, " cell"]
) -> tuple[float | None, float | None]:
    """Return Pearson's and Spearman's correlation; None where one of the two does not vary."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None, None
    return float(np.corrcoef(one, other)[0, 1]), float(spearman(one[None], other)[0])
