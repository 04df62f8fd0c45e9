"""Sizes of figures and their parts, in inches, and titles wrapped to the width they have."""

__all__ = [
    "AXIS_WIDTH",
    "LABEL_HEIGHT",
    "LARGE",
    "LEGEND_WIDTH",
    "MEDIUM",
    "SMALL",
    "available_width",
    "bars_size",
    "cells_height",
    "grid_size",
    "heatmap_size",
    "plain",
    "row_label_width",
    "side_by_side_height",
    "text_height",
    "widths_with_own_bars",
    "widths_with_shared_bar",
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

from negtrace._messages import visible
from negtrace.plots.tables import BarTable, HeatmapTable

SMALL, MEDIUM, LARGE = 5.5, 7.0, 8.0
"""Sizes of type, in points."""

COLOUR_BAR_WIDTH = 0.65
"""Width of a colour bar with its label."""

AXIS_WIDTH = 0.65
"""Width of the axis on the left of bars."""

LABEL_HEIGHT = 2.0
"""Length of a line of the label beside a vertical axis; a longer label has several."""

LEGEND_WIDTH = 1.6
"""Width of a name in a legend of two columns; a wider one has several lines."""

COLUMN_LABEL_HEIGHT = 0.7
"""Height of the column labels below the cells."""

LEAST_TITLE_WIDTH = 1.2

LONGEST_LINE = 1000
"""Characters of the longest line of a title."""

HINTING = 1.08
"""On a coarse screen, hinting makes type up to this much wider than its outlines."""


@cache
def _text_width(text: str, size: float) -> float:
    """Return the largest width that `text` can have when it is drawn."""
    font = FontProperties(size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return HINTING * float(width) / 72


def wrapped(text: str, width: float, size: float = LARGE) -> str:
    """Break the lines of `text`, within a word if need be, so that each fits into `width`.

    Of a line that is longer than any title, only the beginning is shown.
    """
    lines = [
        f"{line[:LONGEST_LINE]}..." if len(line) > LONGEST_LINE else line
        for line in text.splitlines()
    ]
    return plain("\n".join(p for line in lines for p in _parts(line, width, size)))


def plain(text: str) -> str:
    """Return text that Matplotlib draws as it stands, without formulas.

    >>> plain("$x$")
    '\\\\$x\\\\$'

    A letter that no SVG may hold, such as an escape, becomes a replacement mark.
    """
    return "\n".join(map(visible, text.split("\n"))).replace("$", r"\$")


def text_height(text: str) -> float:
    """Return the height of the lines of a title."""
    return 0.14 * len(text.splitlines())


def _parts(line: str, width: float, size: float) -> list[str]:
    most = int(width / _text_width("i", size)) + 1  # the narrowest letter
    for characters in range(min(len(line), most), 1, -1):
        parts = textwrap.wrap(line, characters)
        if all(_text_width(part, size) <= width for part in parts):
            return parts
    return [line]


def available_width(ax: Axes, labels: float) -> float:
    """Return the width from the left edge of `ax` to its neighbour, or to the figure's edge.

    Args:
        ax: axes that a title is drawn over.
        labels: width of the labels on its left. A layout engine fits them into the cell of `ax`,
            of which matplotlib's default margins leave at most 0.775 to `ax` itself.
    """
    figure: Any = ax.figure  # or a subfigure, which get_position takes as well
    across = float(figure.bbox.width / figure.dpi)
    spec = ax.get_subplotspec()
    if spec is None or figure.get_layout_engine() is None:
        return max(LEAST_TITLE_WIDTH, ax.get_position().width * across)
    return max(LEAST_TITLE_WIDTH, spec.get_position(figure).width / 0.775 * across - labels)


def row_label_width(table: HeatmapTable) -> float:
    """Return the width of the row labels."""
    return 0.15 + max(_text_width(row, MEDIUM) for row in table.rows)


def _cells_width(table: HeatmapTable, *, least: float, most: float) -> float:
    """Return the width of the cells: as their text needs, or between `least` and `most`."""
    count = len(table.columns)
    if table.annotate:
        return max(least, (0.52 if table.intervals else 0.36) * count)
    return min(most, max(least, 0.16 * count))


def cells_height(table: HeatmapTable) -> float:
    """Return the height of the cells, as their text needs."""
    return max(1.2, (0.42 if table.intervals else 0.3) * len(table.rows))


def heatmap_size(table: HeatmapTable) -> tuple[float, float]:
    """Return width and height of a figure of one heatmap."""
    labels = row_label_width(table)
    width = labels + _cells_width(table, least=3.0, most=7.0) + COLOUR_BAR_WIDTH
    title = wrapped(table.title, width - labels)
    return width, COLUMN_LABEL_HEIGHT + cells_height(table) + text_height(title)


def widths_with_shared_bar(tables: Sequence[HeatmapTable]) -> tuple[list[float], float]:
    """Return the width of each title, and of the figure, of two heatmaps with one colour bar."""
    labelled = tables[:1] if tables[0].rows == tables[1].rows else tables
    panel = max(_cells_width(table, least=2.1, most=4.6) for table in tables)
    width = sum(map(row_label_width, labelled)) + 2 * panel + COLOUR_BAR_WIDTH + 0.2
    return [panel, panel], width


def widths_with_own_bars(tables: Sequence[HeatmapTable]) -> tuple[list[float], float]:
    """Return the width of each title, and of the figure, of heatmaps with a colour bar each."""
    cells = [_cells_width(table, least=2.4, most=4.6) for table in tables]
    beside = sum(map(row_label_width, tables)) + (COLOUR_BAR_WIDTH + 0.15) * len(tables)
    return [width + 0.35 for width in cells], sum(cells) + beside


def side_by_side_height(tables: Sequence[HeatmapTable], above: str, titles: Sequence[str]) -> float:
    """Return the height of a figure of heatmaps side by side, under these titles."""
    cells = max(map(cells_height, tables))
    return COLUMN_LABEL_HEIGHT + cells + text_height(above) + max(map(text_height, titles))


def bars_size(table: BarTable) -> tuple[float, float]:
    """Return width and height of a figure of one layer-importance plot."""
    width = min(7.2, max(4.8, 1.4 + 0.42 * len(table.columns)))
    legend = math.ceil(len(table.methods) / 2) if len(table.methods) > 1 else 0
    return width, 2.2 + 0.14 * legend + text_height(wrapped(table.title, width - AXIS_WIDTH))


def grid_size(rows: int, columns: int) -> tuple[float, float]:
    """Return width and height of a grid of layer-importance plots, without the title above."""
    return 3.6 * columns, 2.3 * rows
