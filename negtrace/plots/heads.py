"""Heatmaps of attention heads: the causal effect of each, and its selectivity for the negator."""

__all__ = ["head_heatmap", "heads_side_by_side"]

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negtrace.errors import CTEError
from negtrace.plots.cells import draw_heatmap, heatmaps_side_by_side
from negtrace.plots.registry import PLOTS
from negtrace.plots.tables import below, facts_of_heads, head_table, shared, title
from negtrace.results.cte import CTE
from negtrace.results.cte_json import Document
from negtrace.results.effect import Effect
from negtrace.results.heads import HeadEffect, HeadSelectivity, head_effect

Result = CTE | Effect | HeadEffect | HeadSelectivity


def head_heatmap(
    result: Result,
    ax: Axes | None = None,
    *,
    intervals: bool = False,
    annotate: bool = True,
    mark: bool = True,
    colour_bar: bool = True,
) -> Axes:
    """Draw a number for every head: heads down, blocks across.

    One head does little alone, so colours span the largest value, rounded up, and not -1 to 1.

    Args:
        result: a CTE traced at head sites, which is reduced with the default options; its effect,
            where all positions were patched at once; or the selectivity of heads.
        ax: axes to draw on; None makes a figure of pyplot.
        intervals: whether to write the interval below each value.
        annotate: whether to write values into the cells, if there are few enough blocks.
        mark: whether to put a dot into heads whose effect is not clear of 0.
        colour_bar: whether to draw one.

    Raises:
        CTEError: when no head was traced.
    """
    table = head_table(result, intervals=intervals, annotate=annotate, mark=mark)
    return draw_heatmap(table, ax, colour_bar=colour_bar)


def heads_side_by_side(results: Sequence[Result], *, intervals: bool = False) -> Figure:
    """Return a figure of grids of heads side by side, each with a colour scale of its own.

    Facts that hold for all of them stand in one title above.

    Args:
        results: as of `head_heatmap`.
        intervals: whether to write the interval below each value.

    Raises:
        CTEError: when there is nothing to draw, or the grids are of different blocks.
    """
    grids = [head_effect(one) if isinstance(one, CTE | Effect) else one for one in results]
    if not grids or any(grid.layers != grids[0].layers for grid in grids):
        raise CTEError(
            f"{len(grids)} grids of heads; expected at least one, all of the same blocks"
        )
    tables = [head_table(grid, intervals=intervals) for grid in grids]
    common, rest = shared([facts_of_heads(grid) for grid in grids])
    titles = [
        title(left) + below(0, table.unclear) for left, table in zip(rest, tables, strict=True)
    ]
    return heatmaps_side_by_side(tables, titles, title(common), shared_bar=False)


@PLOTS.register("head_heatmap")
def head_heatmaps(documents: Sequence[Document]) -> Mapping[str, Figure]:
    """Draw the effect of every head, one grid per direction, where heads were traced.

    Where heads were not patched at all positions at once, this needs the raw scores.
    """
    if not any(site.startswith("head.") for site in documents[0].sites):
        return {}
    grids = [document.head_effect() for document in documents]
    return {"head_heatmap": heads_side_by_side(grids)}
