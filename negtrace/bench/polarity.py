"""Polarity questions: four statements on three findings, each in two wordings.

After NAST's diagnostic benchmark (arXiv 2602.12498): the truth and three distinct flips of its
labels, every question once in negated wording ("no cardiomegaly") and once in affirmative
equivalents ("normal heart size").

Questions come in quartets: the same four statements, and four cases of which each is right for
another one of them. Whoever sees the statements alone chooses one of the four whatever the case,
so it is right once in a quartet: a shortcut through the words is worth exactly chance. Places are
balanced in a quartet too: every place holds the truth once.
"""

__all__ = ["WORDINGS", "Question", "fitting", "items_of", "questions", "results"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
from jaxtyping import Float

from negtrace.bench import context
from negtrace.bench.cases import Case, Labels, Supply
from negtrace.bench.items import Item
from negtrace.bench.rates import Bootstrap, by_tag
from negtrace.bench.report import Row
from negtrace.datasets.note import Note
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.claims import Claim
from negtrace.language.wording import AbsenceWording, caption

FINDINGS_ASKED = 3
OPTIONS = 4
TRIES = 200
"""How often another three findings are tried before a quartet is given up."""

WORDINGS: Mapping[str, AbsenceWording] = {"affirmative": "equivalent", "negated": "negated"}
"""How results call the two wordings, and how the language does."""

AXES = ("negated_findings", "finding")

Pattern = tuple[bool, ...]
PATTERNS: tuple[Pattern, ...] = tuple(product((False, True), repeat=FINDINGS_ASKED))


@dataclass(frozen=True, kw_only=True)
class Question:
    """A case and four statements on the same findings, one of which is true of it.

    The claims state no side, zone or severity: these would give away which label was flipped.
    """

    options: tuple[tuple[Claim, ...], ...]
    """The claims of each statement: the truth and three distinct flips of its labels, shuffled."""
    answer: int
    """Index of the truth among the options."""
    seed: int
    """Chooses the template, the same for every option and wording."""
    case: Case
    group: str
    """Names the quartet."""

    @property
    def negated(self) -> int:
        """How many findings the right statement denies."""
        return sum(not claim.present for claim in self.options[self.answer])

    def texts(self, wording: AbsenceWording) -> tuple[str, ...]:
        """Return the options as sentences."""
        return tuple(caption(claims, wording=wording, seed=self.seed) for claims in self.options)


def questions(supply: Supply, count: int, *, seed: int) -> list[Question]:
    """Return at least `count` questions, in whole quartets.

    Raises:
        BenchError: for a count below 1, or when no three findings have four combinations.
    """
    if count < 1:
        raise BenchError(f"{count} questions were asked for; ask for at least one")
    rng = Random(f"polarity {seed}")  # noqa: S311
    quartets = -(-count // OPTIONS)
    return [one for number in range(quartets) for one in _quartet(supply, f"q{number}", rng)]


def _quartet(supply: Supply, group: str, rng: Random) -> list[Question]:
    """Return one question for each of four combinations of labels on the same findings."""
    findings, patterns = _subject(supply, rng)
    seed = rng.getrandbits(32)
    places = rng.sample(range(OPTIONS), OPTIONS)
    asked = []
    for truth, place in zip(patterns, places, strict=True):
        order = [pattern for pattern in patterns if pattern != truth]
        rng.shuffle(order)
        order.insert(place, truth)
        options = tuple(_claims(dict(zip(findings, pattern, strict=True))) for pattern in order)
        case = supply.take(dict(zip(findings, truth, strict=True)), rng)
        asked.append(Question(options=options, answer=place, seed=seed, case=case, group=group))
    return asked


def _claims(labels: Labels) -> tuple[Claim, ...]:
    return tuple(Claim(finding=finding, present=present) for finding, present in labels.items())


def _subject(supply: Supply, rng: Random) -> tuple[tuple[str, ...], list[Pattern]]:
    for _ in range(TRIES):
        findings = tuple(rng.sample(tuple(supply.findings), FINDINGS_ASKED))
        there = [p for p in PATTERNS if supply.can(dict(zip(findings, p, strict=True)))]
        if len(there) >= OPTIONS:
            return findings, rng.sample(there, OPTIONS)
    raise BenchError(
        f"no {FINDINGS_ASKED} of {len(supply.findings)} findings occur in {OPTIONS} combinations "
        "of present and absent; give more cases, or more labels of each"
    )


def items_of(asked: Sequence[Question], wording: AbsenceWording) -> list[Item]:
    """Return the questions in words."""
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
        for question in asked
    ]


def fitting(encoder: Encoder, asked: Sequence[Question]) -> tuple[list[Question], list[Note]]:
    """Return the quartets that the encoder can read in both wordings, and a note on each other.

    Raises:
        BenchError: when there is none.
    """
    longest: dict[str, int] = {}
    for wording in WORDINGS.values():
        items = items_of(asked, wording)
        texts = [(text, item) for item in items for text in item.texts]
        read = context.counts(encoder, [t for t, _ in texts], [item.anchor for _, item in texts])
        for (_, item), count in zip(texts, read, strict=True):
            longest[item.group] = max(count, longest.get(item.group, 0))
    long = {group: count for group, count in longest.items() if count > encoder.max_tokens}
    kept = [question for question in asked if question.group not in long]
    context.require_some(encoder, kept, len(asked))
    return kept, [context.too_long(encoder, group, count) for group, count in long.items()]


def results(
    asked: Sequence[Question],
    right: Mapping[str, Mapping[str, Float[np.ndarray, " item"]]],
    bootstrap: Bootstrap,
) -> list[Row]:
    """Return accuracy in both wordings, the gap, and the baselines.

    Args:
        asked: the questions.
        right: by wording (`affirmative`, `negated`) and by scorer, 1 for each question that it
            got right, else 0.
        bootstrap: how intervals are made.
    """
    rows: list[Row] = []
    for series, scorers in right.items():
        items = items_of(asked, WORDINGS[series])
        for scorer, own in scorers.items():
            axes = AXES if scorer == "model" else ()
            rows += by_tag(items, own, bootstrap, scorer=scorer, series=series, axes=axes)
    models = {series: scorers["model"] for series, scorers in right.items()}
    return [*rows, _gap(models, [question.group for question in asked], bootstrap)]


def _gap(right: Mapping[str, np.ndarray], groups: Sequence[str], bootstrap: Bootstrap) -> Row:
    """Return affirmative minus negated accuracy, paired by question, drawn by quartet."""
    mean, low, high = bootstrap.mean(right["affirmative"] - right["negated"], groups)
    return Row(
        measure="gap",
        scorer="model",
        series="affirmative - negated",
        axis="all",
        level="all",
        estimate=mean,
        low=low,
        high=high,
        n=len(groups),
    )
