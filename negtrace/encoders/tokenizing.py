"""Turn statements into tokens with character spans, by any Hugging Face tokenizer."""

__all__ = ["StatementTokenizer", "matched_spans", "read_text", "unpadded_ids"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from negtrace.pairs.tokens import Tokens

ReadOut = Literal["first", "last", "mean"]
Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class StatementTokenizer:
    """A tokenizer, and the token that the tower reads its embedding from."""

    tokenizer: Any
    """A transformers tokenizer. A fast one gives character spans; for others they are searched."""
    read_out: ReadOut
    """Token state that is the embedding: the first, the last, or the mean of all."""
    pad_to: int | None = None
    """Number of tokens that every statement is filled to, for a tower trained so (SigLIP)."""
    prompt: str = ""
    """Text before every statement. Its tokens are read, and have no span in the statement."""

    def __call__(self, statements: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each statement, with padding only if `pad_to` is given."""
        return [self._tokens(statement) for statement in statements]

    def _tokens(self, statement: str) -> Tokens:
        if not self.pad_to:
            ids, spans = read_text(self.tokenizer, self.prompt + statement)
            spans = tuple(_behind(len(self.prompt), span) for span in spans)
            mask = (True,) * len(ids)
        else:
            output = _call(self.tokenizer, statement, padding="max_length", max_length=self.pad_to)
            ids, mask = tuple(output["input_ids"]), _mask(output)
            spans = _spans(self.tokenizer, statement, ids, output)
        return Tokens(
            ids=ids,
            spans=tuple(span if real else (0, 0) for span, real in zip(spans, mask, strict=True)),
            padding=tuple(not real for real in mask),
            read_out={"first": 0, "last": len(ids) - 1, "mean": None}[self.read_out],
        )


def _behind(start: int, span: tuple[int, int]) -> tuple[int, int]:
    """Return the part of a span that is not before `start`, counted from there."""
    first, last = max(0, span[0] - start), span[1] - start
    return (first, last) if first < last else (0, 0)


def unpadded_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return the token ids of a text, without padding on either side."""
    return read_text(tokenizer, text)[0]


def read_text(tokenizer: Any, text: str, **options: Any) -> tuple[tuple[int, ...], Spans]:
    """Return the token ids of a text and their character spans, without padding on either side."""
    output = _call(tokenizer, text, **options)
    ids, mask = tuple(output["input_ids"]), _mask(output)
    return _where(ids, mask), _where(_spans(tokenizer, text, ids, output), mask)


def _call(tokenizer: Any, text: str, **options: Any) -> Any:
    # Nothing is cut here: a statement that is too long is refused later, with a clear error.
    if getattr(tokenizer, "is_fast", False):
        options["return_offsets_mapping"] = True
    return tokenizer(text, truncation=False, verbose=False, return_attention_mask=True, **options)


def _mask(output: Any) -> tuple[bool, ...]:
    """Return True for every token that is not padding; for all where the tokenizer has no mask."""
    return tuple(map(bool, output.get("attention_mask", [1] * len(output["input_ids"]))))


def _where(values: tuple[Any, ...], mask: tuple[bool, ...]) -> tuple[Any, ...]:
    return tuple(value for value, keep in zip(values, mask, strict=True) if keep)


def _spans(tokenizer: Any, text: str, ids: Sequence[int], output: Any) -> Spans:
    """Return the character span of every token of a text, without blanks at its start."""
    if "offset_mapping" in output:
        return tuple(_trimmed(text, span) for span in output["offset_mapping"])
    return matched_spans(text, tokenizer.convert_ids_to_tokens(list(ids)))


def _trimmed(statement: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return a span without the blanks at its start, which byte-level tokenizers include."""
    start, end = span
    while start < end and statement[start].isspace():
        start += 1
    return (start, end) if start < end else (0, 0)


def matched_spans(statement: str, pieces: Sequence[str]) -> Spans:
    """Return the span of each piece, searched from left to right in the statement.

    For tokenizers that give no spans. A piece that is not in the statement was added by the
    tokenizer; its span is (0, 0).

    >>> matched_spans("No effusion.", ["[CLS]", "▁no", "▁effus", "ion", "[SEP]"])
    ((0, 0), (0, 2), (3, 8), (8, 11), (0, 0))
    """
    text, cursor, spans = statement.lower(), 0, []
    for piece in pieces:
        bare = piece.replace("▁", "").replace("##", "").replace("</w>", "").replace("Ġ", "").lower()
        start = text.find(bare, cursor) if bare else -1
        # Between two pieces there are only blanks and punctuation; any other match is chance.
        if start < 0 or any(c.isalnum() for c in text[cursor:start]):
            spans.append((0, 0))
            continue
        cursor = start + len(bare)
        spans.append((start, cursor))
    return tuple(spans)
