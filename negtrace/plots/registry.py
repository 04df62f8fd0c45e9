"""Registry of plots: what `negtrace plot` draws of CTE JSON files.

A plot is a function. It takes one document, or two of both directions with denoising first, and
returns figures by the name of their file without its ending; none where it does not apply.
"""

__all__ = ["PLOTS"]

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from negtrace._registry import Registry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from negtrace.results.cte_json import Document

Plot: TypeAlias = "Callable[[Sequence[Document]], Mapping[str, Figure]]"

PLOTS: "Registry[Plot]" = Registry(
    "plot",
    {
        "heatmap": "negtrace.plots.heatmaps",
        "layer_importance": "negtrace.plots.layers",
        "head_heatmap": "negtrace.plots.heads",
    },
)
"""Plots by name; the built-in ones are imported when they are drawn."""
