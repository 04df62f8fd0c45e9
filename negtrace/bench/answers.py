"""Answers suite: which statement a model takes, in another frame, and without the anchor.

The questions are those of the polarity suite, about one, two and three findings. Each is asked four
times: with the anchor, with a blank one, and in another frame ("Portable radiograph with ...",
"Frontal view showing ..."), in negated and in affirmative wording. The rows are

- accuracy by the number of findings in a statement,
- presence questions ("X" or "no X", X is there) that are answered by the denial (CXR-ContraBench,
  arXiv 2605.05810), and absence questions that are answered by the affirmation,
- wrong answers that deny more findings than the right one, fewer, and as many,
- flips: questions whose answer changes with the frame (PSF-Med, arXiv 2602.21428),
- reliance: right or wrong with the anchor / right or wrong without it, and the share of questions
  that are answered the same without it.

A question whose best statements tie has no answer.
"""

__all__ = ["answers_suite", "best_options"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
from jaxtyping import Bool, Float, Int

from negtrace.bench.cases import CaseSource, TextCases, case_source, data_name
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item, require_any, too_long
from negtrace.bench.multiple_choice import accuracy_rows
from negtrace.bench.polarity import (
    WORDINGS,
    PolarityQuestion,
    long_groups,
    polarity_items,
    polarity_questions,
)
from negtrace.bench.report import ReportRow
from negtrace.bench.result import (
    Intervals,
    SuiteResult,
    describe_items,
    item_records,
    model_row,
)
from negtrace.bench.scoring import score_items
from negtrace.bench.suites import SUITES
from negtrace.encoders.base import Encoder
from negtrace.language.wording import caption_frame

LENGTHS = (1, 2, 3)
"""Numbers of findings in a statement."""

NO_ANSWER = -1

Chosen = Int[np.ndarray, " question"]
"""Index of the statement that is taken, for each question; `NO_ANSWER` where none is best."""

Mask = Bool[np.ndarray, " question"]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Answers to the same questions in one wording."""

    items: tuple[Item, ...]
    """The questions; the tag `length` is the number of findings in a statement."""
    denied: tuple[tuple[int, ...], ...]
    """Number of findings that each statement of each question denies."""
    chosen: Chosen
    """With the anchor."""
    reworded: Chosen
    """With the anchor, in another frame."""
    blank: Chosen
    """With a blank anchor."""

    @property
    def answer(self) -> Chosen:
        """Right statements."""
        return np.array([item.answer for item in self.items])

    @property
    def length(self) -> Int[np.ndarray, " question"]:
        """Number of findings in a statement of each question."""
        return np.array([int(item.tags["length"][0]) for item in self.items])

    @property
    def guess(self) -> Float[np.ndarray, " question"]:
        """Probability that guessing takes the right statement."""
        return np.array([1 / len(item.texts) for item in self.items])


@SUITES.register("answers")
def answers_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """Lists of one to three findings: denials, wrong answers, flips, reliance on the anchor."""
    source, notes = case_source(encoder, config)
    if isinstance(source, TextCases):
        source = TextCases(source.findings, least=max(LENGTHS))
    questions = _questions(source, config)
    reworded = _reworded(questions, Random(f"frames {config.seed}"))  # noqa: S311
    asked = {series: _items(questions, series) for series in WORDINGS}
    others = {series: _items(reworded, series) for series in WORDINGS}
    every = [item for items in (*asked.values(), *others.values()) for item in items]
    long = long_groups(encoder, every)
    require_any(encoder, [item for item in every if item.group not in long], len(questions))
    short = [question for question in questions if question.group not in long]
    asked, others = (
        {series: [i for i in items if i.group not in long] for series, items in by_series.items()}
        for by_series in (asked, others)
    )
    answers = _ask(encoder, short, asked, others)
    right = {series: _share(a.chosen == a.answer) for series, a in answers.items()}
    return SuiteResult(
        rows=tuple(_rows(answers, Intervals.from_config(config))),
        notes=(*notes, *(too_long(encoder, group, count) for group, count in long.items())),
        data=describe_items(Path(data_name(encoder, config)).name, asked["negated"]),
        items=item_records(asked["negated"], right, include_text=config.include_text),
    )


def _questions(source: CaseSource, config: BenchConfig) -> list[PolarityQuestion]:
    count = -(-config.count // len(LENGTHS))
    return [
        question
        for length in LENGTHS
        for question in polarity_questions(source, count, seed=config.seed, findings=length)
    ]


def _reworded(questions: Sequence[PolarityQuestion], rng: Random) -> list[PolarityQuestion]:
    """Return the questions in another frame, the same one for all questions of a group."""
    seeds: dict[str, int] = {}
    for question in questions:
        if question.group not in seeds:
            seed = question.seed
            while caption_frame(seed) == caption_frame(question.seed):
                seed = rng.getrandbits(32)
            seeds[question.group] = seed
    return [replace(question, seed=seeds[question.group]) for question in questions]


def _items(questions: Sequence[PolarityQuestion], series: str) -> list[Item]:
    return [
        replace(item, tags={**item.tags, "length": (str(len(question.options[0])),)})
        for question, item in zip(
            questions, polarity_items(questions, WORDINGS[series]), strict=True
        )
    ]


def _ask(
    encoder: Encoder,
    questions: Sequence[PolarityQuestion],
    asked: Mapping[str, Sequence[Item]],
    others: Mapping[str, Sequence[Item]],
) -> dict[str, Answers]:
    """By wording, the answers of a model. Each anchor is embedded once for all wordings."""
    first = [item for items in asked.values() for item in items]
    second = [item for items in others.values() for item in items]
    chosen = best_options(score_items(encoder, [*first, *second]))
    blank = best_options(score_items(encoder, first, blank=True))
    parts = [np.split(part, len(asked)) for part in (*np.split(chosen, 2), blank)]
    return {
        series: Answers(
            items=tuple(items),
            denied=tuple(question.denied for question in questions),
            chosen=parts[0][number],
            reworded=parts[1][number],
            blank=parts[2][number],
        )
        for number, (series, items) in enumerate(asked.items())
    }


def best_options(scores: Sequence[Float[np.ndarray, " _"]]) -> Chosen:
    """Index of the highest score of each row; `NO_ANSWER` for a tie, or where a score is NaN.

    >>> best_options([np.array([0.1, 0.3]), np.array([1.0, 1.0, 0.0])]).tolist()
    [1, -1]
    """
    best = [int(np.argmax(row)) for row in scores]
    alone = [
        not np.isnan(row).any() and np.count_nonzero(row == row[index]) == 1
        for row, index in zip(scores, best, strict=True)
    ]
    return np.where(alone, best, NO_ANSWER)


def _rows(answers: Mapping[str, Answers], intervals: Intervals) -> list[ReportRow]:
    rows: list[ReportRow] = []
    for series, of_series in answers.items():
        for scorer, chosen in (("model", of_series.chosen), ("prior", of_series.blank)):
            rows += accuracy_rows(
                of_series.items,
                _share(chosen == of_series.answer),
                intervals,
                scorer=scorer,
                series=series,
                axes=("length",),
            )
    rows += _gaps(answers, intervals)
    for series, of_series in answers.items():
        table = _Rows(answers=of_series, series=series, intervals=intervals)
        rows += [*table.denials(), *table.wrong_answers(), *table.flips(), *table.reliance()]
    return rows


def _gaps(answers: Mapping[str, Answers], intervals: Intervals) -> list[ReportRow]:
    """Affirmative minus negated accuracy at each length, paired by question."""
    first, second = answers["affirmative"], answers["negated"]
    right = _share(first.chosen == first.answer) - _share(second.chosen == second.answer)
    groups, rows = np.array([item.group for item in first.items]), []
    for length in sorted(set(first.length.tolist())):
        chosen = first.length == length
        ends = intervals.share(right[chosen], groups[chosen].tolist(), lowest=-1.0)
        at = ("length", str(length))
        rows.append(model_row("gap", "affirmative - negated", ends, int(chosen.sum()), at=at))
    return rows


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of one wording."""

    answers: Answers
    series: str
    intervals: Intervals

    def denials(self) -> list[ReportRow]:
        """Questions about one finding that are answered by its opposite."""
        answers = self.answers
        alone = answers.length == 1
        right = np.array([row[i] for row, i in zip(answers.denied, answers.answer, strict=True)])
        wrong = (answers.chosen != answers.answer) & (answers.chosen != NO_ANSWER)
        guess = 1 - answers.guess
        return [
            self._row("share", wrong, alone & (right == 0), ("presence", "denial"), guess),
            self._row("share", wrong, alone & (right == 1), ("absence", "affirmation"), guess),
        ]

    def wrong_answers(self) -> list[ReportRow]:
        """Wrong answers by what they deny. With one finding, there is no choice of kind."""
        answers = self.answers
        wrong = (answers.chosen != answers.answer) & (answers.chosen != NO_ANSWER)
        # The sign of the difference to the right statement, for each statement of each question.
        signs = [
            np.sign(np.array(row) - row[answer])
            for row, answer in zip(answers.denied, answers.answer, strict=True)
        ]
        taken = np.array([row[index] for row, index in zip(signs, answers.chosen, strict=True)])
        rows = []
        for level, sign in (("denies more", 1), ("denies fewer", -1), ("denies as many", 0)):
            # The right statement denies as many as itself and is no wrong answer.
            of_kind = np.array([np.sum(row == sign) - (sign == 0) for row in signs])
            guess = of_kind / (1 / answers.guess - 1)
            at = ("wrong answers", level)
            rows.append(self._row("share", taken == sign, wrong & (answers.length > 1), at, guess))
        return rows

    def flips(self) -> list[ReportRow]:
        """Questions whose answer changes with the frame."""
        answers = self.answers
        flips, every = answers.chosen != answers.reworded, np.ones(len(answers.items), dtype=bool)
        guess = 1 - answers.guess
        rows = [self._row("flips", flips, every, ("all", "all"), guess)]
        for length in sorted(set(answers.length.tolist())):
            at = ("length", str(length))
            rows.append(self._row("flips", flips, answers.length == length, at, guess))
        return rows

    def reliance(self) -> list[ReportRow]:
        """Right and wrong with the anchor / without it, and the same answer both times."""
        answers, rows = self.answers, []
        every = np.ones(len(answers.items), dtype=bool)
        seen, blind = answers.chosen == answers.answer, answers.blank == answers.answer
        guess = {True: answers.guess, False: 1 - answers.guess}
        words = {True: "right", False: "wrong"}
        for with_anchor in (True, False):
            for without in (True, False):
                at = ("anchor / none", f"{words[with_anchor]} / {words[without]}")
                values = (seen == with_anchor) & (blind == without)
                chance = guess[with_anchor] * guess[without]
                rows.append(self._row("reliance", values, every, at, chance))
        same, at = answers.chosen == answers.blank, ("anchor / none", "same answer")
        return [*rows, self._row("reliance", same, every, at, answers.guess)]

    def _row(
        self,
        measure: str,
        values: Mask,
        chosen: Mask,
        at: tuple[str, str],
        guess: Float[np.ndarray, " question"],
    ) -> ReportRow:
        """Share of the chosen questions that count; NaN where none is chosen."""
        n, groups = int(chosen.sum()), np.array([item.group for item in self.answers.items])
        if n == 0:
            return model_row(measure, self.series, (np.nan,) * 3, 0, at=at)
        ends = self.intervals.share(_share(values[chosen]), groups[chosen].tolist())
        chance = float(guess[chosen].mean())
        return model_row(measure, self.series, ends, n, at=at, chance=chance)


def _share(values: Mask) -> Float[np.ndarray, " question"]:
    return values.astype(float)
