"""Attention, observed while a model runs: every softmax over keys that weights values.

No architecture is named here. `AttentionCalls` sees the torch functions that a forward calls. It
recognises `scaled_dot_product_attention`, the fused function of `torch.nn.MultiheadAttention`, and
a softmax over the last axis whose result is multiplied by values. The softmax of a router over
experts may look the same: whether tokens reach each other is for the caller to measure.
"""

__all__ = ["AttentionCall", "AttentionCalls", "with_changed"]

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DOT_PRODUCT = "scaled_dot_product_attention"
FUSED = "multi_head_attention_forward"
SOFTMAX = "softmax"
PRODUCTS = ("matmul", "__matmul__", "bmm", "einsum")


@dataclass(frozen=True, kw_only=True, eq=False)
class AttentionCall:
    """One attention that ran: the values of one row, weighted by a softmax over keys."""

    at: int
    """Time at which it ended, on the clock of the recording."""
    output: Tensor
    """Weighted values, such as [row, head, query, dim]; a copy."""
    query_axis: int
    """Axis of `output` that counts the queries."""
    heads: int
    """Number of heads; 0 where one fused operation holds them."""

    @property
    def fused(self) -> bool:
        """True if the operation includes its output projection, so that no hook sees the heads."""
        return not self.heads

    @property
    def queries(self) -> int:
        """Number of tokens that attend."""
        return self.output.shape[self.query_axis]

    def side_by_side(self) -> Tensor:
        """Return the outputs of the heads one behind the other, [query, head * dim]."""
        return self.output.movedim(self.query_axis, 0).flatten(1)


def with_changed(states: Tensor, axis: int, positions: Collection[int]) -> Tensor:
    """Return a copy of `states` with other numbers at some positions of one axis."""
    changed = states.movedim(axis, 0).clone()
    for position in positions:
        changed[position] = changed[position].flip(-1) + 1
    return changed.movedim(0, axis)


class AttentionCalls(TorchFunctionMode):
    """Attention that runs inside the `with`, in order.

    Args:
        clock: yields the time.
        replacing: calls of an earlier recording of the same forward, whose outputs are given back
            in place of those computed here, each changed at `positions`. None stands for a call
            that keeps its own output.
        positions: positions of the queries to change.
    """

    def __init__(
        self,
        clock: Iterator[int],
        replacing: Sequence[AttentionCall | None] = (),
        positions: Collection[int] = (),
    ) -> None:
        super().__init__()
        self.calls: list[AttentionCall] = []
        self._clock = clock
        self._replacing = replacing
        self._positions = positions
        # Kept alive: the number that `id` gives belongs to another tensor once this one is freed.
        self._weights: dict[int, Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one torch function, and record it where it is attention."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        tensors = [value for value in _flat((*args, *kwargs.values())) if isinstance(value, Tensor)]
        if name == DOT_PRODUCT:
            heads = tensors[0].shape[:-2].numel()
            return self._recorded(result, result, query_axis=result.ndim - 2, heads=heads)
        if name == FUSED:
            return self._recorded(result, result[0], query_axis=0, heads=0)
        if not isinstance(result, Tensor):
            return result
        weights = next((value for value in tensors if id(value) in self._weights), None)
        if weights is not None and name in PRODUCTS:
            axis = _query_axis(name, args, weights, result)
            if axis is not None:
                heads = weights.shape[:-2].numel()
                return self._recorded(result, result, query_axis=axis, heads=heads)
        elif _is_over_keys(name, args, kwargs, result) or (
            weights is not None and result.shape[-2:-1] == _queries(weights)
        ):
            self._weights[id(result)] = result
        return result

    def _recorded(self, result: Any, output: Tensor, *, query_axis: int, heads: int) -> Any:
        """Record a call, and return its result or what replaces it."""
        index = len(self.calls)
        # A copy, since a model may go on to write into the tensor.
        self.calls.append(
            AttentionCall(
                at=next(self._clock), output=output.clone(), query_axis=query_axis, heads=heads
            )
        )
        earlier = self._replacing[index] if index < len(self._replacing) else None
        if earlier is None or earlier.output.shape != output.shape:
            return result
        changed = with_changed(earlier.output, query_axis, self._positions)
        return (changed, *result[1:]) if isinstance(result, tuple) else changed


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    """Yield the values, and those inside lists and tuples among them."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _queries(weights: Tensor) -> torch.Size:
    return weights.shape[-2:-1]


def _is_over_keys(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> bool:
    """Return whether a function is a softmax over the last axis of [..., query, key]."""
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return name == SOFTMAX and result.ndim > 1 and axis in (-1, result.ndim - 1)


def _query_axis(name: str, args: tuple[Any, ...], weights: Tensor, result: Tensor) -> int | None:
    """Return the axis of a product that counts the queries; None if it contracts no keys."""
    if name != "einsum":
        return result.ndim - 2 if args[0] is weights else None
    operands = list(_flat(args[1:]))
    terms, arrow, out = str(args[0]).replace(" ", "").partition("->")
    if not arrow or "." in terms:
        return None
    term = terms.split(",")[next(i for i, value in enumerate(operands) if value is weights)]
    query, key = term[-2], term[-1]
    # The last axis must be that of the values, so that the numbers of one head are neighbours.
    return out.index(query) if query in out and key not in out and out[-1] not in term else None
