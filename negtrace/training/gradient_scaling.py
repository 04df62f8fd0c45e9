"""Gradients scaled by block in transformers' Trainer, as the NAST paper (arXiv 2602.12498) does."""

__all__ = ["gradient_scaling"]

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from transformers import TrainerCallback

from negtrace.errors import NegtraceWarning
from negtrace.training.param_groups import weights_by_block

NORMALIZING = ("adam", "lamb", "lion", "adafactor", "rmsprop", "adagrad", "ademamix")
"""Parts of the names of optimizers that divide a gradient by its own size."""


def gradient_scaling(
    module: nn.Module, multipliers: Mapping[str, float], *, prefix: str = ""
) -> TrainerCallback:
    """Return a callback for `transformers.Trainer` that multiplies the gradient of each block.

    It acts once per update, after accumulation and clipping, so neither of them undoes it. It warns
    under an optimizer of the Adam family, which divides the multiplier out again.

    Args:
        module: the model that the Trainer trains.
        multipliers: multiplier of each block by name.
        prefix: name of the traced module in this one with a dot, such as `text_tower.`.

    Raises:
        FinetuneError: when a block is not in the module.
    """
    weights = weights_by_block(module.named_parameters(), multipliers, prefix=prefix)
    scaled = {block: of_block for block, of_block in weights.items() if block is not None}
    return _GradientScaling(scaled, multipliers)


class _GradientScaling(TrainerCallback):  # type: ignore[misc]
    def __init__(
        self, weights: Mapping[str, Sequence[nn.Parameter]], multipliers: Mapping[str, float]
    ) -> None:
        self.weights = weights
        self.multipliers = multipliers

    def on_train_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        """Warn when the optimizer undoes the scaling."""
        if _normalizes(optimizer):
            warnings.warn(
                "gradients are scaled by block, but an optimizer of the Adam family divides by "
                "the gradient's own size, so a constant factor cancels and every block moves "
                "nearly alike; use mode='lr', or SGD",
                NegtraceWarning,
                stacklevel=2,
            )

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Multiply the gradients, which are accumulated and clipped by now."""
        for block, weights in self.weights.items():
            for weight in weights:
                if weight.grad is not None:
                    weight.grad.mul_(self.multipliers[block])


def _normalizes(optimizer: object) -> bool:
    """Tell whether an optimizer undoes a constant factor on the gradient of a weight."""
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    return any(part in type(inner).__name__.lower() for part in NORMALIZING)
