"""Synthetic patients, each drawn from a seed, and the seeds that are held out of training."""

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
"""Findings with a radiographic sign. Every patient has a claim on each of them."""

PREVALENCE = 0.3
"""Probability that a finding is present: two of seven on average, and few normal patients."""

TRAIN_SEEDS = range(1_000_000)
"""Seeds of the patients that training may use."""

HELD_OUT_SEEDS = range(1_000_000, 2_000_000)
"""Seeds of the patients that are kept for questions, pairs and retrieval."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A synthetic patient: a claim on each of `PHANTOM_FINDINGS`, and a radiograph."""

    seed: int
    claims: tuple[Claim, ...]
    """One claim for each finding, in order. Claims on absent findings state no attributes."""

    @property
    def present(self) -> tuple[Claim, ...]:
        """The claims on findings that are present."""
        return tuple(claim for claim in self.claims if claim.present)

    @property
    def absent(self) -> tuple[Claim, ...]:
        """The claims on findings that are absent."""
        return tuple(claim for claim in self.claims if not claim.present)

    def claim(self, finding: str) -> Claim:
        """Return the claim on one finding."""
        return self.claims[PHANTOM_FINDINGS.index(finding)]

    def image(self, size: int = 48) -> NDArray[np.uint8]:
        """Return the radiograph, of shape (size, size), from 0 to 255."""
        return render(self.claims, seed=self.seed, size=size)


def draw_patient(seed: int) -> Patient:
    """Return the patient of a seed.

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
    """Return a patient with these labels.

    Args:
        labels: findings of `PHANTOM_FINDINGS`, each with whether the patient has it.
        seeds: the patients to choose from, such as `TRAIN_SEEDS`.
        rng: draws seeds until a patient fits.
    """
    while True:
        patient = draw_patient(rng.choice(seeds))
        if all(patient.claim(finding).present == present for finding, present in labels.items()):
            return patient


def draw_patients(seeds: Sequence[int]) -> list[Patient]:
    """Return the patients of several seeds, such as `TRAIN_SEEDS[:100]`."""
    return [draw_patient(seed) for seed in seeds]


def radiographs(patients: Sequence[Patient], *, workers: int | None = None) -> NDArray[np.uint8]:
    """Return the radiographs of patients, of shape (patient, row, column).

    They are rendered on several cores; the result does not depend on their number.

    Args:
        patients: whose radiographs to render.
        workers: number of processes; one for each core when not given.
    """
    count = len(patients)
    workers = min(workers or os.cpu_count() or 1, -(-count // 512))
    if workers <= 1:
        return np.stack([patient.image() for patient in patients])
    with get_context("spawn").Pool(workers) as pool:
        drawn = pool.imap(Patient.image, patients, chunksize=64)
        return np.stack(list(tqdm(drawn, total=count, desc="radiographs", disable=None)))
