"""Turn statements into tokens with character spans, by any Hugging Face tokenizer."""

__all__ = ["ReadText", "StatementTokenizer", "matched_spans", "read_text", "unpadded_ids"]

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from negtrace.errors import EncoderError
from negtrace.pairs.tokens import Tokens

ReadOut = Literal["first", "last", "mean"]
Spans = tuple[tuple[int, int], ...]

OFFER = (
    "expected a function from a statement to {'input_ids': [...], 'offset_mapping': [(start, end), "
    "...]}, with one number and one span of characters for each token; or a tokenizer of "
    "transformers"
)
"""Demand on a tokenizer, for messages."""


class ReadText(NamedTuple):
    """Tokens of a text."""

    ids: tuple[int, ...]
    spans: Spans
    """Characters of each token; (0, 0) for one that the tokenizer added."""
    mask: tuple[bool, ...]
    """False for padding."""
    types: tuple[int, ...]
    """Type of each token; empty where the tokenizer gives none."""


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
            read = read_text(self.tokenizer, self.prompt + statement)
            spans = tuple(_behind(len(self.prompt), span) for span in read.spans)
        else:
            read = _read(self.tokenizer, statement, padding="max_length", max_length=self.pad_to)
            spans = read.spans
        count = len(read.ids)
        return Tokens(
            ids=read.ids,
            spans=tuple(
                span if real else (0, 0) for span, real in zip(spans, read.mask, strict=True)
            ),
            padding=tuple(not real for real in read.mask),
            read_out={"first": 0, "last": count - 1, "mean": None}[self.read_out],
            types=read.types,
        )


def _behind(start: int, span: tuple[int, int]) -> tuple[int, int]:
    """Return the part of a span that is not before `start`, counted from there."""
    first, last = max(0, span[0] - start), span[1] - start
    return (first, last) if first < last else (0, 0)


def unpadded_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Return the token ids of a text, without padding on either side."""
    return read_text(tokenizer, text).ids


def read_text(tokenizer: Any, text: str, **options: Any) -> ReadText:
    """Return the tokens of a text, without padding on either side.

    Raises:
        EncoderError: when the tokenizer raises anything, or gives no ids and spans.
    """
    read = _read(tokenizer, text, **options)
    if all(read.mask):
        return read
    return ReadText(
        ids=_where(read.ids, read.mask),
        spans=_where(read.spans, read.mask),
        mask=_where(read.mask, read.mask),
        types=_where(read.types, read.mask) if read.types else (),
    )


def _read(tokenizer: Any, text: str, **options: Any) -> ReadText:
    output = _call(tokenizer, text, **options)
    ids = _row(output, "input_ids")
    count = len(ids)
    if "offset_mapping" in output:
        spans = _offsets(text, output["offset_mapping"])
    elif hasattr(tokenizer, "convert_ids_to_tokens"):
        spans = matched_spans(text, tokenizer.convert_ids_to_tokens(list(ids)))
    else:
        raise EncoderError(f"the tokenizer gives no spans of its tokens; {OFFER}")
    mask = _row(output, "attention_mask") if "attention_mask" in output else (1,) * count
    types = _row(output, "token_type_ids") if "token_type_ids" in output else ()
    if lengths := {len(spans), len(mask), len(types) or count} - {count}:
        raise EncoderError(
            f"the tokenizer gives {count} ids, but spans, a mask or types of "
            f"{', '.join(map(str, sorted(lengths)))} tokens; {OFFER}"
        )
    return ReadText(ids=ids, spans=spans, mask=tuple(map(bool, mask)), types=types)


def _call(tokenizer: Any, text: str, **options: Any) -> Mapping[str, Any]:
    """Return what a tokenizer gives for a text; a bare list is one of ids.

    Nothing is cut here: a statement that is too long is refused later, with a clear error.
    """
    if getattr(tokenizer, "is_fast", False):
        options["return_offsets_mapping"] = True
    wanted = {"truncation": False, "verbose": False, "return_attention_mask": True, **options}
    try:
        output = tokenizer(text, **_taken(tokenizer, wanted))
    except EncoderError:
        raise
    except Exception as error:  # any function can raise anything
        kind = type(error).__name__
        raise EncoderError(f"the tokenizer raised {kind} for a statement; {OFFER}") from error
    if isinstance(output, Mapping) and "input_ids" in output:
        return output
    if isinstance(output, Mapping) or not hasattr(output, "__len__"):
        raise EncoderError(f"the tokenizer gave a {type(output).__name__}; {OFFER}")
    return {"input_ids": output}


def _taken(tokenizer: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a tokenizer takes: of a plain function, maybe none.

    Raises:
        EncoderError: when it is asked to fill a statement, and cannot.
    """
    if hasattr(tokenizer, "is_fast"):
        return dict(options)
    parameters = inspect.signature(tokenizer).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return dict(options)
    if "padding" in options and not {"padding", "max_length"} <= set(parameters):
        raise EncoderError(
            "the tokenizer takes no padding='max_length' and max_length, by which statements are "
            "filled; leave fill_context out"
        )
    return {name: value for name, value in options.items() if name in parameters}


def _row(output: Mapping[str, Any], key: str) -> tuple[int, ...]:
    """Return one number for each token: of a list, a tensor, or a batch that holds one of them."""
    values = _list(output[key])
    values = _list(values[0]) if len(values) == 1 and hasattr(values[0], "__len__") else values
    if not all(isinstance(value, int) for value in values):
        raise EncoderError(f"the tokenizer gave no whole numbers as {key}; {OFFER}")
    return tuple(map(int, values))


def _offsets(text: str, given: Any) -> Spans:
    """Return the spans that a tokenizer gives, without the blanks at their start."""
    try:
        spans = _list(given)
        if len(spans) == 1 and hasattr(spans[0][0], "__len__"):
            spans = _list(spans[0])
        return tuple(_trimmed(text, (int(start), int(end))) for start, end in spans)
    except (TypeError, ValueError, IndexError) as error:
        raise EncoderError(f"the tokenizer gave no spans as offset_mapping; {OFFER}") from error


def _list(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _where(values: tuple[Any, ...], mask: tuple[bool, ...]) -> tuple[Any, ...]:
    return tuple(value for value, keep in zip(values, mask, strict=True) if keep)


def _trimmed(statement: str, span: tuple[int, int]) -> tuple[int, int]:
    """Return a span without the blanks at its start, which byte-level tokenizers include."""
    start, end = span[0], min(span[1], len(statement))
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
