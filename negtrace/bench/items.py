"""Items: an anchor and statements to choose from, one of which is right.

A model reads a limited number of tokens. `drop_long_items` leaves out the items that do not fit.
"""

__all__ = ["Item", "TokenCounts", "drop_long_items", "require_any", "token_counts", "too_long"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from negtrace._files import canonical, sha256
from negtrace._messages import excerpt
from negtrace.datasets.note import NOWHERE, Note, Origin
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor


@dataclass(frozen=True, kw_only=True)
class Item:
    """An anchor and statements to choose from.

    >>> anchor = Anchor(text="The heart is enlarged.")
    >>> texts = ("There is cardiomegaly.", "There is no cardiomegaly.")
    >>> Item(id="1", anchor=anchor, texts=texts, answer=0, group="1").texts[0]
    'There is cardiomegaly.'

    Raises:
        BenchError: for fewer than two statements, for equal ones, or for an answer out of range.
    """

    id: str
    """Unique name. Reports hold it only where they include text."""
    anchor: Anchor
    texts: tuple[str, ...]
    """The statements, two or more."""
    answer: int
    """Index of the right statement."""
    group: str
    """Items with the same group share statements or a source. Intervals take them together."""
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Levels that accuracy is broken down by, such as `{"finding": ("effusion", "edema")}`."""
    source: Origin = NOWHERE
    """File and line, for notes."""

    def __post_init__(self) -> None:
        if len(set(self.texts)) < len(self.texts) or len(self.texts) < 2:
            raise BenchError(f"item {excerpt(self.id)} needs two or more distinct statements")
        if not 0 <= self.answer < len(self.texts):
            raise BenchError(
                f"item {excerpt(self.id)} has no statement at its answer, {self.answer}; "
                f"expected 0 to {len(self.texts) - 1}"
            )

    @property
    def public_id(self) -> str:
        """Name in reports: a part of the digest of anchor, statements and answer.

        Who has the item can find it by this name; who has only the name learns nothing of it.
        """
        asked = [self.anchor.digest, list(self.texts), self.answer]
        return sha256(canonical(asked)).removeprefix("sha256:")[:12]


@runtime_checkable
class TokenCounts(Protocol):
    """Function that counts the tokens of each statement with its anchor, as `token_counts` does."""

    def __call__(
        self, encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]
    ) -> list[int]:
        """Return the number of tokens of each row."""


def drop_long_items(
    encoder: Encoder, items: Sequence[Item], counts_of: TokenCounts | None = None
) -> tuple[list[Item], list[Note]]:
    """Items whose every text fits the encoder's context, and a note on each other item.

    Args:
        encoder: the model.
        items: the items.
        counts_of: counts the tokens; `token_counts` when not given.

    Raises:
        BenchError: when no item fits.
    """
    texts = [text for item in items for text in item.texts]
    anchors = [item.anchor for item in items for _ in item.texts]
    counts = iter((counts_of or token_counts)(encoder, texts, anchors))
    short, notes = [], []
    for item in items:
        longest = max(next(counts) for _ in item.texts)
        if longest <= encoder.max_tokens:
            short.append(item)
        else:
            notes.append(too_long(encoder, item.id, longest, item.source))
    require_any(encoder, short, len(items))
    return short, notes


def token_counts(encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]) -> list[int]:
    """Number of tokens of each statement or of its text anchor, whichever is longer.

    For a model that reads both in one row, the tokens of that row are counted.
    """
    rows = list(dict.fromkeys(zip(texts, anchors, strict=True)))
    tokens = encoder.tokenize_against([text for text, _ in rows], [anchor for _, anchor in rows])
    count = {row: len(ids) for row, ids in zip(rows, tokens, strict=True)}
    anchor_texts = list(dict.fromkeys(a.text for a in anchors if a.text is not None))
    anchor_tokens = encoder.tokenize(anchor_texts) if anchor_texts else []
    anchor_count = dict(zip(anchor_texts, map(len, anchor_tokens), strict=True))
    return [
        max(count[text, anchor], anchor_count.get(anchor.text or "", 0))
        for text, anchor in zip(texts, anchors, strict=True)
    ]


def too_long(encoder: Encoder, name: str, count: int, source: Origin = NOWHERE) -> Note:
    """Note on something called `name` that has `count` tokens."""
    file, row = source
    detail = f"{name}: {count} tokens; {encoder.name} reads at most {encoder.max_tokens}"
    return Note(file=file, row=row, code="too_long", detail=detail)


def require_any(encoder: Encoder, short: Sequence[object], count: int) -> None:
    """Raise a BenchError when none of `count` items fits the encoder's context."""
    if not short:
        raise BenchError(
            f"none of {count} items can be put to {encoder.name}, which reads at most "
            f"{encoder.max_tokens} tokens; give shorter statements"
        )
