"""Where the blocks of a tower write into the residual stream, found by running a probe.

No family is named here. A block's submodules are looked at in one forward, and those whose outputs
make up what the block adds to its input are its writes:

* pre-norm: `resid_pre + attn_out + mlp_out = resid_post`;
* post-norm: `norm(norm(resid_pre + attn_out) + mlp_out) = resid_post`.

The heads are the input of the last linear map on the way to `attn_out`, cut into equal parts.
"""

__all__ = ["INNER", "BlockSites", "find_sites"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from negtrace.encoders.hooks import evaluating

INNER = ("attn_out", "mlp_out", "head")
"""The sites inside a block."""

HEADS = ("num_heads", "n_heads", "num_attention_heads", "n_head", "heads")
"""What modules call their number of heads."""

Norm = Literal["pre", "post"]

NONE = torch.empty(0)


@dataclass(frozen=True, kw_only=True)
class BlockSites:
    """The sites inside one block, by the names of the modules that hold them."""

    norm: Norm | None = None
    """Which residual identity holds; None where neither does."""
    attn_out: str | None = None
    """Module whose output is what attention writes."""
    mlp_out: str | None = None
    """Module whose output is what the MLP writes."""
    head: str | None = None
    """Output projection of attention; its input is the heads side by side."""
    heads: int = 0
    """Number of heads; 0 where they cannot be told apart."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Why a site is not offered, by site."""

    def module(self, site: str) -> str | None:
        """Return the name of the module that holds `site`; None where there is none."""
        return {"attn_out": self.attn_out, "mlp_out": self.mlp_out, "head": self.head}[site]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Call:
    """What one submodule was given and gave, in the order in which calls ended."""

    name: str
    module: nn.Module
    given: Tensor
    gave: Tensor
    """What it was given and gave; empty where that was no tensor."""


def find_sites(
    model: nn.Module,
    block_names: Sequence[str],
    encode: Callable[[Tensor], Tensor],
    ids: Int[Tensor, "1 token"],
) -> tuple[BlockSites, ...]:
    """Return the sites of every block; what cannot be found is said in `lacking`."""
    modules = dict(model.named_modules())
    calls: dict[str, list[_Call]] = {name: [] for name in block_names}
    with ExitStack() as stack, evaluating(model), torch.inference_mode():
        for block in block_names:
            for name, module in modules[block].named_modules(prefix=block):
                # What a block gives before hooks of the user's own, what adds up in it behind them.
                handle = module.register_forward_hook(
                    _recorder(calls[block], name), with_kwargs=True, prepend=name == block
                )
                stack.callback(handle.remove)
        encode(ids)
    return tuple(_of_block(modules[name], calls[name]) for name in block_names)


def _recorder(calls: list[_Call], name: str) -> Callable[..., None]:
    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        given = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), NONE)
        gave = out[0] if isinstance(out, tuple) and out else out
        gave = gave if isinstance(gave, Tensor) else NONE
        calls.append(_Call(name=name, module=module, given=given, gave=gave))

    return record


def _of_block(block: nn.Module, calls: list[_Call]) -> BlockSites:
    whole, inner = calls[-1], calls[:-1]
    counts = [call.name for call in inner]
    inner = [call for call in inner if counts.count(call.name) == 1]
    found = _identity(whole, inner, block)
    if found is None:
        why = (
            f"no two modules inside {type(block).__name__} write what it adds to its input, before "
            "or behind a norm; patch resid"
        )
        return BlockSites(lacking=dict.fromkeys(INNER, why))
    norm, attention, mlp = found
    projection, heads, unreachable = _heads(attention, inner)
    return BlockSites(
        norm=norm,
        attn_out=attention.name,
        mlp_out=mlp.name,
        head=projection,
        heads=heads,
        lacking={"head": unreachable} if unreachable else {},
    )


def _identity(
    whole: _Call, inner: Sequence[_Call], block: nn.Module
) -> tuple[Norm, _Call, _Call] | None:
    """Return which identity holds, and the calls that write; outer modules come first."""
    if whole.given.shape != whole.gave.shape:
        return None
    before, after = whole.given, whole.gave
    outermost = {name: rank for rank, (name, _) in enumerate(block.named_modules())}
    prefix = len(whole.name) + 1
    writes = [call for call in inner if call.gave.shape == after.shape]
    ordered = sorted(writes, key=lambda call: outermost[call.name[prefix:]])
    ends = {call.name: rank for rank, call in enumerate(inner)}
    pairs = [(a, m) for a, m in product(ordered, ordered) if ends[a.name] < ends[m.name]]
    for attention, mlp in pairs:
        if _same(before + attention.gave + mlp.gave, after):
            return "pre", attention, mlp
    for attention, mlp in pairs:
        for middle in _norms_of(before + attention.gave, inner):
            if any(_same(last, after) for last in _norms_of(middle + mlp.gave, inner)):
                return "post", attention, mlp
    return None


def _norms_of(total: Tensor, inner: Sequence[_Call]) -> Iterator[Tensor]:
    """Yield what the modules that were given `total` made of it."""
    for call in inner:
        if call.gave.shape == total.shape and _same(call.given, total):
            yield call.gave


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    rounding = 64 * torch.finfo(other.dtype).eps * other.abs().max().item()
    return bool((one - other).abs().max().item() <= rounding)


def _heads(attention: _Call, inner: Sequence[_Call]) -> tuple[str | None, int, str | None]:
    """Return the output projection, its number of heads, and why there is none if so."""
    ended = inner[: [call.name for call in inner].index(attention.name) + 1]
    # A convolution of kernel 1, as GPT-2 has it, is a linear map too.
    linear = [call for call in ended if _is_linear(call)]
    if not linear:
        fused = f"{type(attention.module).__name__} runs as one fused operation that calls no "
        return None, 0, fused + "output projection, so its heads cannot be reached by hooks"
    projection = linear[-1]
    heads = _number_of_heads(projection.name, attention, inner)
    if not heads or projection.given.shape[-1] % heads:
        why = f"its number of heads is not to be found beside {projection.name}"
        return None, 0, why
    return projection.name, heads, None


def _is_linear(call: _Call) -> bool:
    weight = getattr(call.module, "weight", NONE)
    return call.given.ndim == 3 and isinstance(weight, Tensor) and weight.ndim == 2


def _number_of_heads(projection: str, attention: _Call, inner: Sequence[_Call]) -> int:
    """Return the number of heads that the nearest module around the projection states."""
    around = [call for call in inner if projection.startswith(f"{call.name}.")]
    nearest = sorted(around, key=lambda call: -len(call.name))
    # BERT's own attention stands beside its output projection, not around it.
    beside = [call for call in inner if call.name != attention.name and call not in nearest]
    for call in [*nearest, *beside]:
        for holder in (call.module, getattr(call.module, "config", None)):
            for name in HEADS:
                number = getattr(holder, name, None)
                if isinstance(number, int):
                    return number
    return 0
