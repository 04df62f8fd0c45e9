"""What a text tower is, found by running it: its blocks, what it reads, whether it is causal.

No family is named here. A probe statement runs through the tower once, and perturbed states tell
the rest, so an architecture nobody listed is still swept by its real shape.
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

    They are the longest list of modules of one class, each of which runs exactly once in a
    forward of the text tower.

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
    found: list[str] = []
    for name, module in lists:
        names = [f"{name}.{key}" for key, _ in module.named_children()]
        alike = len({type(block) for block in module.children()}) == 1
        if alike and all(calls.get(n) == 1 for n in names) and len(names) > len(found):
            found = names
    if not found:
        raise EncoderError(
            f"no blocks found in {type(model).__name__}: no list of equal modules runs once each "
            "in the text tower's forward. Name them: negtrace.wrap(module, tokenizer, "
            "blocks=[...]) with names as in module.named_modules()"
        )
    return found


def is_causal(blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"]) -> bool:
    """Return whether changing the last token's embedding leaves all earlier states alone."""

    def nudged(hidden: Float[Tensor, "1 token width"]) -> Float[Tensor, "1 token width"]:
        hidden = hidden.clone()
        hidden[:, -1] = hidden[:, -1].flip(-1) + 1
        return hidden

    with torch.inference_mode():
        with captured(blocks) as plain:
            encode(ids)
        with captured(blocks, nudged) as changed:
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
        # A copy: what a tower returns may be a view of the state it was given.
        other, each = state.clone(), torch.arange(count, device=ids.device)
        other[each, each] = state[each, each].flip(-1) + 1
        with starting_at(blocks, len(blocks), other, base, rows):
            changed = encode(ids.repeat(count, 1))
    return tuple((plain != changed).any(-1).nonzero().flatten().tolist())


def reads_one_layer(
    blocks: Sequence[nn.Module], encode: Encode, ids: Int[Tensor, "1 token"]
) -> bool:
    """Return whether the last block's state alone makes the embedding.

    It does not where a tower reads several layers, as MedCLIP's does, whose embedding is made of
    hidden states 1, 2 and the last.
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
    """Return the device that all of a model is on.

    Raises:
        EncoderError: when it is spread over several, or not loaded at all.
    """
    mapped = {str(place) for place in getattr(model, "hf_device_map", {}).values()}
    found = {str(value.device) for value in (*model.parameters(), *model.buffers())}
    if len(mapped) > 1 or len(found) > 1:
        places = ", ".join(sorted(mapped if len(mapped) > 1 else found))
        raise EncoderError(
            f"{name} is spread over several devices ({places}); states are patched on one. "
            "Load it without device_map, or move all of it: model.to('cpu')"
        )
    if found == {"meta"}:
        raise EncoderError(f"{name} is on the meta device: it has no weights; load them first")
    return torch.device(found.pop()) if found else torch.device("cpu")
