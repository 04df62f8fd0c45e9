"""Room on a page: how wide and high figures are, and titles wrapped to the room they have."""

__all__ = [
    "AXIS_ROOM",
    "LARGE",
    "MEDIUM",
    "SMALL",
    "bars_size",
    "cells_height",
    "grid_size",
    "heatmap_size",
    "label_room",
    "lines_high",
    "pair_height",
    "pair_widths",
    "panel_widths",
    "room",
    "wrapped",
]

import math
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from negtrace.plots.tables import BarTable, HeatmapTable

SMALL, MEDIUM, LARGE = 5.5, 7.0, 8.0
"""Sizes of type, in points."""

BAR_ROOM = 0.65
"""Inches that a colour bar and its label take."""

AXIS_ROOM = 0.65
"""Inches that the axis left of bars takes."""

BENEATH = 0.7
"""Inches that the names of columns take, beneath the cells."""

NARROW = 1.2
"""Inches that a title gets at least."""

HINTED = 1.08
"""On a coarse screen, hinting makes type up to this much wider than its outlines."""


@cache
def _inches(text: str, size: float) -> float:
    """How wide `text` is, at most, when it is drawn."""
    font = FontProperties(size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return HINTED * float(width) / 72


def wrapped(text: str, room: float, size: float = LARGE) -> str:
    """`text` with its lines broken, in a word if need be, so that each fits into `room` inches."""
    return "\n".join(part for line in text.splitlines() for part in _parts(line, room, size))


def lines_high(text: str) -> float:
    """Inches that the lines of a title take."""
    return 0.14 * len(text.splitlines())


def _parts(line: str, room: float, size: float) -> list[str]:
    for most in range(len(line), 1, -1):
        parts = textwrap.wrap(line, most)
        if all(_inches(part, size) <= room for part in parts):
            return parts
    return [line]


def room(ax: Axes, left: float) -> float:
    """Inches from the left edge of `ax` to where its neighbour, or the figure's edge, may begin.

    Under a layout engine the labels, `left` inches, are fitted into the cell of `ax`, of which
    matplotlib's default margins leave at most 0.775 to `ax` itself.
    """
    figure: Any = ax.figure  # or a subfigure, which get_position takes as well
    across = float(figure.bbox.width / figure.dpi)
    spec = ax.get_subplotspec()
    if spec is None or figure.get_layout_engine() is None:
        return max(NARROW, ax.get_position().width * across)
    return max(NARROW, spec.get_position(figure).width / 0.775 * across - left)


def label_room(table: HeatmapTable) -> float:
    """Inches that the labels of the rows take."""
    return 0.15 + max(_inches(row, MEDIUM) for row in table.rows)


def _cells_width(table: HeatmapTable, *, least: float, most: float) -> float:
    """Inches that the cells take; as many as their text needs, else between `least` and `most`."""
    count = len(table.columns)
    if table.annotate:
        return max(least, (0.52 if table.intervals else 0.36) * count)
    return min(most, max(least, 0.16 * count))


def cells_height(table: HeatmapTable) -> float:
    """Inches that the cells take, as high as their text needs."""
    return max(1.2, (0.42 if table.intervals else 0.3) * len(table.rows))


def heatmap_size(table: HeatmapTable) -> tuple[float, float]:
    """Width and height of a figure of one heatmap."""
    labels = label_room(table)
    width = labels + _cells_width(table, least=3.0, most=7.0) + BAR_ROOM
    title = wrapped(table.title, width - labels)
    return width, BENEATH + cells_height(table) + lines_high(title)


def pair_widths(tables: Sequence[HeatmapTable]) -> tuple[float, float]:
    """Width of each of two heatmaps side by side, and of their figure."""
    named = tables[:1] if tables[0].rows == tables[1].rows else tables
    panel = max(_cells_width(table, least=2.1, most=4.6) for table in tables)
    return panel, sum(map(label_room, named)) + 2 * panel + BAR_ROOM + 0.2


def panel_widths(tables: Sequence[HeatmapTable]) -> tuple[list[float], float]:
    """Room for the title of each of several heatmaps with colour bars of their own, and the width
    of their figure."""
    cells = [_cells_width(table, least=2.4, most=4.6) for table in tables]
    width = sum(cells) + sum(map(label_room, tables)) + (BAR_ROOM + 0.15) * len(tables)
    return [one + 0.35 for one in cells], width


def pair_height(tables: Sequence[HeatmapTable], above: str, titles: Sequence[str]) -> float:
    """Height of a figure of heatmaps side by side, under these titles."""
    return (
        BENEATH + max(map(cells_height, tables)) + lines_high(above) + max(map(lines_high, titles))
    )


def bars_size(table: BarTable) -> tuple[float, float]:
    """Width and height of a figure of one layer-importance plot."""
    width = min(7.2, max(4.8, 1.4 + 0.42 * len(table.columns)))
    legend = math.ceil(len(table.methods) / 2) if len(table.methods) > 1 else 0
    return width, 2.2 + 0.14 * legend + lines_high(wrapped(table.title, width - AXIS_ROOM))


def grid_size(rows: int, columns: int) -> tuple[float, float]:
    """Width and height of a grid of layer-importance plots, without the title above them."""
    return 3.6 * columns, 2.3 * rows
