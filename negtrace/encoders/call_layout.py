"""Layout of the calls of a tower's blocks: which tensors hold rows or tokens, and on which axis.

A shape does not tell. A table [token, width] has as many entries as there are rows when a batch
happens to have as many rows as tokens. So the tower runs a statement in two rows, in three rows and
without its last token, and what follows the rows or the tokens is what changed its size with them.
"""

__all__ = ["BlockCall", "CallLayout", "measured_layout", "recorded_calls"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from negtrace.encoders.hooks import with_items
from negtrace.errors import EncoderError

Path = tuple[object, ...]
"""Keys that lead to a tensor in nested arguments."""

ROWS = (2, 3)
"""Numbers of rows of the two runs that are compared."""


class BlockCall(NamedTuple):
    """One call of a block."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


class _Axes(NamedTuple):
    """Axes of one tensor."""

    row: int | None
    """Axis that follows the rows."""
    per_row: int
    """Entries of that axis for each row: the number of heads in a bias [row * head, ...]."""
    token: int | None
    """First axis that follows the tokens: that of the queries in a mask [..., query, key]."""


@dataclass(frozen=True, kw_only=True)
class CallLayout:
    """Axes of every tensor in the calls of a tower's blocks."""

    axes: dict[tuple[int, Path, int], _Axes]
    """Axes by block, path and number of dimensions."""

    def __or__(self, other: "CallLayout") -> "CallLayout":
        """Return the layout of the calls of both."""
        return CallLayout(axes=self.axes | other.axes)

    def knows(self, block: int, call: BlockCall) -> bool:
        """Return whether the axes of every tensor in a call were measured."""
        return all(
            (block, path, tensor.ndim) in self.axes for path, tensor in _tensors(tuple(call), ())
        )

    def first_rows(self, block: int, inputs: Any, count: int) -> Any:
        """Return the arguments (args, kwargs) of a block for its first `count` rows."""

        def cut(path: Path, tensor: Tensor) -> Tensor:
            axes = self.axes[block, path, tensor.ndim]
            if axes.row is None:
                return tensor
            if tensor.shape[axes.row] == 1:  # one entry for all rows
                return tensor
            return tensor.narrow(axes.row, 0, count * axes.per_row)

        return _mapped(inputs, (), cut)

    def last_token(self, block: int, inputs: Any) -> Any:
        """Return the arguments (args, kwargs) of a block for the last token alone."""

        def cut(path: Path, tensor: Tensor) -> Tensor:
            axis = self.axes[block, path, tensor.ndim].token
            return tensor if axis is None else tensor.narrow(axis, tensor.shape[axis] - 1, 1)

        return _mapped(inputs, (), cut)

    def returns_more(self, block: int) -> bool:
        """Return whether a block returns more tensors than its hidden states."""
        paths = {path for at, path, _ in self.axes if at == block and path[0] == 2}
        return len(paths) > 1

    def completed(
        self,
        block: int,
        output: Any,
        recorded: Any,
        runs: Int[Tensor, " row"],
    ) -> Any:
        """Return the output of some first rows, with the recorded output for the rows behind them.

        Args:
            block: index of the block.
            output: what the block returned for the first rows; None where it ran no row.
            recorded: what it returned in the recorded runs.
            runs: the recorded run of every row.
        """

        def complete(path: Path, base: Tensor) -> Tensor:
            axes = self.axes[block, (2, *path), base.ndim]
            first = None if output is None else _at(output, path)
            if axes.row is None:
                return base if first is None else first
            done = 0 if first is None else first.shape[axes.row] // axes.per_row
            rest = base.index_select(axes.row, _spread(runs[done:], axes.per_row))
            return rest if first is None else torch.cat([first, rest], dim=axes.row)

        return _mapped(recorded, (), complete)


def _spread(rows: Int[Tensor, " row"], count: int) -> Int[Tensor, " entry"]:
    """Return the entries of an axis that holds `count` entries for each row."""
    if count == 1:
        return rows
    return (rows[:, None] * count + torch.arange(count, device=rows.device)).flatten()


def _tensors(value: Any, path: Path) -> Iterator[tuple[Path, Tensor]]:
    """Yield every tensor in a nested value, with its path."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, tuple | list):
        for index, part in enumerate(value):
            yield from _tensors(part, (*path, index))
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _tensors(part, (*path, name))


def _mapped(value: Any, path: Path, function: Callable[[Path, Tensor], Tensor]) -> Any:
    """Return a nested value with a function of every tensor's path and value in its place."""
    if isinstance(value, Tensor):
        return function(path, value)
    if isinstance(value, tuple | list):
        return with_items(
            value, (_mapped(part, (*path, n), function) for n, part in enumerate(value))
        )
    if isinstance(value, dict):
        return {name: _mapped(part, (*path, name), function) for name, part in value.items()}
    return value


def _at(value: Any, path: Path) -> Tensor:
    """Return the tensor at a path."""
    for key in path:
        value = value[key]
    tensor: Tensor = value
    return tensor


def measured_layout(
    blocks: Sequence[nn.Module], encode: Callable[[Tensor], object], ids: Int[Tensor, "1 token"]
) -> CallLayout:
    """Return the layout of the calls of a tower's blocks, measured by running a statement.

    Args:
        blocks: the blocks.
        encode: runs the tower on token ids [row, token].
        ids: token ids of a statement.

    Raises:
        EncoderError: when the number of tensors, or the size of one, follows the rows in no plain
            way.
    """
    with torch.inference_mode():
        two, three, shorter = (
            _calls(blocks, encode, rows)
            for rows in (ids.repeat(ROWS[0], 1), ids.repeat(ROWS[1], 1), ids[:, :-1].repeat(2, 1))
        )
    axes = {}
    for block, calls in enumerate(zip(two, three, shorter, strict=True)):
        few, many, short = (dict(_tensors(tuple(call), ())) for call in calls)
        if few.keys() != many.keys():
            raise EncoderError(
                f"block {block} is called with other tensors when there are more rows"
            )
        for path, tensor in few.items():
            row, per_row = _row_axis(tensor, many[path])
            token = _first_change(tensor, short.get(path))
            axes[block, path, tensor.ndim] = _Axes(row=row, per_row=per_row, token=token)
    return CallLayout(axes=axes)


def _row_axis(few: Tensor, many: Tensor) -> tuple[int | None, int]:
    """Return the axis that follows the rows, and its entries for each row."""
    sizes = list(enumerate(zip(few.shape, many.shape, strict=True)))
    changed = [(axis, size) for axis, size in sizes if size[0] != size[1]]
    if not changed:
        return None, 1
    axis, (small, large) = changed[0]
    if len(changed) > 1 or small * ROWS[1] != large * ROWS[0]:
        raise EncoderError(
            f"a tensor has the shape {tuple(few.shape)} for {ROWS[0]} rows and "
            f"{tuple(many.shape)} for {ROWS[1]}; expected one axis that follows the rows"
        )
    return axis, small // ROWS[0]


def _first_change(long: Tensor, short: Tensor | None) -> int | None:
    """Return the first axis whose size follows the tokens."""
    if short is None or short.ndim != long.ndim:
        return None
    sizes = enumerate(zip(long.shape, short.shape, strict=True))
    return next((axis for axis, (more, less) in sizes if more != less), None)


def _calls(
    blocks: Sequence[nn.Module], encode: Callable[[Tensor], object], ids: Int[Tensor, "row token"]
) -> list[BlockCall]:
    with recorded_calls(blocks) as calls:
        encode(ids)
    return calls


@contextmanager
def recorded_calls(blocks: Sequence[nn.Module]) -> Iterator[list[BlockCall]]:
    """Record what the blocks are given and return in the forward inside the `with`."""
    calls: list[BlockCall] = []

    def record(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        calls.append(BlockCall(args, kwargs, output))

    with ExitStack() as stack:
        for block in blocks:
            handle = block.register_forward_hook(record, with_kwargs=True)
            stack.callback(handle.remove)
        yield calls
