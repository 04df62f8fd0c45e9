"""Reuse the keys and values of a prefix, through transformers' public attention interface.

In a causal tower, a patch at position p changes nothing before p. So a row needs to run its tokens
from p on only, provided that their attention sees the keys and values before p. transformers looks
up its attention function by name at every call. Inside a `with`, the configuration of the text
tower names the function of this module.
"""

__all__ = ["HFPrefixAttention"]

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from typing_extensions import override

from negtrace.encoders.hooks import forward_replaced, hidden_given, hidden_of, with_hidden
from negtrace.encoders.key_value_cache import KeyValueCache, PrefixAttention

Attention = Callable[..., tuple[Tensor, Tensor | None]]
EncodeAt = Callable[[Tensor, Tensor], Tensor]

NAME = "negtrace_prefix"
_ATTENTION: ContextVar[Attention] = ContextVar("negtrace attention")


def _dispatch(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    return _ATTENTION.get()(*args, **kwargs)


# A model only looks up this name inside the `with` of `_attending`.
AttentionInterface.register(NAME, _dispatch)


@final
class HFPrefixAttention(PrefixAttention):
    """Prefix attention for a causal tower of transformers whose blocks use its interface.

    Args:
        blocks: the blocks of the tower.
        encode_at: maps token ids [row, token] at positions [1, token] to embeddings [row, dim].
    """

    def __init__(self, blocks: Sequence[nn.Module], encode_at: EncodeAt) -> None:
        self._encode_at = encode_at
        self._blocks = blocks
        self._reads_last = False
        configs: list[Any] = [
            module.config
            for block in blocks
            for module in block.modules()
            if hasattr(module, "config")
        ]
        self._configs = list({id(config): config for config in configs}.values())

    @override
    @contextmanager
    def recording(self) -> Iterator[KeyValueCache]:
        cache: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def record(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            cache[module] = key, value
            return _attend(module, query, key, value, kwargs)

        with self._attending(record):
            yield cache

    @override
    def encode_from(
        self,
        ids: Int[Tensor, "row token"],
        start: int,
        cache: KeyValueCache,
        runs: Int[Tensor, " row"],
    ) -> Float[Tensor, "row dim"]:
        def attend(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            rows = runs[: len(query)]
            keys, values = (states[:, :, :start][rows] for states in cache[module])
            key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
            return _attend(module, query, key, value, kwargs)

        with self._attending(attend):
            return self._encode_at(ids[:, start:], _positions(ids, start))

    @property
    @override
    def reads_last(self) -> bool:
        return self._reads_last

    @override
    def run_last(self, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the block up to its keys and values for all tokens, then whole for the last token."""
        attention, cache = _ATTENTION.get(), {}

        def record(
            module: nn.Module, _: Tensor, key: Tensor, value: Tensor, *__: Any, **___: Any
        ) -> tuple[Tensor, Tensor | None]:
            cache[module] = key, value
            raise _Recorded

        def attend(
            module: nn.Module, query: Tensor, _: Tensor, __: Tensor, *rest: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            return attention(module, query, *cache[module], *rest, **kwargs)

        with _attention_of(record), suppress(_Recorded):
            run(*args, **kwargs)
        with _attention_of(attend):
            return run(*_last_token(args), **_last_token(kwargs))

    @contextmanager
    def _attending(self, attention: Attention) -> Iterator[None]:
        names = [config._attn_implementation for config in self._configs]
        try:
            for config in self._configs:
                config._attn_implementation = NAME
            with _attention_of(attention):
                yield
        finally:
            for config, name in zip(self._configs, names, strict=True):
                config._attn_implementation = name

    def agrees(self, ids: Int[Tensor, "1 token"]) -> bool:
        """Return whether a run from its middle on gives the embedding of the whole run.

        This also measures `reads_last`.
        """
        row = torch.zeros(1, dtype=torch.long, device=ids.device)
        whole = self._encode_at(ids, _positions(ids, 0))
        with self.recording() as cache:
            self._encode_at(ids, _positions(ids, 0))
        if not cache or not _close(self.encode_from(ids, ids.shape[1] // 2, cache, row), whole):
            return False
        last = self._blocks[-1]
        run = last.forward

        def at_last(*args: Any, **kwargs: Any) -> Any:
            output = self.run_last(run, args, kwargs)
            return with_hidden(output, hidden_of(output).expand_as(hidden_given(args, kwargs)))

        try:
            with forward_replaced(last, at_last):
                text = self.encode_from(ids, ids.shape[1] // 2, cache, row)
            self._reads_last = _close(text, whole)
        except Exception:  # a block that expects several tokens can raise anything
            self._reads_last = False
        return True


class _Recorded(Exception):  # noqa: N818
    """Leave a block once its keys and values are recorded: control flow, not an error."""


@contextmanager
def _attention_of(attention: Attention) -> Iterator[None]:
    token = _ATTENTION.set(attention)
    try:
        yield
    finally:
        _ATTENTION.reset(token)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor | None]:
    options = {"scaling": kwargs["scaling"]} if "scaling" in kwargs else {}
    mask = _causal(query.shape[2], key.shape[2], query.device)
    attended: tuple[Tensor, Tensor | None] = sdpa_attention_forward(
        module, query, key, value, mask, dropout=0.0, is_causal=False, **options
    )
    return attended


def _causal(queries: int, keys: int, device: torch.device) -> Bool[Tensor, "1 1 query key"] | None:
    """Return True for the keys that each query sees; None where there is one query, which sees all.

    The queries are the last tokens.
    """
    if queries == 1:
        return None
    visible = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return visible.tril(diagonal=keys - queries)[None, None]


def _last_token(value: Any) -> Any:
    """Cut every tensor [_, token, ...] down to the last token."""
    if isinstance(value, Tensor) and value.ndim > 1:
        return value[:, -1:]
    if isinstance(value, tuple | list):
        return type(value)(map(_last_token, value))
    if isinstance(value, dict):
        return {name: _last_token(part) for name, part in value.items()}
    return value


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())


def _positions(ids: Int[Tensor, "row token"], start: int) -> Int[Tensor, "1 tail"]:
    return torch.arange(start, ids.shape[1], device=ids.device)[None]
