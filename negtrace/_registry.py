"""A small registry: names are unique, and an unknown name is answered with the known ones."""

__all__ = ["Registry"]

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Generic, TypeVar

from negtrace.errors import NegtraceError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind, such as the corruptions.

    Args:
        kind: what an entry is called in messages.
        modules: the module that registers an entry, by the entry's name, for entries that are slow
            to import. Such a name is known at once; its module is imported when the entry is used.

    >>> shapes = Registry[int]("shape")
    >>> _ = shapes.register("square")(4)
    >>> shapes["square"]
    4
    >>> shapes["circle"]
    Traceback (most recent call last):
    negtrace.errors.UnknownNameError: unknown shape 'circle'; known: square
    """

    def __init__(self, kind: str, modules: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._modules = dict(modules or {})

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that stores its argument under `name`.

        Raises:
            NegtraceError: when `name` is taken.
        """
        self._import(name)
        if name in self._entries:
            raise NegtraceError(f"{self.kind} {name!r} is already registered; choose another name")

        def store(entry: T) -> T:
            self._entries[name] = entry
            return entry

        return store

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Remove what is registered inside the `with` when it ends; for tests and documentation."""
        before = {*self._entries, *self._modules}
        try:
            yield
        finally:
            for name in {*self._entries} - before:
                del self._entries[name]

    def _import(self, name: str) -> None:
        # While that module itself is being imported, this does nothing.
        if name in self._modules and name not in self._entries:
            import_module(self._modules[name])

    def __getitem__(self, name: str) -> T:
        self._import(name)
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self) or "none"
            raise UnknownNameError(f"unknown {self.kind} {name!r}; known: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._entries, *self._modules}))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._modules

    def __len__(self) -> int:
        return len({*self._entries, *self._modules})
