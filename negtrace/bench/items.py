"""Items: one anchor and statements to choose from, one of which is right; and what was left out."""

__all__ = ["Item", "fitting"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from negtrace.anchors import Anchor
from negtrace.bench.report import Noted
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError


@dataclass(frozen=True, kw_only=True)
class Item:
    """One anchor and its statements."""

    id: str
    """Exported: it must hold no statement text and no image path."""
    anchor: Anchor
    texts: tuple[str, ...]
    answer: int
    """The place of the right statement."""
    group: str
    """Items of one group share statements or a source, and are drawn together by the bootstrap."""
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What accuracy is reported by, such as `{"finding": ("effusion", "edema")}`."""

    def __post_init__(self) -> None:
        if len(set(self.texts)) < len(self.texts) or len(self.texts) < 2:
            raise BenchError(f"item {self.id!r} needs two or more distinct statements")
        if not 0 <= self.answer < len(self.texts):
            raise BenchError(f"item {self.id!r} has no statement at its answer, {self.answer}")


def fitting(encoder: Encoder, items: Sequence[Item]) -> tuple[list[Item], list[Noted]]:
    """Return the items whose every text the encoder can read, and a note on each other."""
    kept, noted = [], []
    for item in items:
        texts = [*item.texts, *([item.anchor.text] if item.anchor.text else [])]
        longest = max(len(tokens) for tokens in encoder.tokenize(texts))
        if longest <= encoder.max_tokens:
            kept.append(item)
            continue
        detail = f"{item.id}: {longest} tokens; {encoder.name} reads at most {encoder.max_tokens}"
        noted.append(Noted(file="", row=0, code="too_long", detail=detail))
    if not kept:
        raise BenchError(
            f"none of {len(items)} items can be put to {encoder.name}, which reads at most "
            f"{encoder.max_tokens} tokens; give shorter statements"
        )
    return kept, noted
