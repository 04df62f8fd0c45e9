"""A fine-tuning proper: multipliers, training, and how far each block moved."""

__all__ = ["Fit", "Scored", "fit"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from negtrace.datasets.claim_sets import ClaimSet
from negtrace.encoders.base import Encoder
from negtrace.results.layer_scores import LayerScores
from negtrace.training import gradient_scaling, optimizers, sizes_of
from negtrace.training.adapters import adapting
from negtrace.training.batches import prepare
from negtrace.training.change import Change, change_of, snapshot
from negtrace.training.config import FinetuneConfig
from negtrace.training.multipliers import scales
from negtrace.training.objective import Objective
from negtrace.training.trainer import seeded, train

Scored = LayerScores | Mapping[str, float]
"""Layer scores, or a multiplier for each block by its name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """What came of a training."""

    scales: Mapping[str, float]
    losses: tuple[Mapping[str, float], ...]
    change: Change


def fit(
    encoder: Encoder,
    sets: Sequence[ClaimSet],
    scores: Scored,
    config: FinetuneConfig,
    args: Any,
    out: Path | None,
) -> Fit:
    """Train the encoder in place, and write the weights into `out` where there is one.

    Args:
        encoder: what to train.
        sets: usable claim sets.
        scores: of the encoder's blocks.
        config: the settings.
        args: `transformers.TrainingArguments`.
        out: folder for `adapter` or `model`.
    """
    before = snapshot(encoder.model, encoder.block_names)
    with seeded(config.seed):
        encoder.model.to(args.device)
        examples = prepare(encoder, sets, joint=config.joint, keep=config.keep > 0)
        with adapting(encoder, config) as weights:
            multipliers = _multipliers(encoder, scores, config)
            losses = train(
                Objective(encoder, weights.trained, config),
                examples,
                args,
                **_scaled(encoder.model, multipliers, config.mode, args),
            )
            if out is not None and args.should_save:
                weights.write(out / ("adapter" if config.adapter == "lora" else "model"))
            weights.finish()
    change = change_of(encoder.model, encoder.block_names, before)
    return Fit(scales=multipliers, losses=tuple(losses), change=change)


def _scaled(
    model: nn.Module, multipliers: Mapping[str, float], mode: str, args: Any
) -> dict[str, Any]:
    """Return the optimizer, and the callback that scales gradients if they are what is scaled."""
    if mode == "lr":
        return {"optimizers": optimizers(model, multipliers, args)}
    # A rate of 1 everywhere but in blocks of 0, which weight decay must not move either.
    plain = {block: float(scale > 0) for block, scale in multipliers.items()}
    return {
        "optimizers": optimizers(model, plain, args),
        "callbacks": [gradient_scaling(model, multipliers)],
    }


def _multipliers(encoder: Encoder, scores: Scored, config: FinetuneConfig) -> dict[str, float]:
    if not isinstance(scores, LayerScores):
        return {block: float(scores[block]) for block in encoder.block_names}
    found = scales(
        scores,
        config.weighting,
        beta=config.beta,
        floor=config.floor,
        k=config.k,
        seed=config.seed,
        sizes=sizes_of(encoder.model, encoder.block_names),
        equal_budget=config.equal_budget,
    )
    return {block: found[block] for block in encoder.block_names}
