"""Keys and values of a prefix, reused through transformers' public attention interface.

In a causal tower a patch at position p changes nothing before p, so a row needs to run its tokens
from p on only, if their attention can still see the keys and values before p. transformers looks
its attention function up by name at every call; for the time of a `with`, the text tower's
configuration names ours.
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

from negtrace.encoders.base import KeyValueCache, PrefixAttention
from negtrace.encoders.hooks import forward_replaced, hidden_given, hidden_of, with_hidden

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
        self._blocks = blocks
        self._reads_last = False
        found: list[Any] = [
            module.config
            for block in blocks
            for module in block.modules()
            if hasattr(module, "config")
        ]
        self._configs = list({id(config): config for config in found}.values())

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
        def continuing(
            module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            rows = runs[: len(query)]
            keys, values = (before[:, :, :start][rows] for before in cache[module])
            key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
            return _attend(module, query, key, value, kwargs)

        with self._attending(continuing):
            return self._encode_at(ids[:, start:], _positions(ids, start))

    @property
    @override
    def reads_last(self) -> bool:
        return self._reads_last

    @override
    def run_last(self, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Run the block twice: up to its keys and values, then whole, for the last token alone."""
        attention, taken = _ATTENTION.get(), {}

        def taking(
            module: nn.Module, _: Tensor, key: Tensor, value: Tensor, *__: Any, **___: Any
        ) -> tuple[Tensor, Tensor | None]:
            taken[module] = key, value
            raise _Taken

        def reading(
            module: nn.Module, query: Tensor, _: Tensor, __: Tensor, *rest: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            return attention(module, query, *taken[module], *rest, **kwargs)

        with _attention_of(taking), suppress(_Taken):
            run(*args, **kwargs)
        with _attention_of(reading):
            return run(*_last_token(args), **_last_token(kwargs))

    @contextmanager
    def _attending(self, attention: Attention) -> Iterator[None]:
        own = [config._attn_implementation for config in self._configs]
        try:
            for config in self._configs:
                config._attn_implementation = NAME
            with _attention_of(attention):
                yield
        finally:
            for config, name in zip(self._configs, own, strict=True):
                config._attn_implementation = name

    def agrees(self, ids: Int[Tensor, "1 token"]) -> bool:
        """Return whether a run from its middle on embeds as the whole run does.

        Measures `reads_last` by the way.
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
                read = self.encode_from(ids, ids.shape[1] // 2, cache, row)
            self._reads_last = _close(read, whole)
        except Exception:  # whatever a block makes of a single token where it expects several
            self._reads_last = False
        return True


class _Taken(Exception):  # noqa: N818
    """Leaves a block once its keys and values are known: control flow, no error."""


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
    """Return which keys each query sees, the queries being the last tokens; None where all are."""
    if queries == 1:
        return None
    seen = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return seen.tril(diagonal=keys - queries)[None, None]


def _last_token(value: Any) -> Any:
    """Cut whatever has a place for each token, [_, token, ...], down to the last one."""
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
