"""Figures of CTE JSON files, written to a folder, and summaries of results in words."""

__all__ = ["draw_documents", "summary", "summary_of_heads"]

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from negtrace._files import require_writable
from negtrace.errors import CTEError
from negtrace.plots.registry import PLOTS
from negtrace.plots.save import FORMATS, save_figure
from negtrace.results.cte_json import Document
from negtrace.results.effect import Effect, Reduction
from negtrace.results.heads import Head, HeadEffect, HeadGrid, HeadSelectivity
from negtrace.results.significance import ALPHA
from negtrace.results.statistics import spearman


def draw_documents(
    documents: Sequence[Document],
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    kinds: Sequence[str] = (),
) -> list[Path]:
    """Draw the plots of one trace into a folder.

    Two directions stand side by side. Heads that were not patched at all positions at once need
    the raw scores beside the JSON.

    Args:
        documents: one document, or two of both directions.
        out: folder to write into.
        formats: formats of the figures.
        kinds: names of registered plots; none given draws all that apply.

    Returns:
        The files written: `heatmap.*`, or `heatmap_<site>.*` where there are several sites;
        `head_heatmap.*`; `layer_importance.*`, or one for each direction; and those of other
        registered plots.

    Raises:
        CTEError: when no plot applies, when there are too many documents, or when raw scores are
            needed and missing; every other plot has then been drawn.
        OutputError: when `out` cannot be written.
        UnknownNameError: for an unknown plot or format.
    """
    if not 1 <= len(documents) <= 2:
        raise CTEError(f"{len(documents)} files; expected one, or two of both directions")
    plots = {name: PLOTS[name] for name in kinds or PLOTS}
    require_writable(out)
    documents = sorted(documents, key=lambda document: document.effects[0].direction)
    files: list[Path] = []
    errors = []
    for plot in plots.values():
        try:
            figures = plot(documents)
        except CTEError as error:
            errors.append(error)
            continue
        for stem, figure in figures.items():
            files += save_figure(figure, out / stem, formats)
    if errors:
        raise errors[0]
    if not files and formats:
        raise CTEError(f"nothing to draw: {', '.join(plots)} do not apply to these documents")
    return files


def summary(document: Document) -> list[str]:
    """Return a few lines on the result of one trace."""
    effect = document.effect()
    segments = ", ".join(f"{n} {name}" for name, n in document.segment_counts.items())
    codes = Counter(drop.code for drop in document.dropped)
    dropped = ", ".join(f"{count} {code}" for code, count in codes.items()) or "none"
    lines = [f"{effect.direction}: {_counted(effect)} ({segments}); dropped: {dropped}"]
    remarks = (effect.too_few, _differing(document), _clear(effect))
    lines += [f"  {line}" for line in remarks if line]
    if effect.estimator != "exact":
        lines.append(f"  an APPROXIMATION by {effect.estimator}{_checked(document)}")
    for method, scores in document.all_layer_scores().items():
        value, layer = max(zip(scores.values, scores.layers, strict=True))
        lines.append(f"  {method:10} peaks at {layer} ({value:.3f}); {scores.note}")
    if any(site.startswith("head.") for site in document.sites):
        lines.append(f"  {_top(document.head_effect())}")
    return lines


def summary_of_heads(effect: HeadEffect, selectivity: HeadSelectivity | None) -> list[str]:
    """Return a few lines on heads: the largest, and the correlation of both measures over heads."""
    lines = [f"{effect.direction}: {_counted(effect)}"]
    lines += [f"  {line}" for line in (effect.too_few, _clear(effect), _top(effect)) if line]
    if selectivity is None:
        return lines
    correlation = spearman(selectivity.values.reshape(1, -1), effect.values.ravel())[0]
    return [
        *lines,
        f"  {_top(selectivity)}",
        f"  Spearman correlation of selectivity with effect over heads: {correlation:.2f}",
    ]


def _counted(result: Reduction) -> str:
    """Return the number of pairs with that of each condition, in words."""
    negated = result.negated
    return f"{result.n} pairs, {negated} negated and {result.n - negated} affirmative"


def _differing(document: Document) -> str:
    """Return in words how many pairs differ in more than the negation; empty if none is known."""
    count = sum(pair.get("differing", 0) > 0 for pair in document.pairs)
    if not count:
        return ""
    verb = "differs" if count == 1 else "differ"
    return f"{count} of {len(document.pairs)} pairs {verb} in more than the negation"


def _clear(effect: Effect | HeadEffect) -> str:
    """Return in words how many cells are clear of 0; empty without tests or with too few pairs."""
    tested = int((~np.isnan(effect.q)).sum())
    clear = int((effect.q <= ALPHA).sum())
    kind = "heads" if isinstance(effect, HeadEffect) else "cells"
    shown = tested and not effect.too_few
    return f"{clear} of {tested} {kind} clear of 0 (q <= {ALPHA:g})" if shown else ""


def _top(grid: HeadGrid) -> str:
    """Name the three heads with the largest values, with their intervals."""
    named = (
        f"block {head.block} head {head.head} ({head.value:.3f}{_bounds(head)})"
        for head in grid.top(3)
    )
    return f"{grid.measure} of heads, largest: {'; '.join(named)}"


def _bounds(head: Head) -> str:
    return "" if np.isnan(head.low) else f" [{head.low:.3f}, {head.high:.3f}]"


def _checked(document: Document) -> str:
    """Say how the estimates compare with cells that were run exactly."""
    verified: Any = document.provenance.config.get("verified")
    if not verified:
        return "; none of it was checked"
    correlations = ", ".join(
        f"{name} {verified[name]:.2f}"
        for name in ("pearson", "spearman")
        if verified[name] is not None
    )
    return (
        f"; {verified['top']} largest and {verified['random']} random cells run exactly: "
        f"{correlations}"
    )
