"""Commands that read CTE JSON files; they need neither the model nor torch."""

__all__ = ["Plot", "Scores"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional

from negtrace.cli.names import named
from negtrace.cli.printing import say
from negtrace.plots.save import FORMATS, Format
from negtrace.results.options import ReduceOptions

if TYPE_CHECKING:
    from negtrace.results.cte_json import Document


@dataclass(frozen=True, kw_only=True)
class Reducing(ReduceOptions):
    """Reduction of the scores of pairs to one number per cell."""

    aggregate: Annotated[str, named("negtrace.results:AGGREGATES")] = ReduceOptions.aggregate
    """Aggregate over pairs."""

    def chosen(self) -> ReduceOptions | None:
        """Return the options; None where they are the defaults."""
        options = ReduceOptions(**vars(self))
        return None if options == ReduceOptions() else options


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw the heatmaps and layer importance of CTE JSON files, without the model.

    Figures show the numbers in the files. With other options of the reduction, they are computed
    from the raw scores beside the files.
    """

    cte: Positional[tuple[Path, ...]]
    """One CTE JSON, or two of both directions to draw side by side."""
    kind: Annotated[tuple[str, ...], named("negtrace.plots:PLOTS")] = ()
    """Plots to draw; none given draws all that apply."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    formats: tuple[Format, ...] = FORMATS
    """Formats of the figures."""
    reduction: OmitArgPrefixes[Reducing] = field(default_factory=Reducing)

    def run(self) -> None:
        """Read, draw, and print the names of the figures."""
        from negtrace.experiments.gallery import draw_documents

        documents = [_read(path, self.reduction) for path in self.cte]
        say(*draw_documents(documents, self.out, self.formats, kinds=self.kind))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Print the layer scores of a CTE JSON as a table.

    The table shows the scores in the file. With other options of the reduction, they are computed
    from the raw scores beside the file.
    """

    cte: Positional[Path]
    """A CTE JSON."""
    method: Annotated[str | None, named("negtrace.results:LAYER_SCORES")] = None
    """One layer score; none given prints all."""
    csv: Path | None = None
    """Write the table here as CSV too."""
    reduction: OmitArgPrefixes[Reducing] = field(default_factory=Reducing)

    def run(self) -> None:
        """Read and print."""
        import pandas as pd

        from negtrace._files import write_csv
        from negtrace.errors import UnknownNameError

        document = _read(self.cte, self.reduction)
        scores = document.scores
        if self.reduction.chosen() is not None:
            scores = tuple(document.all_layer_scores().values())
        known = sorted({one.method for one in scores})
        if self.method not in (None, *known):
            raise UnknownNameError(
                f"{self.cte} holds no layer scores {self.method!r}; it holds: {', '.join(known)}"
            )
        chosen = [one for one in scores if self.method in (None, one.method)]
        table = pd.concat([one.to_dataframe() for one in chosen], ignore_index=True)
        shown = table[["method", "condition", "layer", "score", "low", "high", "alpha"]]
        shown = shown.fillna({"condition": "all"})
        say(shown.to_string(index=False, float_format="{:.3f}".format))
        say(*(f"{one.method} ({one.options.condition or 'all'}): {one.note}" for one in chosen))
        if self.csv:
            write_csv(self.csv, list(table.columns), table.itertuples(index=False))


def _read(path: Path, reduction: Reducing) -> "Document":
    """Read a document; it gives the stored results, unless other options are chosen."""
    from dataclasses import replace

    from negtrace.results.cte_json import read_json

    document, options = read_json(path), reduction.chosen()
    return document if options is None else replace(document, options=options)
