"""Unusual models: tokenizers that pad, train mode, half precision, several devices."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from dual_encoders import EOS, dual
from PIL import Image
from small_encoders import bert, clip, siglip
from small_models import word_tokenizer
from torch import nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.load import load
from negtrace.encoders.tokenizing import StatementTokenizer
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError, NegtraceWarning
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.radiology import radiology_pairs
from negtrace.tracing.check import check
from negtrace.tracing.trace import trace

STATEMENTS = ["There is no effusion.", "The patient has some pneumothorax."]


class Padding:
    """A tokenizer that always pads to 20 tokens, as its mask shows."""

    is_fast = True

    def __init__(self, side: str, eos: int = 3) -> None:
        self.tokenizer = word_tokenizer(eos, padding_side=side)

    def __call__(self, text: str, **options: object) -> object:
        return self.tokenizer(text, **{"padding": "max_length", "max_length": 20, **options})


class MaskFree(nn.Module):
    """A tower that takes no attention mask."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(120, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.3, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.encoder(self.embed(ids))


def with_tokenizer(kind: str, tokenizer: object) -> Encoder:
    if kind == "mask-free":
        return wrap(MaskFree(), tokenizer, read_out="mean", name="mask-free")
    if kind == "bert":
        return TextEncoder(bert().model, tokenizer, name="bert")
    model = dual(kind).model if kind == "blip" else {"clip": clip, "siglip": siglip}[kind]().model
    return DualEncoder(model, tokenizer, None, name=kind)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["mask-free", "bert", "clip", "blip"])
def test_padding_changes_no_result(kind: str, side: str) -> None:
    eos = EOS if kind == "blip" else 3
    plain = with_tokenizer(kind, word_tokenizer(eos))
    padded = with_tokenizer(kind, Padding(side, eos))
    assert padded.tokenize(STATEMENTS) == plain.tokenize(STATEMENTS)
    pairs = radiology_pairs()[:3]
    one, two = (trace(each, pairs, progress=False) for each in (plain, padded))
    np.testing.assert_array_equal(one.patched, two.patched)


def test_a_tower_that_reads_its_padding_gets_filled_statements() -> None:
    plain = with_tokenizer("siglip", word_tokenizer())
    [tokens] = plain.tokenize(STATEMENTS[:1])
    assert len(tokens) == plain.max_tokens == 14
    assert tokens.padding == (False,) * 7 + (True,) * 7
    assert tokens.read_out == 13


def test_padding_in_front_of_a_filled_statement_is_marked() -> None:
    tokenizer = word_tokenizer(padding_side="left")
    [tokens] = StatementTokenizer(tokenizer=tokenizer, read_out="last", pad_to=9)(STATEMENTS[:1])
    assert tokens.padding == (True,) * 2 + (False,) * 7
    assert tokens.spans[:3] == ((0, 0),) * 3
    assert tokens.spans[3] == (0, 5)


@pytest.mark.parametrize(
    "make", [clip, bert, lambda: wrap(MaskFree(), word_tokenizer(), name="mask-free")]
)
def test_train_mode_changes_no_score_and_stays_on(make: Callable[[], Encoder]) -> None:
    encoder = make()
    pairs = radiology_pairs()[:2]
    encoder.model.eval()
    expected = encoder.embed_texts(STATEMENTS), trace(encoder, pairs, progress=False).patched
    encoder.model.train()
    for module in encoder.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    child = next(encoder.model.children())
    child.eval()
    torch.testing.assert_close(encoder.embed_texts(STATEMENTS), expected[0], atol=0, rtol=0)
    np.testing.assert_array_equal(trace(encoder, pairs, progress=False).patched, expected[1])
    assert encoder.model.training
    assert not child.training


def test_a_forward_of_the_tower_alone_runs_in_the_mode_that_the_model_is_in() -> None:
    """Training needs its dropout; where a score is asked for, the caller sees to it."""
    encoder = wrap(MaskFree(), word_tokenizer(), name="mask-free")
    ids = torch.tensor([encoder.tokenize(STATEMENTS[:1])[0].ids])
    encoder.model.eval()
    assert torch.equal(encoder.encode(ids), encoder.encode(ids))
    encoder.model.train()
    assert not torch.equal(encoder.encode(ids), encoder.encode(ids))
    assert encoder.encode(ids).requires_grad


def test_images_are_embedded_without_dropout() -> None:
    encoder = clip()
    encoder.model.vision_model.encoder.layers[0].self_attn.dropout = 0.5
    image = Anchor(image=Image.new("RGB", (40, 40), (90, 20, 160)))
    encoder.model.eval()
    expected = encoder.embed_images([image])
    encoder.model.train()
    torch.testing.assert_close(encoder.embed_images([image]), expected, atol=0, rtol=0)
    assert encoder.model.training


def test_a_model_on_several_devices_is_refused() -> None:
    model = clip().model
    model.visual_projection.to("meta")
    with pytest.raises(EncoderError, match=r"spread over several devices \(cpu, meta\).*to\('cpu"):
        DualEncoder(model, word_tokenizer(), None, name="torn")
    mapped = bert().model
    mapped.hf_device_map = {"embeddings": 0, "encoder": "cpu"}
    with pytest.raises(EncoderError, match=r"several devices \(0, cpu\).*without device_map"):
        TextEncoder(mapped, word_tokenizer(), name="mapped")


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(EncoderError, match="on the meta device: it has no weights"):
        TextEncoder(bert().model.to("meta"), word_tokenizer(), name="empty")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gives_nearly_the_scores_of_float32(dtype: str) -> None:
    half, single = load("phantom", dtype=dtype), load("phantom")
    assert next(half.model.parameters()).dtype is getattr(torch, dtype)
    assert check(half).passed
    pairs = radiology_pairs()[:4]
    with pytest.warns(NegtraceWarning, match=f"traced in {dtype}"):
        rounded = trace(half, pairs, progress=False)
    exact = trace(single, pairs, progress=False)
    tolerance = 0.02 if dtype == "float16" else 0.15
    np.testing.assert_allclose(rounded.patched, exact.patched, atol=tolerance * single.scale)
