"""Claim sets that small models are fine-tuned on, and settings that take a second."""

from typing import Any

import numpy as np
import torch

from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.experiments import NO_EVALUATION as NO_EVALUATION
from negtrace.pairs.anchor import Anchor
from negtrace.results.layer_scores import LayerScores
from negtrace.results.options import ReduceOptions
from negtrace.training import FinetuneConfig

TERMS = ("effusion", "pneumothorax", "edema", "nodule", "fracture", "pneumonia")


def claim_sets(count: int = 12, *, images: bool = True, **changes: Any) -> list[ClaimSet]:
    """Return sets of statements of several lengths, about random images or about texts."""
    rng = np.random.default_rng(0)
    sets = []
    for number in range(count):
        term = TERMS[number % len(TERMS)]
        pixels = rng.integers(0, 255, (32, 32), dtype=np.uint8)
        text = f"The {term} is seen {'.' * number}"
        fields: dict[str, Any] = {
            "id": str(number),
            "anchor": Anchor(image=pixels) if images else Anchor(text=text),
            "right": f"There is no {term}.",
            "wrong": (("existence", f"There is some {term}."), ("existence", f"{term} seen")),
            "group": str(number),
            "caption": f"The chest is without {term}{', clear' * (number // len(TERMS))}.",
        }
        sets.append(ClaimSet(**{**fields, **changes}))
    return sets


def quick(**changes: Any) -> FinetuneConfig:
    """Return settings of a training that takes a second."""
    return FinetuneConfig(
        **{"steps": 4, "batch": 6, "save_every": 2, "rate": 1e-2, "warmup": 0.0} | changes
    )


def ones(encoder: Encoder) -> dict[str, float]:
    """Return a multiplier of 1 for each block."""
    return dict.fromkeys(encoder.block_names, 1.0)


def weights(encoder: Encoder) -> dict[str, torch.Tensor]:
    """Return a copy of every weight of a model by name."""
    return {name: w.detach().clone() for name, w in encoder.model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Tell whether two models have the same weights, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def layer_scores_of(layers: tuple[str, ...], alpha: list[float], **changes: Any) -> LayerScores:
    """Return stable layer scores with this alpha."""
    values = np.array(alpha)
    fields: dict[str, Any] = {
        "method": "transport",
        "layers": layers,
        "values": values,
        "low": values,
        "high": values,
        "alpha": values,
        "rank_stability": 0.97,
        "direction": "noising",
        "corruption": "swap",
        "unit": "logit",
        "model": "clip",
        "n": 20,
        "negated": 10,
        "positions": "token",
        "window": 1,
        "estimator": "exact",
        "below_floor": 0,
        "dropped": 0,
        "options": ReduceOptions(floor=0.1, resamples=100),
    }
    return LayerScores(**{**fields, **changes})
