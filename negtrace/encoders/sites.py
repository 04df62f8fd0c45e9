"""Sites inside the blocks of a tower, found by running a probe.

No architecture is named here. One forward records the input and output of every submodule of a
block, and every attention that runs in it. Two submodules make up what a block adds; `block_parts`
finds them.

A second forward shows what these two are. In it, the input of every block is changed at some
tokens and the output of its attention at one other token (`block_calls`). The first module is
attention if it changes at these tokens alone: then tokens reach each other through a softmax over
tokens and in no other way. The values that it weighs are those of tokens: each changes if its own
token does, and only then. The second is an MLP if it treats each token alone. A convolution, a
state space, a recurrence or linear attention is neither.

Statements of several lengths are run, and a site is what it is in all of them. Where a block adds
nothing as yet, since weights such as an output projection are 0, it is measured once more with
other numbers in their place.

The heads are the input of a linear map that equals the outputs of the heads side by side. Where
they are normalised, gated or combined before it, `head` is not offered.
"""

__all__ = ["INNER", "BlockSites", "find_sites"]

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from negtrace.encoders.attention_calls import AttentionCall
from negtrace.encoders.block_calls import (
    ATTENDED,
    NONE,
    Call,
    Forward,
    Start,
    record_calls,
    still_tokens,
)
from negtrace.encoders.block_parts import Norm, Parts, add_up, parts_of, rounding_of, same
from negtrace.encoders.hooks import evaluating, zeros_filled

INNER = ("attn_out", "mlp_out", "head")
"""The sites inside a block."""

LISTED = 6
"""Blocks that a reason names at most."""


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
class _Measurement:
    """Sites of all blocks in a statement, and what they were measured by."""

    plain: Forward
    parts: Mapping[str, Parts | str]
    sites: Sequence[BlockSites]


def find_sites(
    model: nn.Module,
    block_names: Sequence[str],
    encode: Callable[[Tensor], Tensor],
    probes: Sequence[Int[Tensor, "1 _"]],
) -> tuple[BlockSites, ...]:
    """Return the sites of every block; `lacking` holds the reason for each one that is not found.

    Args:
        model: the module that holds the blocks.
        block_names: names of the blocks as in `model.named_modules()`.
        encode: runs the text tower on token ids, twice for each statement, and twice more where
            weights are 0 throughout and a site is lacking.
        probes: token ids of statements of several lengths to run.
    """
    modules = dict(model.named_modules())
    blocks = {name: modules[name] for name in block_names}
    with _uncompiled(), evaluating(model):
        found = [_sites_in(blocks, partial(encode, ids)) for ids in probes]
    sites = [_in_all(each) for each in zip(*found, strict=True)]
    return tuple(_with_alternatives(each, block_names, sites) for each in sites)


def _sites_in(blocks: Mapping[str, nn.Module], run: Callable[[], Tensor]) -> list[BlockSites]:
    """Return the sites of every block in one statement."""
    measured = _measure(blocks, run)
    lacking = [blocks[n] for n, s in zip(blocks, measured.sites, strict=True) if s.lacking]
    with zeros_filled(lacking) as filled:
        again = _measure(blocks, run) if filled else measured
    sites = []
    for name, site, other in zip(blocks, measured.sites, again.sites, strict=True):
        parts = again.parts[name]
        holds = not isinstance(parts, str) and add_up(measured.plain, name, parts)
        sites.append(other if holds and site.lacking.keys() >= other.lacking.keys() else site)
    return sites


def _measure(blocks: Mapping[str, nn.Module], run: Callable[[], Tensor]) -> _Measurement:
    """Run a plain and a changed forward, and return the sites of every block."""
    with torch.inference_mode():
        plain = record_calls(blocks, run)
        parts = {name: parts_of(plain, name, block) for name, block in blocks.items()}
        starts = {
            name: Start(block=each.whole, mixer=each.mixer)
            for name, each in parts.items()
            if isinstance(each, Parts)
        }
        replacing = [call if _is_in(call, starts) else None for call in plain.attention]
        changed = record_calls(blocks, run, starts, replacing)
    sites = [_of_block(name, parts[name], plain, changed) for name in blocks]
    calls = [call for name in blocks for call in plain.inner(name)]
    return _Measurement(plain=plain, parts=parts, sites=_with_equal_heads(sites, calls))


def _in_all(measured: Sequence[BlockSites]) -> BlockSites:
    """Return what the sites of a block are in every statement."""
    first, *others = measured
    lacking = dict(first.lacking)
    for other in others:
        for site in INNER:
            if site in lacking:
                continue
            if site in other.lacking:
                lacking[site] = other.lacking[site]
            elif (first.module(site), first.norm) != (other.module(site), other.norm):
                names = f"{first.module(site)} or {other.module(site)}"
                lacking[site] = f"it is {names}, as the length of a statement decides"
    return replace(
        first,
        **{site: None for site in INNER if site in lacking},
        heads=0 if "head" in lacking else first.heads,
        lacking=lacking,
    )


def _is_in(call: AttentionCall, starts: Mapping[str, Start]) -> bool:
    """Return whether attention ran before the end of what may be the attention of its block."""
    return any(each.block.started < call.at < each.mixer.ended for each in starts.values())


def _uncompiled() -> AbstractContextManager[object]:
    """Run compiled modules as they are written, so that the functions they call are seen."""
    # The import of the compiler takes seconds; unless someone else did it, nothing is compiled.
    compiler = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiler else nullcontext()


