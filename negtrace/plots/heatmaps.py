"""Pictures of a result: heatmaps of the effect, layer importance; nothing here computes effects.

Every picture has a table (`heatmap_table`, `bar_table`) that says what would be drawn. Titles are
wrapped to the room they have, so that none is cut off or runs into its neighbour.
"""

__all__ = [
    "bar_table",
    "both_directions",
    "heatmap",
    "heatmap_figure",
    "heatmap_table",
    "importance_grid",
    "layer_importance",
    "save_figure",
]

import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negtrace._files import write_bytes
from negtrace._messages import one_of
from negtrace.errors import CTEError
from negtrace.plots.cells import (
    MARGIN,
    draw_cells,
    draw_colour_bar,
    draw_title,
    name_columns,
    new_axes,
)
from negtrace.plots.layout import (
    AXIS_ROOM,
    LARGE,
    MEDIUM,
    bars_size,
    grid_size,
    heatmap_size,
    label_room,
    lines_high,
    pair_height,
    pair_widths,
    wrapped,
)
from negtrace.plots.tables import (
    LEGIBLE,
    BarTable,
    bar_table,
    beyond,
    facts,
    heatmap_table,
    shared,
    title,
    verdict,
)
from negtrace.results.cte import CTE
from negtrace.results.effect import Effect
from negtrace.results.layer_scores import LayerScores

SHOWS = {"denoising": "denoising (sufficiency)", "noising": "noising (necessity)"}

# Matplotlib writes its version and the time into files; the same data must give the same bytes.
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "negtrace"},
    "pdf": {"CreationDate": None, "Creator": "negtrace", "Producer": None},
}


def heatmap(
    result: CTE | Effect,
    ax: Axes | None = None,
    *,
    intervals: bool = False,
    annotate: bool = True,
    site: str | None = None,
    colour_bar: bool = True,
) -> Axes:
    """Draw the effect: roles (or tokens) down, layers across, hatched where there is no cell.

    Args:
        result: a CTE, reduced with the defaults of `CTE.effect`, or an effect.
        ax: where to draw; None makes a figure.
        intervals: write the bootstrap interval beneath each value.
        annotate: write values into the cells, if there are few enough layers to read them.
        site: which site to draw; None takes the only one.
        colour_bar: draw one.
    """
    table = heatmap_table(result, intervals=intervals, annotate=annotate, site=site)
    ax = new_axes(heatmap_size(table)) if ax is None else ax
    draw_cells(ax, table)
    if colour_bar:
        draw_colour_bar([ax], table)
    draw_title(ax, table.title, label_room(table))
    return ax


def heatmap_figure(result: CTE | Effect) -> Figure:
    """Return one heatmap as a figure of its own, which pyplot neither keeps nor shows."""
    figure = Figure(figsize=heatmap_size(heatmap_table(result)), layout="constrained")
    heatmap(result, figure.subplots())
    return figure


def layer_importance(scores: LayerScores | Sequence[LayerScores], ax: Axes | None = None) -> Axes:
    """Draw bars with bootstrap intervals; hatched where the method's ranking is not stable."""
    table = bar_table(scores)
    ax = new_axes(bars_size(table)) if ax is None else ax
    width = 0.8 / len(table.methods)
    blocks = np.arange(len(table.columns))
    for place, colour in enumerate(sns.color_palette("colorblind", len(table.methods))):
        _bars(ax, table, place, blocks - 0.4 + width * (place + 0.5), width, colour)
    ax.axhline(0, color="0.3", linewidth=0.6)
    ax.set_xlim(-0.6, len(blocks) - 0.4)
    name_columns(ax, table.columns, offset=0.0)
    ax.set_ylabel(table.label, fontsize=MEDIUM)
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.spines[["top", "right"]].set_visible(False)
    draw_title(ax, table.title, AXIS_ROOM)
    if len(table.methods) > 1:  # beneath the axis, where no bar can be
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.2}
        ax.legend(fontsize=MEDIUM, frameon=False, ncols=2, **below)
    return ax


