"""Multiplier of each block from layer scores, and the controls that scores have to beat.

NAST (arXiv 2602.12498) multiplies the update of block l by alpha_l ** beta. The blocks that a trace
points to need not be the blocks where training works best (Hase et al., arXiv 2301.04213). So every
experiment needs controls: uniform, permuted, inverted, top k and front k.

A multiplier scales a learning rate, and an optimizer of the Adam family moves every weight by about
its learning rate per step. Weightings are therefore comparable when their multipliers have the same
mean over the trainable weights. That mean is 1 here, the budget of plain fine-tuning.

To add a weighting, register a subclass of `Weighting` in `WEIGHTINGS`.
"""

__all__ = [
    "WEIGHTINGS",
    "Front",
    "Inverted",
    "Permuted",
    "Scored",
    "Top",
    "Uniform",
    "Weighting",
    "multipliers",
    "require_names",
]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from typing_extensions import override

from negtrace._messages import listed
from negtrace._registry import Registry
from negtrace.errors import FinetuneError
from negtrace.results.layer_scores import LayerScores
from negtrace.training.names import renamed

Blocks = Float[np.ndarray, " block"]
"""A number for each block of the model, in the model's order."""


class Weighting(ABC):
    """A way to turn layer scores into multipliers.

    A subclass is a frozen dataclass whose fields are its settings, all with a default.
    """

    @abstractmethod
    def multipliers(self, alpha: Blocks) -> Blocks:
        """Return the multiplier of each block, before the budget is equalised.

        Args:
            alpha: layer scores scaled to 0 .. 1; the lowest block has 0, the highest 1.
        """


WEIGHTINGS: Registry[type[Weighting]] = Registry("weighting")
"""The weightings by name, as in `negtrace finetune --weighting NAME`."""


@WEIGHTINGS.register("scored")
@dataclass(frozen=True, kw_only=True)
class Scored(Weighting):
    """max(alpha ** beta, floor): blocks with higher scores move further."""

    beta: float = 1.0
    """Sharpness, 0 or more; 0 gives every block a multiplier of 1."""
    floor: float = 0.1
    """Least multiplier, in 0 .. 1; 0 freezes the lowest block."""

    def __post_init__(self) -> None:
        if self.beta < 0 or not 0 <= self.floor <= 1:
            raise FinetuneError(
                f"beta is {self.beta} and floor is {self.floor}; expected a beta of 0 or more and "
                "a floor in 0 .. 1"
            )

    @override
    def multipliers(self, alpha: Blocks) -> Blocks:
        return np.maximum(alpha**self.beta, self.floor)


@WEIGHTINGS.register("permuted")
@dataclass(frozen=True, kw_only=True)
class Permuted(Scored):
    """The multipliers of `Scored`, assigned to the blocks in random order."""

    seed: int = 0
    """Seed of the order."""

    @override
    def multipliers(self, alpha: Blocks) -> Blocks:
        generator = np.random.default_rng(self.seed)
        return np.asarray(generator.permutation(super().multipliers(alpha)))


@WEIGHTINGS.register("inverted")
@dataclass(frozen=True, kw_only=True)
class Inverted(Scored):
    """max((1 - alpha) ** beta, floor): blocks with lower scores move further."""

    @override
    def multipliers(self, alpha: Blocks) -> Blocks:
        return super().multipliers(1 - alpha)


@WEIGHTINGS.register("uniform")
@dataclass(frozen=True, kw_only=True)
class Uniform(Weighting):
    """1 in every block: plain fine-tuning."""

    @override
    def multipliers(self, alpha: Blocks) -> Blocks:
        return np.ones_like(alpha)


@dataclass(frozen=True, kw_only=True)
class _SomeBlocks(Weighting):
    """1 in k blocks, 0 elsewhere."""

    k: int = 3
    """Number of blocks that are trained, 1 or more."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise FinetuneError(f"k is {self.k}; expected 1 or more")

    def _of_first(self, order: Int[np.ndarray, " block"]) -> Blocks:
        """Return 1 for the first k of the blocks in this order, 0 for the others."""
        if self.k > len(order):
            raise FinetuneError(f"k is {self.k}; expected 1 .. {len(order)}, the number of blocks")
        chosen = np.zeros(len(order))
        chosen[order[: self.k]] = 1
        return chosen


@WEIGHTINGS.register("top")
@dataclass(frozen=True, kw_only=True)
class Top(_SomeBlocks):
    """1 in the k blocks with the highest scores, 0 elsewhere; of equal scores the earlier block."""

    @override
    def multipliers(self, alpha: Blocks) -> Blocks:
        return self._of_first(np.argsort(-alpha, kind="stable"))


@WEIGHTINGS.register("front")
@dataclass(frozen=True, kw_only=True)
class Front(_SomeBlocks):
    """1 in the first k blocks, 0 elsewhere."""

    @override
    def multipliers(self, alpha: Blocks) -> Blocks:
        return self._of_first(np.arange(len(alpha)))


def multipliers(
    scores: LayerScores,
    weighting: Weighting | str = "scored",
    *,
    sizes: Mapping[str, int] | None = None,
    equal_budget: bool = True,
) -> dict[str, float]:
    """Return the multiplier of each block by its name.

    Args:
        scores: layer scores of the model that is to be trained.
        weighting: a weighting such as `Top(k=2)`, or a name in `WEIGHTINGS` for its defaults.
        sizes: number of trainable weights of each block, by name. They weight the mean that is
            brought to 1. Without them all blocks count alike.
        equal_budget: divide by the mean, so that every weighting has the budget of plain
            fine-tuning.

    Raises:
        FinetuneError: when every multiplier is 0, or the weighting does not fit the scores.
        UnknownNameError: for a name that is not registered.
    """
    chosen = WEIGHTINGS[weighting]() if isinstance(weighting, str) else weighting
    values = chosen.multipliers(np.asarray(scores.alpha, dtype=float))
    named = dict(zip(scores.layers, values.tolist(), strict=True))
    return equalised(named, sizes) if equal_budget else named


def equalised(
    multipliers: Mapping[str, float], sizes: Mapping[str, int] | None = None
) -> dict[str, float]:
    """Return the multipliers divided by their mean, each block weighted by its trainable weights.

    >>> equalised({"a": 1.0, "b": 0.0})
    {'a': 2.0, 'b': 0.0}
    >>> equalised({"a": 1.0, "b": 0.0}, {"a": 300, "b": 100})
    {'a': 1.3333333333333333, 'b': 0.0}

    Raises:
        FinetuneError: when all are zero.
    """
    weights = [1 if sizes is None else sizes[name] for name in multipliers]
    mean = float(np.average(list(multipliers.values()), weights=weights))
    if mean <= 0:
        raise FinetuneError("every multiplier is 0, so nothing would be trained; raise the floor")
    return {name: value / mean for name, value in multipliers.items()}


def require_names(scored: Sequence[str], blocks: Sequence[str], model: str) -> None:
    """Raise a FinetuneError unless the scored blocks are the blocks of the model, in any order.

    Wrappers around the model, such as torch.compile or a PeftModel, make no difference.
    """
    if renamed(scored, blocks) is not None:
        return
    unknown = [name for name in scored if name not in set(blocks)]
    unscored = [name for name in blocks if name not in set(scored)]
    differences = [
        f"{problem}: {listed(names)}"
        for problem, names in (("not in the model", unknown), ("without a score", unscored))
        if names
    ]
    raise FinetuneError(
        f"the scores are not of the blocks of {model} ({'; '.join(differences)}); trace this very "
        "model, and name its blocks as in model.named_modules()"
    )
