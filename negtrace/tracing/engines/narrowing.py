"""Narrowing: whether the code of a model computes in float32 although its weights are float64.

Rotary tables, norms and the routers of mixtures of experts often do.
"""

__all__ = ["narrows"]

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class _Watch(TorchDispatchMode):
    """Watch for states of float64 that are turned into float32."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: bool = False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        given = args[0] if args else None
        # A number is a setting or a table's parameter; a state has rows.
        if isinstance(given, Tensor) and given.dtype == torch.float64 and given.ndim >= 2:
            self.found |= isinstance(result, Tensor) and result.dtype == torch.float32
        return result


def narrows(run: Callable[[], object]) -> bool:
    """Return whether states of float64 become float32 on the way through a run."""
    watch = _Watch()
    with watch:
        run()
    return watch.found
