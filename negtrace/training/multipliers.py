"""From layer scores to a multiplier for each block, and the weightings that scores must beat.

NAST (arXiv 2602.12498) multiplies the update of block l by alpha_l ** beta. Where tracing points
need not be where editing works (Hase et al., arXiv 2301.04213), so every experiment has its
controls: uniform, permuted, inverted, the top k blocks only, the first k blocks only.

A multiplier stands for a learning rate, and an optimizer of the Adam family moves every weight by
about its learning rate a step. So weightings are comparable when the multipliers' mean over the
trainable weights is one and the same: 1, the budget of plain fine-tuning.
"""

__all__ = ["FLOOR", "WEIGHTINGS", "Weighing", "equalised", "require_names", "scales"]

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Float

from negtrace._messages import listed
from negtrace._registry import Registry
from negtrace.errors import FinetuneError
from negtrace.results.layer_scores import LayerScores

FLOOR = 0.1
"""Least multiplier before the budget is equalised: min-max gives the lowest block an alpha of 0."""

Blocks = Float[np.ndarray, " block"]

Weighting = Callable[[Blocks, float, float, int, np.random.Generator], Blocks]
"""From alpha, beta, floor, k and draws to multipliers, before the budget is equalised."""

WEIGHTINGS: Registry[Weighting] = Registry("weighting")


@WEIGHTINGS.register("scored")
def _scored(alpha: Blocks, beta: float, floor: float, k: int, rng: np.random.Generator) -> Blocks:
    """max(alpha ** beta, floor): as the scores say."""
    return np.maximum(alpha**beta, floor)


@WEIGHTINGS.register("uniform")
def _uniform(alpha: Blocks, beta: float, floor: float, k: int, rng: np.random.Generator) -> Blocks:
    """1 everywhere: plain fine-tuning."""
    return np.ones_like(alpha)


@WEIGHTINGS.register("permuted")
def _permuted(alpha: Blocks, beta: float, floor: float, k: int, rng: np.random.Generator) -> Blocks:
    """The scored multipliers, dealt out to the blocks at random."""
    return np.asarray(rng.permutation(np.maximum(alpha**beta, floor)))


@WEIGHTINGS.register("inverted")
def _inverted(alpha: Blocks, beta: float, floor: float, k: int, rng: np.random.Generator) -> Blocks:
    """max((1 - alpha) ** beta, floor): the opposite of what the scores say."""
    return np.maximum((1 - alpha) ** beta, floor)


@WEIGHTINGS.register("top")
def _top(alpha: Blocks, beta: float, floor: float, k: int, rng: np.random.Generator) -> Blocks:
    """1 in the k blocks of the highest scores, 0 elsewhere; the earlier block wins a tie."""
    chosen = np.zeros_like(alpha)
    chosen[np.argsort(-alpha, kind="stable")[:k]] = 1
    return chosen


@WEIGHTINGS.register("front")
def _front(alpha: Blocks, beta: float, floor: float, k: int, rng: np.random.Generator) -> Blocks:
    """1 in the first k blocks, 0 elsewhere."""
    return np.asarray((np.arange(len(alpha)) < k).astype(float))


class Weighing(TypedDict, total=False):
    """How scores become multipliers; `scales` says what each is."""

    weighting: str
    beta: float
    floor: float
    k: int
    seed: int
    sizes: Mapping[str, int] | None
    equal_budget: bool


def scales(
    scores: LayerScores,
    weighting: str = "scored",
    *,
    beta: float = 1.0,
    floor: float = FLOOR,
    k: int = 3,
    seed: int = 0,
    sizes: Mapping[str, int] | None = None,
    equal_budget: bool = True,
) -> dict[str, float]:
    """Return the multiplier of each block by its name.

    Args:
        scores: of the model that is to be trained.
        weighting: a name in `WEIGHTINGS`.
        beta: how sharply multipliers follow the scores; 0 is uniform.
        floor: the least multiplier, before the budget is equalised.
        k: how many blocks `top` and `front` train.
        seed: of `permuted`.
        sizes: trainable weights of each block, for the budget; equal ones when not given.
        equal_budget: divide by the mean over the trainable weights, so that it is 1.

    Raises:
        FinetuneError: for a setting out of its range.
        UnknownNameError: for an unknown weighting.
    """
    if beta < 0 or not 0 <= floor <= 1:
        raise FinetuneError(f"beta {beta} and floor {floor}; expected beta >= 0, floor in 0 .. 1")
    if not 1 <= k <= len(scores.layers):
        raise FinetuneError(f"k is {k}; expected 1 .. {len(scores.layers)}, the number of blocks")
    rng = np.random.default_rng(seed)
    alpha = np.asarray(scores.alpha, dtype=float)
    found = WEIGHTINGS[weighting](alpha, beta, floor, k, rng)
    chosen = dict(zip(scores.layers, found.tolist(), strict=True))
    return equalised(chosen, sizes) if equal_budget else chosen


def equalised(
    multipliers: Mapping[str, float], sizes: Mapping[str, int] | None = None
) -> dict[str, float]:
    """Return the multipliers over their mean, each block counted by its trainable weights.

    >>> equalised({"a": 1.0, "b": 0.0})
    {'a': 2.0, 'b': 0.0}
    >>> equalised({"a": 1.0, "b": 0.0}, {"a": 300, "b": 100})
    {'a': 1.3333333333333333, 'b': 0.0}

    Raises:
        FinetuneError: when all are zero.
    """
    weight = [1 if sizes is None else sizes[name] for name in multipliers]
    mean = float(np.average(list(multipliers.values()), weights=weight))
    if mean <= 0:
        raise FinetuneError("every multiplier is 0, so nothing would be trained; raise the floor")
    return {name: value / mean for name, value in multipliers.items()}


def require_names(given: Sequence[str], blocks: Sequence[str], whose: str) -> None:
    """Raise a FinetuneError unless the scored blocks are the model's, in any order."""
    if set(given) == set(blocks):
        return
    unknown = [name for name in given if name not in set(blocks)]
    unscored = [name for name in blocks if name not in set(given)]
    said = [
        f"{what}: {listed(names)}"
        for what, names in (("not in the model", unknown), ("without a score", unscored))
        if names
    ]
    raise FinetuneError(
        f"the scores are not of the blocks of {whose} ({'; '.join(said)}); trace this very model, "
        "and name its blocks as in model.named_modules()"
    )
