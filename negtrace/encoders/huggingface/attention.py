"""Reuse the keys and values of a prefix, through transformers' public attention interface.

In a causal tower, a patch at position p changes nothing before p. So a row needs to run its tokens
from p on only, provided that their attention sees the keys and values before p. transformers looks
up its attention function and its mask function by name at every call. Inside a `with`, the
configuration of the text tower names the functions of this module.

They call the functions that the model itself uses, with the mask that it made for the whole row,
cut to the queries that run. So sliding windows, chunks, soft caps and sinks stay as they are.
"""

__all__ = ["HFPrefixAttention"]

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from typing_extensions import override

from negtrace.encoders.key_value_cache import KeyValueCache, PrefixAttention, RecordedAttention
from negtrace.errors import EncoderError

Attended = tuple[Tensor, Tensor | None]
Attention = Callable[..., Attended]
EncodeTail = Callable[[Tensor, int, Tensor], Tensor]
"""Maps token ids [row, token], a position and embedded anchors [row, dim] to embeddings [row, dim],
running only the tokens from the position on."""

NAME = "negtrace_prefix"
SUPPORTED = ("eager", "sdpa")
"""Implementations that take a mask; others make it from positions of their own."""


@dataclass(frozen=True, kw_only=True)
class _Functions:
    """The functions that stand in for the model's own inside a `with`."""

    attention: Attention
    mask: Callable[..., Any]


_FUNCTIONS: ContextVar[_Functions] = ContextVar("negtrace attention")


def _attention(*args: Any, **kwargs: Any) -> Attended:
    return _FUNCTIONS.get().attention(*args, **kwargs)


def _mask(*args: Any, **kwargs: Any) -> Any:
    return _FUNCTIONS.get().mask(*args, **kwargs)


# A model only looks up this name inside the `with` of `_attending`.
AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, _mask)


@final
class HFPrefixAttention(PrefixAttention):
    """Prefix attention for a causal tower of transformers whose blocks use its interface.

    Args:
        blocks: the blocks of the tower.
        encode_tail: runs the tokens of each row from a position on.
    """

    def __init__(self, blocks: Sequence[nn.Module], encode_tail: EncodeTail) -> None:
        self._encode_tail = encode_tail
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
        cache: dict[nn.Module, RecordedAttention] = {}
        if (own := self._implementation()) is None:
            yield cache
            return

        def record(
            module: nn.Module,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            attention_mask: Tensor | None,
            **kwargs: Any,
        ) -> Attended:
            mask = attention_mask  # some models pass it by this name
            biases = {name: kwargs[name] for name in kwargs if _is_bias(kwargs[name], query, key)}
            cache[module] = RecordedAttention(
                key=key, value=value, mask=_one_for_all(mask), biases=biases
            )
            return _own_attention(module, own)(module, query, key, value, mask, **kwargs)

        with self._attending(_Functions(attention=record, mask=_own_mask(own))):
            yield cache

    @override
    def covers(self, blocks: Sequence[nn.Module], cache: KeyValueCache) -> bool:
        return all(any(module in cache for module in block.modules()) for block in blocks)

    @override
    def encode_from(
        self,
        ids: Int[Tensor, "row token"],
        start: int,
        cache: KeyValueCache,
        runs: Int[Tensor, " row"],
        anchors: Float[Tensor, "row _"],
    ) -> Float[Tensor, "row dim"]:
        own = self._implementation() or "eager"

        def attend(
            module: nn.Module,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            attention_mask: Tensor | None,
            **kwargs: Any,
        ) -> Attended:
            recorded, rows = cache[module], runs[: len(query)]
            _require_no_other_mask(module, attention_mask, recorded.mask)
            key = torch.cat([recorded.key[:, :, :start][rows], key], dim=2)
            value = torch.cat([recorded.value[:, :, :start][rows], value], dim=2)
            mask = _for_queries(recorded.mask, query.shape[2], rows)
            if mask is None and own == "sdpa":
                mask = _causal(query.shape[2], key.shape[2], query.device)
            biases = {
                name: _for_queries(bias, query.shape[2], rows)
                for name, bias in recorded.biases.items()
            }
            return _own_attention(module, own)(module, query, key, value, mask, **kwargs | biases)

        with self._attending(_Functions(attention=attend, mask=_no_mask)):
            return self._encode_tail(ids, start, anchors)

    @override
    def run_last(self, run: Callable[..., Any], given: Any, last: Any) -> Any:
        """Run the block up to its keys and values for all tokens, then whole for the last token."""
        functions, cache = _FUNCTIONS.get(), {}

        def record(
            module: nn.Module, _: Tensor, key: Tensor, value: Tensor, *__: Any, **___: Any
        ) -> Attended:
            cache[module] = key, value
            raise _Recorded

        def attend(
            module: nn.Module, query: Tensor, _: Tensor, __: Tensor, *rest: Any, **kwargs: Any
        ) -> Attended:
            return functions.attention(module, query, *cache[module], *rest, **kwargs)

        with _calling(_Functions(attention=record, mask=_no_mask)), suppress(_Recorded):
            run(*given[0], **given[1])
        with _calling(_Functions(attention=attend, mask=_no_mask)):
            return run(*last[0], **last[1])

    def _implementation(self) -> str | None:
        """Return the name of the model's own attention; None where there are several or no mask."""
        names = {config._attn_implementation for config in self._configs}
        return names.pop() if len(names) == 1 and names <= set(SUPPORTED) else None

    @contextmanager
    def _attending(self, functions: _Functions) -> Iterator[None]:
        names = [config._attn_implementation for config in self._configs]
        try:
            for config in self._configs:
                config._attn_implementation = NAME
            with _calling(functions):
                yield
        finally:
            for config, name in zip(self._configs, names, strict=True):
                config._attn_implementation = name


