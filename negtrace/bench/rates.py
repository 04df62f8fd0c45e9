"""Rates with bootstrap intervals over groups of items, as tidy rows."""

__all__ = ["Bootstrap", "by_tag", "correct"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from negtrace.bench.items import Item
from negtrace.bench.report import Row
from negtrace.results.statistics import interval, rank_of_correct, resample


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made: groups of items are drawn with replacement."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def mean(
        self, values: Num[np.ndarray, " item"], groups: Sequence[str]
    ) -> tuple[float, float, float]:
        """Return the mean over items and the ends of its percentile interval."""
        names, places = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.bincount(places, weights=values.astype(float), minlength=len(names))
        counts = np.bincount(places, minlength=len(names)).astype(float)
        resamples = self.resamples if len(names) > 1 else 0
        drawn = resample(len(names), resamples=resamples, seed=self.seed)
        means = (drawn @ sums) / (drawn @ counts)
        low, high = interval(means[1:], confidence=self.confidence)
        return float(means[0]), float(low), float(high)


def correct(
    items: Sequence[Item], scores: Sequence[Float[np.ndarray, " _"]]
) -> Float[np.ndarray, " item"]:
    """Return 1 for each item whose right statement beats every other, else 0; a tie is 0."""
    return np.array(
        [
            float(rank_of_correct(row[None], np.array([item.answer]))[0] == 1)
            for item, row in zip(items, scores, strict=True)
        ]
    )


def by_tag(
    items: Sequence[Item],
    right: Float[np.ndarray, " item"],
    bootstrap: Bootstrap,
    *,
    scorer: str,
    series: str,
    axes: Sequence[str] = (),
) -> list[Row]:
    """Return accuracy over all items, and by each level of each of `axes`."""
    rows = []
    for axis in ("all", *axes):
        levels = ["all"] if axis == "all" else _levels(items, axis)
        for level in levels:
            own = [axis == "all" or level in item.tags.get(axis, ()) for item in items]
            some = [item for item, kept in zip(items, own, strict=True) if kept]
            mean, low, high = bootstrap.mean(right[np.array(own)], [item.group for item in some])
            rows.append(
                Row(
                    measure="accuracy",
                    scorer=scorer,
                    series=series,
                    axis=axis,
                    level=level,
                    estimate=mean,
                    low=low,
                    high=high,
                    n=len(some),
                    chance=float(np.mean([1 / len(item.texts) for item in some])),
                )
            )
    return rows


def _levels(items: Sequence[Item], axis: str) -> list[str]:
    return sorted({level for item in items for level in item.tags.get(axis, ())})
