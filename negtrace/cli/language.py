"""Commands about statements."""

__all__ = ["Cues", "MakePairs"]

import json
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from negtrace.cli.printing import say


@dataclass(frozen=True, kw_only=True)
class Cues:
    """Find the negation cues of a file, line by line or in a column."""

    file: Positional[Path]
    """Text, CSV, TSV or JSONL."""
    column: str | None = None
    """Column or field that holds the text."""
    include_text: bool = False
    """Show the cues' words too; reports may be patients'."""

    def run(self) -> None:
        """Print a line of JSON for each cue."""
        from dataclasses import asdict

        from negtrace.cli.cue_files import cue_rows

        for row in cue_rows(self.file, column=self.column, include_text=self.include_text):
            say(json.dumps(asdict(row), ensure_ascii=False))


@dataclass(frozen=True, kw_only=True)
class MakePairs:
    """Write pairs as JSONL: `radiology`, `phantom`, or `valse` from its JSON file."""

    source: Positional[str]
    """Which source."""
    out: Path = Path("pairs.jsonl")
    """File to write."""
    file: Path | None = None
    """The file a source reads (valse)."""
    n: int = 96
    """How many, where a source makes them (phantom)."""
    seed: int = 0
    """Which ones, where a source makes them (phantom)."""

    def run(self) -> None:
        """Make and write."""
        from negtrace.pairs.jsonl import write_pairs
        from negtrace.pairs.sources import pairs_from

        pairs = pairs_from(self.source, file=self.file, n=self.n, seed=self.seed)
        write_pairs(pairs, self.out)
        say(f"{len(pairs)} pairs in {self.out}")
