"""Scorers that see no anchor: what they get right, the statements give away by themselves."""

__all__ = ["chance", "guesses", "lengths"]

import hashlib
from collections.abc import Sequence
from random import Random

import numpy as np
from jaxtyping import Float

from negtrace.bench.items import Item


def chance(items: Sequence[Item]) -> float:
    """Return the accuracy of guessing: the mean of one over the number of statements."""
    return float(np.mean([1 / len(item.texts) for item in items]))


def guesses(items: Sequence[Item], *, seed: int) -> list[Float[np.ndarray, " _"]]:
    """Return a random score for each statement of each item."""
    rng = np.random.default_rng(seed)
    return [rng.random(len(item.texts)) for item in items]


def lengths(items: Sequence[Item]) -> list[Float[np.ndarray, " _"]]:
    """Return a score that is higher the shorter a statement is.

    Among statements of one length the text decides, the same way in every item: a tie would put
    this baseline below what it is worth.
    """
    return [np.array([_draw(text) - len(text) for text in item.texts]) for item in items]


def _draw(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return Random(hashlib.sha256(text.encode()).digest()).random()  # noqa: S311
