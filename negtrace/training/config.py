"""Settings of a fine-tuning, and among them the settings of its multipliers."""

__all__ = ["FinetuneConfig", "MultiplierOptions"]

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from negtrace.errors import FinetuneError

if TYPE_CHECKING:
    from negtrace.training.multipliers import Weighting

TAUGHT = ("reflection", "projection")
"""Corrections that can be taught."""

OBJECTIVES = ("claims", *TAUGHT, "complements")

SHARED = ("beta", "floor", "k", "seed")
"""Options that are handed to the weighting if it has a setting of that name."""


@dataclass(frozen=True, kw_only=True)
class MultiplierOptions:
    """Settings that turn layer scores into multipliers.

    Raises:
        UnknownNameError: for a weighting that is not registered.
        FinetuneError: for an option out of its range, or one that the weighting does not have.
    """

    weighting: str = "scored"
    """Way to turn layer scores into multipliers; all but `scored` are controls."""
    beta: float = 1.0
    """Sharpness of alpha ** beta; 0 is uniform."""
    floor: float = 0.1
    """Least multiplier before the budget is equalised; 0 freezes the lowest block."""
    k: int = 3
    """Number of blocks that `top` and `front` train."""
    seed: int = 0
    """Seed of `permuted`; the other weightings are the same with every seed."""
    equal_budget: bool = True
    """Bring the mean of the multipliers over the trainable weights to 1, for a fair comparison."""

    def __post_init__(self) -> None:
        self.chosen()

    def chosen(self) -> "Weighting":
        """Return the weighting with its settings."""
        # Imported here, so that the command line need not wait for NumPy.
        from negtrace.training.multipliers import WEIGHTINGS

        kind = WEIGHTINGS[self.weighting]
        settings = {field.name for field in fields(kind)}  # type: ignore[arg-type]
        for name in sorted({*SHARED} & {*self.changed()} - settings):
            known = ", ".join(sorted(settings)) or "none"
            raise FinetuneError(
                f"{name} is {getattr(self, name)}, but the weighting {self.weighting!r} has no "
                f"such setting (its settings: {known}); leave {name} out, or choose another "
                "weighting"
            )
        return kind(**{name: getattr(self, name) for name in SHARED if name in settings})

    def changed(self) -> list[str]:
        """Return the names of the multiplier options that are not at their defaults.

        The seed is not among them: it may be set for the sake of something else.
        """
        return [
            field.name
            for field in fields(MultiplierOptions)
            if field.name != "seed" and getattr(self, field.name) != field.default
        ]


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(MultiplierOptions):
    """Settings of a fine-tuning: scaling of the blocks, trained weights, loss and training.

    Raises:
        UnknownNameError: for a weighting that is not registered.
        FinetuneError: for a setting out of its range, or one that nothing would use.
    """

    method: str | None = None
    """Layer scores of a CTE JSON to use; None when layer scores or multipliers are given."""
    objective: str = "claims"
    """Goal of the training: `claims` (labelled statements), `reflection` or `projection` (texts
    without labels, to be embedded as that correction does), `complements` (denials, to be embedded
    as what they say in other words), or several joined by `+`. `both` is `claims+reflection`."""
    mode: Literal["lr", "grad"] = "lr"
    """Scale the learning rate of each block, or its gradient (as the NAST paper does)."""
    adapter: Literal["lora", "full"] = "lora"
    """Train low-rank adapters on the linear maps of the blocks, or all weights of the blocks."""
    rank: int = 8
    """Rank of the low-rank adapters."""
    lora_alpha: float = 16.0
    """Factor of the low-rank adapters; their output is multiplied by lora_alpha / rank."""
    balance: float = 0.5
    """Weight of the contrastive loss, 0 .. 1; the claim loss has the weight 1 - balance."""
    keep: float = 0.0
    """Weight of a third loss, which the paper does not have: 1 - cosine between the embeddings of
    affirmative texts (captions without a denial, text anchors) now and before training."""
    teach: float = 10.0
    """Weight of the loss of texts that deny something and are to get a target, when there are."""
    stay: float = 10.0
    """Weight of the loss of texts beside them that are to keep their embeddings."""
    strength: float | None = None
    """Strength of the correction that is taught; its own when not given."""
    joint: bool = False
    """Embed text anchors with the model in training; otherwise once, with the original model."""
    scale: float | None = None
    """Factor of the cosines in the losses; the model's own logit scale, or 20 if it has none."""
    steps: int = 300
    """Number of updates."""
    batch: int = 32
    """Number of claim sets per update and device."""
    rate: float = 1e-3
    """Highest learning rate of a block whose multiplier is 1."""
    warmup: float = 0.1
    """Share of the updates in which the rate rises; after that it falls linearly to 0."""
    optimizer: str = "adamw_torch"
    """Name of an optimizer, as in `transformers.TrainingArguments.optim`."""
    weight_decay: float = 0.0
    """Weight decay of matrices; a block with a multiplier of 0 does not decay either."""
    clip: float = 1.0
    """Largest norm of the whole gradient; 0 turns clipping off."""
    seed: int = 0
    """Seed of the data, their order, dropout, the adapters and `permuted`."""
    save_every: int = 100
    """Number of updates between checkpoints."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "batch", "rank", "save_every"):
            self._require(name, getattr(self, name) >= 1, "1 or more")
        self._require("balance", 0 <= self.balance <= 1, "0 .. 1")
        for name in ("keep", "stay"):
            self._require(name, getattr(self, name) >= 0, "0 or more")
        self._require("teach", self.teach > 0, "more than 0")
        self._require_objectives()
        self._require("rate", self.rate > 0, "more than 0")
        self._require("mode", self.mode in ("lr", "grad"), "lr or grad")
        self._require("adapter", self.adapter in ("lora", "full"), "lora or full")
        if self.adapter == "full":
            for name in ("rank", "lora_alpha"):
                default = getattr(FinetuneConfig, name)
                expected = f"{default}, the default: adapter='full' trains no low-rank adapters"
                self._require(name, getattr(self, name) == default, expected)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of what is trained on."""
        return tuple(self.objective.replace("both", "claims+reflection").split("+"))

    @property
    def correction(self) -> str | None:
        """Name of the correction that is taught, if one is."""
        return next((name for name in self.objectives if name in TAUGHT), None)

    def _require_objectives(self) -> None:
        chosen = self.objectives
        expected = f"one of {', '.join(OBJECTIVES)}, or several joined by +, each once"
        self._require("objective", {*chosen} <= {*OBJECTIVES}, expected)
        self._require("objective", len({*chosen}) == len(chosen), expected)
        one = f"one of {' and '.join(TAUGHT)} at most"
        self._require("objective", len({*chosen} & {*TAUGHT}) < 2, one)
        if self.correction is None:
            why = "none, because no correction is taught (objective)"
            self._require("strength", self.strength is None, why)
        elif self.strength is not None:
            self._require("strength", self.strength >= 0, "0 or more")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise FinetuneError(f"{name} is {getattr(self, name)!r}; expected {expected}")
