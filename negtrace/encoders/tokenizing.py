"""Statements into tokens with character spans, by any Hugging Face tokenizer."""

__all__ = ["StatementTokenizer", "matched_spans"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from negtrace.tokens import Tokens

ReadOut = Literal["first", "last", "mean"]


@dataclass(frozen=True, kw_only=True)
class StatementTokenizer:
    """A tokenizer, and where the tower it feeds reads its embedding."""

    tokenizer: Any
    """A transformers tokenizer; a fast one gives spans itself."""
    read_out: ReadOut
    pad_to: int | None = None
    """Fill every statement to this many tokens, for a tower trained so (SigLIP)."""

    def __call__(self, statements: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each statement, without padding unless the tower reads it."""
        return [self._one(statement) for statement in statements]

    def _one(self, statement: str) -> Tokens:
        ids = tuple(self._read(statement)["input_ids"])
        count = len(ids)
        spans = self._spans(statement, ids)
        if self.pad_to and count < self.pad_to:
            filled = self._read(statement, padding="max_length", max_length=self.pad_to)
            ids = tuple(filled["input_ids"])
            spans += ((0, 0),) * (len(ids) - count)
        return Tokens(
            ids=ids,
            spans=spans,
            padding=tuple(i >= count for i in range(len(ids))),
            read_out={"first": 0, "last": len(ids) - 1, "mean": None}[self.read_out],
        )

    def _read(self, statement: str, **options: Any) -> Any:
        # Overlong statements are refused later, by name, so nothing is cut or warned of here.
        return self.tokenizer(statement, truncation=False, verbose=False, **options)

    def _spans(self, statement: str, ids: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        if getattr(self.tokenizer, "is_fast", False):
            found = self._read(statement, return_offsets_mapping=True)["offset_mapping"]
            return tuple(_trimmed(statement, span) for span in found)
        return matched_spans(statement, self.tokenizer.convert_ids_to_tokens(list(ids)))


def _trimmed(statement: str, span: tuple[int, int]) -> tuple[int, int]:
    """Leave the blanks that byte-level tokenizers count to a word out of its span."""
    start, end = span
    while start < end and statement[start].isspace():
        start += 1
    return (start, end) if start < end else (0, 0)


def matched_spans(statement: str, pieces: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Find each piece in the statement from left to right, for tokenizers that give no spans.

    A piece that is not found there is one the tokenizer added: its span is (0, 0).

    >>> matched_spans("No effusion.", ["[CLS]", "▁no", "▁effus", "ion", "[SEP]"])
    ((0, 0), (0, 2), (3, 8), (8, 11), (0, 0))
    """
    text, cursor, spans = statement.lower(), 0, []
    for piece in pieces:
        bare = piece.replace("▁", "").replace("##", "").replace("</w>", "").replace("Ġ", "").lower()
        start = text.find(bare, cursor) if bare else -1
        # A far match is a coincidence: only blanks and punctuation may be passed over.
        if start < 0 or any(c.isalnum() for c in text[cursor:start]):
            spans.append((0, 0))
            continue
        cursor = start + len(bare)
        spans.append((start, cursor))
    return tuple(spans)
