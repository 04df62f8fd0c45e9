"""Held-out radiographs with their own reports, to be found among those of the others."""

__all__ = ["gallery"]

from random import Random

from negtrace.phantom.patients import HELD_OUT_SEEDS, Patient, draw_patients
from negtrace.phantom.reports import report


def gallery(count: int, *, seed: int = 0, rate: float = 0.0) -> list[tuple[Patient, str]]:
    """Return held-out studies, each with a report; a share `rate` of the reports deny findings."""
    numbers = Random(f"gallery {seed}").sample(HELD_OUT_SEEDS, count)  # noqa: S311
    patients = draw_patients(numbers)
    return [(patient, report(patient, seed=patient.seed, rate=rate)) for patient in patients]
