"""Figures of benchmark reports: bars with intervals, chance, and the model without its anchor.

`bench_table` computes the contents, and `bench_figure` draws them. A figure compares any number of
models on one suite. Each model has a colour, and its series, such as the wordings, have shades.
"""

__all__ = ["bench_figure", "bench_table"]

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from negtrace._messages import short
from negtrace.bench.report import Report, ReportRow
from negtrace.errors import BenchError
from negtrace.plots.layout import LABEL_HEIGHT, LARGE, MEDIUM, SMALL, plain, text_height, wrapped

T = TypeVar("T")

AXIS_LABELS = {
    "all": "",
    "negated_findings": "findings denied by the right statement",
    "attribute": "what the wrong claims have wrong",
    "template": "kind of the right statement",
    "length": "findings in each statement",
}
"""Label of each breakdown; others are labelled by their name."""

MEASURE_LABELS = {"similarity": "cosine similarity"}

HIDDEN_AXES = ("finding", "balanced")

LEVEL_WIDTH = 0.8
"""Width of all bars of a level, where the distance between levels is 1."""

INK = "0.15"

PRIOR_MARK: Mapping[str, Any] = {
    "marker": "D",
    "ms": 3.5,
    "mfc": "white",
    "mec": INK,
    "mew": 0.8,
    "ls": "",
    "clip_on": False,
    "zorder": 3,
}
"""Diamond at the score without the anchor; it is visible at 0 too."""

Column = tuple[str, str]
"""Model and series of one of the bars at a level; the series is blank if levels are series."""

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: a row of a model's report."""

    model: str
    series: str
    row: ReportRow
    prior: float | None
    """Score of the model with a blank anchor."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Bars of one breakdown. Each level has a bar for each column, unless it was not asked."""

    label: str
    levels: tuple[str, ...]
    columns: tuple[Column, ...]
    bars: Mapping[tuple[str, Column], Bar]
    """Bar at each level and column; missing where a model was not asked."""


@dataclass(frozen=True, kw_only=True)
class BenchTable:
    """Contents of a figure of reports."""

    title: str
    label: str
    """Label of the vertical axis."""
    models: tuple[str, ...]
    series: tuple[str, ...]
    """Series that are side by side at a level of any panel."""
    panels: tuple[Panel, ...]

    @property
    def bars(self) -> list[Bar]:
        """All bars, panel by panel."""
        return [bar for panel in self.panels for bar in panel.bars.values()]


def bench_table(reports: Sequence[Report]) -> BenchTable:
    """Contents of a figure of reports: the rows of the models, without their baselines.

    Only the first measure of a suite is shown, such as accuracy.

    Raises:
        BenchError: for no report, reports of different suites, or reports without a row to draw.
    """
    if len({report.suite for report in reports}) != 1:
        raise BenchError("a figure compares reports of one suite; give one or more of them")
    rows: dict[str, list[Bar]] = {}
    for report in reports:
        for bar in _bars(report):
            rows.setdefault(bar.row.axis, []).append(bar)
    if not rows:
        raise BenchError(f"the reports of {reports[0].suite} have no row of a model to draw")
    panels = tuple(_panel(axis, bars) for axis, bars in rows.items())
    bars = [bar for panel in rows.values() for bar in panel]
    measure = bars[0].row.measure
    return BenchTable(
        title=_title(reports),
        label=MEASURE_LABELS.get(measure, measure),
        models=_distinct(bar.model for bar in bars),
        series=_distinct(bar.series for bar in bars if _level(bar) != bar.series),
        panels=panels,
    )


def _bars(report: Report) -> list[Bar]:
    shown = [r for r in report.rows if r.scorer == "model" and r.axis not in HIDDEN_AXES]
    prior = {_key(row): row.estimate for row in report.rows if row.scorer == "prior"}
    model, anchors = short(str(report.model["name"])), str(report.data["anchors"])
    name = model if anchors == "none" else f"{model} ({anchors} anchors)"
    return [
        Bar(model=name, series=row.series, row=row, prior=prior.get(_key(row)))
        for row in shown
        if row.measure == shown[0].measure
    ]


def _key(row: ReportRow) -> tuple[str, str, str]:
    return row.series, row.axis, row.level


def _level(bar: Bar) -> str:
    """Level of a bar in its panel. Without a breakdown, the series are the levels."""
    return bar.series if bar.row.axis == "all" else bar.row.level


def _panel(axis: str, bars: Sequence[Bar]) -> Panel:
    levels_are_series = all(_level(bar) == bar.series for bar in bars)
    columns = [(bar.model, "" if levels_are_series else bar.series) for bar in bars]
    return Panel(
        label=AXIS_LABELS.get(axis, axis),
        levels=_distinct(map(_level, bars)),
        columns=_distinct(columns),
        bars={(_level(bar), column): bar for bar, column in zip(bars, columns, strict=True)},
    )


def _title(reports: Sequence[Report]) -> str:
    confidence = reports[0].config.get("confidence", 0.95)
    counts = _distinct(f"{r.data['items']} items of {short(str(r.data['name']))}" for r in reports)
    return f"{short(reports[0].suite)}: {', '.join(counts)}; {confidence:.0%} intervals"


