"""What a data set is built with."""

__all__ = ["LAYOUTS", "Config", "Layout"]

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from negtrace.errors import DatasetError

Layout = Literal["claims", "cad-chest", "chexpert", "nih", "reports"]

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a data set; the same settings and sources give the same bytes.

    Raises:
        DatasetError: for shares that leave nothing to train on, or no set a study.
    """

    layout: Layout | Literal["auto"] = "auto"
    """How the sources are laid out; `auto` looks at each."""
    images: Path | None = None
    """Folder that image paths start from; each source's own folder when not given."""
    anchors: Literal["image", "text"] = "image"
    """What statements are about: images, or sentences that affirm what is so without naming it."""
    column: str | None = None
    """Column or key of a report's text; found by its name when not given."""
    patient: str | None = None
    """Column or key of the patient; found by its name when not given."""
    seed: int = 0
    """Which split, which wordings, which findings."""
    val: float = 0.1
    """Share of the patients in `val`."""
    test: float = 0.1
    """Share of the patients in `test`."""
    per_study: int = 1
    """Claim sets, captions and pairs of one study, each on another claim; 0 for all it has."""
    check_images: bool = False
    """Open every image, and leave out studies whose image cannot be read."""
    parquet: bool = False
    """Write Parquet beside JSONL; needs negtrace[parquet]."""

    def __post_init__(self) -> None:
        shares = (self.val, self.test)
        if not all(0 <= share < 1 for share in shares) or sum(shares) >= 1:
            raise DatasetError(
                f"val is {self.val} and test is {self.test}; give shares from 0 whose sum is "
                "below 1"
            )
        if self.per_study < 0:
            raise DatasetError(f"per_study is {self.per_study}; give 1 or more, or 0 for all")
