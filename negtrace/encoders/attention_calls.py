"""Attention, observed while a model runs: every softmax over keys that weights values.

No architecture is named here. `AttentionCalls` sees the torch functions that a forward calls. It
recognises `scaled_dot_product_attention`, the fused function of `torch.nn.MultiheadAttention`, and
a softmax over the last axis whose result is multiplied by values. The result may be changed on the
way, as long as it is a pattern: no weight is negative, and those of a query sum to 1, or to less
where a sink takes the rest. The softmax of a router over experts or of linear attention over
features looks the same: whether the values are those of tokens, and whether tokens reach each
other, is for the caller to measure.
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

TOLERANCE = 1e-3
"""Rounding of the weights of a pattern."""


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
    values: Tensor
    """Values that are weighted, [key, rest]; a copy."""

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
        if name in (DOT_PRODUCT, FUSED):
            values = kwargs["value"] if "value" in kwargs else args[2]
            if name == FUSED:
                return self._recorded(result, result[0], 0, 0, _by_key(values, 0))
            heads = tensors[0].shape[:-2].numel()
            return self._recorded(result, result, result.ndim - 2, heads, _by_key(values, -2))
        if not isinstance(result, Tensor):
            return result
        weights = next((value for value in tensors if id(value) in self._weights), None)
        if weights is not None and name in PRODUCTS:
            product = _product(name, args, tensors, weights, result)
            if product and _is_pattern(weights):
                heads = weights.shape[:-2].numel()
                return self._recorded(result, result, product[0], heads, product[1])
        elif _is_over_keys(name, args, kwargs, result) or (
            weights is not None and result.shape[-2:-1] == _queries(weights)
        ):
            self._weights[id(result)] = result
        return result

    def _recorded(
        self, result: Any, output: Tensor, query_axis: int, heads: int, values: Tensor
    ) -> Any:
        """Record a call, and return its result or what replaces it."""
        index = len(self.calls)
        # A copy, since a model may go on to write into the tensor.
        self.calls.append(
            AttentionCall(
                at=next(self._clock),
                output=output.clone(),
                query_axis=query_axis,
                heads=heads,
                values=values.clone(),
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


def _is_pattern(weights: Tensor) -> bool:
    """Return whether no weight is negative, and those of each query sum to 1 or less."""
    negative, more = weights < -TOLERANCE, weights.sum(-1) > 1 + TOLERANCE
    return not bool(negative.any() | more.any())


def _by_key(values: Tensor, axis: int) -> Tensor:
    """Return values as [key, rest]."""
    return values.movedim(axis, 0).flatten(1)


def _product(
    name: str, args: tuple[Any, ...], tensors: Sequence[Tensor], weights: Tensor, result: Tensor
) -> tuple[int, Tensor] | None:
    """Return the axis of a product that counts the queries, and its values by key.

    None if it contracts no keys.
    """
    if name != "einsum":
        values = tensors[-1]
        is_first = tensors[0] is weights and len(tensors) == 2
        return (result.ndim - 2, _by_key(values, -2)) if is_first and values.ndim > 1 else None
    terms, arrow, out = str(args[0]).replace(" ", "").partition("->")
    operands = list(_flat(args[1:]))
    if not arrow or "." in terms:
        return None
    by_term = list(zip(terms.split(","), operands, strict=True))
    term = next(term for term, value in by_term if value is weights)
    query, key = term[-2], term[-1]
    others = [
        _by_key(value, other.index(key))
        for other, value in by_term
        if value is not weights and key in other
    ]
    # The last axis must be that of the values, so that the numbers of one head are neighbours.
    if not others or query not in out or key in out or out[-1] in term:
        return None
    return out.index(query), others[0]
