"""One fine-tuning: multipliers, training, and the change of every block."""

__all__ = ["BlockScores", "Fit", "fit", "require_trainable"]

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import nn

from negtrace._messages import excerpt
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError
from negtrace.results.layer_scores import LayerScores
from negtrace.training.adapters import (
    require_no_adapters,
    require_trainable_weights,
    trainable_weights,
)
from negtrace.training.change import Change, change_of, snapshot
from negtrace.training.config import FinetuneConfig
from negtrace.training.gradient_scaling import gradient_scaling
from negtrace.training.material import Material, rows_of
from negtrace.training.multipliers import multipliers, require_names
from negtrace.training.names import renamed
from negtrace.training.objective import Objective
from negtrace.training.param_groups import sizes_of
from negtrace.training.trainer import optimizers, seeded, train

BlockScores = LayerScores | Mapping[str, float]
"""Layer scores, or the multiplier of each block by name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """Results of a training."""

    multipliers: Mapping[str, float]
    """Multiplier of each block by name."""
    losses: tuple[Mapping[str, float], ...]
    """Losses, learning rate and gradient norm, an entry for each logged step."""
    change: Change


def require_trainable(encoder: Encoder, scores: BlockScores, config: FinetuneConfig) -> None:
    """Refuse what `fit` could not train, before any work. The model stays as it is.

    Raises:
        ExtraError: when peft is not installed, and low-rank adapters are to be trained.
        FinetuneError: for a model in half precision, a weighting that does not fit, and multipliers
            that are no numbers from 0 on.
        EncoderError: for LoRA, when no block has a linear map.
    """
    require_trainable_weights(encoder, config)
    if isinstance(scores, LayerScores):
        multipliers(scores, config.chosen(), equal_budget=config.equal_budget)
    else:
        _require_multipliers(scores)


def fit(
    encoder: Encoder,
    material: Material,
    scores: BlockScores,
    config: FinetuneConfig,
    args: Any,
    out: Path | None,
) -> Fit:
    """Train the encoder in place, and write the trained weights if there is a folder for them.

    After an error or an interruption the encoder's model is as before. After a training only the
    values of the weights in the blocks differ.

    Args:
        encoder: the encoder to train.
        material: what it is trained on.
        scores: layer scores or multipliers of the encoder's blocks.
        config: the settings.
        args: `transformers.TrainingArguments`.
        out: folder for `adapter` or `model`.

    Raises:
        FinetuneError: when the training cannot start, or the loss or a weight becomes NaN or
            infinite.
    """
    require_no_adapters(encoder)
    before = snapshot(encoder.model, encoder.block_names)
    with seeded(config.seed), _moved(encoder.model, encoder.device, args.device):
        rows = rows_of(encoder, material, config)
        with trainable_weights(encoder, config) as weights:
            scaling = _multipliers(encoder, scores, config)
            losses = train(
                Objective(encoder, weights.named, config),
                rows,
                args,
                **_scaled(encoder.model, scaling, config.mode, args),
            )
            if out is not None and args.should_save:
                weights.write(out / ("adapter" if config.adapter == "lora" else "model"))
            weights.finish()
    change = change_of(encoder.model, encoder.block_names, before)
    return Fit(multipliers=scaling, losses=tuple(losses), change=change)


@contextmanager
def _moved(model: nn.Module, start: torch.device, device: torch.device) -> Iterator[None]:
    """Move a model to a device, and back afterwards."""
    model.to(device)
    try:
        yield
    finally:
        model.to(start)


def _scaled(model: nn.Module, scaling: Mapping[str, float], mode: str, args: Any) -> dict[str, Any]:
    """Return the options of `train` that scale learning rates or gradients by block."""
    if mode == "lr":
        return {"optimizers": optimizers(model, scaling, args)}
    # The rate is 0 in blocks with a multiplier of 0, so that weight decay does not move them.
    on_or_off = {block: float(multiplier > 0) for block, multiplier in scaling.items()}
    return {
        "optimizers": optimizers(model, on_or_off, args),
        "callbacks": [gradient_scaling(model, scaling)],
    }


def _multipliers(encoder: Encoder, scores: BlockScores, config: FinetuneConfig) -> dict[str, float]:
    """Return the multiplier of each block, in the order of the encoder's blocks."""
    scored = scores.layers if isinstance(scores, LayerScores) else tuple(scores)
    require_names(scored, encoder.block_names, encoder.name)
    sizes = sizes_of(encoder.model, encoder.block_names)
    names = renamed(scored, encoder.block_names) or {}
    given: Mapping[str, float] = (
        multipliers(
            scores,
            config.chosen(),
            sizes={name: sizes[block] for name, block in names.items()},
            equal_budget=config.equal_budget,
        )
        if isinstance(scores, LayerScores)
        else scores
    )
    by_block = {block: float(given[name]) for name, block in names.items()}
    return {block: by_block[block] for block in encoder.block_names}


def _require_multipliers(given: Mapping[str, float]) -> None:
    """Refuse multipliers that are no numbers from 0 on, or that would train nothing."""
    for block, value in given.items():
        if not (isinstance(value, Real) and isfinite(value) and value >= 0):
            raise FinetuneError(
                f"the multiplier of {excerpt(block)} is {excerpt(value)}; expected a number of 0 "
                "or more"
            )
    if not any(given.values()):
        raise FinetuneError("every multiplier is 0, so nothing would be trained; give larger ones")
