"""Statements into tokens with character spans, by any Hugging Face tokenizer."""

__all__ = ["StatementTokenizer", "matched_spans", "read_text", "unpadded_ids"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from negtrace.pairs.tokens import Tokens

ReadOut = Literal["first", "last", "mean"]
Spans = tuple[tuple[int, int], ...]


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
        if not self.pad_to:
            ids, spans = read_text(self.tokenizer, statement)
            mask = (True,) * len(ids)
        else:
            read = _read(self.tokenizer, statement, padding="max_length", max_length=self.pad_to)
            ids, mask = tuple(read["input_ids"]), _mask(read)
            spans = _spans(self.tokenizer, statement, ids, read)
        return Tokens(
            ids=ids,
            spans=tuple(span if seen else (0, 0) for span, seen in zip(spans, mask, strict=True)),
            padding=tuple(not seen for seen in mask),
            read_out={"first": 0, "last": len(ids) - 1, "mean": None}[self.read_out],
        )


def unpadded_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return the token ids of a text, without what the tokenizer pads it with on either side."""
    return read_text(tokenizer, text)[0]


def read_text(tokenizer: Any, text: str, **options: Any) -> tuple[tuple[int, ...], Spans]:
    """Return the ids of a text and their spans in it, without padding on either side."""
    read = _read(tokenizer, text, **options)
    ids, mask = tuple(read["input_ids"]), _mask(read)
    return _where(ids, mask), _where(_spans(tokenizer, text, ids, read), mask)


def _read(tokenizer: Any, text: str, **options: Any) -> Any:
    # Overlong statements are refused later, by name, so nothing is cut or warned of here.
    if getattr(tokenizer, "is_fast", False):
        options["return_offsets_mapping"] = True
    return tokenizer(text, truncation=False, verbose=False, return_attention_mask=True, **options)


def _mask(read: Any) -> tuple[bool, ...]:
    """Return which tokens are no padding: all, where the tokenizer does not say."""
    return tuple(map(bool, read.get("attention_mask", [1] * len(read["input_ids"]))))


def _where(values: tuple[Any, ...], mask: tuple[bool, ...]) -> tuple[Any, ...]:
    return tuple(value for value, seen in zip(values, mask, strict=True) if seen)


def _spans(tokenizer: Any, text: str, ids: Sequence[int], read: Any) -> Spans:
    """Return the character span of every token of a text, blanks left out."""
    if "offset_mapping" in read:
        return tuple(_trimmed(text, span) for span in read["offset_mapping"])
    return matched_spans(text, tokenizer.convert_ids_to_tokens(list(ids)))


def _trimmed(statement: str, span: tuple[int, int]) -> tuple[int, int]:
    """Leave the blanks that byte-level tokenizers count to a word out of its span."""
    start, end = span
    while start < end and statement[start].isspace():
        start += 1
    return (start, end) if start < end else (0, 0)


def matched_spans(statement: str, pieces: Sequence[str]) -> Spans:
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