def _of_block(name: str, parts: Parts | str, plain: Forward, changed: Forward) -> BlockSites:
    """Return the sites of a block, given its parts or the reason why it has none."""
    if isinstance(parts, str):
        return BlockSites(lacking=dict.fromkeys(INNER, parts))
    inner = plain.inner(name)
    differ = _differences(inner, changed.inner(name), parts.whole.input.shape[1])
    carrying = _carrying(parts, plain.attention, changed.attention)
    weighing = all(_weighs_tokens(*calls, parts.whole.input.shape[1]) for calls in carrying)
    attention = [call for call, _ in carrying] if weighing else []
    projection, heads, no_head = _heads(parts, attention, inner)
    no_attention = (
        _no_attention(parts, attention, inner, differ)
        if weighing
        else f"it mixes tokens with {parts.mixer.kind}, not with attention (its softmax does not "
        "weigh the values of tokens)"
    )
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


def _carrying(
    parts: Parts, plain: Sequence[AttentionCall], changed: Sequence[AttentionCall]
) -> list[tuple[AttentionCall, AttentionCall]]:
    """Return the softmaxes inside a part of a block that carry a change from token to token."""
    still = still_tokens(parts.whole.input.shape[1])
    return [
        (call, other)
        for call, other in zip(plain, changed, strict=False)
        if parts.whole.started < call.at < parts.mixer.ended
        and call.output.shape == other.output.shape
        and call.queries > max(still)
        and _differ(call.side_by_side()[None], other.side_by_side()[None])[still].any()
    ]


def _weighs_tokens(call: AttentionCall, other: AttentionCall, tokens: int) -> bool:
    """Return whether the values are those of tokens, before or behind some that are not."""
    if call.values.shape != other.values.shape or len(call.values) < tokens:
        return False
    differ, still = _differ(call.values[None], other.values[None]), still_tokens(tokens)
    return any(not part[still].any() for part in (differ[:tokens], differ[-tokens:]))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Difference:
    """Tokens at which the input and the output of a call differ between the two forwards."""

    input: Bool[Tensor, " token"]
    output: Bool[Tensor, " token"]

    @property
    def still_output(self) -> bool:
        """True if the output differs at tokens at which no block's input is changed."""
        return bool(self.output[still_tokens(len(self.output))].any())

    @property
    def mixes(self) -> bool:
        """True if the call carries a change to tokens that are not changed."""
        return self.still_output and not self.input[still_tokens(len(self.input))].any().item()


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
    return ~(gaps <= max(rounding_of(one), rounding_of(other)))


def _no_attention(
    parts: Parts,
    attention: Sequence[AttentionCall],
    inner: Sequence[Call],
    differ: Mapping[str, _Difference],
) -> str | None:
    """Return why the first part of a block is not attention; None if it is."""
    part = differ.get(parts.mixer.name)
    kind = parts.mixer.kind
    if part is None:
        return f"{kind} does not hold states [1, token, width]"
    mixers = [c for c in inner if c.ended <= parts.mixer.ended and _mixes(c, differ)]
    mixer = min(mixers, key=lambda call: call.started).kind if mixers else kind
    if not attention:
        other = _other_implementation(inner)
        if other:
            return (
                f"{mixer} runs attention as {other!r}, which cannot be observed; load the model "
                "with attn_implementation='sdpa' or 'eager'"
            )
        if not part.still_output:
            return f"{kind} mixes no tokens, as attention does"
        return f"it mixes tokens with {mixer}, not with attention (no softmax over all tokens)"
    if part.still_output:
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


def _no_mlp(parts: Parts, inner: Sequence[Call], differ: Mapping[str, _Difference]) -> str | None:
    """Return why the second part of a block is no MLP; None if it treats each token alone."""
    part, kind = differ.get(parts.mlp.name), parts.mlp.kind
    if parts.mlp.ended < parts.mixer.ended:
        return f"{kind} runs before attention, which may read it; a patch takes it to be added last"
    if part is None or part.still_output:
        mixers = [c for c in inner if c.started > parts.mixer.ended and _mixes(c, differ)]
        mixer = min(mixers, key=lambda call: call.started) if mixers else parts.mlp
        return f"{mixer.kind} mixes tokens, which no MLP does"
    if part.output[ATTENDED]:
        return f"{kind} reads attention otherwise than from the stream, so it is not the MLP alone"
    return None


def _heads(
    parts: Parts, attention: Sequence[AttentionCall], inner: Sequence[Call]
) -> tuple[str | None, int, str | None]:
    """Return the output projection and its number of heads, or the reason why there are none."""
    # A convolution of kernel 1, as GPT-2 has it, is a linear map too.
    linear = [c for c in inner if c.ended <= parts.mixer.ended and _is_linear(c)]
    for projection in reversed(linear):
        for call in attention:
            if not call.fused and same(call.side_by_side(), projection.input[0]):
                return projection.name, call.heads, None
    if not linear or any(call.fused for call in attention):
        reason = f"{parts.mixer.kind} runs as one fused operation that calls no "
        return None, 0, reason + "output projection, so its heads cannot be reached by hooks"
    return (
        None,
        0,
        f"the input of {linear[-1].name} is not the outputs of the heads side by side: they are "
        "normalised, gated or combined before it",
    )


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
