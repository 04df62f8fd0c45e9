"""Options of transformers' Trainer that a fine-tuning honours, and those that it refuses by name.

An option that would be ignored, or that would end in an error in the middle of a training, is
refused before anything runs. So is one that this module does not know.
"""

__all__ = ["HONOURED", "REFUSED", "honoured"]

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from transformers import TrainingArguments

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
        "ddp_broadcast_buffers",
        "ddp_bucket_cap_mb",
        "ddp_find_unused_parameters",
        "ddp_timeout",
        "disable_tqdm",
        "fp16",
        "gradient_accumulation_steps",
        "learning_rate",
        "log_level",
        "log_level_replica",
        "log_on_each_node",
        "logging_first_step",
        "logging_nan_inf_filter",
        "logging_steps",
        "logging_strategy",
        "lr_scheduler_kwargs",
        "lr_scheduler_type",
        "max_grad_norm",
        "max_steps",
        "optim",
        "optim_args",
        "per_device_train_batch_size",
        "project",
        "report_to",
        "run_name",
        "save_on_each_node",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "seed",
        "torch_empty_cache_steps",
        "use_cpu",
        "warmup_steps",
        "weight_decay",
    }
)
"""Options that do what transformers says."""

_NO_MODEL = (
    "the Trainer sees only the weights in training, not the model, so it cannot turn this on"
)
_NO_EVALUATION = "nothing is evaluated while it trains; use evaluation= and bench"
_ONE_DEVICE = "weights are not divided between devices; for several processes, use torchrun"
_NO_UPLOAD = "nothing is uploaded; push the folder of the run yourself"
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
    "output_dir": "checkpoints are in the folder of the run; give out=",
    "resume_from_checkpoint": "the same call on the same folder goes on by itself; give out=",
    "save_only_model": "a run could not go on to the same result without the optimizer's state",
    "full_determinism": "it would change torch for the whole process; set it there yourself",
    "tf32": "it would change torch for the whole process; set it there yourself",
}
"""Reason why an option is refused."""


OFF: Mapping[str, Any] = {"remove_unused_columns": False, "num_train_epochs": None}
"""Values that ask for nothing, where they are not the defaults of transformers."""


def honoured(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the Trainer that are honoured, without those that ask for nothing.

    Raises:
        UnknownNameError: for a name that is no option of the Trainer.
        FinetuneError: for an option that would do nothing or cannot work; says why.
    """
    known = {field.name: field for field in fields(TrainingArguments) if field.init}
    for name, value in options.items():
        one_of("option of transformers' Trainer", name, sorted(known))
        off = (
            (None, False) if known[name].default is None else (OFF.get(name, known[name].default),)
        )
        if name not in HONOURED and value not in off:
            reason = REFUSED.get(name, "it is not known to work in a fine-tuning")
            raise FinetuneError(f"trainer={{{name!r}: {value!r}}} is refused: {reason}")
    if options.get("save_strategy") == "best":
        raise FinetuneError(f"trainer={{'save_strategy': 'best'}} is refused: {_NO_EVALUATION}")
    return {name: value for name, value in options.items() if name in HONOURED}
