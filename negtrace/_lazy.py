"""A sequence whose items are made where they are used."""

__all__ = ["LazySequence"]

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

from typing_extensions import override

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """A sequence that makes an item when it is asked for. A slice of it is a list.

    >>> class Squares(LazySequence[int]):
    ...     def __len__(self) -> int:
    ...         return 5
    ...     def item(self, index: int) -> int:
    ...         return index**2
    >>> squares = Squares()
    >>> squares[-1], squares[1:3]
    (16, [1, 4])
    """

    @abstractmethod
    def item(self, index: int) -> T:
        """Return the item at an index from 0 on."""

    def items(self, index: slice) -> list[T]:
        """Return the items of a slice."""
        return [self.item(each) for each in range(*index.indices(len(self)))]

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    @override
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return self.items(index)
        return self.item(range(len(self))[index])
