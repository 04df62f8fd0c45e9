"""Attention patterns, read off any model whose attention can be made to return them.

No family is named. For the time of a `with`, every configuration beneath the blocks asks for
transformers' plain ("eager") attention, which returns its weights; a tower that is not of
transformers may return them by itself. Whatever inside a block then returns a tensor
[row, head, query, key] whose queries share out at most 1 is that block's pattern.
"""

__all__ = ["attention_patterns", "require_patterns"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating
from negtrace.errors import SiteError

PLAIN = "eager"


def attention_patterns(
    encoder: Encoder, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row dim"] | None = None
) -> Float[Tensor, "block row head query key"]:
    """Return how every head of every block attends in a plain forward; the model stays as it was.

    Args:
        encoder: whose text tower is run.
        ids: equally long rows.
        anchors: what each row is read against, embedded; the row is read alone without.

    Raises:
        SiteError: when a block gives no pattern, or the blocks differ in their number of heads.
    """
    found: list[list[Tensor]] = [[] for _ in encoder.blocks]
    with ExitStack() as stack, torch.inference_mode():
        stack.enter_context(evaluating(encoder.model))
        stack.enter_context(_plain_attention(encoder.blocks))
        for block, kept in zip(encoder.blocks, found, strict=True):
            for module in block.modules():
                keep = _keeping(kept, *ids.shape)
                stack.callback(module.register_forward_hook(keep, prepend=True).remove)
        if anchors is None:
            encoder.encode(ids)
        else:
            encoder.encode_against(ids, anchors)
    _require(encoder, found)
    # A module around another may return the same weights again: what ended first is the attention.
    return torch.stack([patterns[0].float() for patterns in found])


def require_patterns(encoder: Encoder) -> None:
    """Raise a SiteError, with the reason, when the model gives no patterns that can be trusted."""
    attention_patterns(encoder, encoder.probe)
    with torch.inference_mode(), evaluating(encoder.model):
        own = encoder.encode(encoder.probe)
        with _plain_attention(encoder.blocks):
            plain = encoder.encode(encoder.probe)
    if not torch.allclose(own, plain, rtol=1e-2, atol=1e-2 * own.abs().max().item()):
        raise SiteError(
            f"{encoder.name} embeds a statement otherwise with plain attention than with its own, "
            "so the patterns would not be its own; load it with attn_implementation='eager'"
        )


def _keeping(kept: list[Tensor], rows: int, tokens: int) -> Callable[..., None]:
    def keep(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, tuple):
            kept.extend(part for part in output if _is_pattern(part, rows, tokens))

    return keep


def _is_pattern(part: Any, rows: int, tokens: int) -> bool:
    if not isinstance(part, Tensor) or part.ndim != 4:
        return False
    if part.shape[0] != rows or part.shape[2:] != (tokens, tokens):
        return False
    # A sink outside the row takes its share, so a query may give out less than 1.
    return bool((part >= 0).all() and (part.float().sum(dim=-1) <= 1.01).all())


def _require(encoder: Encoder, found: Sequence[Sequence[Tensor]]) -> None:
    for name, patterns in zip(encoder.block_names, found, strict=True):
        if not patterns:
            raise SiteError(
                f"{encoder.name}: nothing inside {name} returns attention weights [row, head, "
                "query, key], as fused attention (torch.nn.MultiheadAttention) does not; a model "
                "of transformers with attn_implementation='eager' does. Trace the heads instead: "
                "sites=('head',)"
            )
    heads = {int(patterns[0].shape[1]) for patterns in found}
    if len(heads) > 1:
        raise SiteError(
            f"{encoder.name}: its blocks have {', '.join(map(str, sorted(heads)))} heads; expected "
            "one number, so that blocks and heads make a grid"
        )


@contextmanager
def _plain_attention(blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Let every configuration beneath the blocks ask for plain attention, and give it back."""
    configs = _configs(blocks)
    own = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = PLAIN
        yield
    finally:
        # Outer ones first: what they are given they pass on to those they hold.
        for config, name in zip(configs, own, strict=True):
            config._attn_implementation = name


def _configs(blocks: Sequence[nn.Module]) -> list[Any]:
    """Return the configurations that name an attention, each once, before those it holds."""
    waiting = [getattr(module, "config", None) for block in blocks for module in block.modules()]
    found: dict[int, Any] = {}
    for config in waiting:
        if hasattr(config, "_attn_implementation") and id(config) not in found:
            found[id(config)] = config
            waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", ())]
    return list(found.values())
