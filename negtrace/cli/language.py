"""Commands `cues` and `pairs`: negation cues in a file, and pairs to trace."""

__all__ = ["Cues", "MakePairs"]

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from negtrace.cli.names import named
from negtrace.cli.printing import say


@dataclass(frozen=True, kw_only=True)
class Cues:
    """Find the negation cues in the texts of a file."""

    file: Positional[Path]
    """CSV, TSV or JSONL file, or a text file with one text a line."""
    column: str | None = None
    """Column or key of the texts, for CSV, TSV and JSONL."""
    include_text: bool = False
    """Print the words of each cue and its scope too. Reports may be confidential."""

    def run(self) -> None:
        """Print one line of JSON for each cue."""
        from dataclasses import asdict

        from negtrace.cli.cue_files import cue_rows

        for row in cue_rows(self.file, column=self.column, include_text=self.include_text):
            say(json.dumps(asdict(row), ensure_ascii=False))


@dataclass(frozen=True, kw_only=True)
class MakePairs:
    """Write pairs of a true and a false statement as JSONL."""

    source: Annotated[Positional[str], named("negtrace.pairs:SOURCES")] = "radiology"
    """Source of the pairs."""
    out: Path = Path("pairs.jsonl")
    """File to write."""
    file: Path | None = None
    """File to read, for a source that reads one."""
    n: int = 96
    """Number of pairs, for a source that generates them."""
    seed: int = 0
    """Random seed, for a source that generates pairs."""

    def run(self) -> None:
        """Write the pairs; print how many there are, and how many differ in other words too."""
        from negtrace.pairs.differences import differences, differences_note
        from negtrace.pairs.jsonl import write_pairs
        from negtrace.pairs.sources import pairs_from

        pairs = pairs_from(self.source, file=self.file, n=self.n, seed=self.seed)
        write_pairs(pairs, self.out)
        say(f"{len(pairs)} pairs in {self.out}")
        if note := differences_note(map(differences, pairs)):
            say(note)
