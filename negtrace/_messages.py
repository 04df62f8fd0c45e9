"""Words for error messages: lists of names, counts, and refusals of unknown names."""

__all__ = ["listed", "one_of", "tally"]

from collections.abc import Iterable, Mapping, Sequence

from negtrace.errors import UnknownNameError


def one_of(kind: str, name: str | None, known: Iterable[str | None]) -> None:
    """Refuse a name that is not known, and list those that are."""
    known = tuple(known)
    if name not in known:
        raise UnknownNameError(f"unknown {kind} {name!r}; known: {', '.join(map(str, known))}")


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for a message, the first few of them.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def tally(counts: Mapping[str, int]) -> str:
    """Counts for a message.

    >>> tally({"correct": 3, "incorrect": 1})
    'correct 3, incorrect 1'
    """
    return ", ".join(f"{name} {count}" for name, count in counts.items())