def both_directions(denoising: CTE | Effect, noising: CTE | Effect) -> Figure:
    """Both heatmaps side by side under one colour scale: sufficiency, then necessity.

    What both share is said once, above them; the right one names its rows only if they differ.
    """
    effects = [r.effect() if isinstance(r, CTE) else r for r in (denoising, noising)]
    for effect, direction in zip(effects, SHOWS, strict=True):
        if effect.direction != direction:
            raise CTEError(f"expected a {direction} result, not one of {effect.direction}")
    tables = [heatmap_table(effect) for effect in effects]
    about = [facts(one, f"site {one.sites[0]}") for one in effects]
    same, own = shared([{**one, "direction": SHOWS[one["direction"]]} for one in about])
    panel, width = pair_widths(tables)
    above = wrapped(title(same), MARGIN * width)
    titles = [
        wrapped(title(left) + beyond(table.over), panel)
        for left, table in zip(own, tables, strict=True)
    ]
    height = pair_height(tables, above, titles)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, 2)
    for ax, table, words in zip(axes, tables, titles, strict=True):
        draw_cells(ax, table)
        ax.set_title(words, fontsize=LARGE, loc="left")
    axes[1].tick_params(labelleft=tables[0].rows != tables[1].rows)
    draw_colour_bar(list(axes), tables[0])
    figure.suptitle(above, fontsize=LARGE, x=0.01, ha="left")
    return figure


def importance_grid(scores: Sequence[LayerScores], *, columns: int = 2) -> Figure:
    """One layer-importance plot per method, each in its own unit; what they share is said once."""
    if not scores:
        raise CTEError("no layer scores to draw; pass at least one")
    columns = min(columns, len(scores))
    rows = math.ceil(len(scores) / columns)
    same, own = shared([facts(one) for one in scores])
    width, height = grid_size(rows, columns)
    above = wrapped(title(same), MARGIN * width)
    figure = Figure(figsize=(width, height + lines_high(above)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for one, left, ax in zip(scores, own, axes, strict=False):
        said = ", ".join([one.method, *filter(None, left.values())])
        draw_title(layer_importance(one, ax), f"{said}\n{verdict(one)}", AXIS_ROOM)
    for ax in axes[len(scores) :]:
        ax.set_axis_off()
    figure.suptitle(above, fontsize=LARGE, x=0.01, ha="left")
    return figure


def save_figure(
    figure: Figure, stem: Path | str, formats: Sequence[str] = ("png", "svg", "pdf")
) -> list[Path]:
    """Write `figure` as `stem`.png and so on, each whole or not at all; like data, like bytes.

    Raises:
        OutputError: when the place cannot be written.
        UnknownNameError: when a format is not known.
    """
    for kind in formats:
        one_of("figure format", kind, METADATA)
    paths = []
    with mpl.rc_context({"svg.hashsalt": "negtrace", "svg.fonttype": "none", "pdf.fonttype": 42}):
        for kind in formats:
            data = io.BytesIO()
            figure.savefig(data, format=kind, dpi=300, metadata=METADATA[kind])
            paths.append(write_bytes(Path(f"{stem}.{kind}"), data.getvalue()))
    return paths


def _bars(
    ax: Axes,
    table: BarTable,
    place: int,
    middles: Float[np.ndarray, " block"],
    width: float,
    colour: tuple[float, float, float],
) -> None:
    heights, stable = table.heights[place], bool(table.stable[place])
    name = table.methods[place] + ("" if stable else " (ranking not stable)")
    ax.bar(
        middles,
        heights,
        width,
        color=[0.6 * part + 0.4 for part in colour],  # pale, so that whiskers show
        label=name,
        edgecolor="white",
        linewidth=0,
        hatch=None if stable else "////",
    )
    # An interval need not contain its estimate; a whisker then runs to its far end only.
    reach = np.maximum([heights - table.low[place], table.high[place] - heights], 0)
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
