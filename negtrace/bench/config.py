"""The settings of a benchmark."""

__all__ = ["BenchConfig"]

from dataclasses import dataclass
from pathlib import Path

from negtrace.errors import BenchError


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """What is asked, of what, and how often."""

    suite: str = "polarity"
    """What is asked: polarity, claims, retrieval, collapse or negbench."""
    data: str | Path | None = None
    """`phantom` (its radiographs), `text` (affirmative equivalents as anchors), or a file: a
    CheXpert-style CSV, a JSONL of claim sets, a CSV of NegBench, VALSE's JSON. When not given:
    the phantom's radiographs, or texts for an encoder that sees no images."""
    images: Path | None = None
    """Folder that the image paths of `data` start from; its own when not given."""
    anchors: Path | None = None
    """NegBench's retrieval CSV, whose lists of objects anchor its questions without the images."""
    count: int = 600
    """Questions, claim sets or statements; files with items of their own give as many at most."""
    limit: int | None = 2000
    """At most so many rows of a label file are opened, drawn by the seed; None is all."""
    seed: int = 0
    """Which ones."""
    resamples: int = 2000
    """Bootstrap draws."""
    confidence: float = 0.95
    """Of the intervals."""
    include_text: bool = False
    """Keep statements and paths in what is written; they may be patients'."""

    def __post_init__(self) -> None:
        for name in ("count", "resamples", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BenchError(f"{name} is {value}; expected 1 or more")
        if not 0 < self.confidence < 1:
            raise BenchError(f"confidence is {self.confidence}; expected between 0 and 1")
