"""Items: one anchor and statements to choose from, one of which is right."""

__all__ = ["Item"]

from collections.abc import Mapping
from dataclasses import dataclass, field

from negtrace.datasets.note import NOWHERE, Origin
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor


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
    source: Origin = NOWHERE
    """Where it stands, for notes."""

    def __post_init__(self) -> None:
        if len(set(self.texts)) < len(self.texts) or len(self.texts) < 2:
            raise BenchError(f"item {self.id!r} needs two or more distinct statements")
        if not 0 <= self.answer < len(self.texts):
            raise BenchError(f"item {self.id!r} has no statement at its answer, {self.answer}")
