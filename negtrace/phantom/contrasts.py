"""Contrasts: a radiograph with a true and a false statement about it, one word apart."""

__all__ = ["PatientContrast", "draw_contrasts"]

from dataclasses import dataclass
from random import Random

from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import finding_twins
from negtrace.phantom.patients import HELD_OUT_SEEDS, PHANTOM_FINDINGS, Patient, patient_with


@dataclass(frozen=True, kw_only=True)
class PatientContrast:
    """A held-out patient and two statements on one finding; one is true, and one is negated."""

    patient: Patient
    claim: Claim
    """The patient's claim on the finding. If it is absent, the negated statement is true."""
    true: str
    false: str
    template: int
    """Index of the statements' template in `negtrace.language.twins.FINDING_TWINS`."""


def draw_contrasts(n: int, *, seed: int) -> list[PatientContrast]:
    """Return `n` contrasts. Present and absent claims, findings and templates take turns.

    >>> [contrast.claim.present for contrast in draw_contrasts(4, seed=0)]
    [True, False, True, False]
    """
    rng = Random(f"contrasts {seed}")  # noqa: S311
    return [_contrast(number, rng) for number in range(n)]


def _contrast(number: int, rng: Random) -> PatientContrast:
    turn = number // 2
    finding = PHANTOM_FINDINGS[turn % len(PHANTOM_FINDINGS)]
    twins = finding_twins(FINDINGS[finding])
    template = turn // len(PHANTOM_FINDINGS) % len(twins)
    patient = patient_with({finding: number % 2 == 0}, HELD_OUT_SEEDS, rng)
    claim = patient.claim(finding)
    affirmed, negated = twins[template]
    true, false = (affirmed, negated) if claim.present else (negated, affirmed)
    return PatientContrast(patient=patient, claim=claim, true=true, false=false, template=template)
