"""Pictures of heads: the causal effect of each, and how far it looks for the negator."""

__all__ = ["head_figure", "head_heatmap", "heads_side_by_side"]

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negtrace.errors import CTEError
from negtrace.plots.cells import MARGIN, draw_cells, draw_colour_bar, draw_title, new_axes
from negtrace.plots.layout import (
    LARGE,
    heatmap_size,
    label_room,
    pair_height,
    panel_widths,
    wrapped,
)
from negtrace.plots.tables import facts_of_heads, head_table, shared, title
from negtrace.results.cte import CTE
from negtrace.results.effect import Effect
from negtrace.results.heads import HeadEffect, HeadSelectivity, head_effect

Result = CTE | Effect | HeadEffect | HeadSelectivity


def head_heatmap(
    result: Result,
    ax: Axes | None = None,
    *,
    intervals: bool = False,
    annotate: bool = True,
    colour_bar: bool = True,
) -> Axes:
    """Draw a number for every head: heads down, blocks across.

    Colours span as far as the largest value, to the next round number: a head does little alone.

    Args:
        result: a CTE with `head` sites, reduced by `head_effect`; its effect, where all positions
            were patched at once; or the selectivity of heads.
        ax: where to draw; None makes a figure.
        intervals: write the bootstrap interval beneath each value.
        annotate: write values into the cells, if there are few enough blocks to read them.
        colour_bar: draw one.

    Raises:
        CTEError: when no head was traced.
    """
    table = head_table(result, intervals=intervals, annotate=annotate)
    ax = new_axes(heatmap_size(table)) if ax is None else ax
    draw_cells(ax, table)
    if colour_bar:
        draw_colour_bar([ax], table)
    draw_title(ax, table.title, label_room(table))
    return ax


def head_figure(result: Result, *, intervals: bool = False) -> Figure:
    """Return one grid of heads as a figure of its own, which pyplot neither keeps nor shows."""
    size = heatmap_size(head_table(result, intervals=intervals))
    figure = Figure(figsize=size, layout="constrained")
    head_heatmap(result, figure.subplots(), intervals=intervals)
    return figure


def heads_side_by_side(results: Sequence[Result], *, intervals: bool = False) -> Figure:
    """Grids of heads of one model side by side, each with colours of its own.

    What they share is said once, above them.

    Raises:
        CTEError: when there is nothing to draw, or the grids are of unlike blocks.
    """
    grids = [head_effect(one) if isinstance(one, CTE | Effect) else one for one in results]
    if not grids or any(one.layers != grids[0].layers for one in grids):
        raise CTEError(
            f"{len(grids)} grids of heads; expected at least one, all of the same blocks"
        )
    tables = [head_table(grid, intervals=intervals) for grid in grids]
    same, own = shared([facts_of_heads(grid) for grid in grids])
    panels, width = panel_widths(tables)
    above = wrapped(title(same), MARGIN * width)
    titles = [wrapped(title(left), panel) for left, panel in zip(own, panels, strict=True)]
    figure = Figure(figsize=(width, pair_height(tables, above, titles)), layout="constrained")
    for ax, table, words in zip(
        figure.subplots(1, len(grids), squeeze=False)[0], tables, titles, strict=True
    ):
        draw_cells(ax, table)
        ax.set_title(words, fontsize=LARGE, loc="left")
        draw_colour_bar([ax], table)
    figure.suptitle(above, fontsize=LARGE, x=0.01, ha="left")
    return figure
