"""The command `negtrace finetune`: train a model by its layer scores."""

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
class FinetuneOptions(FinetuneConfig):
    """Settings of the scaling, of the trained weights, of the loss and of the training."""

    method: Annotated[str | None, named("negtrace.results:LAYER_SCORES")] = "transport"
    weighting: Annotated[str, named("negtrace.training:WEIGHTINGS")] = "scored"


@dataclass(frozen=True, kw_only=True)
class Finetune(Model):
    """Fine-tune a model's text tower, each block scaled by its layer score."""

    cte: Path
    """CTE JSON of this very model, as `negtrace trace` writes it."""
    data: Annotated[str, named("negtrace.training:TRAINING_DATA")] = "phantom"
    """Name of ready-made training data, or a JSONL file of claim sets."""
    out: Path = Path("negtrace-out")
    """Folder of one run: checkpoints, weights, report. The same command again resumes the run."""
    count: int = 600
    """Number of questions before and after training; 0 for neither benchmark nor trace."""
    questions: Literal["phantom", "text"] | None = None
    """What the questions are about: synthetic radiographs or texts. By default radiographs for the
    phantom, and texts for every other model."""
    trainer: tuple[str, ...] = ()
    """Further arguments of transformers' Trainer, such as bf16=true report_to=wandb."""
    overwrite: bool = False
    """Start anew, and remove the run that the folder holds."""
    config: OmitArgPrefixes[FinetuneOptions] = field(default_factory=FinetuneOptions)

    def run(self) -> None:
        """Measure, train, measure again, write, and print the report."""
        from negtrace._files import require_writable
        from negtrace.experiments import NO_EVALUATION, Evaluation, selective_finetune

        require_writable(self.out)
        result = selective_finetune(
            self.load(),
            self.data,
            self.cte,
            self.config,
            out=self.out,
            evaluation=Evaluation(count=self.count, data=self.questions)
            if self.count
            else NO_EVALUATION,
            trainer=settings(self.trainer),
            overwrite=self.overwrite,
        )
        say(*result.lines())
        say_written(self.out)
