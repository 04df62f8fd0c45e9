"""Pictures of a result: heatmaps of the effect, layer importance; nothing here computes effects.

Every picture has a table (`heatmap_table`, `bar_table`) that says what would be drawn.
"""

__all__ = [
    "BarTable",
    "HeatmapTable",
    "bar_table",
    "both_directions",
    "heatmap",
    "heatmap_table",
    "importance_grid",
    "layer_importance",
    "save_figure",
]

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from negtrace.cte import CTE
from negtrace.effect import Effect, Reduction
from negtrace.errors import CTEError
from negtrace.scores import LayerScores
from negtrace.schema.checks import one_of
from negtrace.schema.files import write_bytes

LIMIT = 1.0
"""Colours span -LIMIT to LIMIT in every heatmap, so that figures compare; excess is noted."""

LEGIBLE = 16
"""Cells are annotated up to this many layers, and at most this many layers are named."""

ROUNDING = 0.005
"""Annotations have two decimals, so 1.004 reads 1.00 and is not called excess."""

COLOUR_BAR = "causal tracing effect (0 none, 1 full)"
SMALL, MEDIUM, LARGE = 5.5, 7.0, 8.0
ABSENT = "0.88"

# Matplotlib writes its version and the time into files; the same data must give the same bytes.
METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "negtrace"},
    "pdf": {"CreationDate": None, "Creator": "negtrace", "Producer": None},
}


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatmapTable:
    """What a heatmap shows."""

    rows: tuple[str, ...]
    """Labels in the order of the sentence; with the number of pairs where not all have it."""
    columns: tuple[str, ...]
    values: Float[np.ndarray, "row column"]
    """NaN, drawn hatched, where no pair has the cell."""
    text: tuple[tuple[str, ...], ...]
    """What is written in each cell."""
    small_text: tuple[tuple[str, ...], ...]
    """The interval beneath it; empty where not asked for."""
    annotate: bool
    """Whether the cells are wide enough for text."""
    title: str
    over: int
    """Number of cells beyond the colour scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BarTable:
    """What a layer-importance plot shows: a group of bars per block, one bar per method."""

    methods: tuple[str, ...]
    columns: tuple[str, ...]
    heights: Float[np.ndarray, "method block"]
    low: Float[np.ndarray, "method block"]
    high: Float[np.ndarray, "method block"]
    stable: Bool[np.ndarray, " method"]
    label: str
    title: str


def heatmap_table(
    result: CTE | Effect, *, intervals: bool = False, annotate: bool = True, site: str | None = None
) -> HeatmapTable:
    """What `heatmap` draws of `result`; a CTE is reduced with the defaults of `CTE.effect`.

    Raises:
        CTEError: when `result` has several sites and none is named.
    """
    effect = result.effect() if isinstance(result, CTE) else result
    place = _site(effect, site)
    values = effect.values[place].T
    columns = ("embed", *map(str, range(1, len(effect.layers))))
    bounds = np.stack([effect.low[place].T, effect.high[place].T], axis=-1)
    most = effect.counts[place].max(axis=0).tolist()
    over = int((np.abs(values) > LIMIT + ROUNDING).sum())
    return HeatmapTable(
        rows=tuple(_row(name, n, effect.n) for name, n in zip(effect.labels, most, strict=True)),
        columns=columns,
        values=values,
        text=tuple(tuple(map(_short, row)) for row in values),
        small_text=tuple(tuple(_bounds(b) if intervals else "" for b in row) for row in bounds),
        annotate=annotate and len(columns) <= LEGIBLE,
        title=_title(effect, f"site {effect.sites[place]}, {_kept(effect)}", over),
        over=over,
    )


def bar_table(scores: LayerScores | Sequence[LayerScores]) -> BarTable:
    """What `layer_importance` draws: the scores of one method, or alpha of several.

    Raises:
        CTEError: when there is nothing to draw, or the blocks differ.
    """
    several = [scores] if isinstance(scores, LayerScores) else list(scores)
    if not several:
        raise CTEError("no layer scores to draw; pass at least one")
    first = several[0]
    if any(other.layers != first.layers for other in several):
        raise CTEError("layer scores of different blocks do not share an axis; draw them apart")
    heights, low, high = (
        np.stack([_scaled(one, getattr(one, name), len(several)) for one in several])
        for name in ("values", "low", "high")
    )
    notes = first.note if len(several) == 1 else "alpha: each method scaled to 0 .. 1"
    return BarTable(
        methods=tuple(one.method for one in several),
        columns=tuple(map(str, range(1, len(first.layers) + 1))),
        heights=heights,
        low=low,
        high=high,
        stable=np.array([one.stable for one in several]),
        label=f"{first.method} score" if len(several) == 1 else "alpha (0 least, 1 most)",
        title=_title(first, _kept(first), 0) + f"\n{notes}",
    )


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
    ax = _axes(_heatmap_size(table, intervals)) if ax is None else ax
    sns.heatmap(
        table.values,
        ax=ax,
        cmap="vlag",
        vmin=-LIMIT,
        vmax=LIMIT,
        mask=np.isnan(table.values),
        cbar=False,
        linewidths=0.4,
        linecolor="white",
    )
    if colour_bar:
        _colour_bar(ax, [ax])
    _hatch(ax, table)
    if table.annotate:
        _annotate(ax, table)
    _name_layers(ax, table.columns, offset=0.5)
    ax.set_yticks(np.arange(len(table.rows)) + 0.5, table.rows, fontsize=MEDIUM, rotation=0)
    ax.set_title(table.title, fontsize=LARGE, loc="left")
    return ax


def layer_importance(scores: LayerScores | Sequence[LayerScores], ax: Axes | None = None) -> Axes:
    """Draw bars with bootstrap intervals; hatched where the method's ranking is not stable."""
    table = bar_table(scores)
    ax = _axes((min(7.2, 1.4 + 0.42 * len(table.columns)), 2.6)) if ax is None else ax
    width = 0.8 / len(table.methods)
    blocks = np.arange(len(table.columns))
    for place, colour in enumerate(sns.color_palette("colorblind", len(table.methods))):
        _bars(ax, table, place, blocks - 0.4 + width * (place + 0.5), width, colour)
    ax.axhline(0, color="0.3", linewidth=0.6)
    ax.margins(x=0.01)
    _name_layers(ax, table.columns, offset=0.0)
    ax.set_ylabel(table.label, fontsize=MEDIUM)
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(table.title, fontsize=LARGE, loc="left")
    if len(table.methods) > 1:
        ax.legend(fontsize=MEDIUM, frameon=False, ncols=2)
    return ax


