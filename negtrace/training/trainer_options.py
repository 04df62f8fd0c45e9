"""Options of transformers' Trainer that a fine-tuning honours, and those that it refuses by name.

An option that would be ignored, or that would end in an error in the middle of a training, is
refused before anything runs. So is one that this module does not know.
"""

__all__ = ["HONOURED", "REFUSED", "SETTINGS", "honoured", "refused_early", "require_used"]

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import fields
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations import get_reporting_integration_callbacks

from negtrace._messages import one_of
from negtrace.errors import FinetuneError

HONOURED = frozenset(
    {
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "bf16",
        "data_seed",
        "dataloader_drop_last",
        "dataloader_num_workers",
        "dataloader_persistent_workers",
        "dataloader_pin_memory",
        "dataloader_prefetch_factor",
        "ddp_backend",
        "ddp_bucket_cap_mb",
        "ddp_find_unused_parameters",
        "ddp_timeout",
        "fp16",
        "gradient_accumulation_steps",
        "logging_first_step",
        "logging_steps",
        "logging_strategy",
        "lr_scheduler_kwargs",
        "lr_scheduler_type",
        "optim_args",
        "project",
        "report_to",
        "run_name",
        "save_strategy",
        "save_total_limit",
        "torch_empty_cache_steps",
    }
)
"""Options that do what transformers says."""

SETTINGS: Mapping[str, str] = {
    "disable_tqdm": "progress",
    "learning_rate": "rate",
    "max_grad_norm": "clip",
    "max_steps": "steps",
    "optim": "optimizer",
    "output_dir": "out",
    "per_device_train_batch_size": "batch",
    "save_steps": "save_every",
    "seed": "seed",
    "warmup_steps": "warmup",
    "weight_decay": "weight_decay",
}
"""Setting of the fine-tuning that decides an option. The option itself is refused, whatever its
value: there would be two answers to one question, and the report would show the wrong one."""

NEEDS: Mapping[str, str] = {
    "dataloader_persistent_workers": "dataloader_num_workers",
    "dataloader_prefetch_factor": "dataloader_num_workers",
    "project": "report_to",
    "run_name": "report_to",
}
"""Option without which another one does nothing."""

_NO_MODEL = (
    "the Trainer sees only the weights in training, not the model, so it cannot turn this on"
)
_NO_EVALUATION = "nothing is evaluated while it trains; use evaluation= and bench"
_ONE_DEVICE = "weights are not divided between devices; for several processes, use torchrun"
_NO_UPLOAD = "nothing is uploaded; push the folder of the run yourself"
_PROCESS = "for the whole process; set it there yourself"
_OWN_DATA = "claim sets are batched by negtrace"

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("activation_checkpointing", "gradient_checkpointing"),
        f"{_NO_MODEL}; for less memory, lower batch and raise gradient_accumulation_steps",
    ),
    **dict.fromkeys(
        (
            "activation_checkpointing_kwargs",
            "gradient_checkpointing_kwargs",
            "neftune_noise_alpha",
            "torch_compile",
            "torch_compile_backend",
            "torch_compile_mode",
            "use_liger_kernel",
            "liger_kernel_config",
            "use_cache",
            "include_num_input_tokens_seen",
            "optim_target_modules",
        ),
        _NO_MODEL,
    ),
    **dict.fromkeys(("fsdp", "fsdp_config", "deepspeed", "parallelism_config"), _ONE_DEVICE),
    **dict.fromkeys(
        (
            "eval_strategy",
            "eval_steps",
            "eval_delay",
            "eval_on_start",
            "eval_accumulation_steps",
            "per_device_eval_batch_size",
            "load_best_model_at_end",
            "metric_for_best_model",
            "greater_is_better",
            "do_eval",
            "do_predict",
            "prediction_loss_only",
            "include_for_metrics",
            "batch_eval_metrics",
            "bf16_full_eval",
            "fp16_full_eval",
        ),
        _NO_EVALUATION,
    ),
    **dict.fromkeys(
        (
            "push_to_hub",
            "hub_token",
            "hub_private_repo",
            "hub_model_id",
            "hub_strategy",
            "hub_always_push",
            "hub_revision",
        ),
        _NO_UPLOAD,
    ),
    **dict.fromkeys(
        ("remove_unused_columns", "label_names", "length_column_name", "train_sampling_strategy"),
        _OWN_DATA,
    ),
    "label_smoothing_factor": "the loss is negtrace's and has no labels to smooth",
    "auto_find_batch_size": "the batch is part of the contrastive loss; give batch=",
    "num_train_epochs": "the length is counted in updates; give steps=",
    "resume_from_checkpoint": "the same call on the same folder goes on by itself; give out=",
    "save_only_model": "a run could not go on to the same result without the optimizer's state",
    **dict.fromkeys(("full_determinism", "tf32"), f"it would change torch {_PROCESS}"),
    **dict.fromkeys(("log_level", "log_level_replica"), f"it would change transformers {_PROCESS}"),
    **dict.fromkeys(
        ("log_on_each_node", "save_on_each_node"),
        "the files of a run are written once, by its first process",
    ),
    "logging_nan_inf_filter": "a loss that is NaN or infinite stops the training",
    "ddp_broadcast_buffers": "the weights in training have no buffers beside them",
    "use_cpu": "the training runs where the encoder is; load it with device='cpu'",
}
"""Reason why an option is refused."""