def bench_figure(reports: Sequence[Report]) -> Figure:
    """Figure of reports of one suite, a panel for each breakdown. It is not known to pyplot.

    Raises:
        BenchError: for no report, reports of different suites, or reports without a row to draw.
    """
    table = bench_table(reports)
    colours, widths = _colours(table), list(map(_panel_width, table.panels))
    entries, lines = _legend_entries(table, colours), max(2, len(table.series))
    width = max(sum(widths) + 0.8, _legend_width(entries, lines))
    title = wrapped(table.title, width - 0.2)
    figure = Figure(figsize=(width, 3.1 + 0.14 * lines + text_height(title)), layout="constrained")
    axes = figure.subplots(
        1, len(table.panels), squeeze=False, sharey=True, gridspec_kw={"width_ratios": widths}
    )[0]
    for ax, panel in zip(axes, table.panels, strict=True):
        _draw_panel(ax, panel, colours)
    estimates = [bar.row.estimate for bar in table.bars if isfinite(bar.row.estimate)]
    axes[0].set_ylim(1.1 * min(0.0, *estimates), 1.02 * max(1.0, *estimates))
    axes[0].set_ylabel(wrapped(short(table.label), LABEL_HEIGHT, MEDIUM), fontsize=MEDIUM)
    figure.suptitle(title, fontsize=LARGE, x=0.01, ha="left")
    figure.legend(
        handles=entries,
        ncols=-(-len(entries) // lines),
        fontsize=MEDIUM,
        frameon=False,
        loc="outside lower left",
    )
    return figure


def _panel_width(panel: Panel) -> float:
    """Width of a panel's bars in inches."""
    levels = len(panel.levels)
    return max(0.7 + 0.5 * levels, 0.4 + 0.26 * levels * len(panel.columns))


def _legend_width(entries: Sequence[Any], lines: int) -> float:
    """Approximate width of the legend in inches."""
    columns = [entries[start : start + lines] for start in range(0, len(entries), lines)]
    return sum(0.5 + 0.062 * max(len(entry.get_label()) for entry in column) for column in columns)


def _colours(table: BenchTable) -> dict[Column, Colour]:
    """Colour of each model and series: a hue for the model, a lighter shade for each series."""
    colours = {}
    palette = sns.color_palette("colorblind", len(table.models))
    for model, hue in zip(table.models, palette, strict=True):
        shades = sns.light_palette(hue, len(table.series) + 1)[:0:-1] or [hue]
        for series in _distinct(bar.series for bar in table.bars):
            shade = table.series.index(series) if series in table.series else 0
            colours[model, series] = shades[shade]
    return colours


def _legend_entries(table: BenchTable, colours: Mapping[Column, Colour]) -> list[Any]:
    """Entries of the legend: models with their shades, then the marks."""
    bars = table.bars
    drawn = {(bar.model, bar.series) for bar in bars}
    patches: dict[str, Any] = {}
    for (model, series), colour in colours.items():
        if (model, series) in drawn:
            label = f"{model}, {series}" if len(table.series) > 1 else model
            patches.setdefault(label, Patch(color=colour, label=plain(label)))
    marks = []
    if any(bar.row.chance is not None for bar in bars):
        marks.append(Line2D([], [], color=INK, lw=0.9, ls=":", label="chance"))
    if any(bar.prior is not None for bar in bars):
        marks.append(Line2D([], [], label="without the anchor", **PRIOR_MARK))
    reasons = _distinct(bar.row.interval for bar in bars if not isfinite(bar.row.low))
    marks += [Line2D([], [], ls="", label=f"no error bar: {reason}") for reason in reasons]
    return [*patches.values(), *marks]


def _draw_panel(ax: Axes, panel: Panel, colours: Mapping[Column, Colour]) -> Axes:
    width = LEVEL_WIDTH / len(panel.columns)
    for number, level in enumerate(panel.levels):
        for index, column in enumerate(panel.columns):
            x = number + (index + 0.5) * width - LEVEL_WIDTH / 2
            bar = panel.bars.get((level, column))
            if bar is None:
                ax.text(x, 0.01, "not asked", rotation=90, ha="center", va="bottom", fontsize=SMALL)
            else:
                _draw_bar(ax, bar, x, width, colours[bar.model, bar.series])
    ax.set_xticks(
        range(len(panel.levels)), [plain(short(level)) for level in panel.levels], fontsize=MEDIUM
    )
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.set_xlabel(plain(short(panel.label)), fontsize=MEDIUM)
    ax.set_xlim(-0.5, len(panel.levels) - 0.5)
    sns.despine(ax=ax)
    return ax


def _draw_bar(ax: Axes, bar: Bar, x: float, width: float, colour: Colour) -> None:
    row = bar.row
    ax.bar([x], [row.estimate], 0.92 * width, color=colour)
    if isfinite(row.low):
        ends = [[row.estimate - row.low], [row.high - row.estimate]]
        ax.errorbar([x], [row.estimate], yerr=ends, color=INK, lw=0.9, capsize=2)
    if row.chance is not None:
        ax.hlines(row.chance, x - width / 2, x + width / 2, color=INK, lw=0.9, ls=":")
    if bar.prior is not None:
        ax.plot([x], [bar.prior], **PRIOR_MARK)


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    """Distinct values in the order of their first occurrence."""
    return tuple(dict.fromkeys(values))
