"""Pictures of a fine-tuning: the benchmark, the trace and the blocks, before and after."""

__all__ = ["change_figure", "draw", "traces_figure"]

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from negtrace.experiments.finetune_report import Finetuned
from negtrace.plots.bench import draw as draw_bench
from negtrace.plots.cells import draw_cells, draw_colour_bar, name_columns
from negtrace.plots.heatmaps import save_figure
from negtrace.plots.layout import LARGE, MEDIUM, heatmap_size
from negtrace.plots.tables import heatmap_table
from negtrace.results.effect import Effect

FORMATS = ("png",)


def draw(found: Finetuned, folder: Path) -> list[Path]:
    """Draw what was measured: `change.png`, `trace.png`, and one figure of each suite."""
    files = save_figure(change_figure(found), folder / "change", FORMATS)
    if found.before.document and found.after.document:
        both = (found.before.document.effect(), found.after.document.effect())
        files += save_figure(traces_figure(*both), folder / "trace", FORMATS)
    for suite, report in found.before.reports.items():
        draw_bench([report, found.after.reports[suite]], folder / suite, FORMATS)
        files += [folder / f"{suite}.{kind}" for kind in FORMATS]
    return files


def traces_figure(before: Effect, after: Effect) -> Figure:
    """Return both heatmaps side by side under one colour scale."""
    tables = [heatmap_table(effect) for effect in (before, after)]
    width, height = heatmap_size(tables[0])
    figure = Figure(figsize=(2 * width, height), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, table, name in zip(axes, tables, ("before", "after"), strict=True):
        draw_cells(ax, table)
        ax.set_title(name, fontsize=LARGE, loc="left")
    draw_colour_bar(list(axes), tables[0])
    figure.suptitle(f"{before.model}, {before.direction}", fontsize=LARGE)
    return figure


def change_figure(found: Finetuned) -> Figure:
    """Return bars of each block's share of the change, beside its share of the multipliers."""
    change, asked = found.change, np.array([found.multipliers[b] for b in found.change.blocks])
    figure = Figure(figsize=(max(4.0, 0.5 * len(asked) + 2), 3.2), layout="constrained")
    ax = figure.subplots()
    place = np.arange(len(asked))
    ax.bar(place - 0.2, asked / asked.sum(), 0.4, label="multiplier", color="0.75")
    ax.bar(place + 0.2, change.shares, 0.4, label="realised change", color="#3a76af")
    name_columns(ax, tuple(map(str, range(1, len(asked) + 1))), offset=0.0)
    ax.set_ylabel("share of the sum over blocks", fontsize=MEDIUM)
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.spines[["top", "right"]].set_visible(False)
    top = f"top 3: {change.top(3):.2f}, top 5: {change.top(5):.2f}"
    ax.set_title(f"{found.config.weighting}, mode {found.config.mode}; {top}", fontsize=LARGE)
    ax.legend(fontsize=MEDIUM, frameon=False)
    return figure
