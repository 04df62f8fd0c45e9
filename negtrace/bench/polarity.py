"""Polarity suite: four statements about three findings, in negated and in affirmative wording.

It follows the diagnostic benchmark of NAST (arXiv 2602.12498). One statement is true; the other
three have some labels flipped. Each question is asked in two wordings: negated ("no cardiomegaly")
and affirmative ("normal heart size"). The gap is affirmative minus negated accuracy.

Questions come in quartets: the same four statements with four cases, each of which makes another
statement true. A scorer that ignores the anchor prefers the same statement in all four questions,
so it is right in exactly one: accuracy 0.25. Each position also holds the true statement once.
"""

__all__ = [
    "WORDINGS",
    "PolarityQuestion",
    "long_groups",
    "polarity_items",
    "polarity_questions",
    "polarity_rows",
    "polarity_suite",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
from jaxtyping import Float

from negtrace.bench.cases import Case, CaseSource, case_source, data_name
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item, require_any, token_counts, too_long
from negtrace.bench.multiple_choice import accuracy_rows
from negtrace.bench.report import ReportRow
from negtrace.bench.result import Intervals, SuiteResult, describe_items, item_records
from negtrace.bench.scoring import correct_by_scorer
from negtrace.bench.suites import SUITES
from negtrace.datasets.note import Note
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.claims import Claim
from negtrace.language.wording import AbsenceWording, caption

FINDINGS_PER_QUESTION = 3
OPTIONS_PER_QUESTION = 4
ATTEMPTS = 200
"""Draws of three findings before a quartet is given up."""

WORDINGS: Mapping[str, AbsenceWording] = {"affirmative": "equivalent", "negated": "negated"}
"""Wording of `negtrace.language` for each series of the report."""

AXES = ("negated_findings", "finding")

Pattern = tuple[bool, ...]
PATTERNS: tuple[Pattern, ...] = tuple(product((False, True), repeat=FINDINGS_PER_QUESTION))


@dataclass(frozen=True, kw_only=True)
class PolarityQuestion:
    """A case and up to four statements about the same findings, one of which is true of it.

    The claims state no side, zone or severity, which would give away the flipped labels.
    """

    options: tuple[tuple[Claim, ...], ...]
    """Claims of each statement: the truth and distinct flips of its labels, shuffled."""
    answer: int
    """Index of the true statement."""
    seed: int
    """Chooses the sentence template, the same for every option and wording."""
    case: Case
    group: str
    """Name of the quartet."""

    @property
    def denied(self) -> tuple[int, ...]:
        """Number of findings that each statement denies."""
        return tuple(sum(not claim.present for claim in claims) for claims in self.options)

    @property
    def negated(self) -> int:
        """Number of findings that the true statement denies."""
        return self.denied[self.answer]

    def texts(self, wording: AbsenceWording) -> tuple[str, ...]:
        """Return the options as sentences."""
        return tuple(caption(claims, wording=wording, seed=self.seed) for claims in self.options)


@SUITES.register("polarity")
def polarity_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """Four statements about three findings, in negated and in affirmative wording."""
    source, notes = case_source(encoder, config)
    questions = polarity_questions(source, config.count, seed=config.seed)
    questions, too_long_notes = _drop_long_quartets(encoder, questions)
    items = {series: polarity_items(questions, wording) for series, wording in WORDINGS.items()}
    correct = {
        series: correct_by_scorer(encoder, asked, seed=config.seed)
        for series, asked in items.items()
    }
    by_model = {series: by_scorer["model"] for series, by_scorer in correct.items()}
    return SuiteResult(
        rows=tuple(polarity_rows(questions, correct, Intervals.from_config(config))),
        notes=(*notes, *too_long_notes),
        data=describe_items(Path(data_name(encoder, config)).name, items["negated"]),
        items=item_records(items["negated"], by_model, include_text=config.include_text),
    )


def polarity_questions(
    source: CaseSource, count: int, *, seed: int, findings: int = FINDINGS_PER_QUESTION
) -> list[PolarityQuestion]:
    """Draw at least `count` questions, in whole quartets.

    Args:
        source: source of the cases.
        count: number of questions, rounded up to a multiple of four.
        seed: seed of the draw.
        findings: number of findings in each statement. With one, a question has two statements
            only, and pairs of questions take the place of quartets.

    Raises:
        BenchError: for a count below 1, or when no findings occur in as many combinations as a
            question has statements.
    """
    if count < 1:
        raise BenchError(f"{count} questions were asked for; ask for at least one")
    usual = findings == FINDINGS_PER_QUESTION
    rng = Random(f"polarity {seed}" if usual else f"polarity {findings} {seed}")  # noqa: S311
    prefix = "q" if usual else f"{findings}q"
    groups = -(-count // min(OPTIONS_PER_QUESTION, 2**findings))
    return [
        question
        for number in range(groups)
        for question in _quartet(source, f"{prefix}{number}", findings, rng)
    ]


def _quartet(source: CaseSource, group: str, size: int, rng: Random) -> list[PolarityQuestion]:
    """One question for each of four combinations of labels of the same findings."""
    findings, patterns = _findings_and_patterns(source, size, rng)
    seed = rng.getrandbits(32)
    answers = rng.sample(range(len(patterns)), len(patterns))
    questions = []
    for truth, answer in zip(patterns, answers, strict=True):
        order = [pattern for pattern in patterns if pattern != truth]
        rng.shuffle(order)
        order.insert(answer, truth)
        questions.append(
            PolarityQuestion(
                options=tuple(_claims(findings, pattern) for pattern in order),
                answer=answer,
                seed=seed,
                case=source.draw(dict(zip(findings, truth, strict=True)), rng),
                group=group,
            )
        )
    return questions


def _claims(findings: Sequence[str], present: Pattern) -> tuple[Claim, ...]:
    labels = zip(findings, present, strict=True)
    return tuple(Claim(finding=finding, present=is_present) for finding, is_present in labels)


def _findings_and_patterns(
    source: CaseSource, size: int, rng: Random
) -> tuple[tuple[str, ...], list[Pattern]]:
    options = min(OPTIONS_PER_QUESTION, 2**size)
    for _ in range(ATTEMPTS):
        findings = tuple(rng.sample(tuple(source.findings), size))
        patterns = product((False, True), repeat=size)
        available = [p for p in patterns if source.has(dict(zip(findings, p, strict=True)))]
        if len(available) >= options:
            return findings, rng.sample(available, options)
    raise BenchError(
        f"no {size} of {len(source.findings)} findings occur in {options} combinations of present "
        "and absent; give more cases, or more labels of each"
    )


def polarity_items(questions: Sequence[PolarityQuestion], wording: AbsenceWording) -> list[Item]:
    """Questions as items, in one wording."""
    return [
        Item(
            id=f"{question.group}-{question.answer}-{question.case.id}",
            anchor=question.case.anchor,
            texts=question.texts(wording),
            answer=question.answer,
            group=question.group,
            tags={
                "negated_findings": (str(question.negated),),
                "finding": tuple(claim.finding for claim in question.options[0]),
            },
        )
        for question in questions
    ]


def _drop_long_quartets(
    encoder: Encoder, questions: Sequence[PolarityQuestion]
) -> tuple[list[PolarityQuestion], list[Note]]:
    """Quartets that fit the encoder's context in both wordings, and a note on each other quartet.

    Raises:
        BenchError: when none fits.
    """
    items = [i for wording in WORDINGS.values() for i in polarity_items(questions, wording)]
    long = long_groups(encoder, items)
    short = [question for question in questions if question.group not in long]
    require_any(encoder, short, len(questions))
    return short, [too_long(encoder, group, count) for group, count in long.items()]


def long_groups(encoder: Encoder, items: Sequence[Item]) -> dict[str, int]:
    """Groups with an item that does not fit the encoder's context, and their longest statement."""
    texts = [text for item in items for text in item.texts]
    of_text = [item for item in items for _ in item.texts]
    counts = token_counts(encoder, texts, [item.anchor for item in of_text])
    longest: dict[str, int] = {}
    for item, count in zip(of_text, counts, strict=True):
        longest[item.group] = max(count, longest.get(item.group, 0))
    return {group: count for group, count in longest.items() if count > encoder.max_tokens}


def polarity_rows(
    questions: Sequence[PolarityQuestion],
    correct: Mapping[str, Mapping[str, Float[np.ndarray, " item"]]],
    intervals: Intervals,
) -> list[ReportRow]:
    """Rows of accuracy in both wordings, of the baselines, and of the gap.

    Args:
        questions: the questions.
        correct: by wording (`affirmative`, `negated`), then by scorer, 1 for each question that was
            answered correctly, else 0.
        intervals: settings of the intervals.
    """
    rows: list[ReportRow] = []
    for series, by_scorer in correct.items():
        items = polarity_items(questions, WORDINGS[series])
        for scorer, values in by_scorer.items():
            axes = AXES if scorer == "model" else ()
            rows += accuracy_rows(items, values, intervals, scorer=scorer, series=series, axes=axes)
    by_model = {series: by_scorer["model"] for series, by_scorer in correct.items()}
    return [*rows, _gap(by_model, [question.group for question in questions], intervals)]


def _gap(
    correct: Mapping[str, Float[np.ndarray, " item"]], groups: Sequence[str], intervals: Intervals
) -> ReportRow:
    """Affirmative minus negated accuracy, paired by question, over quartets."""
    difference = correct["affirmative"] - correct["negated"]
    estimate, low, high = intervals.share(difference, groups, lowest=-1.0)
    return ReportRow(
        measure="gap",
        scorer="model",
        series="affirmative - negated",
        axis="all",
        level="all",
        estimate=estimate,
        low=low,
        high=high,
        n=len(groups),
    )
