"""Pictures of reports: rates with their intervals, chance, and what the statements give away.

`bars` says what would be drawn; one figure compares any number of models. A model has one colour,
and what is set side by side, such as the wordings, its shades.
"""

__all__ = ["Bar", "bars", "draw", "figure"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from negtrace.bench.report import Report, ReportRow
from negtrace.errors import BenchError
from negtrace.plots.heatmaps import save_figure
from negtrace.plots.layout import LARGE, MEDIUM, SMALL, lines_high, wrapped

AXES = {
    "all": "",
    "negated_findings": "findings denied by the right statement",
    "finding": "finding",
    "attribute": "what the wrong claims have wrong",
    "template": "kind of the right statement",
    "anchor to text": "anchor to text",
    "text to anchor": "text to anchor",
}

LABELS = {"accuracy": "accuracy", "recall": "recall", "similarity": "cosine similarity"}
UNDRAWN = ("finding", "balanced")
WIDE = 0.8
"""Share of the room that the bars of one level take."""

INK = "0.15"

DIAMOND: Mapping[str, Any] = {
    "marker": "D",
    "ms": 3.5,
    "mfc": "white",
    "mec": INK,
    "mew": 0.8,
    "ls": "",
    "clip_on": False,
    "zorder": 3,
}
"""How the score without the anchor is marked, also where it is 0."""


Hue = tuple[str, str]
"""A model and a series."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: where it stands, whose it is, and its number."""

    panel: str
    level: str
    model: str
    series: str
    """Which of the things set side by side it is, such as a wording."""
    row: ReportRow
    prior: float | None
    """What the model scores without the anchor."""


def bars(reports: Sequence[Report]) -> list[Bar]:
    """Return every bar of the figure, panel by panel.

    Raises:
        BenchError: for no report, or reports of different suites.
    """
    if len({report.suite for report in reports}) != 1:
        raise BenchError("a figure compares reports of one suite; give one or more of them")
    found = []
    for report in reports:
        prior = {_key(r): r.estimate for r in report.rows if r.scorer == "prior"}
        for row in report.rows:
            if row.scorer != "model" or row.measure not in LABELS or row.axis in UNDRAWN:
                continue
            found.append(
                Bar(
                    panel=row.axis,
                    level=row.series if row.axis == "all" else row.level,
                    model=_name(report),
                    series=row.series,
                    row=row,
                    prior=prior.get(_key(row)),
                )
            )
    panels = list(dict.fromkeys(bar.panel for bar in found))
    return sorted(found, key=lambda bar: panels.index(bar.panel))


def _key(row: ReportRow) -> tuple[str, str, str]:
    return row.series, row.axis, row.level


def _name(report: Report) -> str:
    anchors = str(report.data["anchors"])
    name = str(report.model["name"])
    return name if anchors == "none" else f"{name} ({anchors} anchors)"


def figure(reports: Sequence[Report]) -> Figure:
    """Return a figure with a panel for each breakdown."""
    found = bars(reports)
    panels = [list(group) for _, group in groupby(found, key=lambda bar: bar.panel)]
    widths, entries, lines = list(map(_width, panels)), _entries(found), _lines(found)
    across = max(sum(widths) + 0.8, _legend_width(entries, lines))
    title = wrapped(_title(reports), across - 0.2)
    drawn: Figure
    drawn, axes = plt.subplots(
        1,
        len(panels),
        figsize=(across, 3.1 + 0.14 * lines + lines_high(title)),
        squeeze=False,
        sharey=True,
        layout="constrained",
        gridspec_kw={"width_ratios": widths},
    )
    colours = _colours(found)
    for ax, panel in zip(axes[0], panels, strict=True):
        _panel(ax, panel, colours)
    lows = [bar.row.estimate for bar in found if isfinite(bar.row.estimate)]
    axes[0][0].set_ylim(1.1 * min(0.0, *lows), 1.02)
    axes[0][0].set_ylabel(LABELS[found[0].row.measure], fontsize=MEDIUM)
    drawn.suptitle(title, fontsize=LARGE, x=0.01, ha="left")
    columns = -(-len(entries) // lines)
    drawn.legend(
        handles=entries, ncols=columns, fontsize=MEDIUM, frameon=False, loc="outside lower left"
    )
    return drawn


def _legend_width(entries: Sequence[Any], lines: int) -> float:
    """Return about how many inches the columns of the legend take."""
    columns = [entries[start : start + lines] for start in range(0, len(entries), lines)]
    return sum(0.5 + 0.062 * max(len(one.get_label()) for one in column) for column in columns)


def _title(reports: Sequence[Report]) -> str:
    confidence = reports[0].config.get("confidence", 0.95)
    counts = dict.fromkeys(f"{r.data['items']} items of {r.data['name']}" for r in reports)
    return f"{reports[0].suite}: {', '.join(counts)}; {confidence:.0%} intervals"


def _width(panel: Sequence[Bar]) -> float:
    """Return the inches that the bars of a panel take."""
    levels = len({bar.level for bar in panel})
    return max(0.7 + 0.5 * levels, 0.4 + 0.26 * levels * len(_places(panel)))


def _places(panel: Sequence[Bar]) -> list[Hue]:
    """Return who stands side by side at a level; where levels are the series, models do."""
    whole = all(bar.level == bar.series for bar in panel)
    return list(dict.fromkeys((bar.model, "" if whole else bar.series) for bar in panel))


def _series(found: Sequence[Bar]) -> list[str]:
    """Return what is set side by side within a level of any panel."""
    return list(dict.fromkeys(bar.series for bar in found if bar.level != bar.series))


def _colours(found: Sequence[Bar]) -> dict[Hue, tuple[float, float, float]]:
    """Return a colour for each model, in a lighter shade for each further series."""
    models, series = list(dict.fromkeys(bar.model for bar in found)), _series(found)
    colours = {}
    for model, colour in zip(models, sns.color_palette("colorblind", len(models)), strict=True):
        shades = sns.light_palette(colour, len(series) + 1)[:0:-1] or [colour]
        for bar in found:
            place = series.index(bar.series) if bar.series in series else 0
            colours[model, bar.series] = shades[place]
    return colours


def _entries(found: Sequence[Bar]) -> list[Any]:
    """Return what the legend explains: models and their shades, then the marks."""
    colours, series = _colours(found), _series(found)
    shown: dict[str, Any] = {}
    for (model, one), colour in sorted(colours.items(), key=lambda entry: _order(found, entry[0])):
        label = f"{model}, {one}" if len(series) > 1 else model
        shown.setdefault(label, Patch(color=colour, label=label))
    marks = []
    if any(bar.row.chance is not None for bar in found):
        marks.append(Line2D([], [], color=INK, lw=0.9, ls=":", label="chance"))
    if any(bar.prior is not None for bar in found):
        marks.append(Line2D([], [], label="without the anchor", **DIAMOND))
    return [*shown.values(), *marks]


def _order(found: Sequence[Bar], hue: Hue) -> tuple[int, int]:
    models = list(dict.fromkeys(bar.model for bar in found))
    series = list(dict.fromkeys(bar.series for bar in found))
    return models.index(hue[0]), series.index(hue[1])


def _lines(found: Sequence[Bar]) -> int:
    """Return how many lines the legend has: one a series, so that a model has a column."""
    return max(2, len(_series(found)))


def _panel(
    ax: Axes, panel: Sequence[Bar], colours: Mapping[Hue, tuple[float, float, float]]
) -> None:
    levels = list(dict.fromkeys(bar.level for bar in panel))
    places = _places(panel)
    width = WIDE / len(places)
    empty = {(level, place) for level in levels for place in range(len(places))}
    for bar in panel:
        named = (bar.model, bar.series)
        place = places.index(named if named in places else (bar.model, ""))
        empty.discard((bar.level, place))
        x = levels.index(bar.level) + (place + 0.5) * width - WIDE / 2
        _bar(ax, bar, x, width, colours[named])
    for level, place in empty:
        x = levels.index(level) + (place + 0.5) * width - WIDE / 2
        ax.text(x, 0.01, "not asked", rotation=90, ha="center", va="bottom", fontsize=SMALL)
    ax.set_xticks(range(len(levels)), levels, fontsize=MEDIUM)
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.set_xlabel(AXES.get(panel[0].panel, panel[0].panel), fontsize=MEDIUM)
    ax.set_xlim(-0.5, len(levels) - 0.5)
    sns.despine(ax=ax)


def _bar(ax: Axes, bar: Bar, x: float, width: float, colour: tuple[float, float, float]) -> None:
    row = bar.row
    ax.bar([x], [row.estimate], 0.92 * width, color=colour)
    if isfinite(row.low):
        ends = [[row.estimate - row.low], [row.high - row.estimate]]
        ax.errorbar([x], [row.estimate], yerr=ends, color=INK, lw=0.9, capsize=2)
    if row.chance is not None:
        ax.hlines(row.chance, x - width / 2, x + width / 2, color=INK, lw=0.9, ls=":")
    if bar.prior is not None:
        ax.plot([x], [bar.prior], **DIAMOND)


def draw(reports: Sequence[Report], stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write the figure as `stem`.png and so on.

    Raises:
        OutputError: when the place cannot be written.
    """
    drawn = figure(reports)
    try:
        return save_figure(drawn, stem, formats)
    finally:
        plt.close(drawn)
