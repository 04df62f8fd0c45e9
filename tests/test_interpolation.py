"""Interpolation of weights: its formula, what it leaves alone, and what it refuses."""

from functools import partial

import pytest
import torch
from dual_encoders import dual
from torch import Tensor

import negtrace
from negtrace.encoders.base import Encoder
from negtrace.encoders.lora import attach
from negtrace.errors import EncoderError, FinetuneError

STATEMENT = "There is no effusion."


def trained(encoder: Encoder) -> Encoder:
    """Return the encoder with other weights everywhere."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in encoder.model.parameters():
            weight += 0.01 * torch.randn(weight.shape, generator=generator)
    return encoder


def weights(encoder: Encoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.model.state_dict().items()}


@pytest.mark.parametrize("name", ["phantom", "toy"])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_every_weight_is_on_the_line(name: str, t: float) -> None:
    before, after = negtrace.load(name), trained(negtrace.load(name))
    first, last = weights(before), weights(after)
    between = negtrace.interpolate(before, after, t)
    for key, value in between.model.state_dict().items():
        torch.testing.assert_close(value, first[key] + t * (last[key] - first[key]))
    assert between.digest == {0.0: before.digest, 1.0: after.digest}.get(t, between.digest)
    for encoder, state in ((before, first), (after, last)):
        assert all(torch.equal(state[key], value) for key, value in weights(encoder).items())


def test_a_number_for_each_block_leaves_the_rest() -> None:
    before, after = negtrace.load("phantom"), trained(negtrace.load("phantom"))
    by_block = {block: number / 10 for number, block in enumerate(before.block_names)}
    between = negtrace.interpolate(before, after, by_block)
    first, last = weights(before), weights(after)
    for key, value in between.model.state_dict().items():
        t = next((by_block[b] for b in by_block if key.startswith(f"{b}.")), 0.0)
        torch.testing.assert_close(value, first[key] + t * (last[key] - first[key]))


@torch.no_grad()
@pytest.mark.parametrize("name", ["align", "chinese_clip", "siglip2"])
def test_a_copy_runs_its_own_model(name: str) -> None:
    make = partial(dual, name)
    before, after = make(), trained(make())
    between = negtrace.interpolate(before, after, 1.0)
    expected = after.embed_texts([STATEMENT])
    torch.testing.assert_close(between.embed_texts([STATEMENT]), expected)
    before.blocks[0].register_forward_hook(lambda *_: pytest.fail("the old model ran"))
    torch.testing.assert_close(between.embed_texts([STATEMENT]), expected)


def test_an_interpolated_model_is_traced() -> None:
    before, after = negtrace.load("phantom"), trained(negtrace.load("phantom"))
    between = negtrace.interpolate(before, after, 0.5)
    pairs = negtrace.sample(negtrace.radiology_pairs(), 8)
    traced = negtrace.trace(between, pairs, progress=False)
    assert traced.provenance.weights_digest == between.digest
    assert negtrace.check(between).passed


class TestRefusals:
    @pytest.mark.parametrize("t", [-0.1, 1.1, float("nan"), {"0": 0.5}])
    def test_of_a_share_that_is_none(self, t: float) -> None:
        with pytest.raises(FinetuneError):
            negtrace.interpolate(negtrace.load("toy"), negtrace.load("toy"), t)

    def test_of_unlike_models(self) -> None:
        with pytest.raises(FinetuneError, match=r"unlike in \d+ weights: "):
            negtrace.interpolate(negtrace.load("toy"), negtrace.load("phantom"), 0.5)

    def test_of_one_model_twice(self) -> None:
        encoder = negtrace.load("toy")
        with pytest.raises(FinetuneError, match="the same model"):
            negtrace.interpolate(encoder, encoder, 0.5)

    def test_of_adapters(self) -> None:
        before, after = negtrace.load("phantom"), negtrace.load("phantom")
        attach(after, rank=2, alpha=2.0)
        with pytest.raises(FinetuneError, match="adapters attached"):
            negtrace.interpolate(before, after, 0.5)

    def test_of_a_function_that_holds_the_model(self) -> None:
        def wrapped() -> Encoder:
            model = negtrace.load("phantom").model
            return negtrace.wrap(
                model,
                negtrace.load("phantom")._tokenizer.tokenizer,
                encode=lambda ids: model.get_text_features(input_ids=ids).pooler_output,
            )

        with pytest.raises(EncoderError, match=r"functools\.partial"):
            negtrace.interpolate(wrapped(), wrapped(), 0.5)
