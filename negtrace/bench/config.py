"""Settings of a benchmark."""

__all__ = ["BenchConfig"]

from dataclasses import dataclass
from pathlib import Path

from negtrace.errors import BenchError


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Settings of a benchmark: the suite, its data and its intervals.

    Raises:
        BenchError: for a number out of its range.
    """

    suite: str = "polarity"
    """Suite to run; `negtrace.bench.SUITES` lists them."""
    data: str | Path | None = None
    """`phantom` (synthetic radiographs), `text` (texts that affirm what is so), or a file of the
    suite's own layout: a CheXpert-style CSV, claim sets in JSONL, NegBench's CSV, VALSE's JSON, ...
    When not given: `phantom` for a model that reads images, `text` for any other."""
    images: Path | None = None
    """Folder that the image paths in `data` start from. When not given: the folder of a label file;
    NegBench and VALSE are then asked about texts instead of images."""
    anchors: Path | None = None
    """NegBench's retrieval CSV. Its lists of objects are the anchors when the images are missing.
    """
    count: int = 600
    """Number of questions, claim sets, statements, anchors (`auc`) or squares (`two-by-two`); at
    most as many as a file holds."""
    limit: int | None = 2000
    """Rows of a label file to open at most, drawn by the seed; None opens all."""
    seed: int = 0
    """Seed of the questions, of the order of their options, and of the intervals."""
    resamples: int = 2000
    """Number of bootstrap draws for intervals of similarities. Those of shares need none."""
    confidence: float = 0.95
    """Confidence level of the intervals."""
    include_text: bool = False
    """Include statements, paths and the ids of items in the report. They may identify patients."""

    def __post_init__(self) -> None:
        for name in ("count", "resamples", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BenchError(f"{name} is {value}; expected 1 or more")
        if not 0 < self.confidence < 1:
            raise BenchError(f"confidence is {self.confidence}; expected between 0 and 1")
