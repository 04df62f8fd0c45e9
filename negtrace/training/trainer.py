"""Training with transformers' Trainer: it resumes, accumulates, mixes precision and logs."""

__all__ = ["optimizers", "seeded", "train", "training_arguments"]

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.utils import SAFE_WEIGHTS_NAME

from negtrace.errors import FinetuneError, OutputError, require
from negtrace.training.config import FinetuneConfig
from negtrace.training.material import Rows
from negtrace.training.objective import LOSSES, Objective
from negtrace.training.param_groups import param_groups
from negtrace.training.trainer_options import honoured, refused_early, require_used

STATE = "trainer_state.json"
"""The file that transformers writes last of a checkpoint. Without it, the checkpoint is partial."""

LOGS = 20
"""How many times a run logs its losses."""


def training_arguments(
    config: FinetuneConfig,
    folder: Path,
    *,
    cpu: bool,
    save: bool,
    progress: bool,
    overrides: Mapping[str, Any] | None = None,
) -> Any:
    """Return `transformers.TrainingArguments` for a fine-tuning.

    Args:
        config: the settings.
        folder: folder of the checkpoints.
        cpu: stay on the CPU even where there is an accelerator.
        save: write checkpoints.
        progress: show a bar.
        overrides: further arguments. Those that the config decides are not among them.

    Raises:
        ExtraError: when accelerate, which the Trainer needs, is not installed.
        UnknownNameError: for an override that is no option of the Trainer.
        FinetuneError: for an override that would do nothing, that cannot work, or that the config
            decides; and for a setting that transformers refuses.
    """
    require("accelerate", extra="finetune")
    chosen = honoured(overrides or {}, cpu=cpu, save=save)
    options: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": config.steps,
        "per_device_train_batch_size": config.batch,
        "learning_rate": config.rate,
        "warmup_steps": round(config.warmup * config.steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip,
        "optim": config.optimizer,
        "seed": config.seed,
        "use_cpu": cpu,
        "dataloader_pin_memory": not cpu,
        "save_strategy": "steps" if save else "no",
        "save_steps": config.save_every,
        "save_total_limit": 2,
        "logging_steps": max(1, config.steps // LOGS),
        "logging_nan_inf_filter": False,
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": not progress,
        "ddp_find_unused_parameters": False,
    }
    with refused_early():
        args = TrainingArguments(**{**options, **chosen})
    require_used(args, chosen)
    if args.n_gpu > 1:  # The encoder is on one device. For several, start a process for each.
        args._n_gpu = 1
    return args


def optimizers(
    module: nn.Module, multipliers: Mapping[str, float], args: Any, *, prefix: str = ""
) -> tuple[torch.optim.Optimizer, None]:
    """Return what `transformers.Trainer(optimizers=...)` takes, learning rates scaled by block.

    The scheduler is None, so the Trainer makes its own.

    Args:
        module: the model that the Trainer trains.
        multipliers: multiplier of each block by name.
        args: `transformers.TrainingArguments`; they name the optimizer, its rate and its decay.
        prefix: name of the traced module in this one with a dot, such as `text_tower.`.

    Raises:
        FinetuneError: when a block is not in the module.
    """
    groups = param_groups(
        module, multipliers, rate=args.learning_rate, weight_decay=args.weight_decay, prefix=prefix
    )
    kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
    return kind(groups, **options), None


def train(
    objective: Objective,
    rows: Rows,
    args: Any,
    *,
    optimizers: tuple[torch.optim.Optimizer | None, None],
    callbacks: Sequence[TrainerCallback] = (),
) -> list[dict[str, float]]:
    """Train in place, from the last complete checkpoint if there is one.

    Args:
        objective: the trained weights and their loss.
        rows: the data.
        args: `transformers.TrainingArguments`.
        optimizers: as `transformers.Trainer(optimizers=...)`; None for the Trainer's own.
        callbacks: further callbacks of the Trainer.

    Returns:
        The logged losses, learning rate and gradient norm, an entry for each logged step.

    Raises:
        FinetuneError: when the loss or a weight becomes NaN or infinite; names the step and the
            last good checkpoint.
    """
    weights: list[Tensor] = list(objective.parameters())
    trainer = _Trainer(
        model=objective,
        args=args,
        data_collator=rows.inputs,
        train_dataset=rows,
        optimizers=optimizers,
        callbacks=[*callbacks, _Guard(weights, Path(args.output_dir))],
    )
    trainer.remove_callback(PrinterCallback)
    last = _last_checkpoint(Path(args.output_dir))
    state = TrainerState.load_from_json(str(last / STATE)) if last else TrainerState()
    if last and state.global_step >= args.max_steps:
        # A finished training: the Trainer would take one more step before it looks at the count.
        load_model(objective, last / SAFE_WEIGHTS_NAME)
    else:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        state = trainer.state
    # Sorted, as a checkpoint stores them.
    return [dict(sorted(entry.items())) for entry in state.log_history if "loss" in entry]


class _Trainer(Trainer):  # type: ignore[misc]
    """A Trainer that stops at a loss that is not finite, and logs the terms of the loss.

    A checkpoint that cannot be written is an OutputError, whatever library was writing.
    """

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        losses = model(**inputs)
        loss = losses["loss"]
        if not torch.isfinite(loss):
            raise FinetuneError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}; "
                f"{_advice(Path(self.args.output_dir))}"
            )
        self.terms = {name: losses[name] for name in LOSSES if name in losses}
        return (loss, losses) if options.get("return_outputs") else loss

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        try:
            super()._save_checkpoint(*args, **options)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise OutputError(
                f"cannot write a checkpoint into {self.args.output_dir}: "
                f"{str(error).splitlines()[0]}; make room there, and give the same call again to "
                "go on"
            ) from error

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        if "loss" in logs:
            logs.update({name: round(term.item(), 4) for name, term in self.terms.items()})
        super().log(logs, *args, **options)


class _Guard(TrainerCallback):  # type: ignore[misc]
    """Stop training as soon as a weight becomes NaN or infinite, before it is saved."""

    def __init__(self, weights: Sequence[Tensor], folder: Path) -> None:
        self.weights = weights
        self.folder = folder

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        """Check every trained weight after each update."""
        if not all(bool(torch.isfinite(weight).all()) for weight in self.weights):
            raise FinetuneError(
                f"a weight is NaN or infinite after step {state.global_step}; "
                f"{_advice(self.folder)}"
            )


def _advice(folder: Path) -> str:
    last = _last_checkpoint(folder)
    saved = f"the last good checkpoint is {last.name}" if last else "no checkpoint was due yet"
    return f"training has stopped, {saved}; lower the rate, and name another folder"


def _last_checkpoint(folder: Path) -> Path | None:
    complete = [path for path in folder.glob("checkpoint-*") if (path / STATE).is_file()]
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the random numbers of torch, and restore those of Python, NumPy and torch afterwards.

    The Trainer seeds all three by itself.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
