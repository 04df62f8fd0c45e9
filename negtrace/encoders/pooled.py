"""Embeddings pooled from the token states that a module returns."""

__all__ = ["PooledStates", "pooled"]

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import PROBE
from negtrace.encoders.token_types import TokenTypes, type_inputs, types_for
from negtrace.encoders.tokenizing import read_text
from negtrace.errors import EncoderError


@dataclass(frozen=True, kw_only=True, eq=False)
class PooledStates:
    """A function from token ids [row, token] to the mean, first or last token state."""

    module: nn.Module
    read_out: str
    token_types: TokenTypes | None = None
    """Token types that the module is given beside token ids, if any."""

    def __call__(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        """Return the embedding of each row."""
        states = _token_states(self.module(ids, **type_inputs(self.token_types, ids)))
        if self.read_out == "mean":
            return states.mean(dim=1)
        return states[:, 0 if self.read_out == "first" else -1]


def pooled(module: nn.Module, read_out: str, tokenizer: Any = None) -> PooledStates:
    """Return a function from token ids [row, token] to the mean, first or last token state.

    Args:
        module: returns token states [row, token, width], or an output of transformers with them.
        read_out: `mean`, `first` or `last`.
        tokenizer: the tokenizer, whose token types the module is given too; None for ids alone.

    Raises:
        EncoderError: when its token types are not all 0, and the module takes none.
    """
    given = () if tokenizer is None else read_text(tokenizer, PROBE).types
    types = types_for(module.forward, given, type(module).__name__)
    return PooledStates(module=module, read_out=read_out, token_types=types)


def _token_states(output: Any) -> Float[Tensor, "row token width"]:
    """Return the token states in the output of a text tower."""
    states = getattr(output, "last_hidden_state", output)
    states = states[0] if isinstance(states, tuple) else states
    if not isinstance(states, Tensor) or states.ndim != 3:
        shape = tuple(states.shape) if isinstance(states, Tensor) else type(states).__name__
        raise EncoderError(
            f"the module returned {shape}; expected token states [row, token, width]. "
            "Pass encode=, a function from ids [row, token] to embeddings [row, dim]"
        )
    return states
