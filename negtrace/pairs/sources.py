"""Sources of pairs by name, as in `negtrace pairs NAME`."""

__all__ = ["SOURCES", "PairSource", "pairs_from"]

from pathlib import Path
from typing import Protocol

from negtrace._registry import Registry
from negtrace.pairs.pair import Pair


class PairSource(Protocol):
    """A function that returns pairs. It uses the arguments it needs and ignores the others."""

    def __call__(self, *, file: Path | None, n: int, seed: int) -> list[Pair]:
        """Return the pairs.

        Args:
            file: the file to read, for a source that reads one.
            n: the number of pairs, for a source that generates them.
            seed: the random seed, for a source that generates them.
        """
        ...


SOURCES: Registry[PairSource] = Registry(
    "source of pairs",
    modules={
        "phantom": "negtrace.pairs.phantom",
        "radiology": "negtrace.pairs.radiology",
        "valse": "negtrace.pairs.valse",
    },
)
"""Every source of pairs. Its docstring says in a line what the pairs are about."""


def pairs_from(name: str, *, file: Path | None = None, n: int = 96, seed: int = 0) -> list[Pair]:
    """Return the pairs of the source called `name`.

    >>> len(pairs_from("radiology"))
    140

    Raises:
        UnknownNameError: for a name that is not registered.
        PairError: for a source that needs a file and gets none.
    """
    return SOURCES[name](file=file, n=n, seed=seed)
