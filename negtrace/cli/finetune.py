"""Commands that train a model, and that interpolate between before and after a training."""

__all__ = ["Finetune", "Interpolate"]

from dataclasses import dataclass, field, replace
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

    cte: Path | None = None
    """CTE JSON of this very model, as `negtrace trace` writes it. Needed for the objective claims;
    without it, the others train all blocks alike."""
    data: Annotated[str | None, named("negtrace.training:TRAINING_DATA")] = None
    """Name of ready-made training data, or a JSONL file of claim sets, for the objective claims.
    By default phantom."""
    texts: Annotated[str | None, named("negtrace.training:TRAINING_TEXTS")] = None
    """Texts without labels, for the other objectives: a file or folder of reports, or the name of
    ready-made ones. By default findings."""
    complements: Path | None = None
    """JSONL file of denials and texts that say the same without one, for the objective complements.
    By default the shipped ones."""
    images: Path | None = None
    """Folder of unlabelled images. With it, lessons compare scores instead of embeddings."""
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
        data = "phantom" if "claims" in self.config.objectives else None
        result = selective_finetune(
            self.load(),
            self.data or data,
            self.cte,
            self._config(),
            texts=self.texts,
            complements=self.complements,
            images=self.images or (),
            out=self.out,
            evaluation=Evaluation(count=self.count, data=self.questions)
            if self.count
            else NO_EVALUATION,
            trainer=settings(self.trainer),
            overwrite=self.overwrite,
        )
        say(*result.lines())
        say_written(self.out)

    def _config(self) -> FinetuneConfig:
        """Return the settings, without the default layer scores where there is no CTE JSON."""
        if self.cte is None and self.config.method == FinetuneOptions.method:
            return replace(self.config, method=None)
        return self.config


@dataclass(frozen=True, kw_only=True)
class Interpolate(Model):
    """Write a model between before and after a training: at a given share, or the best of a curve.

    Without --t, models from 0 to 1 are measured, and one is chosen: the best in negated wording of
    those that keep the rest. Its figures are then taken on other questions.
    """

    after: str
    """The model after the training: a folder such as tuned/adapter, or a name."""
    t: float | None = None
    """Share of the training in the weights, 0 to 1; not given: measure a curve, and choose."""
    within: float = 0.01
    """Largest fall of affirmative accuracy and of R@5 in the choice."""
    count: int = 600
    """Number of questions."""
    seed: int = 0
    """Seed of the questions that are reported."""
    choice_seed: int = 11
    """Seed of the questions that the choice is made on."""
    out: Path = Path("negtrace-interpolated")
    """Folder for the model, the curve and its figure."""
    overwrite: bool = False
    """Start anew, and replace what the folder holds."""

    def run(self) -> None:
        """Interpolate, measure where no share is given, write, and print the curve."""
        from negtrace.encoders.load import load
        from negtrace.experiments import Evaluation, interpolation_curve
        from negtrace.results.run_folder import RunFolder
        from negtrace.training import interpolate, write_model

        before, after = self.load(), load(self.after, self.options())
        if self.t is None:
            suites = ("polarity", "retrieval")
            curve = interpolation_curve(
                before,
                after,
                within=self.within,
                evaluation=Evaluation(suites=suites, count=self.count, seed=self.seed, pairs=0),
                choice_seed=self.choice_seed,
                out=self.out,
                overwrite=self.overwrite,
            )
            say(*curve.lines())
        else:
            between = interpolate(before, after, self.t)
            folder = RunFolder(self.out, "interpolate")
            with folder.held():
                run = {"before": before.digest, "after": after.digest, "t": self.t}
                folder.reserve(run, ("model",), overwrite=self.overwrite)
                write_model(between, self.out / "model")
        say_written(self.out)
