"""Figures of a training: change of each block, heatmaps before and after, interpolations.

`change_table` says what `change_figure` draws.
"""

__all__ = ["before_after_figure", "change_figure", "change_table", "curve_figure"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from negtrace._messages import short
from negtrace.plots.cells import draw_cells, draw_colour_bar, name_columns
from negtrace.plots.layout import LARGE, MEDIUM, heatmap_size, plain
from negtrace.plots.tables import heatmap_table
from negtrace.results.effect import Effect


@dataclass(frozen=True, kw_only=True, eq=False)
class ChangeTable:
    """Two bars for each block: its share of the multipliers, and its share of the change."""

    columns: tuple[str, ...]
    """Numbers of the blocks, from 1."""
    multipliers: Float[np.ndarray, " block"]
    """Multiplier of each block divided by the sum over blocks."""
    change: Float[np.ndarray, " block"]
    """Norm of the change of each block divided by the sum over blocks."""
    title: str


def change_table(
    multipliers: Float[np.ndarray, " block"],
    change: Float[np.ndarray, " block"],
    *,
    training: str,
) -> ChangeTable:
    """Return what `change_figure` draws.

    Args:
        multipliers: multiplier of each block.
        change: share of each block in the change of all blocks.
        training: name of the training, for the title.
    """
    most = np.sort(change)[::-1]
    tops = [f"top {k}: {most[:k].sum():.2f}" for k in (3, 5) if k < len(most)]
    return ChangeTable(
        columns=tuple(map(str, range(1, len(change) + 1))),
        multipliers=multipliers / multipliers.sum(),
        change=change,
        title="; ".join([training, *([", ".join(tops)] if tops else [])]),
    )


def change_figure(table: ChangeTable) -> Figure:
    """Return a bar chart of a table."""
    count = len(table.columns)
    figure = Figure(figsize=(max(4.0, 0.5 * count + 2), 3.2), layout="constrained")
    ax = figure.subplots()
    positions = np.arange(count)
    ax.bar(positions - 0.2, table.multipliers, 0.4, label="multiplier", color="0.75")
    ax.bar(positions + 0.2, table.change, 0.4, label="realised change", color="#3a76af")
    name_columns(ax, table.columns, offset=0.0)
    ax.set_ylabel("share of the sum over blocks", fontsize=MEDIUM)
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(plain(table.title), fontsize=LARGE)
    ax.legend(fontsize=MEDIUM, frameon=False)
    return figure


def before_after_figure(before: Effect, after: Effect) -> Figure:
    """Return the heatmaps of one model before and after a training, with one colour bar."""
    tables = [heatmap_table(effect) for effect in (before, after)]
    width, height = heatmap_size(tables[0])
    figure = Figure(figsize=(2 * width, height), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, table, name in zip(axes, tables, ("before", "after"), strict=True):
        draw_cells(ax, table)
        ax.set_title(name, fontsize=LARGE, loc="left")
    draw_colour_bar(list(axes), tables[0])
    figure.suptitle(plain(f"{short(before.model)}, {before.direction}"), fontsize=LARGE)
    return figure


def curve_figure(
    shares: Sequence[float], lines: Mapping[str, Sequence[float]], chosen: float
) -> Figure:
    """Return figures of models between before and after a training, and which was chosen.

    Args:
        shares: share of the training in the weights of each model, 0 to 1.
        lines: a figure of each model, by name.
        chosen: the share that was chosen.
    """
    figure = Figure(figsize=(4.2, 3.2), layout="constrained")
    ax = figure.subplots()
    for (name, values), mark in zip(lines.items(), cycle("os^vD"), strict=False):
        ax.plot(shares, values, marker=mark, markersize=3.5, linewidth=1, label=name)
    ax.axvline(chosen, color="0.4", linestyle=":", linewidth=1, label=f"chosen: {chosen:.2f}")
    ax.set_xlabel("share of the training in the weights, t", fontsize=MEDIUM)
    ax.tick_params(labelsize=MEDIUM)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=MEDIUM, frameon=False)
    return figure
