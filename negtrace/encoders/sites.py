"""Sites inside the blocks of a tower, found by running a probe.

No architecture is named here. One forward records the input and output of every submodule of a
block, and every attention that runs in it. Two submodules make up what a block adds, by one of two
identities:

* pre-norm: `resid_pre + attn_out + mlp_out = resid_post`;
* post-norm: `norm(norm(resid_pre + attn_out) + mlp_out) = resid_post`.

A second forward shows what these two are. In it, the input of every block is changed at some
tokens and the output of its attention at one other token (`block_calls`). The first module is
attention if it changes at these tokens alone: then tokens reach each other through a softmax over
tokens and in no other way. The second is an MLP if it treats each token alone. A convolution, a
state space or a recurrence is neither.

The heads are the input of a linear map that equals the outputs of the heads side by side. Where
they are normalised, gated or combined before it, `head` is not offered.
"""

__all__ = ["INNER", "BlockSites", "find_sites"]

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from negtrace.encoders.attention_calls import AttentionCall
from negtrace.encoders.block_calls import ATTENDED, NONE, STILL, Call, Forward, Start, record_calls
from negtrace.encoders.hooks import evaluating

INNER = ("attn_out", "mlp_out", "head")
"""The sites inside a block."""

SHORTEST = 4
"""Tokens of the shortest probe in which some move, one is attended and some are still."""

LISTED = 6
"""Blocks that a reason names at most."""

Norm = Literal["pre", "post"]


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
    """Output projection of attention; its input is the outputs of the heads side by side."""
    heads: int = 0
    """Number of heads; 0 where `head` is not offered."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Reason why a site is not offered, by site."""

    def module(self, site: str) -> str | None:
        """Return the name of the module that holds `site`; None where there is none."""
        return {"attn_out": self.attn_out, "mlp_out": self.mlp_out, "head": self.head}[site]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """Two modules of a block that make up what it adds to the residual stream."""

    whole: Call
    """The call of the block."""
    norm: Norm
    mixer: Call
    """The one that should be attention."""
    mlp: Call


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
        encode: runs the text tower on token ids, twice.
        ids: token ids of a statement to run.
    """
    modules = dict(model.named_modules())
    blocks = {name: modules[name] for name in block_names}
    with _uncompiled(), evaluating(model), torch.inference_mode():
        plain = record_calls(blocks, lambda: encode(ids))
        parts = {name: _parts(plain, name, block) for name, block in blocks.items()}
        starts = {
            name: Start(block=each.whole, mixer=each.mixer)
            for name, each in parts.items()
            if isinstance(each, _Parts)
        }
        replacing = [call if _is_in(call, starts) else None for call in plain.attention]
        changed = record_calls(blocks, lambda: encode(ids), starts, replacing)
    measured = [_of_block(name, parts[name], plain, changed) for name in block_names]
    calls = [call for name in block_names for call in plain.inner(name)]
    sites = _with_equal_heads(measured, calls)
    return tuple(_with_alternatives(each, block_names, sites) for each in sites)


def _is_in(call: AttentionCall, starts: Mapping[str, Start]) -> bool:
    """Return whether attention ran before the end of what may be the attention of its block."""
    return any(each.block.started < call.at < each.mixer.ended for each in starts.values())


def _uncompiled() -> AbstractContextManager[object]:
    """Run compiled modules as they are written, so that the functions they call are seen."""
    # The import of the compiler takes seconds; unless someone else did it, nothing is compiled.
    compiler = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiler else nullcontext()


def _parts(plain: Forward, name: str, block: nn.Module) -> _Parts | str:
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
    identity = _identity(whole, inner, block)
    ended = [call.at for call in plain.attention if whole.started < call.at < whole.ended]
    if identity is not None:
        norm, first, second = identity
        # Where an MLP runs first, or beside attention, it ends before any attention does.
        if norm == "pre" and ended and first.ended < min(ended) < second.ended:
            first, second = second, first
        return _Parts(whole=whole, norm=norm, mixer=first, mlp=second)
    ran = "" if ended else "; no attention is seen in it (no softmax over all tokens)"
    alone = [call for call in _candidates(whole, inner, block) if _adds(whole, call)]
    if alone:
        return f"{_kind(alone[0])} alone makes up what {kind} adds{ran}"
    return (
        f"no two modules inside {kind} add up to what it adds to its input, before or behind a "
        f"norm{ran}"
    )


def _adds(whole: Call, *parts: Call) -> bool:
    """Return whether a block returns its input plus what some of its modules return."""
    total = whole.input
    for part in parts:
        total = total + part.output
    return _same(total, whole.output)


def _candidates(whole: Call, inner: Sequence[Call], block: nn.Module) -> list[Call]:
    """Return the calls that may be summands of the block's output, the outer modules first."""
    prefix = len(whole.name) + 1
    outermost = {name: rank for rank, (name, _) in enumerate(block.named_modules())}
    candidates = [call for call in inner if call.output.shape == whole.output.shape]
    return sorted(candidates, key=lambda call: outermost[call.name[prefix:]])


