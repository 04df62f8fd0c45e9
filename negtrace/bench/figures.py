"""Pictures of reports: rates with their intervals, chance, and what the statements give away.

`bars` says what would be drawn; one figure compares any number of models.
"""

__all__ = ["Bar", "bars", "draw", "figure"]

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negtrace.bench.report import Report, Row
from negtrace.errors import BenchError
from negtrace.plot_layout import LARGE, MEDIUM
from negtrace.plots import save_figure

AXES = {
    "all": "",
    "negated_findings": "findings denied by the right statement",
    "finding": "finding",
    "attribute": "attribute that the wrong claims have wrong",
    "template": "kind of the right statement",
    "anchor to text": "anchor to text",
    "text to anchor": "text to anchor",
}

LABELS = {"accuracy": "accuracy", "recall": "recall", "similarity": "cosine similarity"}
UNDRAWN = ("finding", "balanced")
WIDE = 0.8
"""Share of the room that the bars of one level take."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: where it stands, whose it is, and its number."""

    panel: str
    level: str
    model: str
    kind: str
    """Which of the things set side by side it is, such as a wording; blank where levels say it."""
    row: Row
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
            whole = row.axis == "all"
            found.append(
                Bar(
                    panel=row.axis,
                    level=row.series if whole else row.level,
                    model=_name(report),
                    kind="" if whole else row.series,
                    row=row,
                    prior=prior.get(_key(row)),
                )
            )
    panels = list(dict.fromkeys(bar.panel for bar in found))
    return sorted(found, key=lambda bar: panels.index(bar.panel))


def _key(row: Row) -> tuple[str, str, str]:
    return row.series, row.axis, row.level


def _name(report: Report) -> str:
    anchors = str(report.data["anchors"])
    name = str(report.model["name"])
    return name if anchors == "none" else f"{name} ({anchors} anchors)"


def figure(reports: Sequence[Report]) -> Figure:
    """Return a figure with a panel for each breakdown."""
    found = bars(reports)
    panels = list(dict.fromkeys(bar.panel for bar in found))
    levels = [len({bar.level for bar in found if bar.panel == panel}) for panel in panels]
    hues = [len({_hue(bar) for bar in found if bar.panel == panel}) for panel in panels]
    widths = [max(2.4, 0.4 + 0.26 * n * h) for n, h in zip(levels, hues, strict=True)]
    drawn: Figure
    drawn, axes = plt.subplots(
        1,
        len(panels),
        figsize=(max(sum(widths) + 0.8, 4.2), 3.2 + 0.12 * max(hues)),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"width_ratios": widths},
    )
    models = list(dict.fromkeys(bar.model for bar in found))
    for ax, panel in zip(axes[0], panels, strict=True):
        _panel(ax, [bar for bar in found if bar.panel == panel], models)
    drawn.suptitle(_title(reports), fontsize=LARGE, x=0.01, ha="left")
    return drawn


def _title(reports: Sequence[Report]) -> str:
    confidence = reports[0].config.get("confidence", 0.95)
    counts = ", ".join(
        dict.fromkeys(f"{r.data['items']} items of {r.data['name']}" for r in reports)
    )
    priors = any(row.scorer == "prior" for report in reports for row in report.rows)
    chances = any(row.chance is not None for report in reports for row in report.rows)
    marks = [("dotted: chance", chances), ("diamond: the model without the anchor", priors)]
    key = "; ".join(words for words, shown in marks if shown)
    return f"{reports[0].suite}: {counts}; {confidence:.0%} intervals\n{key}"


def _hue(bar: Bar) -> tuple[str, str]:
    return bar.model, bar.kind


def _panel(ax: Axes, found: Sequence[Bar], models: Sequence[str]) -> None:
    levels = list(dict.fromkeys(bar.level for bar in found))
    hues = list(dict.fromkeys(map(_hue, found)))
    kinds = list(dict.fromkeys(bar.kind for bar in found))
    palette = sns.color_palette("colorblind", len(models))
    # A model has its colour in every panel; what is set side by side is lighter.
    colours = {
        hue: sns.light_palette(palette[models.index(hue[0])], len(kinds) + 1)[
            len(kinds) - kinds.index(hue[1])
        ]
        for hue in hues
    }
    width = WIDE / len(hues)
    for bar in found:
        x = levels.index(bar.level) + (hues.index(_hue(bar)) + 0.5) * width - WIDE / 2
        _bar(ax, bar, x, width, colours[_hue(bar)])
    for hue in hues:
        ax.bar([0], [0], color=colours[hue], label=", ".join(filter(None, hue)))
    ax.set_xticks(range(len(levels)), levels, fontsize=MEDIUM)
    ax.tick_params(axis="y", labelsize=MEDIUM)
    ax.set_xlabel(AXES.get(found[0].panel, found[0].panel), fontsize=MEDIUM)
    ax.set_ylabel(LABELS[found[0].row.measure], fontsize=MEDIUM)
    low = min(0.0, *(bar.row.estimate for bar in found if isfinite(bar.row.estimate)))
    ax.set_ylim(1.1 * low, 1.02)
    ax.set_xlim(-0.5, len(levels) - 0.5)
    sns.despine(ax=ax)
    ax.legend(
        fontsize=MEDIUM, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2
    )


def _bar(ax: Axes, bar: Bar, x: float, width: float, colour: tuple[float, float, float]) -> None:
    row = bar.row
    ax.bar([x], [row.estimate], 0.92 * width, color=colour)
    if isfinite(row.low):
        ends = [[row.estimate - row.low], [row.high - row.estimate]]
        ax.errorbar([x], [row.estimate], yerr=ends, color="0.15", lw=0.9, capsize=2)
    if row.chance is not None:
        ax.hlines(row.chance, x - width / 2, x + width / 2, color="0.15", lw=0.9, ls=":")
    if bar.prior is not None:
        ax.plot([x], [bar.prior], marker="D", ms=3.5, mfc="white", mec="0.15", mew=0.8, ls="")


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
