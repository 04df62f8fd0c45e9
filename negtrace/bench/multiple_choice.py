"""Pools: items that a file holds as they are, such as NegBench's and VALSE's.

Kinds of the right statement are unequally frequent there, so accuracy is reported by kind and
balanced over kinds; `place as filed` is what always choosing the most frequent place would be
worth in the file, before the places are shuffled.
"""

__all__ = ["Pool", "filed_place", "results"]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from negtrace.bench import baselines
from negtrace.bench.items import Item
from negtrace.bench.rates import Bootstrap, by_tag
from negtrace.bench.report import Row
from negtrace.datasets.note import Note

SERIES = "questions"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Items of a file, what was left out, and how often each place is right as filed."""

    items: tuple[Item, ...]
    noted: tuple[Note, ...]
    filed: Mapping[str, int]


def filed_place(filed: Mapping[str, int]) -> float:
    """Return what always choosing the most frequent place would score on the file as it stands."""
    return max(filed.values()) / sum(filed.values())


def results(
    pool: Pool, right: Mapping[str, Float[np.ndarray, " item"]], bootstrap: Bootstrap
) -> list[Row]:
    """Return each scorer's accuracy, over all, by kind of the right statement and balanced.

    Args:
        pool: what was asked.
        right: by scorer, 1 for each item that it got right, else 0.
        bootstrap: how intervals are made.
    """
    rows = []
    for scorer, own in right.items():
        rows += by_tag(pool.items, own, bootstrap, scorer=scorer, series=SERIES, axes=("template",))
        rows.append(_balanced(pool.items, own, bootstrap, scorer))
    place = filed_place(pool.filed)
    return [*rows, _row(pool.items, "place as filed", "all", (place, place, place))]


def _balanced(items: Sequence[Item], right: np.ndarray, bootstrap: Bootstrap, scorer: str) -> Row:
    """Return the mean of the kinds' accuracies, each kind counting alike."""
    kinds = [item.tags["template"][0] for item in items]
    many = Counter(kinds)
    weights = np.array([len(items) / (len(many) * many[kind]) for kind in kinds])
    ends = bootstrap.mean(right * weights, [item.group for item in items])
    return _row(items, scorer, "balanced", ends)


def _row(items: Sequence[Item], scorer: str, axis: str, ends: tuple[float, float, float]) -> Row:
    estimate, low, high = ends
    return Row(
        measure="accuracy",
        scorer=scorer,
        series=SERIES,
        axis=axis,
        level=axis,
        estimate=estimate,
        low=low,
        high=high,
        n=len(items),
        chance=baselines.chance(items),
    )
