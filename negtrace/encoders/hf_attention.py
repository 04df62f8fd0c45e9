"""Keys and values of a prefix, reused through transformers' public attention interface.

In a causal tower a patch at position p changes nothing before p, so a row needs to run its tokens
from p on only, if their attention can still see the keys and values before p. transformers looks
its attention function up by name at every call; for the time of a `with`, the text tower's
configuration names ours.
"""

__all__ = ["HFPrefixAttention"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from typing_extensions import override

from negtrace.encoders.base import Kept, PrefixAttention

Attention = Callable[..., tuple[Tensor, Tensor | None]]
EncodeAt = Callable[[Tensor, Tensor], Tensor]

NAME = "negtrace_prefix"
_ATTENTION: ContextVar[Attention] = ContextVar("negtrace attention")


def _dispatch(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    return _ATTENTION.get()(*args, **kwargs)


# A name in a public table, looked up by no model but inside the `with` below.
AttentionInterface.register(NAME, _dispatch)


@final
class HFPrefixAttention(PrefixAttention):
    """Prefix attention for a causal tower of transformers whose blocks use its interface."""

    def __init__(self, blocks: Sequence[nn.Module], encode_at: EncodeAt) -> None:
        self._encode_at = encode_at
        """Embeds token ids [row, token] that stand at positions [1, token]."""
        found: list[Any] = [
            module.config
            for block in blocks
            for module in block.modules()
            if hasattr(module, "config")
        ]
        self._configs = list({id(config): config for config in found}.values())

    @override
    def keep(self, ids: Int[Tensor, "run token"]) -> Kept:
        kept: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def recording(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            kept[module] = key, value
            return _attend(module, query, key, value, _causal(query, 0), kwargs)

        with self._attending(recording):
            self._encode_at(ids, _positions(ids, 0))
        return kept

    @override
    def encode_from(
        self, ids: Int[Tensor, "row token"], start: int, kept: Kept, runs: Int[Tensor, " row"]
    ) -> Float[Tensor, "row dim"]:
        def continuing(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            rows = runs[: len(query)]
            keys, values = (before[:, :, :start][rows] for before in kept[module])
            key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
            return _attend(module, query, key, value, _causal(query, start), kwargs)

        with self._attending(continuing):
            return self._encode_at(ids[:, start:], _positions(ids, start))

    @contextmanager
    def _attending(self, attention: Attention) -> Iterator[None]:
        own = [config._attn_implementation for config in self._configs]
        token = _ATTENTION.set(attention)
        try:
            for config in self._configs:
                config._attn_implementation = NAME
            yield
        finally:
            for config, name in zip(self._configs, own, strict=True):
                config._attn_implementation = name
            _ATTENTION.reset(token)

    def agrees(self, ids: Int[Tensor, "1 token"]) -> bool:
        """Return whether a run from its middle on embeds as the whole run does."""
        row = torch.zeros(1, dtype=torch.long, device=ids.device)
        kept = self.keep(ids)
        whole = self._encode_at(ids, _positions(ids, 0))
        part = self.encode_from(ids, ids.shape[1] // 2, kept, row)
        close = torch.allclose(part, whole, rtol=1e-3, atol=1e-3 * whole.abs().max().item())
        return bool(kept) and close


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Bool[Tensor, "query key"],
    kwargs: dict[str, Any],
) -> tuple[Tensor, Tensor | None]:
    options = {"scaling": kwargs["scaling"]} if "scaling" in kwargs else {}
    attended: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
        module, query, key, value, mask[None, None], dropout=0.0, is_causal=False, **options
    )
    return attended


def _causal(query: Tensor, start: int) -> Bool[Tensor, "query key"]:
    """Return which keys each query sees: all before `start`, and the tail up to itself."""
    count = query.shape[2]
    seen = torch.ones(count, start + count, dtype=torch.bool, device=query.device)
    return seen.tril(diagonal=start)


def _positions(ids: Int[Tensor, "row token"], start: int) -> Int[Tensor, "1 tail"]:
    return torch.arange(start, ids.shape[1], device=ids.device)[None]
