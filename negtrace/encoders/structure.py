"""Structure of a text tower, measured: its blocks, its read-out, whether it is causal.

No architecture is named here. A probe statement runs through the tower plainly and with changed
states, and the differences show the structure. So any architecture can be traced.
"""

__all__ = ["find_blocks", "is_causal", "only_device", "read_out_of", "reads_one_layer"]

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.hooks import captured, evaluating, starting_at
from negtrace.errors import EncoderError

Encode = Callable[[Tensor], Tensor]


def find_blocks(model: nn.Module, encode: Encode, ids: Int[Tensor, "row token"]) -> list[str]:
    """Return the names of the text tower's blocks.

    These are the longest list of modules of one class that each run exactly once in a forward of
    the text tower.

    Raises:
        EncoderError: when there is no such list; it says how to name the blocks.
    """
    calls: dict[str, int] = {}
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module)
    ]

    def count(name: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls[name] = calls.get(name, 0) + 1

        return hook

    with ExitStack() as stack, evaluating(model), torch.inference_mode():
        for name, module in lists:
            for key, block in module.named_children():
                handle = block.register_forward_hook(count(f"{name}.{key}"))
                stack.callback(handle.remove)
        encode(ids)
    blocks: list[str] = []
    for name, module in lists:
        names = [f"{name}.{key}" for key, _ in module.named_children()]
        same_class = len({type(block) for block in module.children()}) == 1
        if same_class and all(calls.get(n) == 1 for n in names) and len(names) > len(blocks):
            blocks = names
    if not blocks:
        raise EncoderError(
            f"no blocks found in {type(model).__name__}: no list of equal modules runs once each "
            "in the text tower's forward. Name them: negtrace.wrap(module, tokenizer, "
            "blocks=[...]) with names as in module.named_modules()"
        )
    return blocks


def is_causal(blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"]) -> bool:
    """Return whether changing the embedding of the last token changes no state before it."""

    def with_last_changed(hidden: Float[Tensor, "1 token width"]) -> Float[Tensor, "1 token width"]:
        hidden = hidden.clone()
        hidden[:, -1] = hidden[:, -1].flip(-1) + 1
        return hidden

    with torch.inference_mode():
        with captured(blocks) as plain:
            encode(ids)
        with captured(blocks, with_last_changed) as changed:
            encode(ids)
    return torch.equal(plain.states()[:, :, :-1], changed.states()[:, :, :-1])


def read_out_of(
    blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"]
) -> tuple[int, ...]:
    """Return the positions whose state after the last block changes the embedding."""
    count = ids.shape[1]
    rows = torch.zeros(count, dtype=torch.long, device=ids.device)
    with torch.inference_mode():
        with captured(blocks) as base:
            encode(ids)
        state = base.states()[-1].repeat(count, 1, 1)
        with starting_at(blocks, len(blocks), state, base, rows):
            plain = encode(ids.repeat(count, 1))
        # A copy, since a tower may return a view of its state. Row i is changed at position i.
        other, position = state.clone(), torch.arange(count, device=ids.device)
        other[position, position] = state[position, position].flip(-1) + 1
        with starting_at(blocks, len(blocks), other, base, rows):
            changed = encode(ids.repeat(count, 1))
    return tuple((plain != changed).any(-1).nonzero().flatten().tolist())


def reads_one_layer(
    blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"]
) -> bool:
    """Return whether the embedding depends on the state after the last block alone.

    It does not in a tower that reads several layers, such as MedCLIP, whose embedding is made of
    the hidden states 1, 2 and last.
    """
    row = torch.zeros(1, dtype=torch.long, device=ids.device)
    with torch.inference_mode():
        with captured(blocks) as plain:
            encode(ids)
        with captured(blocks, lambda hidden: hidden.flip(1) + 1) as changed:
            whole = encode(ids)
        last = changed.states()[-1]
        with starting_at(blocks, len(blocks), last, plain, row):
            return torch.equal(encode(ids), whole)


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
