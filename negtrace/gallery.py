"""What CTE JSON files show: their figures, written to a folder, and a summary in words."""

__all__ = ["FORMATS", "draw", "summary"]

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from negtrace.export import Document
from negtrace.plots import both_directions, heatmap_figure, importance_grid, save_figure
from negtrace.schema.files import require_writable

FORMATS = ("png", "svg", "pdf")


def draw(documents: Sequence[Document], out: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Draw the heatmap, two directions side by side, and the layer scores of each document.

    Returns:
        The files written: `heatmap.*`, and `layer_importance.*` or one for each direction.
    """
    require_writable(out)
    effects = sorted((document.effect() for document in documents), key=lambda e: e.direction)
    files: list[Path] = []
    for site in effects[0].sites:
        alone = [effect.of_site(site) for effect in effects]
        heatmaps = heatmap_figure(*alone) if len(alone) == 1 else both_directions(*alone)
        stem = "heatmap" if len(effects[0].sites) == 1 else f"heatmap_{site}"
        files += save_figure(heatmaps, out / stem, formats)
    for document in documents:
        scores = [one for one in document.scores if one.condition is None]
        if not scores:  # a trace of single sites inside a block has none
            continue
        stem = "layer_importance"
        if len(documents) > 1:
            stem += f"_{scores[0].direction}"
        files += save_figure(importance_grid(scores), out / stem, formats)
    return files


def summary(document: Document) -> list[str]:
    """Return a few lines on what one trace found."""
    effect = document.effect()
    segments = ", ".join(f"{n} {name}" for name, n in document.cte().segment_counts.items())
    dropped = Counter(drop.code for drop in document.dropped)
    lost = ", ".join(f"{count} {code}" for code, count in dropped.items()) or "none"
    lines = [f"{effect.direction}: {effect.n} pairs ({segments}); dropped: {lost}"]
    if effect.estimator != "exact":
        lines.append(f"  an APPROXIMATION by {effect.estimator}{_checked(document)}")
    for one in document.scores:
        if one.condition is None:
            best = max(zip(one.values, one.layers, strict=True))
            lines.append(f"  {one.method:10} peaks at {best[1]} ({best[0]:.3f}); {one.note}")
    return lines


def _checked(document: Document) -> str:
    """Say how the estimates compare with what was run exactly."""
    found: Any = document.provenance.config.get("verified")
    if not found:
        return "; none of it was checked"
    correlation = ", ".join(
        f"{name} {found[name]:.2f}" for name in ("pearson", "spearman") if found[name] is not None
    )
    return f"; {found['top']} largest and {found['random']} random cells run exactly: {correlation}"
