"""Two-by-two suite: one patient with and without a finding, and statements that affirm and deny it.

A square has four scores S[anchor, statement]. With a = 1 for the anchor that has the finding and -1
for the other, b = 1 for the statement that affirms it and -1 for the one that denies it,

    S = constant + a beta + b alpha + a b gamma

alpha is what the model likes in statements alone, beta in anchors alone, and gamma binds the two.
The rows are those of Winoground (Thrush et al. 2022): the text score is the share of squares in
which each anchor prefers its own statement (gamma > |alpha|), the image score that in which each
statement prefers its own anchor (gamma > |beta|), the group score that of both.

Chance is measured. Exchange the two anchors of a square: alpha and |beta| stay, gamma changes sign.
A model without binding is as often right after the exchange as before, so its score is the mean of
both. Random scores have 1/4, 1/4 and 1/6.
"""

__all__ = ["square_items", "square_rows", "two_by_two_suite"]

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
from jaxtyping import Bool, Float

from negtrace.bench.cases import CaseSource, TextCases, case_source, data_name
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item, require_any, too_long
from negtrace.bench.polarity import long_groups
from negtrace.bench.report import ReportRow
from negtrace.bench.result import (
    Intervals,
    SuiteResult,
    describe_items,
    item_records,
    model_row,
)
from negtrace.bench.scoring import is_correct, score_items
from negtrace.bench.suites import SUITES
from negtrace.encoders.base import Encoder
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins

FINDINGS_PER_TEXT = 3

Table = Float[np.ndarray, "square anchor statement"]
"""Scores of squares. Anchor 0 and statement 0 have and affirm the finding; 1 are the others."""

Right = Bool[np.ndarray, " square"]


@SUITES.register("two-by-two")
def two_by_two_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """One patient with and without a finding, "X" and "no X": what binds the two?"""
    source, notes = case_source(encoder, config)
    if isinstance(source, TextCases):
        source = TextCases(source.findings, least=FINDINGS_PER_TEXT)
    items = square_items(source, config.count, seed=config.seed)
    long = long_groups(encoder, items)
    short = [item for item in items if item.group not in long]
    require_any(encoder, short, len(items))
    scores = score_items(encoder, short)
    table = np.stack(scores).reshape(-1, 2, 2)
    findings = [item.tags["finding"][0] for item in short[::2]]
    return SuiteResult(
        rows=tuple(square_rows(table, Intervals.from_config(config), findings=findings)),
        notes=(*notes, *(too_long(encoder, group, count) for group, count in long.items())),
        data=describe_items(Path(data_name(encoder, config)).name, short),
        items=item_records(
            short, {"model": is_correct(short, scores)}, include_text=config.include_text
        ),
    )


def square_items(source: CaseSource, count: int, *, seed: int) -> list[Item]:
    """Two questions for each square, one for each anchor. The findings take turns.

    Args:
        source: source of the two cases of a square, by `draw_pair`.
        count: number of squares.
        seed: seed of the cases and of the frames around "X" and "no X".
    """
    rng = Random(f"two-by-two {seed}")  # noqa: S311
    items = []
    for number in range(count):
        finding = source.findings[number % len(source.findings)]
        texts = rng.choice(finding_twins(FINDINGS[finding]))
        items += [
            Item(
                id=f"{number}-{case.id}",
                anchor=case.anchor,
                texts=texts,
                answer=answer,
                group=str(number),
                tags={"finding": (finding,)},
            )
            for answer, case in enumerate(source.draw_pair(finding, rng))
        ]
    return items


def square_rows(
    table: Table, intervals: Intervals, *, findings: Sequence[str] = (), axis: str = "all"
) -> list[ReportRow]:
    """Rows of the text, image and group score, and of alpha, beta and gamma.

    Args:
        table: scores of the squares, in the encoder's unit.
        intervals: settings of the intervals. Squares are drawn whole.
        findings: finding of each square, to break the numbers down by.
        axis: axis of the rows over all squares.
    """
    rows = _rows_at(table, intervals, (axis, "all"))
    for finding in sorted(set(findings)):
        chosen = np.array([name == finding for name in findings])
        rows += _rows_at(table[chosen], intervals, ("finding", finding))
    return rows


def _rows_at(table: Table, intervals: Intervals, at: tuple[str, str]) -> list[ReportRow]:
    n, names = len(table), [str(number) for number in range(len(table))]
    exchanged = _right(table[:, ::-1])
    rows = []
    for series, right in _right(table).items():
        chance = float(np.mean([right, exchanged[series]]))
        ends = intervals.share(right.astype(float), names)
        rows.append(model_row("score", series, ends, n, at=at, chance=chance))
    for series, values in _effects(table).items():
        rows.append(model_row("effect", series, intervals.mean(values, names), n, at=at))
    return rows


def _right(table: Table) -> dict[str, Right]:
    """Squares that are right by text, by image and by both. A tie is wrong, and so is NaN."""
    margins = {"text": table, "image": table.swapaxes(1, 2)}
    right = {
        name: (scores[:, 0, 0] > scores[:, 0, 1]) & (scores[:, 1, 1] > scores[:, 1, 0])
        for name, scores in margins.items()
    }
    return {**right, "group": right["text"] & right["image"]}


def _effects(table: Table) -> dict[str, Float[np.ndarray, " square"]]:
    """alpha, beta and gamma of each square."""
    own, other = np.array([1, 1]), np.array([1, -1])
    signs = {"alpha": (own, other), "beta": (other, own), "gamma": (other, other)}
    return {name: np.einsum("sat,a,t->s", table, a, t) / 4 for name, (a, t) in signs.items()}
