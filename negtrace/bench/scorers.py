"""Who answers: the model, and beside it what sees no anchor, so that a shortcut shows."""

__all__ = ["answers"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from negtrace.bench import baselines, scoring
from negtrace.bench.items import Item
from negtrace.bench.rates import correct
from negtrace.encoders.base import Encoder


def answers(
    encoder: Encoder, items: Sequence[Item], *, seed: int
) -> dict[str, Float[np.ndarray, " item"]]:
    """Return, by scorer, 1 for each item that it gets right and 0 for each other.

    `model`; `prior`, the model with an anchor that says nothing; `length`, the shortest statement;
    `chance`, random scores.
    """
    scores = {
        "model": scoring.options(encoder, items),
        "prior": scoring.options(encoder, items, uninformed=True),
        "length": baselines.lengths(items),
        "chance": baselines.guesses(items, seed=seed),
    }
    return {scorer: correct(items, rows) for scorer, rows in scores.items()}
