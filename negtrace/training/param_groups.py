"""Multipliers for any trainer: param groups for torch, ranks for peft, a table for the rest.

Blocks are found by name, never by their order. The names are those of `named_modules()` of the
module that was traced. What wrappers add to a name makes no difference, on either side.
"""

__all__ = [
    "param_groups",
    "peft_patterns",
    "read_multipliers",
    "sizes_of",
    "weights_by_block",
    "write_multipliers",
]

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from negtrace._files import write_csv
from negtrace.errors import NegtraceWarning
from negtrace.results.cte_json import read_json
from negtrace.training.multipliers import Weighting, multipliers
from negtrace.training.names import blocks_of, name_pattern

if TYPE_CHECKING:
    from torch import nn

NamedWeights = Iterable[tuple[str, "nn.Parameter"]]


def read_multipliers(
    path: Path | str,
    method: str,
    weighting: Weighting | str = "scored",
    *,
    sizes: Mapping[str, int] | None = None,
    equal_budget: bool = True,
) -> dict[str, float]:
    """Return the multiplier of each block from the layer scores in a CTE JSON.

    A ranking that is not stable gives a warning with its rank stability.

    Args:
        path: the CTE JSON.
        method: which of its layer scores, such as `transport`.
        weighting: as for `multipliers`; so are `sizes` and `equal_budget`.

    Raises:
        CTEError: when the file cannot be read, or has no such layer scores.
        FinetuneError: when every multiplier is 0, or the weighting does not fit the scores.
        UnknownNameError: for a weighting that is not registered.
    """
    scores = read_json(path).layer_scores(method)
    if not scores.stable:
        warnings.warn(f"{method}: {scores.note}", NegtraceWarning, stacklevel=2)
    return multipliers(scores, weighting, sizes=sizes, equal_budget=equal_budget)


def weights_by_block(
    named: NamedWeights, blocks: Iterable[str], *, prefix: str = ""
) -> dict[str | None, list["nn.Parameter"]]:
    """Return the trainable weights of each block, and those outside the blocks under None.

    Args:
        named: `module.named_parameters()`.
        blocks: names of the blocks. Wrappers may stand anywhere in these names or in those of the
            weights: torch.compile, DataParallel, DistributedDataParallel, PeftModel.
        prefix: name of the traced module in this one with a dot, such as `text_tower.`.

    Raises:
        FinetuneError: when a block has no weight at all, not even a frozen one, or when its name
            without wrappers is that of two blocks.
    """
    weights, blocks = dict(named), list(blocks)
    trainable: dict[str | None, list[nn.Parameter]] = {block: [] for block in blocks}
    trainable[None] = []
    for name, block in blocks_of(weights, blocks, prefix=prefix).items():
        if weights[name].requires_grad:
            trainable[block].append(weights[name])
    return trainable


def sizes_of(module: "nn.Module", blocks: Iterable[str], *, prefix: str = "") -> dict[str, int]:
    """Return the number of trainable weights of each block, for an equal budget.

    Raises:
        FinetuneError: when a block is not in the module.
    """
    weights = weights_by_block(module.named_parameters(), blocks, prefix=prefix)
    return {
        block: sum(weight.numel() for weight in of_block)
        for block, of_block in weights.items()
        if block is not None
    }


def param_groups(
    module: "nn.Module | NamedWeights",
    multipliers: Mapping[str, float],
    *,
    rate: float,
    weight_decay: float = 0.0,
    prefix: str = "",
) -> list[dict[str, Any]]:
    """Return param groups for a torch optimizer, with the learning rate of each block scaled.

    The rate of a block is `rate` times its multiplier. Learning-rate schedulers of torch multiply
    the rate of every group, so the ratios stay the same at every step. Biases and norms (weights of
    one dimension) do not decay.

    Args:
        module: any module, or its named parameters.
        multipliers: multiplier of each block by name. A block with 0 does not change.
        rate: learning rate for a multiplier of 1, and of all weights outside the blocks.
        weight_decay: decay of matrices.
        prefix: name of the traced module in this one with a dot, such as `text_tower.`.

    Raises:
        FinetuneError: when a block is not in the module.
    """
    named = module.named_parameters() if hasattr(module, "named_parameters") else module
    groups = []
    for block, weights in weights_by_block(named, multipliers, prefix=prefix).items():
        multiplier = 1.0 if block is None else multipliers[block]
        for matrices in (True, False):
            params = [weight for weight in weights if (weight.ndim > 1) == matrices]
            # Decay does not depend on the gradient: it would move a block whose gradient is 0.
            decay = weight_decay if matrices and multiplier else 0.0
            if params:
                name = block or "rest"
                groups.append(
                    {
                        "params": params,
                        "lr": rate * multiplier,
                        "weight_decay": decay,
                        "name": name,
                    }
                )
    return groups


def peft_patterns(
    multipliers: Mapping[str, float], *, rank: int = 8, alpha: float = 16.0
) -> dict[str, Any]:
    """Return options of `peft.LoraConfig` that give each block a rank of `rank` x its multiplier.

    `rank_pattern` and `alpha_pattern` keep alpha / rank the same in every block, so that only the
    ranks differ. Ranks are rounded and at least 1. A block with a multiplier of 0 gets no adapter:
    it is listed in `exclude_modules`.
    """
    ranks = {block: max(1, round(rank * scale)) for block, scale in multipliers.items() if scale}
    patterns = {block: rf"{name_pattern(block)}\..+" for block in multipliers}
    options: dict[str, Any] = {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {patterns[block]: own_rank for block, own_rank in ranks.items()},
        "alpha_pattern": {
            patterns[block]: alpha * own_rank / rank for block, own_rank in ranks.items()
        },
    }
    if excluded := [patterns[block] for block, scale in multipliers.items() if not scale]:
        options["exclude_modules"] = rf"(.*\.)?(?:{'|'.join(excluded)})"
    return options


def write_multipliers(multipliers: Mapping[str, float], path: Path | str) -> Path:
    """Write a CSV with the columns `block` and `scale`, for a trainer outside Python.

    Raises:
        OutputError: when the file cannot be written.
    """
    return write_csv(Path(path), ("block", "scale"), multipliers.items())
