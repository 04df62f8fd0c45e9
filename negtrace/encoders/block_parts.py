"""Parts of a block: the two modules that make up what it adds to the residual stream.

They are found by one of two identities:

* pre-norm: `resid_pre + first + second = resid_post`;
* post-norm: `norm(norm(resid_pre + first) + second) = resid_post`.
"""

__all__ = ["Norm", "Parts", "add_up", "parts_of", "rounding_of", "same"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn

from negtrace.encoders.block_calls import SHORTEST, Call, Forward

Norm = Literal["pre", "post"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """Two modules of a block that make up what it adds to the residual stream."""

    whole: Call
    """The call of the block."""
    norm: Norm
    mixer: Call
    """The one that should be attention."""
    mlp: Call


def parts_of(plain: Forward, name: str, block: nn.Module) -> Parts | str:
    """Return the two modules that make up what a block adds, or the reason why there are none."""
    kind = type(block).__name__
    own = [call for call in plain.calls[name] if call.name == name]
    if len(own) != 1:
        return f"it runs {len(own)} times in a forward; expected once"
    whole = own[0]
    shape = tuple(whole.input.shape)
    if len(shape) != 3 or shape[0] != 1 or shape[1] < SHORTEST:
        return (
            f"its states have the shape {shape} where sites are measured; expected "
            f"[1, token, width] with {SHORTEST} tokens or more"
        )
    if whole.input.shape != whole.output.shape:
        return f"{kind} returns no states of the shape {shape} that it is given"
    inner = plain.inner(name)
    candidates = _candidates(whole, inner, block)
    found = _identity(whole, inner, candidates)
    ended = [call.at for call in plain.attention if whole.started < call.at < whole.ended]
    if found is not None:
        norm, first, second = found
        # Where an MLP runs first, or beside attention, it ends before any attention does.
        if norm == "pre" and ended and first.ended < min(ended) < second.ended:
            first, second = second, first
        return Parts(whole=whole, norm=norm, mixer=first, mlp=second)
    ran = "" if ended else "; no attention is seen in it (no softmax over all tokens)"
    alone = [call for call in candidates if _adds(whole, call)]
    if alone:
        return f"{alone[0].kind} alone makes up what {kind} adds{ran}"
    return (
        f"no two modules inside {kind} add up to what it adds to its input, before or behind a "
        f"norm{ran}"
    )


def add_up(plain: Forward, name: str, parts: Parts) -> bool:
    """Return whether two modules make up what a block adds in another forward as well."""
    calls = {call.name: call for call in plain.calls[name]}
    whole, mixer, mlp = (calls[each.name] for each in (parts.whole, parts.mixer, parts.mlp))
    pair = sorted((mixer, mlp), key=lambda call: call.ended)
    found = _identity(whole, plain.inner(name), pair)
    return found is not None and found[0] == parts.norm


def _adds(whole: Call, *parts: Call) -> bool:
    """Return whether a block returns its input plus what some of its modules return."""
    total = whole.input
    for part in parts:
        total = total + part.output
    return same(total, whole.output)


def _candidates(whole: Call, inner: Sequence[Call], block: nn.Module) -> list[Call]:
    """Return the calls that may be summands of the block's output, the outer modules first."""
    prefix = len(whole.name) + 1
    outermost = {name: rank for rank, (name, _) in enumerate(block.named_modules())}
    candidates = [call for call in inner if call.output.shape == whole.output.shape]
    return sorted(candidates, key=lambda call: outermost[call.name[prefix:]])


def _identity(
    whole: Call, inner: Sequence[Call], candidates: Sequence[Call]
) -> tuple[Norm, Call, Call] | None:
    """Return the identity that holds with its two modules, in the order in which they end."""
    before, after = whole.input, whole.output
    pairs = [(a, m) for a, m in product(candidates, candidates) if a.ended < m.ended]
    for first, second in pairs:
        if _adds(whole, first, second):
            return "pre", first, second
    for first, second in pairs:
        for middle in _norms_of(before + first.output, inner):
            if any(same(last, after) for last in _norms_of(middle + second.output, inner)):
                return "post", first, second
    return None


def _norms_of(total: Tensor, inner: Sequence[Call]) -> Iterator[Tensor]:
    """Yield the outputs of the modules whose input was `total`."""
    for call in inner:
        if call.output.shape == total.shape and same(call.input, total):
            yield call.output


def same(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal within rounding."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool((one - other).abs().max().item() <= rounding_of(other))


def rounding_of(states: Tensor) -> float:
    """Return the largest difference between states that counts as none."""
    # Indices, such as those of the tokens that are attended to, are not rounded.
    eps = torch.finfo(states.dtype).eps if states.is_floating_point() else 0.0
    return 64 * eps * states.abs().max().item()
