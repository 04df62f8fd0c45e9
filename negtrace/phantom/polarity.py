"""Polarity questions about held-out radiographs, negated and in affirmative equivalents."""

__all__ = ["Polarity", "Question", "Scorer", "ask", "questions"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
from numpy.typing import NDArray

from negtrace.language.claims import Claim
from negtrace.language.realize import Wording, caption
from negtrace.phantom.cohort import HELD_OUT, Study, study

Scorer = Callable[[Sequence[NDArray[np.uint8]], Sequence[str]], NDArray[np.floating]]
"""Scores every image against every text: rows are images, columns texts."""

FINDINGS_ASKED = 3
OPTIONS = 4


@dataclass(frozen=True, kw_only=True)
class Question:
    """One radiograph and four statements on the same findings, one of which is true."""

    study: Study
    options: tuple[tuple[Claim, ...], ...]
    """The truth and three distinct flips of its labels, shuffled."""
    answer: int
    seed: int
    """Chooses the template, the same for every option and wording."""

    def texts(self, wording: Wording) -> tuple[str, ...]:
        """Return the options in words."""
        return tuple(caption(claims, wording=wording, seed=self.seed) for claims in self.options)


@dataclass(frozen=True, kw_only=True)
class Polarity:
    """How often the true statement wins, by wording of the absent findings."""

    affirmative: float
    negated: float
    count: int

    @property
    def gap(self) -> float:
        """Accuracy lost where absence is worded as a negation."""
        return self.affirmative - self.negated


def questions(count: int, *, seed: int = 0) -> list[Question]:
    """Return `count` questions on held-out studies; each asks of an absent finding."""
    rng = Random(f"polarity {seed}")  # noqa: S311
    return [_question(study(number), rng) for number in rng.sample(HELD_OUT, count)]


def _question(patient: Study, rng: Random) -> Question:
    first = rng.choice(patient.absent or patient.claims)
    others = [claim for claim in patient.claims if claim is not first]
    truth = [first, *rng.sample(others, FINDINGS_ASKED - 1)]
    rng.shuffle(truth)
    flips = [flip for flip in product((False, True), repeat=FINDINGS_ASKED) if any(flip)]
    chosen = [(False,) * FINDINGS_ASKED, *rng.sample(flips, OPTIONS - 1)]
    rng.shuffle(chosen)
    return Question(
        study=patient,
        options=tuple(tuple(map(_stated, truth, flip)) for flip in chosen),
        answer=next(place for place, flip in enumerate(chosen) if not any(flip)),
        seed=rng.getrandbits(32),
    )


def _stated(claim: Claim, flip: bool) -> Claim:
    """Return the bare claim: an attribute would give away which label was flipped."""
    return Claim(finding=claim.finding, present=claim.present != flip)


def ask(score: Scorer, asked: Sequence[Question]) -> Polarity:
    """Put the questions to `score`; a tie counts as wrong."""
    images = [question.study.image() for question in asked]
    right: dict[Wording, float] = {}
    for wording in ("equivalent", "negated"):
        texts = [text for question in asked for text in question.texts(wording)]
        scores = np.asarray(score(images, texts), dtype=np.float64)
        right[wording] = float(
            np.mean(
                [
                    _wins(scores[row, OPTIONS * row : OPTIONS * (row + 1)], question.answer)
                    for row, question in enumerate(asked)
                ]
            )
        )
    return Polarity(affirmative=right["equivalent"], negated=right["negated"], count=len(asked))


def _wins(scores: NDArray[np.float64], answer: int) -> bool:
    return bool(scores[answer] > np.delete(scores, answer).max())
