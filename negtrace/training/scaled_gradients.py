"""Gradients scaled by block in transformers' Trainer, and the optimizer that it would have made."""

__all__ = ["GradientScaling", "invariant", "optimizer_of"]

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from negtrace.errors import NegtraceWarning

_INVARIANT = ("adam", "lamb", "lion", "adafactor", "rmsprop", "adagrad", "ademamix")
"""Optimizers that divide by the gradient's own size, by what their names hold."""


def invariant(optimizer: object) -> bool:
    """Tell whether an optimizer undoes a constant factor on a weight's gradient."""
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
    return any(part in type(inner).__name__.lower() for part in _INVARIANT)


class GradientScaling(TrainerCallback):  # type: ignore[misc]
    """Multiplies the gradient of each block just before the optimizer's step."""

    def __init__(
        self, weights: Mapping[str, Sequence[torch.nn.Parameter]], scales: Mapping[str, float]
    ) -> None:
        self.weights = weights
        self.scales = scales

    def on_train_begin(self, *_: Any, optimizer: Any = None, **__: Any) -> None:
        """Warn where the scaling will hardly matter."""
        if invariant(optimizer):
            warnings.warn(
                "gradients are scaled by block, but an optimizer of the Adam family divides by "
                "the gradient's own size, so a constant factor cancels and every block moves "
                "nearly alike; use mode='lr', or SGD",
                NegtraceWarning,
                stacklevel=2,
            )

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Multiply, once an update: gradients are accumulated and clipped by now."""
        for block, weights in self.weights.items():
            for weight in weights:
                if weight.grad is not None:
                    weight.grad.mul_(self.scales[block])


def optimizer_of(groups: list[dict[str, Any]], args: Any) -> torch.optim.Optimizer:
    """Return the optimizer that `TrainingArguments` name, over param groups of one's own."""
    kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
    optimizer: torch.optim.Optimizer = kind(groups, **options)
    return optimizer
