"""Multipliers by block name into what optimizers, peft, the Trainer and spreadsheets take."""

__all__ = [
    "blocks_of",
    "gradient_scaling",
    "optimizers",
    "param_groups",
    "peft_patterns",
    "read_scales",
    "sizes_of",
    "write_table",
]

import csv
import io
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from negtrace._files import write_bytes
from negtrace._messages import listed
from negtrace.errors import FinetuneError, NegtraceWarning
from negtrace.results.cte_json import read_json
from negtrace.training.multipliers import Weighing, scales

if TYPE_CHECKING:
    from torch import nn

WRAPPERS = ("module.", "_orig_mod.", "base_model.model.")
"""How DistributedDataParallel, torch.compile and peft name what they wrap."""

Named = Iterable[tuple[str, "nn.Parameter"]]


def read_scales(
    path: Path | str,
    method: str,
    **how: Unpack[Weighing],
) -> dict[str, float]:
    """Return the multiplier of each block from a CTE JSON, weighted as by `weightings.scales`.

    A ranking that is not stable is warned of, with the figure.

    Raises:
        CTEError: when the file cannot be read, or has no such layer scores.
    """
    scores = read_json(path).layer_scores(method)
    if not scores.stable:
        warnings.warn(f"{method}: {scores.note}", NegtraceWarning, stacklevel=2)
    return scales(scores, **how)


def blocks_of(
    named: Named, blocks: Iterable[str], *, prefix: str = ""
) -> dict[str | None, list[tuple[str, "nn.Parameter"]]]:
    """Return the trainable weights of each block, and under None those of no block.

    Args:
        named: `module.named_parameters()`.
        blocks: names as in `named_modules()` of the module that was traced.
        prefix: where that module is in this one, such as `text_tower.`.

    Raises:
        FinetuneError: when no weight, frozen ones included, is in one of the blocks.
    """
    wanted = {f"{prefix}{block}.": block for block in blocks}
    found: dict[str | None, list[tuple[str, nn.Parameter]]] = {b: [] for b in wanted.values()}
    found[None] = []
    seen: set[str] = set()
    for name, weight in named:
        bare = _unwrapped(name)
        block = next((b for start, b in wanted.items() if bare.startswith(start)), None)
        seen |= {block} if block is not None else set()
        if weight.requires_grad:
            found[block].append((name, weight))
    if missing := [block for block in wanted.values() if block not in seen]:
        raise FinetuneError(
            f"the module has no weight in {listed(missing)}: the scores are of another model, or "
            "it is nested (give prefix=)"
        )
    return found


def _unwrapped(name: str) -> str:
    while any(name.startswith(wrapper) for wrapper in WRAPPERS):
        name = next(name.removeprefix(w) for w in WRAPPERS if name.startswith(w))
    return name


def sizes_of(module: "nn.Module", blocks: Iterable[str], *, prefix: str = "") -> dict[str, int]:
    """Return the number of trainable weights of each block, for an equal budget."""
    found = blocks_of(module.named_parameters(), blocks, prefix=prefix)
    return {
        block: sum(weight.numel() for _, weight in weights)
        for block, weights in found.items()
        if block is not None
    }


def param_groups(
    module: "nn.Module | Named",
    scales: Mapping[str, float],
    *,
    rate: float,
    weight_decay: float = 0.0,
    prefix: str = "",
) -> list[dict[str, Any]]:
    """Return a torch optimizer's param groups: a block's rate is `rate` times its multiplier.

    Biases and norms (weights of one dimension) do not decay. Schedulers of torch multiply each
    group's own rate, so the ratios hold at every step.

    Args:
        module: any module, or its named parameters.
        scales: multiplier by block name; of a block of 0 nothing changes.
        rate: learning rate at a multiplier of 1, and of what is in no block.
        weight_decay: of matrices.
        prefix: as for `blocks_of`.

    Raises:
        FinetuneError: when a block is not in the module.
    """
    named = module.named_parameters() if hasattr(module, "named_parameters") else module
    groups = []
    for block, weights in blocks_of(named, scales, prefix=prefix).items():
        scale = 1.0 if block is None else scales[block]
        for matrices in (True, False):
            chosen = [weight for _, weight in weights if (weight.ndim > 1) == matrices]
            # Decay is none of the gradient's: it would move a block whose gradient is scaled to 0.
            decay = weight_decay if matrices and scale else 0.0
            if chosen:
                name = block or "rest"
                groups.append(
                    {"params": chosen, "lr": rate * scale, "weight_decay": decay, "name": name}
                )
    return groups


def optimizers(
    module: "nn.Module", scales: Mapping[str, float], args: Any, *, prefix: str = ""
) -> tuple[Any, None]:
    """Return what `transformers.Trainer(optimizers=...)` takes: an optimizer scaled by block.

    Args:
        module: the model that the Trainer trains.
        scales: multiplier by block name.
        args: `transformers.TrainingArguments`; says the optimizer, its rate and decay.
        prefix: as for `blocks_of`.
    """
    from negtrace.training.scaled_gradients import optimizer_of

    groups = param_groups(
        module, scales, rate=args.learning_rate, weight_decay=args.weight_decay, prefix=prefix
    )
    return optimizer_of(groups, args), None


def gradient_scaling(module: "nn.Module", scales: Mapping[str, float], *, prefix: str = "") -> Any:
    """Return a `transformers.TrainerCallback` that multiplies each block's gradient (NAST).

    Once an update, after accumulation and clipping, so neither undoes it. It warns under an
    optimizer of the Adam family, which divides the multiplier out again.
    """
    from negtrace.training.scaled_gradients import GradientScaling

    found = blocks_of(module.named_parameters(), scales, prefix=prefix)
    weights = {b: [w for _, w in named] for b, named in found.items() if b is not None}
    return GradientScaling(weights, scales)


def peft_patterns(
    scales: Mapping[str, float], *, rank: int = 8, alpha: float = 16.0
) -> dict[str, Any]:
    """Return options of `peft.LoraConfig`: each block's rank goes with its multiplier.

    `rank_pattern` and `alpha_pattern` keep alpha / rank the same in every block, so that ranks
    alone differ. A block has a rank of 1 at least; one of multiplier 0 is in `exclude_modules`.
    """
    ranks = {block: max(1, round(rank * scale)) for block, scale in scales.items() if scale}
    keys = {block: rf"{re.escape(block)}\..+" for block in scales}
    options: dict[str, Any] = {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {keys[block]: own for block, own in ranks.items()},
        "alpha_pattern": {keys[block]: alpha * own / rank for block, own in ranks.items()},
    }
    if out := [keys[block] for block, scale in scales.items() if not scale]:
        options["exclude_modules"] = rf"(.*\.)?(?:{'|'.join(out)})"
    return options


def write_table(scales: Mapping[str, float], path: Path | str) -> Path:
    """Write a CSV of `block` and `scale`, which any tool reads.

    Raises:
        OutputError: when the place cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerows([("block", "scale"), *scales.items()])
    return write_bytes(Path(path), text.getvalue().encode())
