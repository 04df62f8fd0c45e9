"""Attention patterns of any model whose attention can be made to return them.

No model family is named here. Inside a `with`, every configuration below the blocks asks for the
plain ("eager") attention of transformers, which returns its weights. A tower of another library may
return them by itself. A block's pattern is the first tensor [row, head, query, key] that a module
inside the block returns and whose entries are at least 0 and sum to at most 1 over the keys.
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
    """Return the attention of every head of every block in one plain forward.

    Args:
        encoder: the model. It is left unchanged.
        ids: token ids of rows of equal length.
        anchors: the embedded anchor of each row, for a model that reads both together.

    Raises:
        SiteError: when a block returns no pattern, or the blocks differ in their number of heads.
    """
    by_block: list[list[Tensor]] = [[] for _ in encoder.blocks]
    with ExitStack() as stack, torch.inference_mode():
        stack.enter_context(evaluating(encoder.model))
        stack.enter_context(_plain_attention(encoder.blocks))
        for block, patterns in zip(encoder.blocks, by_block, strict=True):
            for module in block.modules():
                record = _recorder(patterns, *ids.shape)
                stack.callback(module.register_forward_hook(record, prepend=True).remove)
        if anchors is None:
            encoder.encode(ids)
        else:
            encoder.encode_against(ids, anchors)
    _check_patterns(encoder, by_block)
    # An outer module may return the same weights again. The innermost one ends first.
    return torch.stack([patterns[0].float() for patterns in by_block])


def require_patterns(encoder: Encoder) -> None:
    """Raise a SiteError, with the reason, when the model's patterns cannot be read or trusted."""
    attention_patterns(encoder, encoder.probe)
    with torch.inference_mode(), evaluating(encoder.model):
        expected = encoder.encode(encoder.probe)
        with _plain_attention(encoder.blocks):
            plain = encoder.encode(encoder.probe)
    if not torch.allclose(expected, plain, rtol=1e-2, atol=1e-2 * expected.abs().max().item()):
        raise SiteError(
            f"{encoder.name} gives another embedding with plain attention than with its own, so "
            "its attention patterns cannot be trusted; load it with attn_implementation='eager'"
        )


def _recorder(patterns: list[Tensor], rows: int, tokens: int) -> Callable[..., None]:
    """Return a forward hook that adds the patterns in a module's output to a list."""

    def record(_: nn.Module, __: Any, output: Any) -> None:
        if isinstance(output, tuple):
            patterns.extend(part for part in output if _is_pattern(part, rows, tokens))

    return record


def _is_pattern(part: Any, rows: int, tokens: int) -> bool:
    if not isinstance(part, Tensor) or part.ndim != 4:
        return False
    if part.shape[0] != rows or part.shape[2:] != (tokens, tokens):
        return False
    # The sum may be below 1: an attention sink outside the row takes the rest.
    return bool((part >= 0).all() and (part.float().sum(dim=-1) <= 1.01).all())


def _check_patterns(encoder: Encoder, by_block: Sequence[Sequence[Tensor]]) -> None:
    """Raise a SiteError when a block has no pattern, or blocks differ in their heads."""
    for name, patterns in zip(encoder.block_names, by_block, strict=True):
        if not patterns:
            raise SiteError(
                f"{encoder.name}: nothing inside {name} returns attention weights [row, head, "
                "query, key], as fused attention (torch.nn.MultiheadAttention) does not; a model "
                "of transformers with attn_implementation='eager' does. Trace the heads instead: "
                "sites=('head',)"
            )
    heads = {int(patterns[0].shape[1]) for patterns in by_block}
    if len(heads) > 1:
        raise SiteError(
            f"{encoder.name}: its blocks have {', '.join(map(str, sorted(heads)))} heads; expected "
            "one number, so that blocks and heads make a grid"
        )


@contextmanager
def _plain_attention(blocks: Sequence[nn.Module]) -> Iterator[None]:
    """Make every configuration below the blocks ask for plain attention inside the `with`."""
    configs = _configs(blocks)
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = PLAIN
        yield
    finally:
        # Outer ones first: they pass a new value on to the configurations that they hold.
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


def _configs(blocks: Sequence[nn.Module]) -> list[Any]:
    """Return the configurations that name an attention, each once, outer ones first."""
    waiting = [getattr(module, "config", None) for block in blocks for module in block.modules()]
    configs: dict[int, Any] = {}
    for config in waiting:
        if hasattr(config, "_attn_implementation") and id(config) not in configs:
            configs[id(config)] = config
            waiting += [getattr(config, name, None) for name in getattr(config, "sub_configs", ())]
    return list(configs.values())
