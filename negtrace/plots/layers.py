"""Layer importance: bars of layer scores with bootstrap intervals, block by block."""

__all__ = ["importance_grid", "layer_importance"]

import math
from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negtrace._messages import short
from negtrace.errors import CTEError
from negtrace.plots.cells import TITLE_SHARE, draw_title, name_columns, new_axes
from negtrace.plots.layout import (
    AXIS_WIDTH,
    LABEL_HEIGHT,
    LARGE,
    LEGEND_WIDTH,
    MEDIUM,
    bars_size,
    grid_size,
    text_height,
    wrapped,
)
from negtrace.plots.registry import PLOTS
from negtrace.plots.tables import LEGIBLE, BarTable, bar_table, facts, shared, title, verdict
from negtrace.results.cte_json import Document
from negtrace.results.layer_scores import LayerScores


def layer_importance(scores: LayerScores | Sequence[LayerScores], ax: Axes | None = None) -> Axes:
    """Draw bars with bootstrap intervals, hatched where a method's ranking is not stable.

    Args:
        scores: layer scores of one method, drawn as they are, or of several, whose alpha is drawn.
        ax: axes to draw on; None makes a figure of pyplot.

    Raises:
        CTEError: when there is nothing to draw, or the blocks differ.
    """
    table = bar_table(scores)
    ax = new_axes(bars_size(table)) if ax is None else ax
    width = 0.8 / len(table.methods)
    blocks = np.arange(len(table.columns))
    for method, colour in enumerate(sns.color_palette("colorblind", len(table.methods))):
        _bars(ax, table, method, blocks - 0.4 + width * (method + 0.5), width, colour)
    ax.axhline(0, color="0.3", linewidth=0.6)
    ax.set_xlim(-0.6, len(blocks) - 0.4)
    name_columns(ax, table.columns, offset=0.0)
    ax.set_ylabel(wrapped(short(table.label), LABEL_HEIGHT, MEDIUM), fontsize=MEDIUM)
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.spines[["top", "right"]].set_visible(False)
    draw_title(ax, table.title, AXIS_WIDTH)
    if len(table.methods) > 1:  # below the axis, where no bar can be
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.2}
        ax.legend(fontsize=MEDIUM, frameon=False, ncols=2, **below)
    return ax


def importance_grid(scores: Sequence[LayerScores], *, columns: int = 2) -> Figure:
    """Return a figure with a plot per method, each in its own unit, under one common title.

    Args:
        scores: layer scores of several methods.
        columns: number of plots beside each other.

    Raises:
        CTEError: when there is nothing to draw.
    """
    if not scores:
        raise CTEError("no layer scores to draw; pass at least one")
    columns = min(columns, len(scores))
    rows = math.ceil(len(scores) / columns)
    common, rest = shared([facts(one) for one in scores])
    width, height = grid_size(rows, columns)
    above = wrapped(title(common), TITLE_SHARE * width)
    figure = Figure(figsize=(width, height + text_height(above)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for one, left, ax in zip(scores, rest, axes, strict=False):
        named = ", ".join([one.method, *filter(None, left.values())])
        draw_title(layer_importance(one, ax), f"{named}\n{verdict(one)}", AXIS_WIDTH)
    for ax in axes[len(scores) :]:
        ax.set_axis_off()
    figure.suptitle(above, fontsize=LARGE, x=0.01, ha="left")
    return figure


@PLOTS.register("layer_importance")
def importance_grids(documents: Sequence[Document]) -> Mapping[str, Figure]:
    """Draw the layer scores of every method, one figure per direction, where a method applies."""
    figures = {}
    for document in documents:
        if scores := list(document.all_layer_scores().values()):
            ending = "" if len(documents) == 1 else f"_{scores[0].direction}"
            figures[f"layer_importance{ending}"] = importance_grid(scores)
    return figures


def _bars(
    ax: Axes,
    table: BarTable,
    method: int,
    middles: Float[np.ndarray, " block"],
    width: float,
    colour: tuple[float, float, float],
) -> None:
    heights, stable = table.heights[method], bool(table.stable[method])
    ax.bar(
        middles,
        heights,
        width,
        color=[0.6 * part + 0.4 for part in colour],  # pale, so that whiskers show
        label=wrapped(short(table.methods[method]), LEGEND_WIDTH, MEDIUM)
        + ("" if stable else " (ranking not stable)"),
        edgecolor="white",
        linewidth=0,
        hatch=None if stable else "////",
    )
    # An interval need not contain its estimate; a whisker then runs to its far end only.
    reach = np.maximum([heights - table.low[method], table.high[method] - heights], 0)
    known = np.isfinite(reach).all(axis=0)
    ax.errorbar(
        middles[known],
        heights[known],
        yerr=reach[:, known],
        fmt="none",
        ecolor="0.1",
        elinewidth=0.8,
        capsize=1.5 if len(table.columns) <= LEGIBLE else 0,
        capthick=0.8,
    )
