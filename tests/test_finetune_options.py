"""Options of transformers' Trainer: each does something in a fine-tuning, or is refused by name."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from claim_sets import NO_EVALUATION, claim_sets, ones, quick, same, weights
from small_encoders import clip
from transformers import trainer as transformers_trainer

from negtrace.errors import FinetuneError, UnknownNameError
from negtrace.experiments import selective_finetune
from negtrace.experiments.finetune_report import Finetuned
from negtrace.training import Material, fit, trainer, training_arguments
from negtrace.training.trainer_options import HONOURED, NEEDS, REFUSED, SETTINGS

Weights = dict[str, torch.Tensor]

OPTIONS = {field.name for field in fields(transformers.TrainingArguments)}


def trained(options: dict[str, Any], *, out: Path | None = None, **settings: Any) -> Finetuned:
    encoder = clip()
    return selective_finetune(
        encoder,
        claim_sets(),
        ones(encoder),
        config=quick(**{"steps": 2, "batch": 4, **settings}),
        trainer=options,
        evaluation=NO_EVALUATION,
        out=out,
    )


def weights_after(options: dict[str, Any], **settings: Any) -> Weights:
    return weights(trained(options, **settings).encoder)


@pytest.fixture(scope="module")
def plain() -> Weights:
    """Weights of a training without further options."""
    return weights_after({})


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[transformers.Trainer]:
    """The Trainers that are made in a test."""
    made: list[transformers.Trainer] = []
    train = trainer._Trainer.train

    def recorded(self: transformers.Trainer, **options: Any) -> Any:
        made.append(self)
        return train(self, **options)

    monkeypatch.setattr(trainer._Trainer, "train", recorded)
    return made


# Refused options


def on(name: str) -> Any:
    """Return a value that asks for something."""
    return {
        "fsdp": "full_shard",
        "remove_unused_columns": True,
        "deepspeed": {"a": 1},
        "num_train_epochs": 3.0,
    }.get(name, "on")


def refused(options: dict[str, Any], message: str, **settings: Any) -> None:
    with pytest.raises(FinetuneError, match=message):
        trained(options, **settings)


@pytest.mark.parametrize("name", [name for name in REFUSED if name in OPTIONS])
def test_an_option_that_would_do_nothing_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(FinetuneError) as caught:
        trained({name: on(name)})
    assert f"trainer={{{name!r}: " in str(caught.value)
    assert REFUSED[name] in str(caught.value)


@pytest.mark.parametrize(("name", "setting"), SETTINGS.items())
def test_an_option_that_a_setting_decides_is_refused_whatever_its_value(
    name: str, setting: str
) -> None:
    default = next(f.default for f in fields(transformers.TrainingArguments) if f.name == name)
    for value in (default, 1):
        refused({name: value}, f"'{name}'.* setting of the fine-tuning itself; give {setting}=")


def test_an_option_that_nobody_has_tried_is_refused() -> None:
    refused({"debug": "underflow_overflow"}, r"'debug': 'underflow_overflow'.*not known to work")


def test_a_name_that_is_no_option_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="option of transformers' Trainer 'learn_rate'"):
        trained({"learn_rate": 1.0})


def test_a_refused_option_may_be_given_as_it_is_anyway(plain: Weights) -> None:
    off = {"gradient_checkpointing": False, "neftune_noise_alpha": None, "push_to_hub": False}
    assert same(plain, weights_after(off))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"save_strategy": "best"}, "'save_strategy': 'best'.*nothing is evaluated"),
        ({"lr_scheduler_type": "greedy"}, "'greedy'.*nothing is evaluated"),
        ({"save_strategy": "epoch"}, "nothing is saved .* without a folder; give out="),
        ({"save_total_limit": 1}, "nothing is saved .* without a folder; give out="),
        ({"fp16": True}, "it needs a GPU; on the CPU, give bf16"),
        *(({name: 1}, f"does nothing without {needed}") for name, needed in NEEDS.items()),
        ({"report_to": "a friend"}, "a friend is not supported"),
        ({"lr_scheduler_type": "wavy"}, "wavy is not a valid SchedulerType"),
        ({"lr_scheduler_kwargs": {"power": 2}}, "unexpected keyword argument 'power'"),
        (
            {"lr_scheduler_type": "constant", "lr_scheduler_kwargs": {"power": 2}},
            "'power': 2.* of no use to the schedule constant",
        ),
        ({"optim_args": "momentum=0.9"}, "'momentum=0.9'.* of no use to the optimizer adamw_torch"),
    ],
)
def test_an_option_that_cannot_work_as_it_is_given_is_refused(
    options: dict[str, Any], message: str
) -> None:
    refused(options, message)


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        ("sgd", {"adam_beta1": 0.8}, "of no use to the optimizer sgd"),
        ("sgd", {"optim_args": "momentum=0.9,speed=2"}, "of no use to the optimizer sgd"),
        ("sgd", {"optim_args": "weight_decay=0.1"}, "of no use to the optimizer sgd"),
        ("adamw_torch", {"adam_beta1": 1.5}, "Invalid beta parameter"),
        ("fastest", {}, "fastest is not a valid OptimizerNames"),
        ("galore_adamw", {}, "transformers refuses a setting or an option: .*galore"),
    ],
)
def test_an_optimizer_and_its_options_are_refused_before_a_file_is_made(
    optimizer: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    refused(options, message, optimizer=optimizer, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


# What decides the weights

CHANGES: dict[str, dict[str, Any]] = {
    "adam_beta1": {"adam_beta1": 0.1},
    "adam_beta2": {"adam_beta2": 0.1},
    "adam_epsilon": {"adam_epsilon": 0.1},
    "bf16": {"bf16": True},
    "data_seed": {"data_seed": 3},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 2},
    "lr_scheduler_type": {"lr_scheduler_type": "constant"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_honoured_option_changes_the_trained_weights(name: str, plain: Weights) -> None:
    assert not same(plain, weights_after(CHANGES[name]))


@pytest.mark.parametrize(
    "setting",
    [
        {"batch": 2},
        {"clip": 1e-9},
        {"optimizer": "sgd"},
        {"rate": 1.0},
        {"seed": 3},
        {"steps": 1},
        {"warmup": 1.0},
        {"weight_decay": 5.0},
    ],
    ids=str,
)
def test_a_setting_changes_the_trained_weights(setting: dict[str, Any], plain: Weights) -> None:
    assert not same(plain, weights_after({}, **setting))


def test_a_training_repeats_itself(plain: Weights) -> None:
    assert same(plain, weights_after({}))


def test_the_last_incomplete_batch_can_be_dropped() -> None:
    whole, dropped = (
        weights_after({"dataloader_drop_last": drop}, batch=8) for drop in (False, True)
    )
    assert not same(whole, dropped)


def test_the_arguments_of_an_optimizer_reach_it() -> None:
    still, moving = (
        weights_after(options, optimizer="sgd") for options in ({}, {"optim_args": "momentum=0.9"})
    )
    assert not same(still, moving)


def test_the_arguments_of_a_schedule_reach_it() -> None:
    bent = {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0, "lr_end": 0}}
    losses = trained({**bent, "logging_steps": 1}, steps=4, rate=0.16).losses
    rates = [entry["learning_rate"] for entry in losses]
    assert rates == pytest.approx([0.16, 0.09, 0.04, 0.01])


@pytest.mark.gpu
def test_the_trainer_can_mix_in_half_precision() -> None:
    half, full = (trained_on_a_gpu({"fp16": mixed}) for mixed in (True, False))
    assert half.losses[0]["loss"] != full.losses[0]["loss"]
    assert half.losses[0]["loss"] == pytest.approx(full.losses[0]["loss"], rel=0.05)
    assert (half.change.norms > 0).all()


@pytest.mark.gpu
def test_workers_load_the_batches_of_a_model_on_a_gpu() -> None:
    plain, loaded = (trained_on_a_gpu({"dataloader_num_workers": n}) for n in (0, 1))
    assert same(weights(plain.encoder), weights(loaded.encoder))


def trained_on_a_gpu(options: dict[str, Any]) -> Finetuned:
    encoder = clip()
    encoder.model.to("cuda")
    return selective_finetune(
        encoder,
        claim_sets(),
        ones(encoder),
        config=quick(steps=2),
        trainer=options,
        evaluation=NO_EVALUATION,
    )


# What does not

LOADER: dict[str, Any] = {
    "dataloader_num_workers": 1,
    "dataloader_persistent_workers": True,
    "dataloader_prefetch_factor": 3,
}


def test_workers_load_the_batches_as_asked(
    plain: Weights, trainers: list[transformers.Trainer]
) -> None:
    assert same(plain, weights_after(LOADER))
    loader = trainers[0].get_train_dataloader()
    assert (loader.num_workers, loader.persistent_workers, loader.prefetch_factor) == (1, True, 3)


def trained_where_transformers_likes(
    options: dict[str, Any], folder: Path
) -> transformers.TrainingArguments:
    """Train on the device that transformers chooses, and return its arguments."""
    encoder = clip()
    config = quick(steps=2)
    args = training_arguments(
        config, folder, cpu=False, save=False, progress=False, overrides=options
    )
    fit(encoder, Material(sets=claim_sets()), ones(encoder), config, args, None)
    return args


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_batches_are_pinned_or_not(trainers: list[transformers.Trainer], tmp_path: Path) -> None:
    for options in ({}, {"dataloader_pin_memory": False}):
        trained_where_transformers_likes(options, tmp_path)
    assert [made.get_train_dataloader().pin_memory for made in trainers] == [True, False]


def test_several_processes_meet_as_asked(
    trainers: list[transformers.Trainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[dict[str, Any]] = []
    state = transformers.training_args.PartialState

    def recorded(**options: Any) -> Any:
        asked.append(options)
        return state(cpu=True)  # There are no other processes to meet.

    monkeypatch.setattr(transformers.training_args, "PartialState", recorded)
    given = {"ddp_backend": "gloo", "ddp_timeout": 77, "dataloader_pin_memory": False}
    trained_where_transformers_likes(given, tmp_path)
    assert asked[0]["backend"] == "gloo"
    assert asked[0]["timeout"].total_seconds() == 77
    trained({"ddp_bucket_cap_mb": 7, "ddp_find_unused_parameters": True})
    trained({})
    handlers = [made.accelerator.ddp_handler for made in trainers]
    assert [handler.bucket_cap_mb for handler in handlers] == [25, 7, 25]
    assert [handler.find_unused_parameters for handler in handlers] == [False, True, False]


@pytest.mark.parametrize(
    ("options", "logged"),
    [
        ({}, 4),
        ({"logging_steps": 2}, 2),
        ({"logging_steps": 2, "logging_first_step": True}, 3),
        ({"logging_strategy": "epoch"}, 2),
        ({"logging_strategy": "no"}, 0),
    ],
)
def test_losses_are_logged_as_often_as_asked(options: dict[str, Any], logged: int) -> None:
    assert len(trained(options, steps=4, batch=6).losses) == logged


@pytest.mark.parametrize(
    ("options", "saved"),
    [
        ({}, {"checkpoint-2", "checkpoint-3"}),
        ({"save_total_limit": 1}, {"checkpoint-3"}),
        ({"save_total_limit": 5}, {"checkpoint-1", "checkpoint-2", "checkpoint-3"}),
        ({"save_strategy": "epoch", "save_total_limit": 5}, {"checkpoint-2", "checkpoint-3"}),
        ({"save_strategy": "no"}, set()),
    ],
)
def test_checkpoints_are_kept_as_asked(
    options: dict[str, Any], saved: set[str], tmp_path: Path
) -> None:
    trained(options, steps=3, batch=6, save_every=1, out=tmp_path)
    assert {path.name for path in tmp_path.glob("checkpoints/*")} == saved


def test_the_cache_of_the_device_is_emptied_as_often_as_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emptied: list[int] = []
    monkeypatch.setattr(transformers_trainer, "clear_device_cache", lambda: emptied.append(1))
    trained({"torch_empty_cache_steps": 2}, steps=4)
    assert len(emptied) == 2


class Logger(transformers.TrainerCallback):
    """An integration that keeps what it is told."""

    told: list[tuple[str, str, dict[str, Any]]] = []  # noqa: RUF012

    def on_log(self, args: Any, *_: Any, logs: Any = None, **__: Any) -> None:
        self.told.append((args.project, args.run_name, logs))


def test_losses_are_reported_under_the_names_of_the_project_and_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    integrations = transformers.integrations.integration_utils.INTEGRATION_TO_CALLBACK
    monkeypatch.setitem(integrations, "logger", Logger)
    result = trained({"report_to": "logger", "project": "lungs", "run_name": "mine"})
    assert {told[:2] for told in Logger.told} == {("lungs", "mine")}
    assert [logs["loss"] for *_, logs in Logger.told if "loss" in logs] == [
        entry["loss"] for entry in result.losses
    ]


TRIED = {*CHANGES, *LOADER} | {
    "dataloader_drop_last",
    "dataloader_pin_memory",
    "ddp_backend",
    "ddp_bucket_cap_mb",
    "ddp_find_unused_parameters",
    "ddp_timeout",
    "fp16",
    "logging_first_step",
    "logging_steps",
    "logging_strategy",
    "lr_scheduler_kwargs",
    "optim_args",
    "project",
    "report_to",
    "run_name",
    "save_strategy",
    "save_total_limit",
    "torch_empty_cache_steps",
}
"""Options that a test on this page sees at work."""


def test_every_honoured_option_is_tried_here_and_refused_nowhere() -> None:
    assert HONOURED == TRIED
    assert not HONOURED & {*REFUSED, *SETTINGS}
