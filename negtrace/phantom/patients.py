"""The phantom's patients: seeded studies, and which of them are held out."""

__all__ = [
    "HELD_OUT_SEEDS",
    "PHANTOM_FINDINGS",
    "TRAIN_SEEDS",
    "Patient",
    "draw_patient",
    "draw_patients",
    "patient_with",
    "radiographs",
]

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from random import Random

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from negtrace.language.claims import SEVERITIES, ZONES, Claim, Side
from negtrace.language.findings import FINDINGS
from negtrace.phantom.radiograph import render

PHANTOM_FINDINGS: tuple[str, ...] = (
    "effusion",
    "pneumothorax",
    "cardiomegaly",
    "consolidation",
    "edema",
    "nodule",
    "device",
)
"""The findings that have a sign; every study says of each whether it is there."""

PREVALENCE = 0.3
"""How often each finding is present: two of seven on average, few normal studies."""

TRAIN_SEEDS = range(1_000_000)
"""Seeds of the studies that training may see."""

HELD_OUT_SEEDS = range(1_000_000, 2_000_000)
"""Seeds of the studies that only questions may see."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """One synthetic patient: a claim on each of the phantom's findings, and the radiograph."""

    seed: int
    claims: tuple[Claim, ...]
    """One claim per finding, absent ones without attributes."""

    @property
    def present(self) -> tuple[Claim, ...]:
        """The claims that hold a finding to be there."""
        return tuple(claim for claim in self.claims if claim.present)

    @property
    def absent(self) -> tuple[Claim, ...]:
        """The claims that hold a finding not to be there."""
        return tuple(claim for claim in self.claims if not claim.present)

    def claim(self, finding: str) -> Claim:
        """Return the claim on one finding."""
        return self.claims[PHANTOM_FINDINGS.index(finding)]

    def image(self, size: int = 48) -> NDArray[np.uint8]:
        """Render the radiograph."""
        return render(self.claims, seed=self.seed, size=size)


def draw_patient(seed: int) -> Patient:
    """Draw the study of one seed.

    >>> [claim.finding for claim in draw_patient(7).present]
    ['pneumothorax', 'cardiomegaly', 'consolidation', 'edema', 'device']
    """
    rng = Random(seed)  # noqa: S311
    return Patient(seed=seed, claims=tuple(_claim(finding, rng) for finding in PHANTOM_FINDINGS))


def _claim(finding: str, rng: Random) -> Claim:
    if rng.random() >= PREVALENCE:
        return Claim(finding=finding, present=False)
    stated = FINDINGS[finding].attributes
    sides: tuple[Side | None, ...] = (*("left", "right") * 3, "bilateral")
    if finding == "device":
        sides += (None, None)  # A tube in the midline has no side.
    return Claim(
        finding=finding,
        present=True,
        side=rng.choice(sides) if "side" in stated else None,
        zone=rng.choice(ZONES) if "zone" in stated else None,
        severity=rng.choice(SEVERITIES) if "severity" in stated else None,
    )


def patient_with(labels: Mapping[str, bool], seeds: Sequence[int], rng: Random) -> Patient:
    """Draw studies of `seeds` until one has, and has not, these findings."""
    while True:
        patient = draw_patient(rng.choice(seeds))
        if all(patient.claim(finding).present == there for finding, there in labels.items()):
            return patient


def draw_patients(seeds: Sequence[int]) -> list[Patient]:
    """Return the studies of `seeds`, such as `TRAIN_SEEDS[:100]`."""
    return [draw_patient(seed) for seed in seeds]


def radiographs(studies: Sequence[Patient], *, workers: int | None = None) -> NDArray[np.uint8]:
    """Render (study, row, column), on every core; the result does not depend on how many."""
    count = len(studies)
    workers = min(workers or os.cpu_count() or 1, -(-count // 512))
    if workers <= 1:
        return np.stack([study.image() for study in studies])
    with get_context("spawn").Pool(workers) as pool:
        drawn = pool.imap(Patient.image, studies, chunksize=64)
        return np.stack(list(tqdm(drawn, total=count, desc="radiographs", disable=None)))
