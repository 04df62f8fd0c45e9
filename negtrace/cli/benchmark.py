"""The command that asks models what statements deny."""

__all__ = ["Bench"]

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from negtrace.cli.printing import say_written


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Ask models what statements deny: polarity, claims, retrieval, collapse, negbench."""

    models: Positional[tuple[str, ...]] = ("phantom",)
    """One model, or several to compare in one figure."""
    suite: Literal["polarity", "claims", "retrieval", "collapse", "negbench"] = "polarity"
    """What is asked."""
    data: str | None = None
    """`phantom`, `text`, or a file: CheXpert-style CSV, claim sets (JSONL), NegBench CSV, VALSE."""
    images: Path | None = None
    """Folder that the image paths of the data start from."""
    count: int = 600
    """Questions, claim sets or statements."""
    seed: int = 0
    """Which ones."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    include_text: bool = False
    """Keep statements and paths in what is written; they may be patients'."""

    def run(self) -> None:
        """Ask, write the reports and the figure, and say where they are."""
        from negtrace import bench
        from negtrace.loading import load
        from negtrace.schema.files import require_writable

        require_writable(self.out)
        config = bench.Config(
            suite=self.suite,
            data=self.data,
            images=self.images,
            count=self.count,
            seed=self.seed,
            include_text=self.include_text,
        )
        bench.run([load(model) for model in self.models], config, out=self.out)
        say_written(self.out)
