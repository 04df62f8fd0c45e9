"""A shard: the part of a trace that one of several processes runs."""

__all__ = ["Shard", "shard_files"]

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from negtrace.errors import TraceError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a trace.

    A shard is made of whole batches, so it runs just what a single process would run, and the
    merged result is identical.

    >>> Shard.named("2/3").of(["a", "b", "c", "d", "e"], [1, 1, 1, 1, 1])
    ['b', 'e']

    Args:
        number: which part, from 1 on.
        count: how many parts there are.

    Raises:
        TraceError: when there is no such part.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise TraceError(
                f"there is no shard {self.number} of {self.count}; expected 1 to {self.count}"
                if self.count > 0
                else f"{self.count} shards; expected 1 or more"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def named(cls, name: str) -> "Shard":
        """Return the shard that `NUMBER/COUNT` names.

        Raises:
            TraceError: when the name is none, or there is no such part.
        """
        if not re.fullmatch(r"[0-9]{1,6}/[0-9]{1,6}", name):
            raise TraceError(f"shard {name[:20]!r}; expected NUMBER/COUNT, such as 1/4")
        number, count = name.split("/")
        return cls(int(number), int(count))

    def of(self, batches: Sequence[T], costs: Sequence[int]) -> list[T]:
        """Return the batches of this shard, in their order.

        The dearest batch goes first, each to the shard that has the least work so far.

        Args:
            batches: those of the whole trace.
            costs: relative cost of each.
        """
        loads, own = [0] * self.count, []
        for index in sorted(range(len(batches)), key=lambda each: -costs[each]):
            shard = loads.index(min(loads))
            loads[shard] += costs[index]
            if shard == self.number - 1:
                own.append(index)
        return [batches[index] for index in sorted(own)]

    def file(self, checkpoint: Path) -> Path:
        """Return the file of this shard's finished work, beside the checkpoint of the trace."""
        return checkpoint.with_name(f"{checkpoint.name}.{self.number}-of-{self.count}")


def shard_files(checkpoint: Path) -> list[Path]:
    """Return the files of finished work that shards have left beside a checkpoint."""
    pattern = re.compile(re.escape(checkpoint.name) + r"\.[0-9]+-of-[0-9]+")
    return sorted(p for p in checkpoint.parent.glob("*-of-*") if pattern.fullmatch(p.name))
