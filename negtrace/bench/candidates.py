"""Candidates for retrieval: anchors and their statements, each to be found among the others."""

__all__ = ["CandidateSet", "phantom_candidates", "text_candidates"]

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from negtrace.bench.cases import TextCases
from negtrace.datasets.note import Origin
from negtrace.errors import BenchError
from negtrace.language.claims import Claim
from negtrace.language.wording import realize
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import HELD_OUT_SEEDS, draw_patients
from negtrace.phantom.reports import report

FINDINGS_PER_TEXT = 5


@dataclass(frozen=True, kw_only=True)
class CandidateSet:
    """Anchors and statements; `texts[i]` is the right statement for `anchors[i]`.

    Raises:
        BenchError: for fewer than two rows, or unequal numbers of anchors and statements.
    """

    anchors: tuple[Anchor, ...]
    texts: tuple[str, ...]
    sources: tuple[Origin, ...] = ()
    """File and line of each row, for notes; empty for generated rows."""

    def __post_init__(self) -> None:
        if len(self.anchors) != len(self.texts) or len(self.texts) < 2:
            raise BenchError(
                f"{len(self.anchors)} anchors and {len(self.texts)} statements; "
                "expected as many of each, two or more"
            )

    def subset(self, indices: Sequence[int]) -> "CandidateSet":
        """Return the candidates at these indices."""
        return CandidateSet(
            anchors=tuple(self.anchors[index] for index in indices),
            texts=tuple(self.texts[index] for index in indices),
            sources=tuple(self.sources[index] for index in indices) if self.sources else (),
        )


def phantom_candidates(count: int, *, seed: int) -> dict[str, CandidateSet]:
    """Held-out radiographs with reports that negate nothing, and with reports that negate.

    Args:
        count: number of radiographs.
        seed: seed of the draw.

    Returns:
        A set for `affirmative` and one for `with negation`, with the same radiographs.
    """
    patients = draw_patients(Random(f"gallery {seed}").sample(HELD_OUT_SEEDS, count))  # noqa: S311
    anchors = tuple(Anchor(image=patient.image()) for patient in patients)
    sets = {}
    for series, rate in (("affirmative", 0.0), ("with negation", 1.0)):
        texts = tuple(report(patient, seed=patient.seed, rate=rate) for patient in patients)
        sets[series] = CandidateSet(anchors=anchors, texts=texts)
    return sets


def text_candidates(count: int, *, seed: int) -> dict[str, CandidateSet]:
    """Texts that describe five findings without naming them, and statements about the same.

    Present findings are worded the same in both sets. Absent ones are affirmed to be normal in one
    set and negated in the other.

    Args:
        count: number of texts.
        seed: seed of the draw.

    Returns:
        A set for `affirmative` and one for `with negation`, with the same texts as anchors.
    """
    rng = Random(f"texts {seed}")  # noqa: S311
    cases, anchors = TextCases(), []
    texts: dict[str, list[str]] = {"affirmative": [], "with negation": []}
    for _ in range(count):
        findings = rng.sample(tuple(cases.findings), FINDINGS_PER_TEXT)
        labels = {finding: rng.random() < 0.5 for finding in findings}
        anchors.append(cases.draw(labels, rng).anchor)
        claims = [Claim(finding=finding, present=present) for finding, present in labels.items()]
        draw = rng.getrandbits(32)
        texts["affirmative"].append(realize(claims, wording="equivalent", seed=draw))
        texts["with negation"].append(realize(claims, wording="negated", seed=draw))
    return {
        series: CandidateSet(anchors=tuple(anchors), texts=tuple(statements))
        for series, statements in texts.items()
    }
