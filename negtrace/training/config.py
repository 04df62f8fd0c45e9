"""The settings of a fine-tuning."""

__all__ = ["FinetuneConfig"]

from dataclasses import dataclass
from typing import Literal

from negtrace.errors import FinetuneError


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How blocks are scaled, what is trained, on which loss, and for how long."""

    mode: Literal["lr", "grad"] = "lr"
    """Scale each block's learning rate, or its gradient (NAST to the letter; see the docs)."""
    weighting: str = "scored"
    """Way to turn layer scores into multipliers; all but `scored` are controls."""
    beta: float = 1.0
    """Sharpness of alpha ** beta; 0 is uniform."""
    floor: float = 0.1
    """Least multiplier before the budget is equalised; 0 would freeze the lowest block."""
    k: int = 3
    """Blocks that `top` and `front` train."""
    equal_budget: bool = True
    """Bring the multipliers' mean over the trainable weights to 1, for a fair comparison."""
    adapter: Literal["lora", "full"] = "lora"
    """Low-rank adapters on the blocks' linear maps, or all of the blocks' weights."""
    rank: int = 8
    """Of the low-rank adapters."""
    lora_alpha: float = 16.0
    """What an adapter's output is multiplied by, times its rank."""
    balance: float = 0.5
    """Lambda: weight of the contrastive loss; the claims' is 1 - lambda."""
    keep: float = 0.0
    """Weight of a third term, none in the paper: 1 - cosine of what affirms (captions that deny
    nothing, text anchors) to what it was before."""
    joint: bool = False
    """Embed text anchors with the tower as it is being trained; else with the original, once."""
    scale: float | None = None
    """What a cosine is multiplied by in the losses; the model's own, or 20 where it has none."""
    steps: int = 300
    """Updates."""
    batch: int = 32
    """Claim sets a step on each device."""
    rate: float = 1e-3
    """Peak learning rate of a block whose multiplier is 1."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises; then it falls to 0 in a line."""
    optimizer: str = "adamw_torch"
    """A name that `transformers.TrainingArguments.optim` knows."""
    weight_decay: float = 0.0
    """Of AdamW; a block of multiplier 0 is not decayed either."""
    clip: float = 1.0
    """Largest norm of the whole gradient; 0 does not clip."""
    seed: int = 0
    """Of the data, their order, dropout, the adapters and `permuted`."""
    save_every: int = 100
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        # Imported here, so that the command line need not wait for NumPy.
        from negtrace.training.multipliers import WEIGHTINGS

        _ = WEIGHTINGS[self.weighting]
        for name in ("steps", "batch", "rank", "save_every", "k"):
            if getattr(self, name) < 1:
                raise FinetuneError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.balance <= 1:
            raise FinetuneError(f"balance is {self.balance}; expected 0 .. 1")
        if self.keep < 0 or self.rate <= 0:
            raise FinetuneError(f"keep {self.keep}, rate {self.rate}; expected >= 0 and > 0")
        for name, known in (("mode", ("lr", "grad")), ("adapter", ("lora", "full"))):
            if getattr(self, name) not in known:
                raise FinetuneError(
                    f"{name} is {getattr(self, name)!r}; expected {' or '.join(known)}"
                )
