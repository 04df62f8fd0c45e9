"""Multiple choice: items put to a model and its baselines, and accuracy with intervals.

`answer_items` is the whole suite for items that are given, such as those of a file.
"""

__all__ = ["accuracy_rows", "answer_items"]

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item, drop_long_items
from negtrace.bench.report import ReportRow
from negtrace.bench.result import Intervals, SuiteResult, describe_items, item_records
from negtrace.bench.scoring import correct_by_scorer
from negtrace.datasets.note import Note
from negtrace.encoders.base import Encoder


def answer_items(
    encoder: Encoder,
    items: Sequence[Item],
    config: BenchConfig,
    *,
    name: str,
    series: str = "questions",
    axes: Sequence[str] = (),
    balance: str | None = None,
    notes: Sequence[Note] = (),
) -> SuiteResult:
    """Put items to a model and report accuracy: the model's, and each baseline's.

    An item that does not fit the model's context is left out and noted.

    Args:
        encoder: model to measure.
        items: items to ask.
        config: seed, intervals, and whether statements are included in the report.
        name: name of the data in the report.
        series: name of the rows in the report.
        axes: tags of the items to break accuracy down by.
        balance: tag that accuracy is balanced over: each of its levels weighs the same.
        notes: notes from reading the items.

    Raises:
        BenchError: when no item fits the model's context.
    """
    items, too_long = drop_long_items(encoder, items)
    correct = correct_by_scorer(encoder, items, seed=config.seed)
    intervals = Intervals.from_config(config)
    rows: list[ReportRow] = []
    for scorer, values in correct.items():
        rows += accuracy_rows(items, values, intervals, scorer=scorer, series=series, axes=axes)
        if balance is not None:
            rows.append(_balanced(items, values, intervals, scorer, series, balance))
    return SuiteResult(
        rows=tuple(rows),
        notes=(*notes, *too_long),
        data=describe_items(name, items),
        items=item_records(items, {"model": correct["model"]}, include_text=config.include_text),
    )


def accuracy_rows(
    items: Sequence[Item],
    correct: Float[np.ndarray, " item"],
    intervals: Intervals,
    *,
    scorer: str,
    series: str,
    axes: Sequence[str] = (),
) -> list[ReportRow]:
    """Accuracy over all items, then at each level of each tag in `axes`.

    Args:
        items: the items.
        correct: 1 for each item that was answered correctly, else 0.
        intervals: settings of the intervals.
        scorer: `model`, or the name of a baseline.
        series: name of the rows.
        axes: tags of the items.

    Each row's chance is the mean of 1 / number of statements.
    """
    rows = []
    for axis in ("all", *axes):
        for level in ["all"] if axis == "all" else _levels(items, axis):
            chosen = [axis == "all" or level in item.tags.get(axis, ()) for item in items]
            some = [item for item, is_chosen in zip(items, chosen, strict=True) if is_chosen]
            ends = intervals.share(correct[np.array(chosen)], [item.group for item in some])
            rows.append(_row(some, ends, scorer=scorer, series=series, at=(axis, level)))
    return rows


def _levels(items: Sequence[Item], axis: str) -> list[str]:
    return sorted({level for item in items for level in item.tags.get(axis, ())})


def _balanced(
    items: Sequence[Item],
    correct: Float[np.ndarray, " item"],
    intervals: Intervals,
    scorer: str,
    series: str,
    tag: str,
) -> ReportRow:
    """Mean of the accuracies at each level of a tag, every level with the same weight."""
    levels = [item.tags[tag][0] for item in items]
    counts = Counter(levels)
    weights = np.array([len(items) / (len(counts) * counts[level]) for level in levels])
    ends = intervals.share(correct, [item.group for item in items], weights=weights)
    return _row(items, ends, scorer=scorer, series=series, at=("balanced", "balanced"))


def _row(
    items: Sequence[Item],
    ends: tuple[float, float, float],
    *,
    scorer: str,
    series: str,
    at: tuple[str, str],
) -> ReportRow:
    estimate, low, high = ends
    axis, level = at
    return ReportRow(
        measure="accuracy",
        scorer=scorer,
        series=series,
        axis=axis,
        level=level,
        estimate=estimate,
        low=low,
        high=high,
        n=len(items),
        chance=float(np.mean([1 / len(item.texts) for item in items])),
    )
