"""Result of a suite on one model: rows, notes on its data, and each item with its answer."""

__all__ = [
    "Ends",
    "Intervals",
    "SuiteResult",
    "describe_data",
    "describe_items",
    "item_records",
    "model_row",
]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from negtrace._files import canonical, sha256
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item
from negtrace.bench.report import ReportRow
from negtrace.datasets.note import Note
from negtrace.pairs.anchor import Anchor
from negtrace.results.intervals import MIN_GROUPS, share_interval, studentised
from negtrace.results.statistics import resample

Ends = tuple[float, float, float]
"""Estimate, then the lower and the upper end of its interval."""


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """Result of one suite on one model. `run` turns it into a `Report`."""

    rows: tuple[ReportRow, ...]
    notes: tuple[Note, ...] = ()
    """Rows of the data that were left out, or read differently from how they stand."""
    data: Mapping[str, Any]
    """Name of the data, kind of its anchors, digest and number of items: see `describe_data`."""
    items: tuple[Mapping[str, Any], ...] = ()
    """One JSON object for each item: see `item_records`."""


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Confidence intervals over groups of items, which share statements or a source.

    The ends are NaN with fewer than `MIN_GROUPS` groups.
    """

    resamples: int = 2000
    """Number of bootstrap draws for the interval of a mean; a share needs none."""
    confidence: float = 0.95
    """Confidence level of the intervals."""
    seed: int = 0
    """Seed of the draws."""

    @classmethod
    def from_config(cls, config: BenchConfig) -> "Intervals":
        """Intervals with the settings of a benchmark."""
        return cls(resamples=config.resamples, confidence=config.confidence, seed=config.seed)

    def share(
        self,
        values: Num[np.ndarray, " item"],
        groups: Sequence[str],
        *,
        lowest: float = 0.0,
        weights: Num[np.ndarray, " item"] | None = None,
    ) -> Ends:
        """Share of items, then the lower and the upper end of its interval: see `share_interval`.

        Args:
            values: 1 for each item that counts, else 0; or any numbers from `lowest` to 1.
            groups: the group of each item.
            lowest: least value that an item can have, -1 for a difference of shares.
            weights: how much each item counts; each counts 1 when not given.
        """
        weights = np.ones(len(values)) if weights is None else weights
        scaled = (values - lowest) / (1 - lowest)
        right, size = _sums(groups, scaled * weights, weights)
        ends = share_interval(right, size, confidence=self.confidence)
        low, high = (float(lowest + (1 - lowest) * end) for end in ends)
        return float(np.average(values, weights=weights)), low, high

    def mean(self, values: Num[np.ndarray, " item"], groups: Sequence[str]) -> Ends:
        """Mean over items, then the lower and the upper end of its interval: see `studentised`.

        Args:
            values: one number for each item.
            groups: the group of each item. The bootstrap draws whole groups.
        """
        over, under = _sums(groups, values, np.ones(len(values)))
        low = high = np.array(np.nan)
        if len(over) >= MIN_GROUPS:
            drawn = resample(len(over), resamples=self.resamples, seed=self.seed)[1:]
            low, high = studentised(over, under, drawn=drawn, confidence=self.confidence)
        return float(np.mean(values)), float(low), float(high)


def _sums(groups: Sequence[str], *values: Num[np.ndarray, " item"]) -> list[np.ndarray]:
    """Sum numbers over the items of each group."""
    names, indices = np.unique(np.asarray(groups), return_inverse=True)
    return [np.bincount(indices, weights=numbers, minlength=len(names)) for numbers in values]


def model_row(
    measure: str,
    series: str,
    ends: Ends,
    n: int,
    *,
    at: tuple[str, str] = ("all", "all"),
    chance: float | None = None,
) -> ReportRow:
    """Row of a model's own number.

    Args:
        measure: measured quantity, as in `ReportRow`.
        series: group of rows that are compared side by side.
        ends: estimate and its interval.
        n: number of items behind the estimate.
        at: axis and level of the breakdown.
        chance: expected value of guessing.
    """
    estimate, low, high = ends
    return ReportRow(
        measure=measure,
        scorer="model",
        series=series,
        axis=at[0],
        level=at[1],
        estimate=estimate,
        low=low,
        high=high,
        n=n,
        chance=chance,
    )


def describe_data(
    name: str, anchors: Iterable[Anchor], questions: Any, count: int
) -> dict[str, Any]:
    """Description of the data for a report.

    Args:
        name: name of the data, without a folder.
        anchors: every anchor; none when statements are compared with each other.
        questions: everything that was asked, as JSON values. The digest is computed from it.
        count: number of items.
    """
    kinds = {"text" if anchor.text is not None else "image" for anchor in anchors}
    return {
        "name": name,
        "anchors": " and ".join(sorted(kinds)) or "none",
        "digest": sha256(canonical(questions)),
        "items": count,
    }


def describe_items(name: str, items: Sequence[Item]) -> dict[str, Any]:
    """Description of items for a report; the digest covers anchors, statements and answers."""
    questions = [[item.id, item.anchor.digest, list(item.texts), item.answer] for item in items]
    return describe_data(name, [item.anchor for item in items], questions, len(items))


def item_records(
    items: Sequence[Item], correct: Mapping[str, Float[np.ndarray, " item"]], *, include_text: bool
) -> tuple[dict[str, Any], ...]:
    """Record of each item for a report: its id, its answer and whether it was answered correctly.

    Args:
        items: the items.
        correct: by name, such as the wording, 1 for each item answered correctly and 0 for others.
        include_text: include the statements, and the items' own ids.
    """
    return tuple(
        {
            "id": item.id if include_text else item.public_id,
            "answer": item.answer,
            "right": {name: bool(values[index]) for name, values in correct.items()},
            **({"texts": {"options": list(item.texts)}} if include_text else {}),
        }
        for index, item in enumerate(items)
    )
