"""The command that trains a model by its layer scores."""

__all__ = ["Finetune"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes

from negtrace.cli.models import Model
from negtrace.cli.names import named
from negtrace.cli.printing import say, say_written
from negtrace.cli.settings import settings
from negtrace.training.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class Settings(FinetuneConfig):
    """How blocks are scaled, what is trained, on which loss, and for how long."""

    weighting: Annotated[str, named("negtrace.training:WEIGHTINGS")] = "scored"


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
    count: int = 600
    """Questions of the benchmark before and after; 0 for neither benchmark nor trace."""
    questions: Literal["phantom", "text"] | None = None
    """What they are about; where it is not said, the phantom's films for it, texts for others."""
    trainer: tuple[str, ...] = ()
    """Further arguments of transformers' Trainer: bf16=true report_to=wandb."""
    config: OmitArgPrefixes[Settings] = field(default_factory=Settings)

    def run(self) -> None:
        """Train, measure, write, and say what came out."""
        from negtrace._files import require_writable
        from negtrace.experiments import Evaluation, selective_finetune
        from negtrace.experiments.before_after import NO_EVALUATION

        require_writable(self.out)
        found = selective_finetune(
            self.load(),
            self.data,
            self.cte,
            method=self.method,
            out=self.out,
            evaluation=Evaluation(count=self.count, data=self.questions)
            if self.count
            else NO_EVALUATION,
            trainer=settings(self.trainer),
            config=self.config,
        )
        say(*found.lines())
        say_written(self.out)
