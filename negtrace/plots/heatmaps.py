"""Heatmaps of the effect: roles or tokens down, layers across."""

__all__ = ["both_directions", "heatmap"]

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from negtrace.errors import CTEError
from negtrace.plots.cells import draw_heatmap, heatmaps_side_by_side
from negtrace.plots.layout import heatmap_size
from negtrace.plots.registry import PLOTS
from negtrace.plots.tables import below, facts, heatmap_table, shared, title
from negtrace.results.cte import CTE
from negtrace.results.cte_json import Document
from negtrace.results.effect import Effect

PANELS = {"denoising": "denoising (sufficiency)", "noising": "noising (necessity)"}


def heatmap(
    result: CTE | Effect,
    ax: Axes | None = None,
    *,
    intervals: bool = False,
    annotate: bool = True,
    mark: bool = True,
    site: str | None = None,
    colour_bar: bool = True,
) -> Axes:
    """Draw the effect: roles (or tokens) down, layers across, hatched where there is no cell.

    Args:
        result: a CTE, which is reduced with the default options, or an effect.
        ax: axes to draw on; None makes a figure of pyplot.
        intervals: whether to write the interval below each value.
        annotate: whether to write values into the cells, if there are few enough layers.
        mark: whether to put a dot into cells whose effect is not clear of 0.
        site: site to draw; None takes the only one.
        colour_bar: whether to draw one.

    Raises:
        CTEError: when `result` has several sites and none is named.
        UnknownNameError: when `result` has no such site.
    """
    table = heatmap_table(result, intervals=intervals, annotate=annotate, mark=mark, site=site)
    return draw_heatmap(table, ax, colour_bar=colour_bar)


def both_directions(denoising: CTE | Effect, noising: CTE | Effect) -> Figure:
    """Return a figure of both directions side by side: sufficiency, then necessity.

    They share one colour scale. Facts that hold for both stand in one title above them.

    Raises:
        CTEError: when a result is of another direction than its place says, or has several sites.
    """
    effects = [r.effect() if isinstance(r, CTE) else r for r in (denoising, noising)]
    for effect, direction in zip(effects, PANELS, strict=True):
        if effect.direction != direction:
            raise CTEError(f"expected a {direction} result, not one of {effect.direction}")
    tables = [heatmap_table(effect) for effect in effects]
    named = [facts(effect, f"site {effect.sites[0]}") for effect in effects]
    common, rest = shared([{**one, "direction": PANELS[one["direction"]]} for one in named])
    titles = [
        title(left) + below(table.over, table.unclear)
        for left, table in zip(rest, tables, strict=True)
    ]
    return heatmaps_side_by_side(tables, titles, title(common), shared_bar=True)


@PLOTS.register("heatmap")
def heatmaps(documents: Sequence[Document]) -> Mapping[str, Figure]:
    """Draw the heatmap of every site but heads; two directions stand side by side."""
    effects = [document.effect() for document in documents]
    sites = [site for site in effects[0].sites if not site.startswith("head.")]
    figures = {}
    for site in sites:
        stem = "heatmap" if len(effects[0].sites) == 1 else f"heatmap_{site}"
        single = [effect.of_site(site) for effect in effects]
        figures[stem] = _figure(single[0]) if len(single) == 1 else both_directions(*single)
    return figures


def _figure(effect: Effect) -> Figure:
    """Return a figure, not known to pyplot, of one heatmap."""
    table = heatmap_table(effect)
    figure = Figure(figsize=heatmap_size(table), layout="constrained")
    draw_heatmap(table, figure.subplots())
    return figure
