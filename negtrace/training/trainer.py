"""Training by transformers' Trainer: it resumes, accumulates, mixes precision and logs."""

__all__ = ["arguments", "seeded", "train"]

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from negtrace.errors import FinetuneError, require
from negtrace.training.batches import Examples
from negtrace.training.config import FinetuneConfig
from negtrace.training.guard import Guard
from negtrace.training.objective import Objective

PARTS = ("contrastive", "claims", "keeping")
STATE = "trainer_state.json"
"""What transformers writes last of a checkpoint: one without it was not finished."""

LOGS = 20
"""How many times a run logs its losses."""


def arguments(
    config: FinetuneConfig,
    folder: Path,
    *,
    cpu: bool,
    save: bool,
    progress: bool,
    more: Mapping[str, Any] | None = None,
) -> Any:
    """Return `transformers.TrainingArguments`; `more` has the last word on any of them.

    Raises:
        ExtraError: when accelerate, which the Trainer needs, is not installed.
    """
    require("accelerate", extra="finetune")
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
    found = TrainingArguments(**{**options, **(more or {})})
    if found.n_gpu > 1:  # the encoder is on one device; for several, start one process for each
        found._n_gpu = 1
    return found


class _Trainer(Trainer):  # type: ignore[misc]
    """A Trainer that stops at a loss that is no number, and logs the parts of the loss."""

    kept: Callable[[], str]

    def compute_loss(self, model: Any, inputs: Any, *rest: Any, **options: Any) -> Any:
        found = model(**inputs)
        loss = found["loss"]
        if not torch.isfinite(loss):
            raise FinetuneError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}; {self.kept()}"
            )
        self.parts = {name: found[name] for name in PARTS}
        return (loss, found) if options.get("return_outputs") else loss

    def log(self, logs: dict[str, float], *rest: Any, **options: Any) -> None:
        if "loss" in logs:
            logs.update({name: round(part.item(), 4) for name, part in self.parts.items()})
        super().log(logs, *rest, **options)


def train(
    objective: Objective,
    examples: Examples,
    args: Any,
    *,
    optimizers: tuple[Any, None],
    callbacks: Sequence[TrainerCallback] = (),
) -> list[dict[str, float]]:
    """Train in place, on from the last whole checkpoint in the arguments' folder if there is one.

    Returns:
        What was logged: losses, rate and gradient norm by step.

    Raises:
        FinetuneError: when the loss or a weight is no number, with the step and the checkpoint.
    """
    folder = Path(args.output_dir)

    def kept() -> str:
        last = _last_checkpoint(folder)
        safe = f"the last good checkpoint is {last.name}" if last else "no checkpoint was due yet"
        return f"training has stopped, {safe}; lower the rate, and name another folder"

    weights: list[Tensor] = list(objective.parameters())
    trainer = _Trainer(
        model=objective,
        args=args,
        data_collator=examples.collate,
        train_dataset=examples,
        optimizers=optimizers,
        callbacks=[*callbacks, Guard(weights, kept)],
    )
    trainer.kept = kept
    trainer.remove_callback(PrinterCallback)
    last = _last_checkpoint(folder)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def _last_checkpoint(folder: Path) -> Path | None:
    found = [path for path in folder.glob("checkpoint-*") if (path / STATE).is_file()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator that training draws from, and give each its own state back."""
    own = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(own[0])
            np.random.set_state(own[1])
