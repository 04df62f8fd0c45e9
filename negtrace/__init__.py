"""See where a text encoder processes negation: causal tracing for vision-language models."""

__all__ = [
    "CTE",
    "Anchor",
    "Claim",
    "Encoder",
    "Pair",
    "Prompt",
    "__version__",
    "all_layer_scores",
    "build_dataset",
    "check",
    "counterfactuals",
    "find_cues",
    "head_effect",
    "head_heatmap",
    "head_selectivity",
    "heatmap",
    "is_negated",
    "layer_importance",
    "layer_scores",
    "load",
    "radiology_pairs",
    "read_pairs",
    "selective_finetune",
    "trace",
    "wrap",
    "write_pairs",
]

from typing import TYPE_CHECKING

from negtrace.lazy import lazily
from negtrace.version import __version__

if TYPE_CHECKING:
    from negtrace.anchors import Anchor
    from negtrace.cte import CTE
    from negtrace.dataset.build import build_dataset
    from negtrace.encoders.base import Encoder
    from negtrace.encoders.check import check
    from negtrace.encoders.prompt import Prompt
    from negtrace.encoders.wrap import wrap
    from negtrace.finetune.selective import selective_finetune
    from negtrace.head_plots import head_heatmap
    from negtrace.heads import head_effect
    from negtrace.language.claims import Claim
    from negtrace.language.counterfactuals import counterfactuals
    from negtrace.language.cues import find_cues
    from negtrace.language.decisions import is_negated
    from negtrace.loading import load
    from negtrace.pair_sources import radiology_pairs
    from negtrace.pairs import Pair, read_pairs, write_pairs
    from negtrace.plots import heatmap, layer_importance
    from negtrace.scores import all_layer_scores, layer_scores
    from negtrace.tracing.selectivity import head_selectivity
    from negtrace.tracing.trace import trace

_HOMES = {
    "CTE": "negtrace.cte",
    "Anchor": "negtrace.anchors",
    "Claim": "negtrace.language.claims",
    "Encoder": "negtrace.encoders.base",
    "Pair": "negtrace.pairs",
    "Prompt": "negtrace.encoders.prompt",
    "all_layer_scores": "negtrace.scores",
    "build_dataset": "negtrace.dataset.build",
    "check": "negtrace.encoders.check",
    "counterfactuals": "negtrace.language.counterfactuals",
    "find_cues": "negtrace.language.cues",
    "head_effect": "negtrace.heads",
    "head_heatmap": "negtrace.head_plots",
    "head_selectivity": "negtrace.tracing.selectivity",
    "heatmap": "negtrace.plots",
    "is_negated": "negtrace.language.decisions",
    "layer_importance": "negtrace.plots",
    "layer_scores": "negtrace.scores",
    "load": "negtrace.loading",
    "radiology_pairs": "negtrace.pair_sources",
    "read_pairs": "negtrace.pairs",
    "selective_finetune": "negtrace.finetune.selective",
    "trace": "negtrace.tracing.trace",
    "wrap": "negtrace.encoders.wrap",
    "write_pairs": "negtrace.pairs",
}


_ROOMS = frozenset(
    {"bench", "dataset", "export", "finetune", "interop", "language", "phantom", "trainers"}
)


__getattr__ = lazily(__name__, _HOMES, _ROOMS)


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
