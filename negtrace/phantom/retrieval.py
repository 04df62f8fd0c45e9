"""Held-out radiographs with their own reports, to be found among those of the others."""

__all__ = ["gallery"]

from random import Random

from negtrace.phantom.patients import HELD_OUT, Study, study
from negtrace.phantom.reports import report


def gallery(count: int, *, seed: int = 0, rate: float = 0.0) -> list[tuple[Study, str]]:
    """Return held-out studies, each with a report; a share `rate` of the reports deny findings."""
    numbers = Random(f"gallery {seed}").sample(HELD_OUT, count)  # noqa: S311
    return [(study(number), report(study(number), seed=number, rate=rate)) for number in numbers]
