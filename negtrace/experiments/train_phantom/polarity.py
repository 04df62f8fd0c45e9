"""Polarity questions about held-out radiographs, negated and in affirmative equivalents."""

__all__ = ["Polarity", "Question", "Scorer", "ask", "questions"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
from numpy.typing import NDArray

from negtrace.language.options import Options, bare
from negtrace.language.realize import Wording
from negtrace.phantom.patients import HELD_OUT, Study, study
from negtrace.results.statistics import rank_of_correct

Scorer = Callable[[Sequence[NDArray[np.uint8]], Sequence[str]], NDArray[np.floating]]
"""Scores every image against every text: rows are images, columns texts."""

FINDINGS_ASKED = 3
OPTIONS = 4


@dataclass(frozen=True, kw_only=True)
class Question(Options):
    """One radiograph and four statements on the same findings, one of which is true."""

    study: Study


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
    wrong = [flips for flips in product((False, True), repeat=FINDINGS_ASKED) if any(flips)]
    chosen = [(False,) * FINDINGS_ASKED, *rng.sample(wrong, OPTIONS - 1)]
    rng.shuffle(chosen)
    return Question(
        study=patient,
        options=tuple(
            tuple(bare(c.finding, c.present != flip) for c, flip in zip(truth, flips, strict=True))
            for flips in chosen
        ),
        answer=next(place for place, flips in enumerate(chosen) if not any(flips)),
        seed=rng.getrandbits(32),
    )


def ask(score: Scorer, asked: Sequence[Question]) -> Polarity:
    """Put the questions to `score`; a tie counts as wrong."""
    images = [question.study.image() for question in asked]
    answers = np.array([question.answer for question in asked])
    right: dict[Wording, float] = {}
    for wording in ("equivalent", "negated"):
        texts = [text for question in asked for text in question.texts(wording)]
        scores = np.asarray(score(images, texts), dtype=np.float64)
        own = np.stack([row[OPTIONS * n : OPTIONS * (n + 1)] for n, row in enumerate(scores)])
        right[wording] = float((rank_of_correct(own, answers) == 1).mean())
    return Polarity(affirmative=right["equivalent"], negated=right["negated"], count=len(asked))
