"""Squares: two anchors and two statements, each of which is right for one anchor alone.

A model that likes one statement whatever the anchor is right once in each square, so a square
counts only if both of its anchors are answered correctly: by guessing that is so once in four.
"""

__all__ = ["Square", "SquareScores", "ask_squares", "score_rows"]

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item, TokenCounts, drop_long_items, require_any
from negtrace.bench.report import ReportRow
from negtrace.bench.result import (
    Intervals,
    SuiteResult,
    describe_items,
    item_records,
    model_row,
)
from negtrace.bench.scoring import ItemScores, scores_by_scorer
from negtrace.datasets.note import Note, Origin
from negtrace.encoders.base import Encoder
from negtrace.pairs.anchor import Anchor

Margins = Float[np.ndarray, "square 2"]
"""For both anchors, the mean score of their own statements minus that of the others."""


SquareScores = Float[np.ndarray, "square anchor statement"]
"""Scores of squares. Statement 0 is right for anchor 0, and statement 1 for anchor 1."""

Right = Bool[np.ndarray, " square"]


@dataclass(frozen=True, kw_only=True)
class Square:
    """Two texts as anchors, and the statements that are right for each and wrong for the other.

    Raises:
        BenchError: for blank or equal statements.
    """

    id: str
    """Unique name. It is exported, so it must contain no statement."""
    anchors: tuple[str, str]
    statements: tuple[tuple[str, ...], tuple[str, ...]]
    """Right statements of the first anchor and of the second; one or more of each."""
    source: Origin
    """File and row, for notes."""
    levels: tuple[str, str] | None = None
    """Kinds of the two anchors, such as `("negated", "affirmed")`, to break accuracy down by."""
    items: tuple[Item, Item] = field(init=False)
    """A question for each anchor."""

    def __post_init__(self) -> None:
        first, second = (self._item(number) for number in range(2))
        object.__setattr__(self, "items", (first, second))

    def _item(self, number: int) -> Item:
        own, other = self.statements[number], self.statements[1 - number]
        return Item(
            id=f"{self.id}-{number + 1}",
            anchor=Anchor(text=self.anchors[number]),
            texts=(*own, *other),
            answer=0,
            group=self.id,
            tags={"anchor": (self.levels[number],)} if self.levels else {},
            source=self.source,
        )


def ask_squares(
    encoder: Encoder,
    squares: Sequence[Square],
    config: BenchConfig,
    *,
    name: str,
    score: ItemScores | None = None,
    counts: TokenCounts | None = None,
    notes: Sequence[Note] = (),
) -> SuiteResult:
    """Put squares to a model and report accuracy: by anchor, and of both anchors of a square.

    Several right statements count by their mean score. A square of which an anchor or a statement
    does not fit the model's context is left out and noted.

    Args:
        encoder: model to measure.
        squares: squares to ask.
        config: seed, intervals, and whether statements are included in the report.
        name: name of the data in the report.
        score: how the model scores; `score_items` when not given.
        counts: counts the tokens of a row; `token_counts` when not given.
        notes: notes from reading the squares.

    Raises:
        BenchError: when no square fits the model's context.
    """
    short, too_long = drop_long_items(encoder, [i for s in squares for i in s.items], counts)
    kept = set(map(id, short))
    squares = [square for square in squares if all(id(item) in kept for item in square.items)]
    require_any(encoder, squares, len(kept))
    items = [item for square in squares for item in square.items]
    by_scorer = scores_by_scorer(encoder, items, seed=config.seed, score=score)
    margins = {scorer: _margins(squares, scores) for scorer, scores in by_scorer.items()}
    intervals = Intervals.from_config(config)
    rows = [row for scorer in margins for row in _rows(squares, margins[scorer], intervals, scorer)]
    table = _square_scores(squares, by_scorer["model"])
    rows += score_rows(table, intervals, ("square", "all"))
    correct = (margins["model"] > 0).astype(float).reshape(-1)
    return SuiteResult(
        rows=tuple(rows),
        notes=(*notes, *too_long),
        data=describe_items(name, items),
        items=item_records(items, {"model": correct}, include_text=config.include_text),
    )


