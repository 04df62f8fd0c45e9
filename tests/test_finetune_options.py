"""Options of transformers' Trainer: each does something in a fine-tuning, or is refused by name."""

from dataclasses import fields
from typing import Any

import pytest
import transformers
from claim_sets import NO_EVALUATION, claim_sets, ones, quick, same, weights
from small_encoders import clip

from negtrace.errors import FinetuneError, UnknownNameError
from negtrace.experiments import selective_finetune
from negtrace.experiments.finetune_report import Finetuned
from negtrace.training.trainer_options import HONOURED, REFUSED


def trained(options: dict[str, Any], **settings: Any) -> Finetuned:
    encoder = clip()
    return selective_finetune(
        encoder,
        claim_sets(),
        ones(encoder),
        config=quick(**{"steps": 2, "batch": 4, **settings}),
        trainer=options,
        evaluation=NO_EVALUATION,
    )


def on(name: str) -> Any:
    """Return a value that asks for something."""
    return {
        "fsdp": "full_shard",
        "remove_unused_columns": True,
        "deepspeed": {"a": 1},
        "num_train_epochs": 3.0,
    }.get(name, "on")


OPTIONS = {field.name for field in fields(transformers.TrainingArguments)}


@pytest.mark.parametrize("name", [name for name in REFUSED if name in OPTIONS])
def test_an_option_that_would_do_nothing_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(FinetuneError) as caught:
        trained({name: on(name)})
    assert f"trainer={{{name!r}: " in str(caught.value)
    assert REFUSED[name] in str(caught.value)


def test_an_option_that_nobody_has_tried_is_refused() -> None:
    with pytest.raises(FinetuneError, match=r"'debug': 'underflow_overflow'.*not known to work"):
        trained({"debug": "underflow_overflow"})


def test_a_name_that_is_no_option_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="option of transformers' Trainer 'learn_rate'"):
        trained({"learn_rate": 1.0})


def test_a_refused_option_may_be_given_as_it_is_anyway() -> None:
    off = {"gradient_checkpointing": False, "neftune_noise_alpha": None, "push_to_hub": False}
    assert same(weights(trained(off).encoder), weights(trained({}).encoder))


def test_the_best_checkpoint_needs_an_evaluation_and_is_refused() -> None:
    with pytest.raises(FinetuneError, match=r"'save_strategy': 'best'.*nothing is evaluated"):
        trained({"save_strategy": "best"})


CHANGES: dict[str, Any] = {
    "adam_beta1": 0.1,
    "adam_beta2": 0.1,
    "adam_epsilon": 0.1,
    "bf16": True,
    "data_seed": 3,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1.0,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 1e-9,
    "max_steps": 1,
    "optim": "sgd",
    "per_device_train_batch_size": 2,
    "seed": 3,
    "warmup_steps": 2,
    "weight_decay": 5.0,
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_honoured_option_changes_the_trained_weights(name: str) -> None:
    plain = weights(trained({}).encoder)
    again = weights(trained({}).encoder)
    changed = weights(trained({name: CHANGES[name]}).encoder)
    assert same(plain, again)
    assert not same(plain, changed)


def test_the_last_incomplete_batch_can_be_dropped() -> None:
    whole, dropped = (
        weights(trained({"dataloader_drop_last": drop}, batch=8).encoder) for drop in (False, True)
    )
    assert not same(whole, dropped)


HARMLESS: dict[str, Any] = {
    "dataloader_num_workers": 1,
    "dataloader_pin_memory": False,
    "ddp_timeout": 60,
    "disable_tqdm": True,
    "log_level": "error",
    "logging_first_step": True,
    "report_to": "none",
    "run_name": "mine",
    "save_total_limit": 1,
    "torch_empty_cache_steps": 1,
    "use_cpu": True,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_an_option_of_bookkeeping_leaves_the_weights_as_they_are(name: str) -> None:
    assert same(weights(trained({}).encoder), weights(trained({name: HARMLESS[name]}).encoder))


def test_losses_are_logged_as_often_as_asked() -> None:
    assert len(trained({"logging_steps": 2}, steps=4).losses) == 2


def test_no_option_is_both_honoured_and_refused() -> None:
    assert not HONOURED & REFUSED.keys()
    assert {*CHANGES, *HARMLESS} <= HONOURED
