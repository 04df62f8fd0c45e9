"""The command that builds a data set."""

__all__ = ["Dataset"]

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from negtrace.cli.printing import say, say_written


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Build claim sets, negated captions and pairs from labels, claims or reports."""

    sources: Positional[tuple[Path, ...]]
    """Label files (CheXpert, MIMIC-CXR, NIH), CAD-Chest, claims (JSONL), reports or folders."""
    out: Path = Path("negtrace-data")
    """Folder to write into; a run that was stopped goes on when it is started again."""
    layout: Literal["auto", "claims", "cad-chest", "chexpert", "nih", "reports"] = "auto"
    """How the sources are laid out; `auto` looks at each."""
    images: Path | None = None
    """Folder that image paths start from; each source's own when not given."""
    anchors: Literal["image", "text"] = "image"
    """`text`: sentences that affirm what is so stand for images."""
    column: str | None = None
    """Column or key of a report's text."""
    patient: str | None = None
    """Column or key of the patient."""
    seed: int = 0
    """Which split, which wordings, which findings."""
    val: float = 0.1
    """Share of the patients in val."""
    test: float = 0.1
    """Share of the patients in test."""
    per_study: int = 1
    """Claim sets, captions and pairs of one study each; 0 for all it has."""
    check_images: bool = False
    """Open every image, and leave out studies whose image cannot be read."""
    parquet: bool = False
    """Write Parquet beside JSONL."""

    def run(self) -> None:
        """Build it, and say how much there is and what was left out."""
        from dataclasses import fields

        from negtrace.dataset import Config, build_dataset

        config = Config(**{field.name: getattr(self, field.name) for field in fields(Config)})
        card = build_dataset(self.sources, self.out, config)
        for kind in ("claims", "captions", "pairs"):
            counts = card.of(kind)
            told = ", ".join(
                f"{counts.get(split, 0)} {split}" for split in ("train", "val", "test")
            )
            say(f"{kind}: {told}")
        for code, count in card.skipped.items():
            say(f"left out, {code}: {count}")
        say_written(self.out)
