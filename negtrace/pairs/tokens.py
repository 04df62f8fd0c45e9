"""One statement as an encoder reads it: token ids and where they stand in the text."""

__all__ = ["Tokens"]

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of one statement, in the order the tower sees them."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """Character span of each token in the statement; (0, 0) for one the tokenizer added."""
    padding: tuple[bool, ...]
    """Whether a token only fills the context; such tokens still count where a tower reads them."""
    read_out: int | None
    """Position the embedding is read at; None for a tower that pools over positions."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def added(self) -> tuple[bool, ...]:
        """Whether each token was added by the tokenizer (start, end, padding)."""
        return tuple(start == end for start, end in self.spans)
