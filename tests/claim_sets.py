"""Claim sets that small models are fine-tuned on, and settings that take a second."""

from typing import Any

import numpy as np
import torch

from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.experiments import Evaluation
from negtrace.pairs.anchor import Anchor
from negtrace.results.layer_scores import LayerScores
from negtrace.training import FinetuneConfig

NO_EVALUATION = Evaluation(suites=(), pairs=0)

TERMS = ("effusion", "pneumothorax", "edema", "nodule", "fracture", "pneumonia")


def claim_sets(count: int = 12, *, images: bool = True, **changes: Any) -> list[ClaimSet]:
    """Return sets of statements of several lengths on random images, or on texts."""
    rng = np.random.default_rng(0)
    found = []
    for place in range(count):
        term = TERMS[place % len(TERMS)]
        pixels = rng.integers(0, 255, (32, 32), dtype=np.uint8)
        anchor = (
            Anchor(image=pixels) if images else Anchor(text=f"The {term} is seen {'.' * place}")
        )
        made: dict[str, Any] = {
            "id": str(place),
            "anchor": anchor,
            "right": f"There is no {term}.",
            "wrong": (("existence", f"There is some {term}."), ("existence", f"{term} seen")),
            "group": str(place),
            "caption": f"The chest is without {term}{', clear' * (place // len(TERMS))}.",
        }
        found.append(ClaimSet(**{**made, **changes}))
    return found


def quick(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig(
        **{"steps": 4, "batch": 6, "save_every": 2, "rate": 1e-2, "warmup": 0.0} | changes
    )


def ones(encoder: Encoder) -> dict[str, float]:
    return dict.fromkeys(encoder.block_names, 1.0)


def weights(encoder: Encoder) -> dict[str, torch.Tensor]:
    return {name: w.detach().clone() for name, w in encoder.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def layer_scores_of(layers: tuple[str, ...], alpha: list[float], **changes: Any) -> LayerScores:
    """Return layer scores with these weights, stable unless said otherwise."""
    values = np.array(alpha)
    made: dict[str, Any] = {
        "method": "transport",
        "layers": layers,
        "values": values,
        "low": values,
        "high": values,
        "alpha": values,
        "rank_stability": 0.97,
        "aggregate": "ratio_of_means",
        "segment": "all",
        "condition": None,
        "direction": "noising",
        "corruption": "swap",
        "unit": "logit",
        "model": "clip",
        "n": 20,
        "positions": "token",
        "window": 1,
        "estimator": "exact",
        "floor": 0.1,
        "below_floor": 0,
        "dropped": 0,
        "confidence": 0.95,
        "resamples": 100,
        "seed": 0,
    }
    return LayerScores(**{**made, **changes})