def _identity(
    whole: Call, inner: Sequence[Call], block: nn.Module
) -> tuple[Norm, Call, Call] | None:
    """Return the identity that holds with its two modules, in the order in which they end."""
    before, after = whole.input, whole.output
    ordered = _candidates(whole, inner, block)
    pairs = [(a, m) for a, m in product(ordered, ordered) if a.ended < m.ended]
    for first, second in pairs:
        if _adds(whole, first, second):
            return "pre", first, second
    for first, second in pairs:
        for middle in _norms_of(before + first.output, inner):
            if any(_same(last, after) for last in _norms_of(middle + second.output, inner)):
                return "post", first, second
    return None


def _norms_of(total: Tensor, inner: Sequence[Call]) -> Iterator[Tensor]:
    """Yield the outputs of the modules whose input was `total`."""
    for call in inner:
        if call.output.shape == total.shape and _same(call.input, total):
            yield call.output


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool((one - other).abs().max().item() <= _rounding(other))


def _rounding(states: Tensor) -> float:
    # Indices, such as those of the tokens that are attended to, are not rounded.
    eps = torch.finfo(states.dtype).eps if states.is_floating_point() else 0.0
    return 64 * eps * states.abs().max().item()


def _of_block(name: str, parts: _Parts | str, plain: Forward, changed: Forward) -> BlockSites:
    """Return the sites of a block, given its parts or the reason why it has none."""
    if isinstance(parts, str):
        return BlockSites(lacking=dict.fromkeys(INNER, parts))
    inner = plain.inner(name)
    differ = _differences(inner, changed.inner(name), parts.whole.input.shape[1])
    attention = _attention(parts, plain.attention, changed.attention)
    projection, heads, no_head = _heads(parts, attention, inner)
    no_attention = _no_attention(parts, attention, inner, differ)
    reasons = {
        "attn_out": no_attention,
        "mlp_out": _no_mlp(parts, inner, differ),
        "head": no_attention or no_head,
    }
    lacking = {site: reason for site, reason in reasons.items() if reason}
    return BlockSites(
        norm=parts.norm,
        attn_out=None if "attn_out" in lacking else parts.mixer.name,
        mlp_out=None if "mlp_out" in lacking else parts.mlp.name,
        head=None if "head" in lacking else projection,
        heads=0 if "head" in lacking else heads,
        lacking=lacking,
    )


def _with_equal_heads(sites: list[BlockSites], calls: Sequence[Call]) -> list[BlockSites]:
    """Return the sites, without `head` where the heads of blocks differ in width."""
    heads = {each.head for each in sites}
    widths = sorted({call.input.shape[-1] for call in calls if call.name in heads})
    if len(widths) <= 1:
        return sites
    why = {"head": f"the heads of a block are {' or '.join(map(str, widths))} wide in all"}
    return [replace(s, head=None, heads=0, lacking=why | {**s.lacking}) for s in sites]


