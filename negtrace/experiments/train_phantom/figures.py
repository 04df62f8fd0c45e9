"""The phantom's held-out figures: polarity and retrieval."""

__all__ = ["Figures", "measure"]

from dataclasses import dataclass

from negtrace.experiments.train_phantom.polarity import OPTIONS, Scorer, ask, questions
from negtrace.phantom.retrieval import gallery
from negtrace.results.statistics import recall_at


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a model scores on held-out studies, as shares from 0 to 1."""

    questions: int
    affirmative: float
    """Accuracy where absence is worded as an affirmative equivalent."""
    negated: float
    """Accuracy where absence is worded as a negation."""
    gap: float
    question_chance: float
    gallery: int
    image_to_text: dict[str, float]
    """Recall at k of each radiograph's own report."""
    text_to_image: dict[str, float]
    recall_chance: dict[str, float]


def measure(score: Scorer, *, count: int = 600, pool: int = 300) -> Figures:
    """Ask `count` polarity questions and search a gallery of `pool` studies."""
    polarity = ask(score, questions(count))
    studies, reports = zip(*gallery(pool), strict=True)
    scores = score([study.image() for study in studies], reports)
    return Figures(
        questions=count,
        affirmative=round(polarity.affirmative, 4),
        negated=round(polarity.negated, 4),
        gap=round(polarity.gap, 4),
        question_chance=1 / OPTIONS,
        gallery=pool,
        image_to_text=_named(recall_at(scores)),
        text_to_image=_named(recall_at(scores.T)),
        recall_chance={f"R@{k}": round(k / pool, 4) for k in (1, 5, 10)},
    )


def _named(found: dict[int, float]) -> dict[str, float]:
    return {f"R@{k}": round(share, 4) for k, share in found.items()}
