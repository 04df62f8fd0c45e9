"""Narrowed: whether the code of a model computes in a narrower precision than its weights have."""

__all__ = ["Narrowed"]

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Narrowed(TorchDispatchMode):
    """Watch for tensors of float64 that are turned into narrower ones."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        given = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if given is not None and given.dtype == torch.float64 and given.ndim >= 2:
            self.found |= isinstance(result, torch.Tensor) and result.dtype == torch.float32
        return result