def _attention(
    parts: _Parts, plain: Sequence[AttentionCall], changed: Sequence[AttentionCall]
) -> list[AttentionCall]:
    """Return the attention inside a part of a block that carries a change from token to token."""
    return [
        call
        for call, other in zip(plain, changed, strict=False)
        if parts.whole.started < call.at < parts.mixer.ended
        and call.output.shape == other.output.shape
        and _differ(call.side_by_side()[None], other.side_by_side()[None])[STILL].any()
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Difference:
    """Tokens at which the input and the output of a call differ between the two forwards."""

    input: Bool[Tensor, " token"]
    output: Bool[Tensor, " token"]

    @property
    def mixes(self) -> bool:
        """True if the call carries a change to tokens that are not changed."""
        return bool(self.output[STILL].any()) and not bool(self.input[STILL].any())


def _differences(
    plain: Sequence[Call], changed: Sequence[Call], tokens: int
) -> dict[str, _Difference]:
    """Return the differences of the calls that hold one row of as many tokens, by name."""
    again = {call.name: call for call in changed}
    pairs = [(call, again[call.name]) for call in plain if call.name in again]
    return {
        call.name: _Difference(
            input=_differ(call.input, other.input), output=_differ(call.output, other.output)
        )
        for call, other in pairs
        if call.input.shape == other.input.shape
        and call.output.shape == other.output.shape
        and all(
            states.ndim == 3 and states.shape[:2] == (1, tokens)
            for states in (call.input, call.output)
        )
    }


def _differ(
    one: Float[Tensor, "1 token width"], other: Float[Tensor, "1 token width"]
) -> Bool[Tensor, " token"]:
    gaps = (one - other)[0].abs().amax(-1)
    return ~(gaps <= max(_rounding(one), _rounding(other)))


def _no_attention(
    parts: _Parts,
    attention: Sequence[AttentionCall],
    inner: Sequence[Call],
    differ: Mapping[str, _Difference],
) -> str | None:
    """Return why the first part of a block is not attention; None if it is."""
    part = differ.get(parts.mixer.name)
    kind = _kind(parts.mixer)
    if part is None:
        return f"{kind} does not hold states [1, token, width]"
    mixers = [c for c in inner if c.ended <= parts.mixer.ended and _mixes(c, differ)]
    mixer = _kind(min(mixers, key=lambda call: call.started)) if mixers else kind
    if not attention:
        other = _other_implementation(inner)
        if other:
            return (
                f"{mixer} runs attention as {other!r}, which cannot be observed; load the model "
                "with attn_implementation='sdpa' or 'eager'"
            )
        if not part.output[STILL].any():
            return f"{kind} mixes no tokens, as attention does"
        return f"it mixes tokens with {mixer}, not with attention (no softmax over all tokens)"
    if part.output[STILL].any():
        return f"{mixer} mixes tokens by more than attention, a softmax over tokens"
    if not part.output[ATTENDED]:
        return f"what {kind} adds does not come from the attention that runs in the block"
    return None


def _mixes(call: Call, differ: Mapping[str, _Difference]) -> bool:
    return call.name in differ and differ[call.name].mixes


def _other_implementation(inner: Sequence[Call]) -> str | None:
    """Return the attention function of transformers that a block is set to, unless it is seen."""
    for call in inner:
        name = getattr(getattr(call.module, "config", None), "_attn_implementation", None)
        if name not in (None, "eager", "sdpa"):
            return str(name)
    return None


def _no_mlp(parts: _Parts, inner: Sequence[Call], differ: Mapping[str, _Difference]) -> str | None:
    """Return why the second part of a block is no MLP; None if it treats each token alone."""
    part, kind = differ.get(parts.mlp.name), _kind(parts.mlp)
    if parts.mlp.ended < parts.mixer.ended:
        return f"{kind} runs before attention, which may read it; a patch takes it to be added last"
    if part is None or part.output[STILL].any():
        mixers = [c for c in inner if c.started > parts.mixer.ended and _mixes(c, differ)]
        mixer = min(mixers, key=lambda call: call.started) if mixers else parts.mlp
        return f"{_kind(mixer)} mixes tokens, which no MLP does"
    if part.output[ATTENDED]:
        return f"{kind} reads attention otherwise than from the stream, so it is not the MLP alone"
    return None


def _heads(
    parts: _Parts, attention: Sequence[AttentionCall], inner: Sequence[Call]
) -> tuple[str | None, int, str | None]:
    """Return the output projection and its number of heads, or the reason why there are none."""
    # A convolution of kernel 1, as GPT-2 has it, is a linear map too.
    linear = [c for c in inner if c.ended <= parts.mixer.ended and _is_linear(c)]
    for projection in reversed(linear):
        for call in attention:
            if not call.fused and _same(call.side_by_side(), projection.input[0]):
                return projection.name, call.heads, None
    if not linear or any(call.fused for call in attention):
        reason = f"{_kind(parts.mixer)} runs as one fused operation that calls no "
        return None, 0, reason + "output projection, so its heads cannot be reached by hooks"
    return (
        None,
        0,
        f"the input of {linear[-1].name} is not the outputs of the heads side by side: they are "
        "normalised, gated or combined before it",
    )


def _kind(call: Call) -> str:
    return type(call.module).__name__


def _is_linear(call: Call) -> bool:
    weight = getattr(call.module, "weight", NONE)
    return call.input.ndim == 3 and isinstance(weight, Tensor) and weight.ndim == 2


def _with_alternatives(
    block: BlockSites, names: Sequence[str], blocks: Sequence[BlockSites]
) -> BlockSites:
    """Return the sites of a block, with reasons that say what can be patched instead."""
    everywhere = [site for site in INNER if all(each.module(site) for each in blocks)]
    offer = f"every block has {', '.join(['resid', 'resid_pre', *everywhere])}"
    lacking = {}
    for site, reason in block.lacking.items():
        holders = [name for name, each in zip(names, blocks, strict=True) if each.module(site)]
        more = f" and {len(holders) - LISTED} more" if len(holders) > LISTED else ""
        held = f"{site} is in {', '.join(holders[:LISTED])}{more}; " if holders else ""
        lacking[site] = f"{reason}; {held}{offer}"
    return replace(block, lacking=lacking)
