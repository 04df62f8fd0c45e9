"""Structure of a text tower, measured: the axes of its states, its read-out, if it is causal.

No architecture is named here. A probe statement runs through the tower plainly and with changed
states, and the differences show the structure. So any architecture can be traced.
"""

__all__ = [
    "is_causal",
    "only_device",
    "read_out_of",
    "reads_elsewhere",
    "reads_one_layer",
    "row_axis_of",
]

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from negtrace.encoders.hooks import captured, hidden_of, output_edited, replayed
from negtrace.errors import EncoderError

Encode = Callable[[Tensor], Tensor]

ROUNDING = 1e3
"""Units of rounding, as a share of the largest state, up to which two states count as equal."""

CHANGED = 32
"""Tokens of a probe that are changed one by one, at most."""


def row_axis_of(blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"]) -> int:
    """Return the axis of the rows in the blocks' states: 0, or 1 where tokens come first.

    Raises:
        EncoderError: when the states are not [row token width] or [token row width].
    """
    shapes = []
    for rows in (2, 3):
        with captured(blocks[:1]) as capture, torch.inference_mode():
            encode(ids.repeat(rows, 1))
        if len(capture.outputs) != 1:
            raise EncoderError(
                f"the first block ran {len(capture.outputs)} times in one forward; expected once. "
                "Name other modules as the blocks"
            )
        shapes.append(tuple(hidden_of(capture.outputs[0]).shape))
    few, many = shapes
    count = ids.shape[1]
    for axis, expected in enumerate(((2, count), (count, 2))):
        if len(few) == 3 and few[:2] == expected and many[axis] == 3:
            return axis
    raise EncoderError(
        f"a block returned states of the shape {few} for 2 rows of {count} tokens; expected "
        f"(2, {count}, width) or ({count}, 2, width). Name other modules as the blocks; a model "
        "that pads, shortens or widens its rows cannot be traced token by token"
    )


def is_causal(
    blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"], *, row_axis: int = 0
) -> bool:
    """Return whether changing the embedding of a token changes no state before it.

    One token after the other is changed, each in a row of its own: a tower may let only some tokens
    see what follows them, such as those of a prefix or of one block of tokens.

    A change within rounding counts as none: a mixture of experts adds up its tokens in an order
    that depends on all of them.

    Raises:
        EncoderError: when the blocks' states have more than one shape.
    """
    count = ids.shape[1]
    changing = torch.tensor(_spread(1, count), device=ids.device)
    rows = ids.repeat(len(changing), 1)

    def with_one_changed(hidden: Float[Tensor, "row token width"]) -> Float[Tensor, "row token _"]:
        hidden, row = hidden.clone(), torch.arange(len(changing), device=ids.device)
        hidden[row, changing] = hidden[row, changing].flip(-1) + 1
        return hidden

    with torch.inference_mode():
        with captured(blocks, row_axis=row_axis) as plain:
            encode(rows)
        with captured(blocks, with_one_changed, row_axis=row_axis) as changed:
            encode(rows)
    before = torch.arange(count, device=ids.device) < changing[:, None]
    return not any(
        (_differs_beyond_rounding(one, other) & before).any().item()
        for one, other in zip(plain.states(), changed.states(), strict=True)
    )


def _spread(start: int, stop: int) -> list[int]:
    """Return at most `CHANGED` numbers of a range, evenly spread, with its first and its last."""
    numbers = range(start, stop)
    if len(numbers) <= CHANGED:
        return list(numbers)
    return [numbers[i * (len(numbers) - 1) // (CHANGED - 1)] for i in range(CHANGED)]


def _differs_beyond_rounding(
    one: Float[Tensor, "row token width"], other: Float[Tensor, "row token width"]
) -> Bool[Tensor, "row token"]:
    """Return the tokens whose states differ by more than rounding, measured by their own size."""
    limit = ROUNDING * torch.finfo(one.dtype).eps * one.abs().amax(-1)
    return (one - other).abs().amax(-1) > limit


def read_out_of(
    blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"], *, row_axis: int = 0
) -> tuple[int, ...]:
    """Return the positions whose state after the last block changes the embedding."""
    count = ids.shape[1]
    rows = ids.repeat(count, 1)
    with torch.inference_mode():
        with captured(blocks, row_axis=row_axis) as base:
            encode(rows)
        state = base.stream[-1]
        with replayed(blocks, base, state):
            plain = encode(rows)
        # A copy, since a tower may return a view of its state. Row i is changed at position i.
        other, position = state.clone(), torch.arange(count, device=ids.device)
        other[position, position] = state[position, position].flip(-1) + 1
        with replayed(blocks, base, other):
            changed = encode(rows)
    return tuple((plain != changed).any(-1).nonzero().flatten().tolist())


def reads_elsewhere(
    blocks: Sequence[nn.Module],
    encode: Encode,
    ids: Int[Tensor, "row token"],
    expected: Int[Tensor, " row"],
    *,
    row_axis: int = 0,
) -> Bool[Tensor, " row"]:
    """Return the rows whose embedding is not read at the expected position alone.

    Args:
        blocks: the blocks.
        encode: runs the tower.
        ids: token ids.
        expected: position of each row at which its embedding should be read.
        row_axis: axis of the rows in the blocks' states.
    """
    with torch.inference_mode():
        with captured(blocks, row_axis=row_axis) as base:
            encode(ids)
        state = base.stream[-1]
        changed = state.flip(-1) + 1
        row = torch.arange(len(ids), device=ids.device)
        there, others = state.clone(), changed.clone()
        there[row, expected] = changed[row, expected]
        others[row, expected] = state[row, expected]
        with replayed(blocks, base, state):
            plain = encode(ids)
        with replayed(blocks, base, there):
            reads = (encode(ids) != plain).any(-1)
        with replayed(blocks, base, others):
            ignores = (encode(ids) == plain).all(-1)
    return ~(reads & ignores)


def reads_one_layer(
    blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"], *, row_axis: int = 0
) -> bool:
    """Return whether the state after a block is read by the next block alone.

    It is not in a tower that reads several layers, such as MedCLIP, whose embedding is made of the
    hidden states 1, 2 and last. Measured with every block returning what it returned, but for one
    block that returns another state: then no embedding may change.
    """
    with torch.inference_mode():
        with captured(blocks, row_axis=row_axis) as base:
            encode(ids)
        with replayed(blocks, base, base.stream[-1]):
            plain = encode(ids)
            for block in blocks[:-1]:
                with output_edited(block, lambda hidden: hidden.flip(-1) + 1):
                    if not torch.equal(encode(ids), plain):
                        return False
    return True


def only_device(model: nn.Module, name: str) -> torch.device:
    """Return the one device that a model is on.

    Raises:
        EncoderError: when the model is spread over several devices, or has no weights yet.
    """
    mapped = {str(device) for device in getattr(model, "hf_device_map", {}).values()}
    devices = {str(value.device) for value in (*model.parameters(), *model.buffers())}
    if len(mapped) > 1 or len(devices) > 1:
        several = ", ".join(sorted(mapped if len(mapped) > 1 else devices))
        raise EncoderError(
            f"{name} is spread over several devices ({several}); states are patched on one. "
            "Load it without device_map, or move all of it: model.to('cpu')"
        )
    if devices == {"meta"}:
        raise EncoderError(f"{name} is on the meta device: it has no weights; load them first")
    return torch.device(devices.pop()) if devices else torch.device("cpu")
