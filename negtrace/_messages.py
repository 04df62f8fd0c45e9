"""Texts of error messages: lists of names, counts, and the refusal of an unknown name."""

__all__ = ["listed", "one_of", "tally"]

from collections.abc import Iterable, Mapping, Sequence

from negtrace.errors import UnknownNameError


def one_of(kind: str, name: str | None, known: Iterable[str | None]) -> None:
    """Refuse a name that is not among the known ones, and list them.

    >>> one_of("direction", "up", ["denoising", "noising"])
    Traceback (most recent call last):
    negtrace.errors.UnknownNameError: unknown direction 'up'; known: denoising, noising

    Raises:
        UnknownNameError: when `name` is not known.
    """
    known = tuple(known)
    if name not in known:
        raise UnknownNameError(f"unknown {kind} {name!r}; known: {', '.join(map(str, known))}")


def listed(names: Sequence[str], most: int = 5) -> str:
    """Join the first names of a list, and count the others.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def tally(counts: Mapping[str, int]) -> str:
    """Join names with their counts.

    >>> tally({"correct": 3, "incorrect": 1})
    'correct 3, incorrect 1'
    """
    return ", ".join(f"{name} {count}" for name, count in counts.items())
