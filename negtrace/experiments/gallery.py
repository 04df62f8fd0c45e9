"""What CTE JSON files show: their figures, written to a folder, and a summary in words."""

__all__ = ["FORMATS", "draw", "summary", "summary_of_heads"]

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from negtrace._files import require_writable
from negtrace.plots.heads import heads_side_by_side
from negtrace.plots.heatmaps import both_directions, heatmap_figure, importance_grid, save_figure
from negtrace.results.cte_json import Document
from negtrace.results.heads import HeadEffect, HeadGrid, HeadSelectivity
from negtrace.results.statistics import spearman

FORMATS = ("png", "svg", "pdf")


def draw(documents: Sequence[Document], out: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Draw a heatmap for each site, the heads, and the layer scores of each document.

    Two directions stand side by side. Where heads were not patched at all positions at once, their
    sum needs the raw scores beside the JSON.

    Returns:
        The files written: `heatmap.*`, or `heatmap_<site>.*` where there are several sites;
        `head_heatmap.*`; `layer_importance.*`, or one for each direction, where a method applies.

    Raises:
        CTEError: when the raw scores that heads need are missing; the rest has then been drawn.
        OutputError: when `out` cannot be written.
    """
    require_writable(out)
    documents = sorted(documents, key=lambda document: document.effect().direction)
    effects = [document.effect() for document in documents]
    states = [site for site in effects[0].sites if not site.startswith("head.")]
    files: list[Path] = []
    for site in states:
        stem = "heatmap" if len(effects[0].sites) == 1 else f"heatmap_{site}"
        alone = [effect.of_site(site) for effect in effects]
        heatmaps = heatmap_figure(*alone) if len(alone) == 1 else both_directions(*alone)
        files += save_figure(heatmaps, out / stem, formats)
    for document in documents:
        files += _importance(document, out, formats, alone=len(documents) == 1)
    if len(states) < len(effects[0].sites):
        heads = heads_side_by_side([document.head_effect() for document in documents])
        files += save_figure(heads, out / "head_heatmap", formats)
    return files


def _importance(
    document: Document, out: Path, formats: Sequence[str], *, alone: bool
) -> list[Path]:
    scores = list(document.all_layer_scores().values())
    if not scores:
        return []
    stem = "layer_importance" if alone else f"layer_importance_{scores[0].direction}"
    return save_figure(importance_grid(scores), out / stem, formats)


def summary(document: Document) -> list[str]:
    """Return a few lines on what one trace found."""
    effect = document.effect()
    segments = ", ".join(f"{n} {name}" for name, n in document.segment_counts.items())
    dropped = Counter(drop.code for drop in document.dropped)
    lost = ", ".join(f"{count} {code}" for code, count in dropped.items()) or "none"
    lines = [f"{effect.direction}: {effect.n} pairs ({segments}); dropped: {lost}"]
    if effect.estimator != "exact":
        lines.append(f"  an APPROXIMATION by {effect.estimator}{_checked(document)}")
    for method, scores in document.all_layer_scores().items():
        value, layer = max(zip(scores.values, scores.layers, strict=True))
        lines.append(f"  {method:10} peaks at {layer} ({value:.3f}); {scores.note}")
    if any(site.startswith("head.") for site in document.sites):
        lines.append(f"  {_top(document.head_effect())}")
    return lines


def summary_of_heads(effect: HeadEffect, selectivity: HeadSelectivity | None) -> list[str]:
    """Return a few lines on what heads do, and whether those that look are those that matter."""
    lines = [f"{effect.direction}: {effect.n} pairs", f"  {_top(effect)}"]
    if selectivity is None:
        return lines
    found = spearman(selectivity.values.reshape(1, -1), effect.values.ravel())[0]
    return [
        *lines,
        f"  {_top(selectivity)}",
        f"  Spearman correlation of selectivity with effect over heads: {found:.2f}",
    ]


def _top(grid: HeadGrid) -> str:
    """Name the three first heads, with their intervals."""
    named = (
        f"block {head.block} head {head.head} ({head.value:.3f} [{head.low:.3f}, {head.high:.3f}])"
        for head in grid.top(3)
    )
    return f"{grid.measure} of heads, largest: {'; '.join(named)}"


def _checked(document: Document) -> str:
    """Say how the estimates compare with what was run exactly."""
    found: Any = document.provenance.config.get("verified")
    if not found:
        return "; none of it was checked"
    correlation = ", ".join(
        f"{name} {found[name]:.2f}" for name in ("pearson", "spearman") if found[name] is not None
    )
    return f"; {found['top']} largest and {found['random']} random cells run exactly: {correlation}"
