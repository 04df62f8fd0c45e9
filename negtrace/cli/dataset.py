"""The command that builds a data set."""

__all__ = ["Dataset"]

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from negtrace.cli.printing import say, say_written
from negtrace.datasets.config import Config


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Build claim sets, negated captions and pairs from labels, claims or reports."""

    sources: Positional[tuple[Path, ...]] = ()
    """Label files (CheXpert, MIMIC-CXR, NIH), CAD-Chest, claims (JSONL), reports or folders."""
    out: Path = Path("negtrace-data")
    """Folder to write into; a run that was stopped goes on when it is started again."""
    config: OmitArgPrefixes[Config] = field(default_factory=Config)

    def run(self) -> None:
        """Build it, and say how much there is and what was left out."""
        from negtrace.datasets import SPLITS, build_dataset

        card = build_dataset(self.sources, self.out, self.config)
        for kind in ("claims", "captions", "pairs"):
            counts = card.of(kind)
            say(f"{kind}: {', '.join(f'{counts.get(split, 0)} {split}' for split in SPLITS)}")
        for code, count in card.skipped.items():
            say(f"left out, {code}: {count}")
        say_written(self.out)
