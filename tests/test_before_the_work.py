"""Defaults and settings that cannot hold for a model are found before the work, not after."""

from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from small_models import TEXT, build, word_tokenizer

import negtrace
from negtrace.encoders.base import Encoder
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.errors import (
    BenchError,
    EncoderError,
    FinetuneError,
    NegtraceError,
    TraceError,
    UnknownNameError,
)
from negtrace.experiments import Evaluation, finetune, selective_finetune
from negtrace.experiments.benchmark import run_benchmark
from negtrace.experiments.trace import run_heads, run_shard, run_trace
from negtrace.pairs import radiology_pairs
from negtrace.tracing import Shard, TraceConfig


def bert(blocks: int = 2, dtype: torch.dtype = torch.float32) -> Encoder:
    config = transformers.BertConfig(**{**TEXT, "num_hidden_layers": blocks}, vocab_size=120)
    return TextEncoder(build(config, dtype), word_tokenizer(), name="bert", read_out="mean")


@pytest.fixture
def nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: Any, **__: Any) -> Any:
        raise AssertionError("work before the settings were checked")

    for name in ("measure", "fit", "material_for"):
        monkeypatch.setattr(finetune, name, work)


def uniform(encoder: Encoder, value: object = 1.0) -> Any:
    return dict.fromkeys(encoder.block_names, value)


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("weighting", ["top", "front"])
def test_the_three_blocks_of_a_default_are_more_than_the_model_has(weighting: str) -> None:
    encoder = bert(2)
    scores = negtrace.layer_scores(negtrace.trace(encoder, radiology_pairs()[:8]), "transport")
    with pytest.raises(FinetuneError, match=r"k is 3; expected 1 \.\. 2, the number of blocks"):
        selective_finetune(encoder, "text", scores, weighting=weighting)


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize("value", [nan, inf, -1.0])
def test_a_multiplier_that_is_no_number_from_0_on(value: object) -> None:
    encoder = bert()
    given = {**uniform(encoder), encoder.block_names[0]: value}
    with pytest.raises(FinetuneError, match=r"the multiplier of '.*' is .*; expected a number"):
        selective_finetune(encoder, "text", given)


@pytest.mark.usefixtures("nothing_is_done")
def test_multipliers_that_would_train_nothing() -> None:
    encoder = bert()
    with pytest.raises(FinetuneError, match="every multiplier is 0, so nothing would be trained"):
        selective_finetune(encoder, "text", uniform(encoder, 0.0))


@pytest.mark.usefixtures("nothing_is_done")
def test_a_model_in_half_precision_is_refused_before_it_is_measured(tmp_path: Path) -> None:
    encoder = bert(dtype=torch.bfloat16)
    with pytest.raises(FinetuneError, match="half precision"):
        selective_finetune(encoder, "text", uniform(encoder), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("nothing_is_done")
def test_the_default_adapter_needs_linear_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = bert()
    weights = {name: weight.clone() for name, weight in encoder.model.state_dict().items()}
    state = torch.random.get_rng_state()
    with pytest.raises(AssertionError, match="work before"):  # all is well with this model
        selective_finetune(encoder, "text", uniform(encoder))
    assert torch.equal(state, torch.random.get_rng_state())
    assert weights.keys() == encoder.model.state_dict().keys()
    assert all(torch.equal(weights[n], w) for n, w in encoder.model.state_dict().items())
    monkeypatch.setattr(torch.nn, "Linear", type("Other", (torch.nn.Module,), {}))
    with pytest.raises(EncoderError, match="no linear map that LoRA can adapt"):
        selective_finetune(encoder, "text", uniform(encoder))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 1}, "count is 1; expected 2 or more"),
        ({"count": 0, "suites": ("polarity",)}, "count is 0; expected 1 or more"),
        ({"pairs": -1}, "pairs is -1; expected 0 or more"),
        ({"suites": ("polarity", "nothing")}, "unknown suite 'nothing'"),
    ],
)
def test_an_evaluation_is_checked_when_it_is_made(settings: Any, message: str) -> None:
    with pytest.raises((BenchError, UnknownNameError), match=message):
        Evaluation(**settings)


STUDIES: dict[str, tuple[Callable[..., object], dict[str, Any], type[NegtraceError], str]] = {
    "format": (run_trace, {"formats": ("png", "gif")}, UnknownNameError, "figure format 'gif'"),
    "direction": (
        run_trace,
        {"directions": ("denoising", "up")},
        UnknownNameError,
        "unknown direction 'up'",
    ),
    "direction of a shard": (
        run_shard,
        {"directions": ("denoising", "up"), "shard": Shard.named("1/2")},
        UnknownNameError,
        "unknown direction 'up'",
    ),
    "window of estimates": (
        run_trace,
        {"config": TraceConfig(method="attribution", window=2)},
        TraceError,
        "windows of layers are traced exactly only",
    ),
    "window of integrated gradients": (
        run_trace,
        {"config": TraceConfig(method="integrated_gradients", window=2)},
        TraceError,
        "windows of layers are traced exactly only",
    ),
    "window of TransformerLens": (
        run_trace,
        {"config": TraceConfig(method="transformer_lens", window=2)},
        TraceError,
        "one layer at a time",
    ),
    "window": (run_trace, {"config": TraceConfig(window=3)}, NegtraceError, "bert has 2 blocks"),
    "queries": (run_heads, {"queries": "all"}, UnknownNameError, "unknown queries 'all'"),
    "format of heads": (run_heads, {"formats": ("gif",)}, UnknownNameError, "format 'gif'"),
    "head": (
        run_trace,
        {"config": TraceConfig(sites=("head.9",))},
        NegtraceError,
        "no head 9; bert has heads 0 to 3",
    ),
}


@pytest.mark.parametrize("case", STUDIES)
def test_a_study_is_refused_before_it_writes_anything(case: str, tmp_path: Path) -> None:
    study, settings, kind, message = STUDIES[case]
    out = tmp_path / "out"
    with pytest.raises(kind, match=message):
        study(bert(), out, radiology_pairs()[:4], **settings, progress=False)
    assert not out.exists()


def test_a_benchmark_is_refused_before_it_writes_anything(tmp_path: Path) -> None:
    config = negtrace.bench.BenchConfig(count=4)
    with pytest.raises(UnknownNameError, match="unknown figure format 'gif'"):
        run_benchmark(bert(), config, tmp_path / "out", formats=("gif",))
    assert not (tmp_path / "out").exists()
