"""Commands that read what a trace has written; they need neither the model nor torch."""

__all__ = ["Plot", "Scores"]

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from negtrace.cli.printing import say
from negtrace.cli.tracing import Format

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw the heatmap and layer importance of CTE JSON files, without the model."""

    cte: Positional[tuple[Path, ...]]
    """One CTE JSON, or two of both directions to draw side by side."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    formats: tuple[Format, ...] = ("png", "svg", "pdf")
    """Formats of the figures."""

    def run(self) -> None:
        """Read and draw."""
        from negtrace.errors import CTEError
        from negtrace.experiments.gallery import draw
        from negtrace.results.cte_json import read_json

        if len(self.cte) > 2:
            raise CTEError(f"{len(self.cte)} files; expected one, or two of both directions")
        documents = [read_json(path) for path in self.cte]
        say(*draw(documents, self.out, self.formats))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Print the layer scores in a CTE JSON as a table."""

    cte: Positional[Path]
    """A CTE JSON."""
    method: str | None = None
    """One method: nast, std, cue or transport; all of them when not given."""
    csv: Path | None = None
    """Write the table here as CSV too."""

    def run(self) -> None:
        """Read and print."""
        import pandas as pd

        from negtrace.errors import UnknownNameError
        from negtrace.results.cte_json import read_json

        stored = read_json(self.cte).scores
        known = sorted({one.method for one in stored})
        if self.method not in (None, *known):
            raise UnknownNameError(
                f"{self.cte} holds no layer scores {self.method!r}; it holds: {', '.join(known)}"
            )
        chosen = [one for one in stored if self.method in (None, one.method)]
        table = pd.concat([one.to_dataframe() for one in chosen], ignore_index=True)
        shown = table[["method", "condition", "layer", "score", "low", "high", "alpha"]]
        shown = shown.fillna({"condition": "all"})
        say(shown.to_string(index=False, float_format="{:.3f}".format))
        say(*(f"{one.method} ({one.options.condition or 'all'}): {one.note}" for one in chosen))
        if self.csv:
            write_csv(table, self.csv)


def write_csv(table: "DataFrame", path: Path) -> None:
    from negtrace._files import write_bytes

    write_bytes(path, table.to_csv(index=False).encode())
