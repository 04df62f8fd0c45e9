"""Sites inside the blocks of a tower, found by running a probe.

No architecture is named here. One forward records the input and output of every submodule of a
block. Attention and MLP are the two submodules whose outputs satisfy one of these identities:

* pre-norm: `resid_pre + attn_out + mlp_out = resid_post`;
* post-norm: `norm(norm(resid_pre + attn_out) + mlp_out) = resid_post`.

The heads are the input of the last linear map that runs before `attn_out` is done, cut into equal
parts.
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
"""Attributes under which modules hold their number of heads."""

Norm = Literal["pre", "post"]

NONE = torch.empty(0)


@dataclass(frozen=True, kw_only=True)
class BlockSites:
    """Sites inside one block, by the names of the modules that hold them."""

    norm: Norm | None = None
    """Residual identity that holds: pre-norm or post-norm; None where neither does."""
    attn_out: str | None = None
    """Module whose output attention adds to the residual stream."""
    mlp_out: str | None = None
    """Module whose output the MLP adds to the residual stream."""
    head: str | None = None
    """Output projection of attention; its input is the heads side by side."""
    heads: int = 0
    """Number of heads; 0 where it is not known."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Reason why a site is not offered, by site."""

    def module(self, site: str) -> str | None:
        """Return the name of the module that holds `site`; None where there is none."""
        return {"attn_out": self.attn_out, "mlp_out": self.mlp_out, "head": self.head}[site]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Call:
    """Input and output of one call of a submodule."""

    name: str
    module: nn.Module
    input: Tensor
    """First tensor among its arguments; empty where there is none."""
    output: Tensor
    """Tensor it returned; empty where it returned none."""


def find_sites(
    model: nn.Module,
    block_names: Sequence[str],
    encode: Callable[[Tensor], Tensor],
    ids: Int[Tensor, "1 token"],
) -> tuple[BlockSites, ...]:
    """Return the sites of every block; `lacking` holds the reason for each one that is not found.

    Args:
        model: the module that holds the blocks.
        block_names: names of the blocks as in `model.named_modules()`.
        encode: runs the text tower on token ids.
        ids: token ids of a statement to run.
    """
    modules = dict(model.named_modules())
    calls: dict[str, list[_Call]] = {name: [] for name in block_names}
    with ExitStack() as stack, evaluating(model), torch.inference_mode():
        for block in block_names:
            for name, module in modules[block].named_modules(prefix=block):
                # The user's hooks on a block act on the sum that it returns; those on a submodule
                # act on what is added up. So only the block's own output is recorded before them.
                handle = module.register_forward_hook(
                    _recorder(calls[block], name), with_kwargs=True, prepend=name == block
                )
                stack.callback(handle.remove)
        encode(ids)
    return tuple(_of_block(modules[name], calls[name]) for name in block_names)


def _recorder(calls: list[_Call], name: str) -> Callable[..., None]:
    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        hidden = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), NONE)
        output = out[0] if isinstance(out, tuple) and out else out
        output = output if isinstance(output, Tensor) else NONE
        calls.append(_Call(name=name, module=module, input=hidden, output=output))

    return record


def _of_block(block: nn.Module, calls: list[_Call]) -> BlockSites:
    """Return the sites of a block, given the calls of its submodules and then its own."""
    whole, inner = calls[-1], calls[:-1]
    names = [call.name for call in inner]
    inner = [call for call in inner if names.count(call.name) == 1]
    identity = _identity(whole, inner, block)
    if identity is None:
        reason = (
            f"no two modules inside {type(block).__name__} add up to what it adds to its input, "
            "before or behind a norm; patch resid"
        )
        return BlockSites(lacking=dict.fromkeys(INNER, reason))
    norm, attention, mlp = identity
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
    """Return the identity that holds with its attention and MLP; outer modules are tried first."""
    if whole.input.shape != whole.output.shape:
        return None
    before, after = whole.input, whole.output
    outermost = {name: rank for rank, (name, _) in enumerate(block.named_modules())}
    prefix = len(whole.name) + 1
    candidates = [call for call in inner if call.output.shape == after.shape]
    ordered = sorted(candidates, key=lambda call: outermost[call.name[prefix:]])
    ends = {call.name: rank for rank, call in enumerate(inner)}
    pairs = [(a, m) for a, m in product(ordered, ordered) if ends[a.name] < ends[m.name]]
    for attention, mlp in pairs:
        if _same(before + attention.output + mlp.output, after):
            return "pre", attention, mlp
    for attention, mlp in pairs:
        for middle in _norms_of(before + attention.output, inner):
            if any(_same(last, after) for last in _norms_of(middle + mlp.output, inner)):
                return "post", attention, mlp
    return None


def _norms_of(total: Tensor, inner: Sequence[_Call]) -> Iterator[Tensor]:
    """Yield the outputs of the modules whose input was `total`."""
    for call in inner:
        if call.output.shape == total.shape and _same(call.input, total):
            yield call.output


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    rounding = 64 * torch.finfo(other.dtype).eps * other.abs().max().item()
    return bool((one - other).abs().max().item() <= rounding)


def _heads(attention: _Call, inner: Sequence[_Call]) -> tuple[str | None, int, str | None]:
    """Return the output projection and its number of heads, or the reason why there are none."""
    ended = inner[: [call.name for call in inner].index(attention.name) + 1]
    # A convolution of kernel 1, as GPT-2 has it, is a linear map too.
    linear = [call for call in ended if _is_linear(call)]
    if not linear:
        reason = f"{type(attention.module).__name__} runs as one fused operation that calls no "
        return None, 0, reason + "output projection, so its heads cannot be reached by hooks"
    projection = linear[-1]
    heads = _number_of_heads(projection.name, attention, inner)
    if not heads or projection.input.shape[-1] % heads:
        return None, 0, f"no module around {projection.name} states its number of heads"
    return projection.name, heads, None


def _is_linear(call: _Call) -> bool:
    weight = getattr(call.module, "weight", NONE)
    return call.input.ndim == 3 and isinstance(weight, Tensor) and weight.ndim == 2


def _number_of_heads(projection: str, attention: _Call, inner: Sequence[_Call]) -> int:
    """Return the number of heads that the nearest module around the projection states, or 0."""
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
