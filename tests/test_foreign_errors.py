"""Whatever a model, a function or a file raises becomes an error that says the way out."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import word_tokenizer
from test_bad_models import MaskFree
from test_sentence_transformers import TANH, folder_of, write_json
from test_token_types import model_of
from torch import nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.guard import guarded
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.load import load
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError, TraceError
from negtrace.pairs import radiology_pairs
from negtrace.tracing.trace import trace

PAIRS = radiology_pairs()[:2]


class Failing(nn.Module):
    """A tower whose second block raises an error, once there is one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(120, 16)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.last = self.blocks[1].last

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.last = nn.MultiheadAttention(16, 2, batch_first=True), Raising(16, 16)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.mix(hidden, hidden, hidden, need_weights=False)[0]
        return hidden + self.last(hidden.tanh())


class Raising(nn.Linear):
    """A linear map that raises an error after some calls, if there is one."""

    error: BaseException | None = None
    calls_left = 0

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        if self.error is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise self.error
        return super().forward(hidden)


def failing() -> tuple[Encoder, Failing]:
    tower = Failing()
    return wrap(tower, word_tokenizer(), name="failing"), tower


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + ("forward" in vars(module))
        for module in model.modules()
    )


IDS = torch.tensor([[2, 4, 5, 3]])
WORK: dict[str, Callable[[Encoder], Any]] = {
    "encode": lambda encoder: encoder.encode(IDS),
    "sites": lambda encoder: encoder.heads,
    "mean": lambda encoder: trace(encoder, PAIRS, corruption="mean", progress=False),
    "exact": lambda encoder: trace(encoder, PAIRS, progress=False),
    "attribution": lambda encoder: trace(encoder, PAIRS, method="attribution", progress=False),
    "transformer_lens": lambda encoder: trace(
        encoder, PAIRS[:1], method="transformer_lens", progress=False
    ),
    "nnsight": lambda encoder: trace(encoder, PAIRS[:1], method="nnsight", progress=False),
}


FEW_CALLS = ("encode", "sites")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("work", "calls"),
    # Embedding, and measuring sites, runs the model less often than three times.
    [(work, calls) for work in WORK for calls in (0, 2) if not calls or work not in FEW_CALLS],
)
def test_what_a_model_raises_names_the_work_and_the_module(work: str, calls: int) -> None:
    encoder, tower = failing()
    tower.last.error, tower.last.calls_left = ValueError("no such row"), calls
    message = r"failing: while .*(blocks.1.last \(Raising\)|Failing).*(ValueError|NNsight).*"
    with pytest.raises(EncoderError, match=message + "negtrace.wrap"):
        WORK[work](encoder)
    assert hooks_of(tower) == 0
    tower.last.error = None
    assert WORK["encode"](encoder).shape == (1, 16)


@pytest.mark.parametrize(
    ("work", "action"),
    [
        ("encode", "1 rows of 4 tokens ran"),
        ("sites", "its sites were measured"),
        ("mean", "the mean input of its first block was measured"),
        ("exact", "statements were embedded"),
    ],
)
def test_an_error_says_what_was_done(work: str, action: str) -> None:
    encoder, tower = failing()
    tower.last.error = ValueError("no such row")
    with pytest.raises(EncoderError, match=f"failing: while {action}, blocks.1.last"):
        WORK[work](encoder)


class MuteError(Exception):
    """An error whose message cannot be read."""

    def __str__(self) -> str:
        raise AttributeError("detail")


def test_an_error_without_a_readable_message_is_named_by_its_class() -> None:
    encoder, tower = failing()
    tower.last.error = MuteError()
    with pytest.raises(EncoderError, match=r"raised MuteError: its message cannot be read\. If"):
        encoder.embed_texts(["No."])


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        GeneratorExit(),
        BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError()]),
    ],
)
def test_what_is_no_exception_passes_and_leaves_no_hook(error: BaseException) -> None:
    for work in ("encode", "exact", "mean", "attribution"):
        encoder, tower = failing()
        tower.last.error, tower.last.calls_left = error, 0 if work == "encode" else 2
        with pytest.raises(type(error)):
            WORK[work](encoder)
        assert hooks_of(tower) == 0
        tower.last.error = None
        assert WORK["encode"](encoder).shape == (1, 16)


@pytest.mark.parametrize("work", ["encode", "exact", "mean"])
def test_a_model_that_exits_does_not_end_the_program(work: str) -> None:
    encoder, tower = failing()
    tower.last.error = SystemExit(0)
    with pytest.raises(EncoderError, match="raised SystemExit: 0"):
        WORK[work](encoder)
    assert hooks_of(tower) == 0


