"""The cells of a heatmap, its colour bar and its title: what every picture of a grid is made of."""

__all__ = ["MARGIN", "draw_cells", "draw_colour_bar", "draw_title", "name_columns", "new_axes"]

import math
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from negtrace.plots.layout import LARGE, MEDIUM, SMALL, cells_height, room, wrapped
from negtrace.plots.tables import LEGIBLE, HeatmapTable

ABSENT = "0.88"
MARGIN = 0.98
"""How much of a figure's width the title above all of it may take."""


def new_axes(size: tuple[float, float]) -> Axes:
    """Return the axes of a new figure of pyplot's, `size` in inches."""
    axes: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return axes


def draw_title(ax: Axes, words: str, left: float) -> None:
    """Put a title over `ax`, wrapped to its room; `left` inches are its labels'."""
    ax.set_title(wrapped(words, room(ax, left)), fontsize=LARGE, loc="left")


def draw_cells(ax: Axes, table: HeatmapTable) -> None:
    """Draw the cells, hatched where there is none, with what is written in them."""
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
    if table.annotate:
        _annotate(ax, table)
    name_columns(ax, table.columns, offset=0.5)
    ax.set_yticks(np.arange(len(table.rows)) + 0.5, table.rows, fontsize=MEDIUM, rotation=0)
    ax.tick_params(length=0)


def draw_colour_bar(sharing: list[Axes], table: HeatmapTable) -> None:
    """Draw one colour bar, of `table`, beside the last of the axes that share it."""
    ax = sharing[-1]
    width, height = (side / ax.figure.dpi for side in ax.bbox.size)
    bar = ax.figure.colorbar(
        ax.collections[0],
        ax=sharing,
        fraction=0.15 / (width * len(sharing)),
        pad=0.015,
        aspect=height / 0.1,
    )
    bar.set_ticks(np.linspace(-table.limit, table.limit, 5).tolist())
    high = min(height, cells_height(table))
    bar.set_label(wrapped(table.label, high, MEDIUM), fontsize=MEDIUM)
    bar.ax.tick_params(labelsize=MEDIUM)
    bar.outline.set_linewidth(0.4)


def name_columns(ax: Axes, columns: tuple[str, ...], *, offset: float) -> None:
    """Name the layers, or blocks, beneath `ax`; every few where there are many."""
    step = math.ceil(len(columns) / LEGIBLE)
    ax.set_xticks(
        np.arange(0, len(columns), step) + offset, columns[::step], fontsize=MEDIUM, rotation=0
    )
    ax.set_xlabel("layer" if columns[0] == "embed" else "block", fontsize=MEDIUM)


def _hatch(ax: Axes, table: HeatmapTable) -> None:
    for row, column in np.argwhere(np.isnan(table.values)).tolist():
        how: dict[str, Any] = {"facecolor": ABSENT, "edgecolor": "0.6", "hatch": "////"}
        ax.add_patch(Rectangle((column, row), 1, 1, linewidth=0, **how))


def _annotate(ax: Axes, table: HeatmapTable) -> None:
    for (row, column), value in np.ndenumerate(table.values):
        small = table.small_text[row][column]
        colour = "white" if abs(value) > 0.6 * table.limit else "0.1"
        middle, upper = column + 0.5, row + (0.36 if small else 0.5)
        words: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
        ax.text(middle, upper, table.text[row][column], fontsize=MEDIUM, **words)
        ax.text(middle, row + 0.72, small, fontsize=SMALL, **words)
