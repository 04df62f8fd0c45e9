"""The command that trains a model by its layer scores."""

__all__ = ["Finetune"]

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from negtrace.cli.models import Model
from negtrace.cli.printing import say, say_written
from negtrace.cli.settings import settings


@dataclass(frozen=True, kw_only=True)
class Finetune(Model):
    """Fine-tune a model's text tower, each block scaled by its layer score; before and after."""

    cte: Path
    """A CTE JSON of this very model, as `negtrace trace` writes it."""
    method: str = "transport"
    """Which of its layer scores: nast, std, cue, transport or component."""
    data: str = "phantom"
    """`phantom`, `text`, or a JSONL file of claim sets."""
    out: Path = Path("negtrace-out")
    """Folder of one run: checkpoints, weights, report. The same again goes on where it stopped."""
    mode: Literal["lr", "grad"] = "lr"
    """Scale learning rates, or gradients as NAST does (which Adam undoes)."""
    weighting: str = "scored"
    """scored, or a control: uniform, permuted, inverted, top, front."""
    beta: float = 1.0
    """Sharpness of alpha ** beta; 0 is uniform."""
    floor: float = 0.1
    """Least multiplier, before the budget is equalised."""
    adapter: Literal["lora", "full"] = "lora"
    """Low-rank adapters, or all of the blocks' weights."""
    steps: int = 300
    """Updates."""
    batch: int = 32
    """Claim sets a step."""
    rate: float = 1e-3
    """Peak learning rate of a block whose multiplier is 1."""
    balance: float = 0.5
    """Weight of the contrastive loss; the claims' is the rest to 1."""
    keep: float = 0.0
    """Weight of a term that keeps captions which deny nothing where they were."""
    seed: int = 0
    """Of the data, their order and the adapters."""
    count: int = 600
    """Questions of the benchmark before and after; 0 for neither benchmark nor trace."""
    questions: Literal["phantom", "text"] | None = None
    """What they are about; where it is not said, the phantom's films for it, texts for others."""
    trainer: tuple[str, ...] = ()
    """Further arguments of transformers' Trainer: bf16=true report_to=wandb."""

    def run(self) -> None:
        """Train, measure, write, and say what came out."""
        from negtrace.finetune import Study, selective_finetune
        from negtrace.schema.files import require_writable

        require_writable(self.out)
        found = selective_finetune(
            self.load(),
            self.data,
            self.cte,
            method=self.method,
            out=self.out,
            study=Study(count=self.count, data=self.questions)
            if self.count
            else Study(suites=(), pairs=0),
            trainer=settings(self.trainer),
            mode=self.mode,
            weighting=self.weighting,
            beta=self.beta,
            floor=self.floor,
            adapter=self.adapter,
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            balance=self.balance,
            keep=self.keep,
            seed=self.seed,
        )
        say(*found.lines())
        say_written(self.out)
