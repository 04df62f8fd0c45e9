"""The command that builds a data set."""

__all__ = ["Dataset"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes, Positional

from negtrace.cli.names import named
from negtrace.cli.printing import say, say_written
from negtrace.datasets.config import AUTO, DatasetConfig


@dataclass(frozen=True, kw_only=True)
class Settings(DatasetConfig):
    """Settings of a data set."""

    layout: Annotated[str, named("negtrace.datasets:LAYOUTS")] = AUTO


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Build claim sets, negated captions and pairs from labels, claims or reports."""

    sources: Positional[tuple[Path, ...]] = ()
    """Label files (CheXpert, MIMIC-CXR, NIH), CAD-Chest, claims (JSONL), reports or folders."""
    out: Path = Path("negtrace-data")
    """Folder to write into. A run that was stopped goes on when it is started again."""
    overwrite: bool = False
    """Start anew, and remove the data set that the folder holds."""
    config: OmitArgPrefixes[Settings] = field(default_factory=Settings)

    def run(self) -> None:
        """Build the data set, and print how much it holds and what was left out."""
        from negtrace.datasets import SPLITS, build_dataset

        card = build_dataset(self.sources, self.out, self.config, overwrite=self.overwrite)
        for kind in ("claims", "captions", "pairs"):
            counts = card.of(kind)
            say(f"{kind}: {', '.join(f'{counts.get(split, 0)} {split}' for split in SPLITS)}")
        for code, count in card.skipped.items():
            say(f"left out, {code}: {count}")
        say_written(self.out)
