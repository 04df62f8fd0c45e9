"""A training hands the model back as it came, also when it is interrupted at whatever point."""

import importlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from claim_sets import NO_EVALUATION, claim_sets, ones, quick
from model_states import unchanged
from small_encoders import bert
from torch import nn

from negtrace.encoders.base import Encoder
from negtrace.experiments import selective_finetune
from negtrace.training import objective, trainer, training_arguments
from negtrace.training.material import Material

FIT = importlib.import_module("negtrace.training.fit")

ADAPTERS = pytest.mark.parametrize("adapter", ["lora", "full"])


class Normed(nn.Module):
    """A module with a batch norm behind it, and a count of its calls in training."""

    def __init__(self, inner: nn.Module, width: int) -> None:
        super().__init__()
        self.inner = inner
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.calls += 1
            self.last = states.detach().mean()
        return self.norm(self.inner(states).transpose(1, 2)).transpose(1, 2)


def used() -> Encoder:
    """Return an encoder whose user has left traces in its model wherever a user can."""
    encoder = bert()
    model: Any = encoder.model
    model.config.use_cache = True
    block = model.encoder.layer[1]
    block.output.LayerNorm = Normed(block.output.LayerNorm, model.config.hidden_size).eval()
    block.output.dropout.train()
    block.attention.register_forward_hook(lambda *_: None)
    block.output.LayerNorm.inner.weight.register_hook(lambda gradient: gradient)
    model.embeddings.word_embeddings.weight.requires_grad_(False)
    block.output.LayerNorm.inner.bias.requires_grad_(False)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad = torch.full_like(weight, 0.5)
    model.activation_checkpointing_enable()
    return encoder


def tune(encoder: Encoder, adapter: str, out: Path) -> None:
    selective_finetune(
        encoder,
        claim_sets(images=False),
        ones(encoder),
        config=quick(adapter=adapter, joint=True, steps=3, save_every=1),
        evaluation=NO_EVALUATION,
        out=out,
    )


def random_states() -> tuple[object, ...]:
    """Return the states of the generators of Python, NumPy and torch."""
    name, keys, *rest = np.random.get_state()
    return random.getstate(), (name, keys.tolist(), *rest), torch.random.get_rng_state().tolist()


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Random states right before and right after a training.

    Outside it, the checks of types while tests run draw random numbers.
    """
    seen: list[tuple[object, ...]] = []
    seeded = trainer.seeded

    @contextmanager
    def watched(seed: int) -> Iterator[None]:
        seen.append(random_states())
        try:
            with seeded(seed):
                yield
        finally:
            seen.append(random_states())

    monkeypatch.setattr(FIT, "seeded", watched)
    return seen


PLACES: dict[str, tuple[Any, str]] = {
    "loss": (objective, "contrastive_loss"),
    "backward": (torch.Tensor, "backward"),
    "update": (torch.optim.AdamW, "step"),
    "checkpoint": (transformers.Trainer, "_save_checkpoint"),
}


def interrupted(work: Callable[..., Any], *, call: int) -> Callable[..., Any]:
    """Return a function that is interrupted in one of its calls, when its work is done."""
    calls: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        result = work(*args, **options)
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return result

    return counted


@ADAPTERS
@pytest.mark.parametrize("place", PLACES)
def test_an_interrupted_training_hands_the_model_back_as_it_came(
    place: str,
    adapter: str,
    states: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    encoder = used()
    digest = encoder.digest
    owner, name = PLACES[place]
    monkeypatch.setattr(owner, name, interrupted(getattr(owner, name), call=2))
    with unchanged(encoder.model), pytest.raises(KeyboardInterrupt):
        tune(encoder, adapter, tmp_path)
    before, after = states
    assert after == before
    assert encoder.digest == digest
    assert (tmp_path / "checkpoints" / "checkpoint-1").is_dir()


@ADAPTERS
def test_a_training_changes_nothing_but_the_values_of_the_blocks_weights(
    adapter: str, states: list[tuple[object, ...]], tmp_path: Path
) -> None:
    encoder = used()
    digest = encoder.digest
    with unchanged(encoder.model, but=encoder.block_names):
        tune(encoder, adapter, tmp_path)
    norm = encoder.model.encoder.layer[1].output.LayerNorm
    assert (norm.calls, norm.last) == (0, 0)
    assert torch.equal(norm.norm.running_mean, torch.zeros_like(norm.norm.running_mean))
    before, after = states
    assert after == before
    assert encoder.digest != digest


@pytest.mark.gpu
@ADAPTERS
def test_the_model_goes_back_to_its_device(adapter: str, tmp_path: Path) -> None:
    encoder, material = bert(), Material(sets=claim_sets(images=False))
    config = quick(adapter=adapter, joint=True, steps=1)
    args = training_arguments(config, tmp_path, cpu=False, save=False, progress=False)
    with unchanged(encoder.model, but=encoder.block_names):
        result = FIT.fit(encoder, material, ones(encoder), config, args, None)
    assert args.device.type == "cuda"
    assert (result.change.norms > 0).all()
