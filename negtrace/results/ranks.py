"""Where the right one stands among its rivals; a tie counts against it, and so does no number."""

__all__ = ["recall", "standing"]

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer


def standing(
    scores: Float[np.ndarray, "row option"], right: Integer[np.ndarray, " row"]
) -> Integer[np.ndarray, " row"]:
    """Return the rank of each row's right option, 1 where it beats every other.

    >>> standing(np.array([[2.0, 1.0], [1.0, 1.0], [np.nan, 0.0]]), np.array([0, 0, 0]))
    array([1, 2, 2])
    """
    own = np.take_along_axis(scores, right[:, None], axis=1)
    return np.asarray((~(scores < own)).sum(axis=1))


def recall(
    scores: Float[np.ndarray, "row row"], ks: Sequence[int] = (1, 5, 10)
) -> dict[int, float]:
    """Return the share of rows whose own column is among the best k.

    >>> recall(np.eye(4), ks=(1,))
    {1: 1.0}
    """
    rank = standing(scores, np.arange(len(scores)))
    return {k: float((rank <= k).mean()) for k in ks}
