"""A small registry: duplicates are refused and a miss lists the known names."""

__all__ = ["Registry"]

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from negtrace.errors import NegtraceError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind.

    >>> shapes = Registry[int]("shape")
    >>> _ = shapes.register("square")(4)
    >>> shapes["square"]
    4
    >>> shapes["circle"]
    Traceback (most recent call last):
    negtrace.errors.UnknownNameError: unknown shape 'circle'; known: square
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under `name`.

        Raises:
            NegtraceError: when `name` is taken.
        """
        if name in self._entries:
            raise NegtraceError(f"{self.kind} {name!r} is already registered; choose another name")

        def keep(entry: T) -> T:
            self._entries[name] = entry
            return entry

        return keep

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(sorted(self._entries)) or "none"
            raise UnknownNameError(f"unknown {self.kind} {name!r}; known: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)
