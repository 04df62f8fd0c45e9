"""Two-by-two suite: one patient with and without a finding, and statements that affirm and deny it.

A square has four scores S[anchor, statement]. With a = 1 for the anchor that has the finding and -1
for the other, b = 1 for the statement that affirms it and -1 for the one that denies it,

    S = constant + a beta + b alpha + a b gamma

alpha is what the model likes in statements alone, beta in anchors alone, and gamma binds the two.
A square is right by text if gamma > |alpha|, by image if gamma > |beta|, by group if both: see
`negtrace.bench.squares.score_rows`.
"""

__all__ = ["square_items", "square_rows", "two_by_two_suite"]

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np

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
from negtrace.bench.squares import SquareScores, score_rows
from negtrace.bench.suites import SUITES
from negtrace.encoders.base import Encoder
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins

FINDINGS_PER_TEXT = 3


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
        rows=tuple(square_rows(table, Intervals.from_config(config), findings)),
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
    table: SquareScores, intervals: Intervals, findings: Sequence[str] = ()
) -> list[ReportRow]:
    """Rows of the text, image and group score, and of alpha, beta and gamma.

    Args:
        table: scores of the squares, in the encoder's unit.
        intervals: settings of the intervals. Squares are drawn whole.
        findings: finding of each square, to break the numbers down by.
    """
    rows = [*score_rows(table, intervals), *_effect_rows(table, intervals)]
    for finding in sorted(set(findings)):
        of_finding, at = table[[name == finding for name in findings]], ("finding", finding)
        rows += [*score_rows(of_finding, intervals, at), *_effect_rows(of_finding, intervals, at)]
    return rows


def _effect_rows(
    table: SquareScores, intervals: Intervals, at: tuple[str, str] = ("all", "all")
) -> list[ReportRow]:
    """Rows of the mean alpha, beta and gamma."""
    own, other = np.array([1, 1]), np.array([1, -1])
    signs = {"alpha": (own, other), "beta": (other, own), "gamma": (other, other)}
    names, rows = [str(number) for number in range(len(table))], []
    for series, (anchor, statement) in signs.items():
        values = np.einsum("sat,a,t->s", table, anchor, statement) / 4
        ends = intervals.mean(values, names)
        rows.append(model_row("effect", series, ends, len(table), at=at))
    return rows