def _exit(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def test_a_handler_of_signals_that_exits_ends_the_program() -> None:
    model = MaskFree()
    before = signal.signal(signal.SIGUSR1, _exit)
    try:
        with pytest.raises(SystemExit) as ended, guarded("model", model, "it ran"):
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended.value.code == 128 + signal.SIGUSR1


TOWER = MaskFree().eval()


def pooled(ids: torch.Tensor) -> torch.Tensor:
    return TOWER(ids).mean(1)


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (lambda ids: pooled(ids)[:1], r"encode gave float32 of the shape \[1, 16\] for"),
        (lambda ids: pooled(ids)[0], r"encode gave float32 of the shape \[16\] for 1 rows"),
        (lambda ids: pooled(ids).long(), r"encode gave int64 of the shape \[1, 16\] for 1 rows"),
        (lambda ids: pooled(ids).to(torch.complex64), r"encode gave complex64 of the shape"),
        (lambda ids: pooled(ids).detach().numpy(), r"encode gave a ndarray for 1 rows; expected"),
        (lambda ids: None, r"encode gave a NoneType for 1 rows; expected one embedding for each"),
        (lambda ids: pooled(ids) * torch.nan, r"holds NaN or infinity, so its structure cannot"),
        (
            lambda ids: torch.cat([pooled(part) for part in ids.split(8)]),
            r"encode ran the first block 4 times for 32 rows, so it cuts them",
        ),
        (
            lambda ids: torch.cat([pooled(row[None]) for row in ids]),
            r"encode ran the first block 32 times for 32 rows, so it cuts them",
        ),
    ],
)
def test_what_is_no_embedding_for_each_row_is_refused(encode: Any, reason: str) -> None:
    with pytest.raises(EncoderError, match=f"^mine: .*{reason}"):
        wrap(TOWER, word_tokenizer(), encode=encode, name="mine")
    assert hooks_of(TOWER) == 0


def test_an_encode_that_goes_wrong_later_is_refused_then() -> None:
    encoder = wrap(
        TOWER, word_tokenizer(), encode=lambda ids: pooled(ids)[: 65 - len(ids)], name="mine"
    )
    assert encoder.embed_texts(["No."]).shape == (1, 16)
    with pytest.raises(EncoderError, match=r"^mine: encode gave float32 of the shape \[29, 16\]"):
        encoder.encode(IDS.repeat(36, 1))


@contextlib.contextmanager
def without_gradients(model: nn.Module) -> Iterator[None]:
    handle = model.encoder.layer[1].register_forward_hook(lambda _, __, out: out.detach())
    yield
    handle.remove()


@pytest.mark.parametrize("method", ["attribution", "integrated_gradients"])
def test_an_estimate_without_gradients_is_refused(method: str) -> None:
    model = model_of("bert")
    detached = wrap(
        model,
        word_tokenizer(),
        name="mine",
        encode=torch.no_grad()(lambda ids: model(ids).last_hidden_state.mean(1)),
    )
    message = "mine: an estimate needs gradients.* its score has no gradient.*method='exact'"
    with pytest.raises(TraceError, match=message):
        trace(detached, PAIRS, method=method, progress=False)
    encoder = TextEncoder(model, word_tokenizer(), name="mine")
    message = "mine: an estimate needs gradients.* the score does not depend on its input"
    with (
        without_gradients(model),
        pytest.warns(match="hooks of your own"),
        pytest.raises(TraceError, match=message),
    ):
        trace(encoder, PAIRS, method=method, progress=False, self_check=False)


def test_an_estimate_needs_no_gradient_of_the_weights() -> None:
    estimates = []
    for frozen in (False, True):
        model = model_of("bert").requires_grad_(not frozen)
        encoder = TextEncoder(model, word_tokenizer(), name="mine")
        with torch.no_grad() if frozen else contextlib.nullcontext():
            cte = trace(encoder, PAIRS, method="attribution", progress=False)
        estimates.append(cte.patched)
    np.testing.assert_array_equal(*estimates)


POOLING, DENSE = "1_Pooling/config.json", "2_Dense/config.json"
MODEL = "config_sentence_transformers.json"
TRANSFORMER = "sentence_bert_config.json"
SIZES = {"in_features": 32, "out_features": 12}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (POOLING, []),
        (POOLING, "mean"),
        (POOLING, {"pooling_mode": 3}),
        (POOLING, {"pooling_mode": [["mean"]]}),
        (DENSE, []),
        (DENSE, {}),
        (DENSE, {"in_features": 32}),
        (DENSE, {**SIZES, "in_features": "many"}),
        (DENSE, {**SIZES, "out_features": -1}),
        (DENSE, {**SIZES, "activation_function": None}),
        (DENSE, {**SIZES, "activation_function": 3}),
        (MODEL, ["prompts"]),
        (MODEL, {"prompts": ["query"]}),
        (MODEL, {"prompts": {"query": 3}}),
        (MODEL, {"default_prompt_name": ["query"]}),
        (MODEL, {"truncate_dim": "seven"}),
        (MODEL, {"truncate_dim": 0}),
        (TRANSFORMER, [512]),
        (TRANSFORMER, {"max_seq_length": "long"}),
        (TRANSFORMER, {"max_seq_length": 0}),
        (TRANSFORMER, {"modality_config": {"text": []}}),
    ],
)
def test_a_damaged_file_of_sentence_transformers_is_named(
    file: str, content: object, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "model", later=[("Dense", TANH)])
    write_json(folder, file, content)
    with pytest.raises(EncoderError, match=rf"its {file} is not as sentence-transformers writes"):
        load(folder)


def test_a_dense_module_without_its_configuration_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", later=[("Dense", TANH)])
    (folder / DENSE).unlink()
    with pytest.raises(EncoderError, match="names the folder '2_Dense', which holds no config"):
        load(folder)
    assert json.loads((folder / "modules.json").read_text())[2]["path"] == "2_Dense"
