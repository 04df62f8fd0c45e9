"""What fits into a model's context; what does not is left out and noted."""

__all__ = ["counts", "fitting", "require_some", "too_long"]

from collections.abc import Sequence

from negtrace.bench.items import Item
from negtrace.datasets.note import NOWHERE, Note, Origin
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor


def counts(encoder: Encoder, texts: Sequence[str], anchors: Sequence[Anchor]) -> list[int]:
    """Return how many tokens the longer of each statement and its text anchor has.

    A model that reads both in one row has that row counted.
    """
    rows = dict.fromkeys(zip(texts, anchors, strict=True))
    read = encoder.tokenize_against([text for text, _ in rows], [anchor for _, anchor in rows])
    found = {row: len(tokens) for row, tokens in zip(rows, read, strict=True)}
    said = list(dict.fromkeys(anchor.text for anchor in anchors if anchor.text is not None))
    alone = dict(zip(said, map(len, encoder.tokenize(said)), strict=True)) if said else {}
    return [
        max(found[text, anchor], alone.get(anchor.text or "", 0))
        for text, anchor in zip(texts, anchors, strict=True)
    ]


def too_long(encoder: Encoder, name: str, count: int, source: Origin = NOWHERE) -> Note:
    """Return the note on something called `name` that has `count` tokens."""
    file, row = source
    detail = f"{name}: {count} tokens; {encoder.name} reads at most {encoder.max_tokens}"
    return Note(file=file, row=row, code="too_long", detail=detail)


def fitting(encoder: Encoder, items: Sequence[Item]) -> tuple[list[Item], list[Note]]:
    """Return the items whose every text the encoder can read, and a note on each other.

    Raises:
        BenchError: when there is none.
    """
    texts = [text for item in items for text in item.texts]
    anchors = [item.anchor for item in items for _ in item.texts]
    read = iter(counts(encoder, texts, anchors))
    kept, noted = [], []
    for item in items:
        longest = max(next(read) for _ in item.texts)
        if longest <= encoder.max_tokens:
            kept.append(item)
        else:
            noted.append(too_long(encoder, item.id, longest, item.source))
    require_some(encoder, kept, len(items))
    return kept, noted


def require_some(encoder: Encoder, kept: Sequence[object], count: int) -> None:
    """Raise a BenchError where nothing of `count` things is left."""
    if not kept:
        raise BenchError(
            f"none of {count} items can be put to {encoder.name}, which reads at most "
            f"{encoder.max_tokens} tokens; give shorter statements"
        )
