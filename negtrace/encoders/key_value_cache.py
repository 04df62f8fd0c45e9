"""Keys and values of a prefix, which let a causal tower run only the tokens behind it."""

__all__ = ["KeyValueCache", "PrefixAttention", "RecordedAttention"]

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedAttention:
    """Input of one attention module in a batch of plain runs."""

    key: Float[Tensor, "run head token dim"]
    value: Float[Tensor, "run head token dim_v"]
    mask: Tensor | None
    """The model's own mask [1 or run, 1 or head, query, key]; None where there is none."""
    biases: Mapping[str, Tensor]
    """Further arguments by query and key, such as a position bias, by name."""


KeyValueCache = Mapping[nn.Module, RecordedAttention]
"""Inputs of the attention modules, by module."""


class PrefixAttention(ABC):
    """Attention of a causal tower that runs the tokens from a position on, and no others.

    A patch at a position changes nothing before it, so the keys and values before it are those of
    the plain run. The attention itself is computed by the model's own function, with its own mask.
    """

    @abstractmethod
    def recording(self) -> AbstractContextManager[KeyValueCache]:
        """Record what every attention module is given in the run inside the `with`."""

    @abstractmethod
    def covers(self, blocks: Sequence[nn.Module], cache: KeyValueCache) -> bool:
        """Return whether every block ran attention that was recorded."""

    @abstractmethod
    def encode_from(
        self,
        ids: Int[Tensor, "row token"],
        start: int,
        cache: KeyValueCache,
        runs: Int[Tensor, " row"],
        anchors: Float[Tensor, "row _"],
    ) -> Float[Tensor, "row dim"]:
        """Return the embedding of each row, running only its tokens from `start` on.

        Row `i` continues run `runs[i]` of the cache, given the embedded `anchors[i]`. A block may
        be given the first rows only.
        """

    @abstractmethod
    def run_last(self, run: Callable[..., Any], given: Any, last: Any) -> Any:
        """Return the output of a block for the last token, which attends to all tokens.

        The last block needs no other query. To be called within `encode_from`.

        Args:
            run: the forward of the block.
            given: its arguments (args, kwargs) for all tokens.
            last: its arguments for the last token.
        """