def both_directions(denoising: CTE | Effect, noising: CTE | Effect) -> Figure:
    """Both heatmaps side by side under one colour scale: sufficiency, then necessity."""
    effects = [r.effect() if isinstance(r, CTE) else r for r in (denoising, noising)]
    for effect, direction in zip(effects, ("denoising", "noising"), strict=True):
        if effect.direction != direction:
            raise CTEError(f"expected a {direction} result, not one of {effect.direction}")
    tables = [heatmap_table(effect) for effect in effects]
    width = min(11.0, 2.0 + 0.34 * sum(len(table.columns) for table in tables))
    height = max(_heatmap_size(table, intervals=False)[1] for table in tables)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, 2)
    for effect, ax in zip(effects, axes, strict=True):
        heatmap(effect, ax, colour_bar=False)
    _colour_bar(axes[-1], list(axes))
    return figure


def importance_grid(scores: Sequence[LayerScores], *, columns: int = 2) -> Figure:
    """One layer-importance plot per method, each in its own unit."""
    if not scores:
        raise CTEError("no layer scores to draw; pass at least one")
    columns = min(columns, len(scores))
    rows = math.ceil(len(scores) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.3 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for one, ax in zip(scores, axes, strict=False):
        layer_importance(one, ax)
        ax.set_title(f"{one.method}, {one.direction}\n{_verdict(one)}", fontsize=LARGE, loc="left")
    for ax in axes[len(scores) :]:
        ax.set_axis_off()
    figure.suptitle(_title(scores[0], _kept(scores[0]), 0), fontsize=LARGE, x=0.01, ha="left")
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
            path = Path(f"{stem}.{kind}")
            paths.append(write_bytes(path, data.getvalue()))
    return paths


def _axes(size: tuple[float, float]) -> Axes:
    axes: Axes = plt.subplots(figsize=size, layout="constrained")[1]
    return axes


def _site(effect: Effect, site: str | None) -> int:
    if site is None and len(effect.sites) > 1:
        raise CTEError(f"name the site to draw: one of {', '.join(effect.sites)}")
    one_of("site", site, (None, *effect.sites))
    return 0 if site is None else effect.sites.index(site)


def _heatmap_size(table: HeatmapTable, intervals: bool) -> tuple[float, float]:
    row = 0.42 if intervals else 0.3
    column = (0.52 if intervals else 0.4) if table.annotate else 0.16
    return min(9.5, 2.2 + column * len(table.columns)), 1.2 + row * len(table.rows)


def _row(label: str, count: int, n: int) -> str:
    name = label.replace("_", " ")
    return name if count == n else f"{name} (n={count})"


def _short(value: float) -> str:
    if np.isnan(value):
        return ""
    text = f"{value:.2f}"
    return "0" if float(text) == 0 else text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def _bounds(bounds: Float[np.ndarray, " two"]) -> str:
    return "" if np.isnan(bounds).any() else f"[{_short(bounds[0])}, {_short(bounds[1])}]"


def _title(what: Reduction, detail: str, over: int) -> str:
    which = "all pairs" if what.segment == "all" else f"{what.segment} pairs"
    true = "" if what.condition is None else f", {what.condition} statement true"
    beyond = f"\n{over} cell(s) beyond the colour scale" if over else ""
    return f"{what.model}: {what.direction}, {what.corruption}, {which}{true}\n{detail}{beyond}"


def _kept(what: Reduction) -> str:
    kept = f"n = {what.n} ({what.below_floor} below floor, {what.dropped} dropped)"
    return f"{kept}, {what.aggregate.replace('_', ' ')}"


def _verdict(one: LayerScores) -> str:
    stability = "unknown" if np.isnan(one.rank_stability) else f"{one.rank_stability:.2f}"
    return f"rank stability {stability}{'' if one.stable else ': NOT stable'}"


def _scaled(
    one: LayerScores, values: Float[np.ndarray, " block"], methods: int
) -> Float[np.ndarray, " block"]:
    """The values themselves if drawn alone, else on the scale of the method's alpha."""
    if methods == 1:
        return values
    spread = one.values.max() - one.values.min()
    if spread == 0:
        return one.alpha if values is one.values else np.full_like(values, np.nan)
    return np.asarray((values - one.values.min()) / spread)


def _colour_bar(ax: Axes, sharing: list[Axes]) -> None:
    bar = ax.figure.colorbar(ax.collections[0], ax=sharing, fraction=0.03, pad=0.015, aspect=25)
    bar.set_label(COLOUR_BAR, fontsize=MEDIUM)
    bar.ax.tick_params(labelsize=MEDIUM)
    bar.outline.set_linewidth(0.4)


def _hatch(ax: Axes, table: HeatmapTable) -> None:
    for row, column in np.argwhere(np.isnan(table.values)).tolist():
        cell = Rectangle((column, row), 1, 1, facecolor=ABSENT, edgecolor="0.6", linewidth=0)
        cell.set_hatch("////")
        ax.add_patch(cell)


def _annotate(ax: Axes, table: HeatmapTable) -> None:
    for (row, column), value in np.ndenumerate(table.values):
        small = table.small_text[row][column]
        colour = "white" if abs(value) > 0.5 else "0.1"
        middle, upper = column + 0.5, row + (0.36 if small else 0.5)
        words: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
        ax.text(middle, upper, table.text[row][column], fontsize=MEDIUM, **words)
        ax.text(middle, row + 0.72, small, fontsize=SMALL, **words)


def _name_layers(ax: Axes, columns: tuple[str, ...], *, offset: float) -> None:
    step = math.ceil(len(columns) / LEGIBLE)
    ax.set_xticks(
        np.arange(0, len(columns), step) + offset, columns[::step], fontsize=MEDIUM, rotation=0
    )
    ax.set_xlabel("layer" if columns[0] == "embed" else "block", fontsize=MEDIUM)


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
        color=colour,
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
        ecolor="0.25",
        elinewidth=0.7,
        capsize=1.5 if len(table.columns) <= LEGIBLE else 0,
        capthick=0.7,
    )
