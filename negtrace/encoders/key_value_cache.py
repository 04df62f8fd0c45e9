"""Keys and values of a prefix, which let a causal tower run only the tokens behind it."""

__all__ = ["KeyValueCache", "PrefixAttention"]

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

KeyValueCache = Mapping[nn.Module, tuple[Tensor, Tensor]]
"""Keys and values of a batch of runs, by attention module: [run, head, token, width]."""


class PrefixAttention(ABC):
    """Attention of a causal tower that runs the tokens from a position on, and no others.

    A patch at a position changes nothing before it, so the keys and values before it are those of
    the plain run.
    """

    @abstractmethod
    def recording(self) -> AbstractContextManager[KeyValueCache]:
        """Record the keys and values of every attention module in the run inside the `with`."""

    @abstractmethod
    def encode_from(
        self,
        ids: Int[Tensor, "row token"],
        start: int,
        cache: KeyValueCache,
        runs: Int[Tensor, " row"],
    ) -> Float[Tensor, "row dim"]:
        """Return the embedding of each row, running only its tokens from `start` on.

        Row `i` continues run `runs[i]` of the cache. A block may be given the first rows only.
        """

    @property
    @abstractmethod
    def reads_last(self) -> bool:
        """True if `run_last` is exact for this tower."""

    @abstractmethod
    def run_last(self, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return the output of a block for the last token, which attends to all tokens.

        The last block needs no other query. To be called within `encode_from`.

        Args:
            run: the forward of the block.
            args: its arguments by position, for all tokens.
            kwargs: its arguments by name, for all tokens.
        """