class _Recorded(Exception):  # noqa: N818
    """Leave a block once its keys and values are recorded: control flow, not an error."""


@contextmanager
def _calling(functions: _Functions) -> Iterator[None]:
    token = _FUNCTIONS.set(functions)
    try:
        yield
    finally:
        _FUNCTIONS.reset(token)


def _own_attention(module: nn.Module, implementation: str) -> Attention:
    """Return the attention function that a module looks up by this name.

    A file of transformers may define functions of its own; they come first.
    """
    for kind in type(module).__mro__:
        names = vars(sys.modules[kind.__module__])
        registered = names.get("ALL_ATTENTION_FUNCTIONS")
        if implementation == "eager" and "eager_attention_forward" in names:
            eager: Attention = names["eager_attention_forward"]
            return eager
        if implementation != "eager" and registered is not None and implementation in registered:
            attention: Attention = registered[implementation]
            return attention
    raise EncoderError(
        f"{type(module).__name__} uses no {implementation!r} attention function that can be found"
    )


def _own_mask(implementation: str) -> Callable[..., Any]:
    mask: Callable[..., Any] = AttentionMaskInterface()[implementation]
    return mask


def _no_mask(*_: Any, **__: Any) -> None:
    """Make no mask: the recorded one is used."""


def _is_bias(value: Any, query: Tensor, key: Tensor) -> bool:
    """Return whether an argument has a number for each query and key."""
    return (
        isinstance(value, Tensor)
        and value.ndim >= 3
        and value.shape[-2:] == (query.shape[2], key.shape[2])
    )


def _one_for_all(mask: Tensor | None) -> Tensor | None:
    """Return a mask with one row where those of all rows are equal, as without padding."""
    if isinstance(mask, Tensor) and len(mask) > 1 and torch.equal(mask, mask[:1].expand_as(mask)):
        return mask[:1]
    return mask


def _require_no_other_mask(module: nn.Module, made: Tensor | None, recorded: Tensor | None) -> None:
    """Refuse a module that makes a mask of its own from the states, as it was not given one.

    The recorded mask is that of the run before the patch, so it would not hold.
    """
    if made is None:
        return
    tail = None if recorded is None else recorded[..., -made.shape[-2] :, -made.shape[-1] :]
    if tail is None or not torch.equal(made, tail.expand_as(made)):
        raise EncoderError(f"{type(module).__name__} makes an attention mask of its own")


def _for_queries(table: Tensor | None, count: int, rows: Int[Tensor, " row"]) -> Tensor | None:
    """Return a table [1 or run, ..., query, key] for the last queries of some rows."""
    if table is None:
        return None
    cut = table[..., table.shape[-2] - count :, :]
    return cut if table.ndim < 4 or len(table) == 1 else cut[rows]


def _causal(queries: int, keys: int, device: torch.device) -> Bool[Tensor, "1 1 query key"] | None:
    """Return True for the keys that each query sees; None where there is one query, which sees all.

    The queries are the last tokens.
    """
    if queries == 1:
        return None
    visible = torch.ones(queries, keys, dtype=torch.bool, device=device)
    return visible.tril(diagonal=keys - queries)[None, None]
