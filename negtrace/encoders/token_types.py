"""Token types that a tokenizer gives beside token ids, and a model reads beside them.

The types of a statement depend on its length alone: those of the tokens before it, of its own
tokens, and of the tokens behind it. XLNet's tokenizer gives 0, ..., 0, 2.
"""

__all__ = ["TokenTypes", "type_inputs", "types_for"]

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from negtrace.errors import EncoderError
from negtrace.pairs.tokens import Tokens

NAME = "token_type_ids"


@dataclass(frozen=True, kw_only=True)
class TokenTypes:
    """Token types of a row by its length.

    >>> types = TokenTypes.of((0, 1, 1, 1, 0))
    >>> types.row(4)
    (0, 1, 1, 0)
    """

    before: tuple[int, ...]
    """Types of the first tokens."""
    within: int
    """Type of every token in between, which are those of the statement."""
    after: tuple[int, ...]
    """Types of the last tokens."""

    @classmethod
    def of(cls, types: Sequence[int]) -> "TokenTypes":
        """Return the rule behind the types of a row: those that its middle shares are within."""
        start = stop = len(types) // 2
        within = types[start]
        while start and types[start - 1] == within:
            start -= 1
        while stop < len(types) and types[stop] == within:
            stop += 1
        return cls(before=tuple(types[:start]), within=within, after=tuple(types[stop:]))

    def row(self, count: int) -> tuple[int, ...]:
        """Return the types of a row of `count` tokens."""
        between = count - len(self.before) - len(self.after)
        return (*self.before, *(self.within,) * between, *self.after)[:count]

    def require(self, tokens: Tokens, name: str) -> None:
        """Refuse a statement whose own types are others.

        Raises:
            EncoderError: when the tokenizer types it in another way than the probe.
        """
        if tokens.types != self.row(len(tokens)):
            raise EncoderError(
                f"{name}: the tokenizer gives a statement of {len(tokens)} tokens other "
                f"{NAME} than its length says, so they cannot be kept in patched runs; give "
                "negtrace.wrap a tokenizer with one type for all tokens of a statement"
            )


def types_for(
    forward: Callable[..., Any], tokenizer_types: Sequence[int], name: str
) -> TokenTypes | None:
    """Return the token types that a forward is given; None where it is given none.

    Args:
        forward: the model's forward, or another method that reads token ids.
        tokenizer_types: types of the probe; none where the tokenizer gives none.
        name: name of the model in messages.

    Raises:
        EncoderError: when they are not all 0, and the forward takes none.
    """
    if not tokenizer_types:
        return None
    parameters = _parameters(forward)
    if NAME in parameters:
        return TokenTypes.of(tokenizer_types)
    if not any(tokenizer_types):  # a forward that takes any name may hand it to one that does not
        return None
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return TokenTypes.of(tokenizer_types)
    raise EncoderError(
        f"{name}: the tokenizer gives {NAME} other than 0, which the model's forward does not "
        "take; use the model's own tokenizer, or say how a row is embedded without them: "
        "negtrace.wrap(module, tokenizer, encode=...)"
    )


def _parameters(forward: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(forward).parameters
    except (TypeError, ValueError):  # compiled code may have none
        return {}


def type_inputs(
    types: TokenTypes | None,
    ids: Int[Tensor, "row token"],
    positions: Int[Tensor, "1 token"] | None = None,
) -> dict[str, Tensor]:
    """Return token types as arguments of a forward; none where there are none.

    Args:
        types: the types of a row.
        ids: token ids, whole rows or their last tokens.
        positions: positions of the tokens in whole rows, if these are the last ones.
    """
    if types is None:
        return {}
    count = ids.shape[1] if positions is None else int(positions[0, -1]) + 1
    row = types.row(count)[count - ids.shape[1] :]
    return {NAME: torch.tensor(row, device=ids.device).expand(len(ids), -1)}
