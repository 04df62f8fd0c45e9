"""Tokens of a statement: their ids, and the characters they cover."""

__all__ = ["Tokens"]

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Tokens of one statement, in the order in which the encoder's text tower reads them.

    >>> tokens = Tokens(
    ...     ids=(1, 25, 2), spans=((0, 0), (0, 4), (0, 0)), padding=(False,) * 3, read_out=2
    ... )
    >>> len(tokens), tokens.added
    (3, (True, False, True))
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """Character span of each token in the statement; (0, 0) for tokens that the tokenizer added."""
    padding: tuple[bool, ...]
    """Whether each token is padding. Some towers read padding as well."""
    read_out: int | None
    """Position at which the embedding is read; None for a tower that pools over positions."""
    types: tuple[int, ...] = ()
    """Type of each token, which some towers read beside its id; empty where there are none."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def added(self) -> tuple[bool, ...]:
        """True for each token that was added by the tokenizer (start, end, padding)."""
        return tuple(start == end for start, end in self.spans)
