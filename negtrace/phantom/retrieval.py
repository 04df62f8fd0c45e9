"""Recall of each held-out radiograph's own report among those of the others."""

__all__ = ["gallery", "recall"]

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from negtrace.phantom.cohort import HELD_OUT, Study, study
from negtrace.phantom.reports import report


def gallery(count: int, *, seed: int = 0) -> list[tuple[Study, str]]:
    """Return held-out studies, each with a report that denies nothing."""
    numbers = Random(f"gallery {seed}").sample(HELD_OUT, count)  # noqa: S311
    return [(study(number), report(study(number), seed=number, rate=0.0)) for number in numbers]


def recall(scores: NDArray[np.floating], ks: Sequence[int] = (1, 5, 10)) -> dict[int, float]:
    """Return the share of rows whose own column is among the best k; ties count against it.

    >>> recall(np.eye(4), ks=(1,))
    {1: 1.0}
    """
    own = np.diagonal(scores)[:, None]
    rank = (scores >= own).sum(1)
    return {k: float((rank <= k).mean()) for k in ks}
