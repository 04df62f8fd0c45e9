"""See where a text encoder processes negation: causal tracing for vision-language models."""

__all__ = [
    "CTE",
    "Anchor",
    "Encoder",
    "Pair",
    "__version__",
    "check",
    "heatmap",
    "layer_importance",
    "layer_scores",
    "load",
    "radiology_pairs",
    "read_pairs",
    "trace",
    "wrap",
    "write_pairs",
]

import importlib
from typing import TYPE_CHECKING, Any

from negtrace.version import __version__

if TYPE_CHECKING:
    from negtrace.anchors import Anchor
    from negtrace.cte import CTE
    from negtrace.encoders.base import Encoder
    from negtrace.encoders.check import check
    from negtrace.encoders.wrap import wrap
    from negtrace.loading import load
    from negtrace.pair_sources import radiology_pairs
    from negtrace.pairs import Pair, read_pairs, write_pairs
    from negtrace.plots import heatmap, layer_importance
    from negtrace.scores import layer_scores
    from negtrace.tracing.trace import trace

_HOMES = {
    "CTE": "negtrace.cte",
    "Anchor": "negtrace.anchors",
    "Encoder": "negtrace.encoders.base",
    "Pair": "negtrace.pairs",
    "check": "negtrace.encoders.check",
    "heatmap": "negtrace.plots",
    "layer_importance": "negtrace.plots",
    "layer_scores": "negtrace.scores",
    "load": "negtrace.loading",
    "radiology_pairs": "negtrace.pair_sources",
    "read_pairs": "negtrace.pairs",
    "trace": "negtrace.tracing.trace",
    "wrap": "negtrace.encoders.wrap",
    "write_pairs": "negtrace.pairs",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import negtrace` alone loads nothing heavy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'negtrace' has no attribute {name!r}; see negtrace.__all__")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
