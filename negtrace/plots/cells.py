"""Drawing of a heatmap table: its cells, colour bar and titles, alone or side by side."""

__all__ = [
    "TITLE_SHARE",
    "draw_cells",
    "draw_colour_bar",
    "draw_heatmap",
    "draw_title",
    "heatmaps_side_by_side",
    "name_columns",
    "new_axes",
]

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from negtrace.plots.layout import (
    LARGE,
    MEDIUM,
    SMALL,
    available_width,
    cells_height,
    heatmap_size,
    plain,
    row_label_width,
    side_by_side_height,
    widths_with_own_bars,
    widths_with_shared_bar,
    wrapped,
)
from negtrace.plots.tables import LEGIBLE, HeatmapTable

ABSENT = "0.88"
"""Grey of cells that do not exist."""

TITLE_SHARE = 0.98
"""Share of a figure's width that the title above all of it may take."""


def new_axes(size: tuple[float, float]) -> Axes:
    """Return the axes of a new figure of pyplot, `size` in inches."""
    axes: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return axes


def draw_heatmap(table: HeatmapTable, ax: Axes | None = None, *, colour_bar: bool = True) -> Axes:
    """Draw a table with its title and colour bar.

    Args:
        table: contents of the heatmap.
        ax: axes to draw on; None makes a figure of pyplot.
        colour_bar: whether to draw one.
    """
    ax = new_axes(heatmap_size(table)) if ax is None else ax
    draw_cells(ax, table)
    if colour_bar:
        draw_colour_bar([ax], table)
    draw_title(ax, table.title, row_label_width(table))
    return ax


def heatmaps_side_by_side(
    tables: Sequence[HeatmapTable], titles: Sequence[str], above: str, *, shared_bar: bool
) -> Figure:
    """Return a figure, not known to pyplot, of heatmaps side by side.

    Args:
        tables: contents of the heatmaps; two where they share a colour bar.
        titles: title of each.
        above: title of the figure.
        shared_bar: whether one colour bar, of the first table, serves all. The right heatmap then
            names its rows only if they differ.
    """
    panels, width = (widths_with_shared_bar if shared_bar else widths_with_own_bars)(tables)
    above = wrapped(above, TITLE_SHARE * width)
    titles = [wrapped(title, panel) for title, panel in zip(titles, panels, strict=True)]
    height = side_by_side_height(tables, above, titles)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    for ax, table, title in zip(axes, tables, titles, strict=True):
        draw_cells(ax, table)
        ax.set_title(title, fontsize=LARGE, loc="left")
        if not shared_bar:
            draw_colour_bar([ax], table)
    if shared_bar:
        axes[1].tick_params(labelleft=tables[0].rows != tables[1].rows)
        draw_colour_bar(list(axes), tables[0])
    figure.suptitle(above, fontsize=LARGE, x=0.01, ha="left")
    return figure


def draw_title(ax: Axes, title: str, labels: float) -> None:
    """Draw a title over `ax`, wrapped to its width; `labels` is the width of its row labels."""
    ax.set_title(wrapped(title, available_width(ax, labels)), fontsize=LARGE, loc="left")


def draw_cells(ax: Axes, table: HeatmapTable) -> None:
    """Draw the cells with their text, hatched where there is no cell."""
    sns.heatmap(
        table.values,
        ax=ax,
        cmap="vlag",
        vmin=-table.limit,
        vmax=table.limit,
        mask=np.isnan(table.values),
        cbar=False,
        xticklabels=False,
        yticklabels=False,
        linewidths=0.4,
        linecolor="white",
    )
    _hatch(ax, table)
    _mark(ax, table)
    if table.annotate:
        _annotate(ax, table)
    name_columns(ax, table.columns, offset=0.5)
    rows = [plain(row) for row in table.rows]
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=MEDIUM, rotation=0)
    ax.tick_params(length=0)


def draw_colour_bar(axes: list[Axes], table: HeatmapTable) -> None:
    """Draw the colour bar of `table` beside the last of the axes that share it."""
    ax = axes[-1]
    width, height = (side / ax.figure.dpi for side in ax.bbox.size)
    bar = ax.figure.colorbar(
        ax.collections[0],
        ax=axes,
        fraction=0.15 / (width * len(axes)),
        pad=0.015,
        aspect=height / 0.1,
    )
    bar.set_ticks(np.linspace(-table.limit, table.limit, 5).tolist())
    label = wrapped(table.label, min(height, cells_height(table)), MEDIUM)
    bar.set_label(label, fontsize=MEDIUM)
    bar.ax.tick_params(labelsize=MEDIUM)
    bar.outline.set_linewidth(0.4)


def name_columns(ax: Axes, columns: tuple[str, ...], *, offset: float) -> None:
    """Name the layers or blocks below `ax`; only every few of them where there are many."""
    step = math.ceil(len(columns) / LEGIBLE)
    positions = np.arange(0, len(columns), step) + offset
    ax.set_xticks(positions, columns[::step], fontsize=MEDIUM, rotation=0)
    ax.set_xlabel("layer" if columns[0] == "embed" else "block", fontsize=MEDIUM)


def _hatch(ax: Axes, table: HeatmapTable) -> None:
    style: dict[str, Any] = {"facecolor": ABSENT, "edgecolor": "0.6", "hatch": "////"}
    for row, column in np.argwhere(np.isnan(table.values)).tolist():
        ax.add_patch(Rectangle((column, row), 1, 1, linewidth=0, **style))


def _mark(ax: Axes, table: HeatmapTable) -> None:
    """Put a dot into each marked cell: its upper right corner, or its middle if it has no text."""
    rows, columns = np.nonzero(table.unclear)
    right, down = (0.87, 0.17) if table.annotate else (0.5, 0.5)
    ax.scatter(columns + right, rows + down, s=2.5, color="0.35", linewidths=0, zorder=3)


def _annotate(ax: Axes, table: HeatmapTable) -> None:
    for (row, column), value in np.ndenumerate(table.values):
        small = table.small_text[row][column]
        colour = "white" if abs(value) > 0.6 * table.limit else "0.1"
        middle, upper = column + 0.5, row + (0.36 if small else 0.5)
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
        ax.text(middle, upper, table.text[row][column], fontsize=MEDIUM, **style)
        ax.text(middle, row + 0.72, small, fontsize=SMALL, **style)
