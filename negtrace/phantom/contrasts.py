"""Minimal contrasts about radiographs: a true and a false statement, one word apart."""

__all__ = ["Contrast", "contrasts"]

from dataclasses import dataclass
from random import Random

from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import FINDING_TWINS, finding_twins
from negtrace.phantom.patients import HELD_OUT_SEEDS, PHANTOM_FINDINGS, Patient, patient_with


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A held-out radiograph and twin statements on one finding, exactly one of them negated."""

    patient: Patient
    claim: Claim
    """What is so: the negated statement is the true one where it is absent."""
    true: str
    false: str
    template: int
    """Which of `negtrace.language.twins.FINDING_TWINS` the statements are."""


def contrasts(n: int, *, seed: int) -> list[Contrast]:
    """Return `n` contrasts; present and absent claims, findings and templates take turns.

    >>> [contrast.claim.present for contrast in contrasts(4, seed=0)]
    [True, False, True, False]
    """
    rng = Random(f"contrasts {seed}")  # noqa: S311
    return [_contrast(place, rng) for place in range(n)]


def _contrast(place: int, rng: Random) -> Contrast:
    turn = place // 2
    finding = PHANTOM_FINDINGS[turn % len(PHANTOM_FINDINGS)]
    template = turn // len(PHANTOM_FINDINGS) % len(FINDING_TWINS)
    patient = patient_with({finding: place % 2 == 0}, HELD_OUT_SEEDS, rng)
    claim = patient.claim(finding)
    affirmed, negated = finding_twins(FINDINGS[finding])[template]
    true, false = (affirmed, negated) if claim.present else (negated, affirmed)
    return Contrast(patient=patient, claim=claim, true=true, false=false, template=template)