OFF: Mapping[str, tuple[Any, ...]] = {
    "num_train_epochs": (None,),
    "remove_unused_columns": (False,),
    "report_to": (None, "none", []),
    "save_strategy": (None, "no"),
}
"""Values that ask for nothing, where they are not the defaults of transformers."""

BY_EVALUATION: Mapping[str, tuple[str, ...]] = {
    "lr_scheduler_type": ("greedy", "reduce_lr_on_plateau"),
    "save_strategy": ("best",),
}
"""Values of honoured options that go by an evaluation."""

ADAM = frozenset({"adam_beta1", "adam_beta2", "adam_epsilon"})
"""Options that only some optimizers have."""

_OPTIONS = {field.name: field for field in fields(TrainingArguments) if field.init}


def honoured(options: Mapping[str, Any], *, cpu: bool, save: bool) -> dict[str, Any]:
    """Return the options of the Trainer that are honoured, without those that ask for nothing.

    Args:
        options: the options.
        cpu: the training runs on the CPU.
        save: the run writes checkpoints.

    Raises:
        UnknownNameError: for a name that is no option of the Trainer.
        FinetuneError: for an option that would do nothing or cannot work, or that is a setting of
            the fine-tuning under another name; says why.
    """
    for name, value in options.items():
        one_of("option of transformers' Trainer", name, sorted(_OPTIONS))
        if reason := _reason(name, value, options, cpu=cpu, save=save):
            raise _refusal(name, value, reason)
    return {name: value for name, value in options.items() if name in HONOURED}


def _refusal(name: str, value: object, reason: str) -> FinetuneError:
    return FinetuneError(f"trainer={{{name!r}: {value!r}}} is refused: {reason}")


def _off(name: str) -> tuple[Any, ...]:
    """Return the values of an option that ask for nothing."""
    default = _OPTIONS[name].default
    return OFF.get(name, (None, False) if default is None else (default,))


def _reason(
    name: str, value: object, options: Mapping[str, Any], *, cpu: bool, save: bool
) -> str | None:
    """Return the reason why an option is refused; None for one that is not."""
    if name in SETTINGS:
        return f"it is a setting of the fine-tuning itself; give {SETTINGS[name]}="
    if value in _off(name):
        return None
    if name not in HONOURED:
        return REFUSED.get(name, "it is not known to work in a fine-tuning")
    if value in BY_EVALUATION.get(name, ()):
        return _NO_EVALUATION
    if name.startswith("save_") and not save:
        return "nothing is saved while it trains without a folder; give out="
    if name == "fp16" and cpu:
        return "it needs a GPU; on the CPU, give bf16"
    needed = NEEDS.get(name)
    if needed and options.get(needed, _off(needed)[0]) in _off(needed):
        return f"it does nothing without {needed}"
    return None


def require_used(args: TrainingArguments, options: Mapping[str, Any]) -> None:
    """Refuse what the optimizer, the schedule or a logger would ignore, or would fail at later.

    Args:
        args: all arguments of the Trainer.
        options: those of the user, which are among them.

    Raises:
        FinetuneError: says which option, and why.
    """
    kind, settings = _optimizer(args)
    for name, other in _without_each(args, options):
        if _optimizer(other)[1] == settings:
            unused = f"it is of no use to the optimizer {args.optim.value}"
            raise _refusal(name, options[name], unused)
    schedule = args.lr_scheduler_type
    if args.lr_scheduler_kwargs and schedule in ("constant", "constant_with_warmup"):
        unused = f"it is of no use to the schedule {schedule.value}"
        raise _refusal("lr_scheduler_kwargs", args.lr_scheduler_kwargs, unused)
    with refused_early():
        get_reporting_integration_callbacks(args.report_to)
        get_scheduler(
            schedule,
            kind([nn.Parameter(torch.zeros(1))], **settings),
            num_warmup_steps=args.warmup_steps,
            num_training_steps=args.max_steps,
            scheduler_specific_kwargs=args.lr_scheduler_kwargs,
        )


def _optimizer(args: TrainingArguments) -> tuple[Any, dict[str, Any]]:
    """Return the class of the optimizer and its settings, without the decay, which groups have."""
    with refused_early():
        kind, settings = Trainer.get_optimizer_cls_and_kwargs(args)
    return kind, {name: value for name, value in settings.items() if name != "weight_decay"}


def _without_each(
    args: TrainingArguments, options: Mapping[str, Any]
) -> Iterator[tuple[str, TrainingArguments]]:
    """Return each option that not every optimizer has, and the arguments with another value."""
    for name in ADAM & options.keys():
        yield name, _changed(args, **{name: getattr(args, name) / 2})
    parts = [part for part in (options.get("optim_args") or "").split(",") if part]
    for part in parts:
        others = ",".join(other for other in parts if other != part)
        yield "optim_args", _changed(args, optim_args=others)


def _changed(args: TrainingArguments, **changes: Any) -> TrainingArguments:
    changed = copy(args)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


@contextmanager
def refused_early() -> Iterator[None]:
    """Turn the errors of transformers about an option into an error of the fine-tuning."""
    try:
        yield
    except (ImportError, TypeError, ValueError) as error:
        raise FinetuneError(f"transformers refuses a setting or an option: {error}") from error
