"""A look at the weights after every step: training stops before they are no numbers."""

__all__ = ["Guard"]

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from negtrace.errors import FinetuneError


class Guard(TrainerCallback):  # type: ignore[misc]
    """Stops before weights that are no numbers are saved or trained on."""

    def __init__(self, weights: Sequence[Tensor], kept: Callable[[], str]) -> None:
        self.weights = weights
        self.kept = kept

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        """Look at every trained weight after each update."""
        if not all(bool(torch.isfinite(weight).all()) for weight in self.weights):
            raise FinetuneError(
                f"a weight is no longer a number after step {state.global_step}; {self.kept()}"
            )
