"""Settings of a data set."""

__all__ = ["AUTO", "DatasetConfig"]

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from negtrace.errors import DatasetError

AUTO = "auto"
"""Setting of `layout` with which the layout of each source is recognised."""


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """Settings of a data set. The same settings, sources and key give the same bytes.

    Raises:
        DatasetError: for shares that leave nothing to train on, or a negative `per_study`.
    """

    layout: str = AUTO
    """Layout of the sources by name; `auto` recognises the layout of each source."""
    images: Path | None = None
    """Folder that image paths start from; by default, each source's own folder."""
    anchors: Literal["image", "text"] = "image"
    """Anchors of the statements: images, or sentences that affirm a fact without naming the
    finding."""
    column: str | None = None
    """Column or key of a report's text; by default, it is found by its name."""
    patient: str | None = None
    """Column or key of the patient; by default, it is found by its name."""
    seed: int = 0
    """Seed of the splits, the wordings and the choice of findings."""
    val: float = 0.1
    """Share of the patients in `val`."""
    test: float = 0.1
    """Share of the patients in `test`."""
    per_study: int = 1
    """Number of claim sets, captions and pairs of one study, each on another claim; 0 for all."""
    check_images: bool = False
    """Open every image, and leave out studies whose image cannot be read."""
    parquet: bool = False
    """Write Parquet beside JSONL; needs negtrace[parquet]."""
    key_file: Path | None = None
    """File with the secret that ids of patients and studies are hashed with; made if it is missing.
    By default, `negtrace/key` in your folder of settings. Keep it away from the data."""

    def __post_init__(self) -> None:
        shares = (self.val, self.test)
        if not all(0 <= share < 1 for share in shares) or sum(shares) >= 1:
            raise DatasetError(
                f"val is {self.val} and test is {self.test}; give shares from 0 whose sum is "
                "below 1"
            )
        if self.per_study < 0:
            raise DatasetError(f"per_study is {self.per_study}; give 1 or more, or 0 for all")