def _margins(squares: Sequence[Square], scores: Sequence[Float[np.ndarray, " _"]]) -> Margins:
    counts = [len(own) for square in squares for own in square.statements]
    margins = [
        row[:count].mean() - row[count:].mean() for row, count in zip(scores, counts, strict=True)
    ]
    return np.array(margins).reshape(-1, 2)


def _square_scores(
    squares: Sequence[Square], scores: Sequence[Float[np.ndarray, " _"]]
) -> SquareScores:
    """Scores of squares. Several right statements of an anchor count by their mean."""
    counts = [len(own) for square in squares for own in square.statements]
    table = np.array(
        [
            (row[:count].mean(), row[count:].mean())
            for row, count in zip(scores, counts, strict=True)
        ]
    ).reshape(-1, 2, 2)
    table[:, 1] = table[:, 1, ::-1]  # The second anchor's own statements stand first there.
    return table


def score_rows(
    table: SquareScores, intervals: Intervals, at: tuple[str, str] = ("all", "all")
) -> list[ReportRow]:
    """Rows of the text, image and group score of Winoground (Thrush et al. 2022, arXiv 2204.03162).

    A square is right by text if each anchor prefers its own statement, by image if each statement
    prefers its own anchor, by group if both. A tie is wrong, and so is NaN. With a = 1 for the
    first anchor, b = 1 for the first statement, and -1 for the second ones,

        S = constant + a beta + b alpha + a b gamma

    It is right by text if gamma > |alpha|, and by image if gamma > |beta|.

    Chance is measured. Exchange the anchors of a square: alpha and |beta| stay, gamma changes sign.
    A model that does not bind is as often right after the exchange as before, so its score is the
    mean of both. Independent random scores have 1/4, 1/4 and 1/6.

    Args:
        table: scores of the squares.
        intervals: settings of the intervals. Squares are drawn whole.
        at: axis and level of the rows.
    """
    exchanged, names = _right_squares(table[:, ::-1]), [str(n) for n in range(len(table))]
    rows = []
    for series, right in _right_squares(table).items():
        chance = float(np.mean([right, exchanged[series]]))
        ends = intervals.share(right.astype(float), names)
        rows.append(model_row("score", series, ends, len(table), at=at, chance=chance))
    return rows


def _right_squares(table: SquareScores) -> dict[str, Right]:
    """Squares that are right by text, by image and by both."""
    right = {
        name: (scores[:, 0, 0] > scores[:, 0, 1]) & (scores[:, 1, 1] > scores[:, 1, 0])
        for name, scores in {"text": table, "image": table.swapaxes(1, 2)}.items()
    }
    return {**right, "group": right["text"] & right["image"]}


def _rows(
    squares: Sequence[Square], margins: Margins, intervals: Intervals, scorer: str
) -> list[ReportRow]:
    names = [square.id for square in squares]
    right = (margins > 0).astype(float)
    levels = np.array([square.levels or ("", "") for square in squares])
    rows = [_row(right.reshape(-1), np.repeat(names, 2), intervals, scorer, ("all", "all", 0.5))]
    for level in sorted(set(levels.flat) - {""}):
        of_level, where = right[levels == level], np.nonzero(levels == level)[0]
        at = ("anchor", str(level), 0.5)
        rows.append(_row(of_level, np.array(names)[where], intervals, scorer, at))
    both, moved = right.all(axis=1).astype(float), (margins.sum(axis=1) > 0).astype(float)
    rows.append(_row(both, np.array(names), intervals, scorer, ("square", "both right", 0.25)))
    rows.append(_row(moved, np.array(names), intervals, scorer, ("square", "right order", 0.5)))
    return rows


def _row(
    values: Float[np.ndarray, " _"],
    groups: np.ndarray,
    intervals: Intervals,
    scorer: str,
    at: tuple[str, str, float],
) -> ReportRow:
    estimate, low, high = intervals.share(values, groups.tolist())
    axis, level, chance = at
    return ReportRow(
        measure="accuracy",
        scorer=scorer,
        series="questions",
        axis=axis,
        level=level,
        estimate=estimate,
        low=low,
        high=high,
        n=len(values),
        chance=chance,
    )
