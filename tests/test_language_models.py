"""Language models with and without images: prompts, scores and images."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from language_models import IMAGE, LANGUAGES, PROMPT, READERS, decoder, reader
from PIL import Image
from small_encoders import exact_scores, oracle
from small_models import build, word_tokenizer

from negtrace.encoders.base import Encoder
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel, context_window
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.huggingface.vision_language import VisionLanguageModel
from negtrace.encoders.load import load
from negtrace.errors import EncoderError, NegtraceWarning
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.check import check
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.trace import trace

STATEMENT = "There is no effusion."
TEXT = Anchor(text="lungs clear")


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8))


def image_pairs() -> list[Pair]:
    return [
        Pair(
            true=f"There is no {finding}.",
            false=f"There is some {finding}.",
            anchor=Anchor(image=picture(seed)),
        )
        for seed, finding in enumerate(("effusion", "pneumothorax", "nodule"))
    ]


@pytest.mark.parametrize("name", sorted(set(LANGUAGES) - set(READERS)))
def test_the_score_is_the_difference_of_the_answers_logits(name: str) -> None:
    encoder = decoder(name)
    [tokens] = encoder.tokenize_against([STATEMENT], [TEXT])
    tokenizer = word_tokenizer(around="[BOS] $A")
    text = "lungs clear is There is no effusion. true ? answer :"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    assert tokens.ids == tuple(ids[0].tolist())
    with torch.inference_mode():
        logits = encoder.model(ids).logits[0, -1]
        anchor = encoder.embed_anchors([TEXT])
        score = encoder.score(encoder.encode_against(ids, anchor), anchor)
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    assert score.item() == pytest.approx((logits[yes] - logits[no]).item(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(READERS))
def test_an_image_is_read_as_by_the_models_own_processor(name: str) -> None:
    encoder, image = reader(name), picture(7)
    text = "<image> is There is no effusion. true ? answer :"
    inputs = READERS[name][1]()(text=[text], images=[image])
    inputs = {
        key: torch.as_tensor(np.array(value)) for key, value in inputs.items() if key != "labels"
    }
    [tokens] = encoder.tokenize_against([STATEMENT], [Anchor(image=image)])
    assert tokens.ids == tuple(inputs["input_ids"][0].tolist())
    assert tokens.ids.count(IMAGE) == 16
    with torch.inference_mode():
        logits = encoder.model(**inputs).logits[0, -1]
        anchor = encoder.embed_anchors([Anchor(image=image)])
        score = encoder.score(encoder.encode_against(inputs["input_ids"], anchor), anchor)
    yes, no = word_tokenizer().convert_tokens_to_ids(["yes", "no"])
    assert score.item() == pytest.approx((logits[yes] - logits[no]).item(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(READERS))
def test_spans_are_those_of_the_statement_alone(name: str) -> None:
    for anchor in (TEXT, Anchor(image=picture(1))):
        [tokens] = reader(name).tokenize_against([STATEMENT], [anchor])
        words = [STATEMENT[slice(*span)] for span in tokens.spans if span != (0, 0)]
        assert words == ["There", "is", "no", "effusion", "."]
        assert tokens.read_out == len(tokens) - 1
        assert tokens.added[-1]


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_cell_of_an_image_pair_agrees_with_the_oracle(name: str, direction: str) -> None:
    encoder = reader(name, torch.float64)
    [pair] = image_pairs()[:1]
    true, false = encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
    contrasts = corruption_named("swap").contrasts(pair, true, false, encoder)
    with torch.inference_mode():
        anchor = encoder.embed_anchors([pair.anchor])
        [scores] = exact_scores(encoder, contrasts, anchor, direction=direction)
    expected = oracle(encoder, contrasts[0], anchor[0], direction)
    d = scores.clean - scores.corrupt
    np.testing.assert_allclose(scores.patched[0] / d, expected / d, atol=1e-9)


@pytest.mark.parametrize("name", sorted(READERS))
def test_image_and_text_pairs_give_the_same_numbers_together_and_alone(name: str) -> None:
    encoder = reader(name, torch.float64)
    text = Pair(true="There is no nodule.", false="There is some nodule.", anchor=TEXT)
    pairs = [*image_pairs(), text]
    together = trace(encoder, pairs, progress=False)
    for row, pair in enumerate(pairs):
        alone = trace(encoder, [pair], progress=False)
        cells = together.patched[row, ..., : alone.patched.shape[-1]]
        np.testing.assert_allclose(cells, alone.patched[0], atol=1e-9)
    # The image matters: the same statement has another score with another image.
    other = Pair(true=text.true, false=text.false, anchor=Anchor(image=picture(9)))
    assert trace(encoder, [other], progress=False).clean[0] != together.clean[2]


def test_the_image_tower_runs_once_for_each_image() -> None:
    encoder = reader("llava")
    calls = []
    handle = encoder.model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))
    pair = image_pairs()[0]
    other = Pair(true="There is no nodule.", false="There is some nodule.", anchor=pair.anchor)
    with pytest.warns(NegtraceWarning, match="hooks of your own on model.vision_tower act"):
        trace(encoder, [pair, other], progress=False)
    handle.remove()
    assert len(calls) == 1


def test_a_language_model_without_images_drops_pairs_with_image_anchors() -> None:
    text = Pair(true="There is no nodule.", false="There is some nodule.", anchor=TEXT)
    cte = trace(decoder("gpt2"), [*image_pairs(), text], progress=False)
    assert [drop.code for drop in cte.dropped] == ["image-anchor"] * 3
    with pytest.raises(EncoderError, match="no image tower"):
        decoder("gpt2").embed_anchors([Anchor(image=picture(1))])


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_saved_language_model_loads_as_one(name: str, tmp_path: Path) -> None:
    encoder = decoder(name)
    encoder.model.save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    loaded = load(tmp_path, prompt=PROMPT)
    assert loaded.family == "language model"
    assert loaded.digest == encoder.digest
    assert load(tmp_path, read_out="mean").family == "text encoder"


def test_a_saved_vision_language_model_loads_as_one(tmp_path: Path) -> None:
    encoder = reader("llava")
    encoder.model.save_pretrained(tmp_path)
    READERS["llava"][1]().save_pretrained(tmp_path)
    loaded = load(tmp_path, prompt=PROMPT)
    assert loaded.family == "vision-language model"
    assert loaded.reads_images
    with torch.inference_mode():
        one, two = (each.embed_anchors([Anchor(image=picture(3))]) for each in (encoder, loaded))
    torch.testing.assert_close(one, two)


def test_a_tokenizer_without_the_image_token_is_refused() -> None:
    processor = READERS["llava"][1]()
    processor.tokenizer = word_tokenizer()
    with pytest.raises(EncoderError, match="check that its tokenizer knows"):
        VisionLanguageModel(READERS["llava"][0](torch.float32), processor, name="torn")


def test_a_model_that_does_not_read_images_as_tokens_is_refused() -> None:
    model, processor = (
        make() for make in (lambda: READERS["llava"][0](torch.float32), READERS["llava"][1])
    )
    forward = model.forward

    def brighter(**inputs: object) -> object:
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"] + 3
        return forward(**inputs)

    brighter.__signature__ = inspect.signature(forward)
    model.forward = brighter
    with pytest.raises(EncoderError, match="its own forward over an image gives other logits"):
        VisionLanguageModel(model, processor, name="own", prompt=PROMPT)


def test_a_prompt_may_be_longer_than_a_sliding_window() -> None:
    config = transformers.MistralConfig(sliding_window=16, max_position_embeddings=64)
    assert context_window(config) == 64
    assert context_window(transformers.BloomConfig()) == 1 << 20
    assert context_window(transformers.LlamaConfig(max_position_embeddings=64)) == 64


def test_a_prompt_holds_each_field_once() -> None:
    with pytest.raises(EncoderError, match=r"has \{statement\} 0 times; expected once"):
        Prompt(template="{anchor} yes?")
    with pytest.raises(EncoderError, match=r"has \{anchor\} 2 times"):
        Prompt(template="{anchor} {anchor} {statement}")


def test_answers_that_begin_with_the_same_token_are_refused() -> None:
    prompt = Prompt(template=PROMPT.template, answers=(" no", " no evidence"))
    with pytest.raises(EncoderError, match="begin with the same token"):
        prompt.answer_ids(word_tokenizer())


def test_an_answer_that_changes_the_tokens_of_the_prompt_is_refused() -> None:
    pieces = transformers.Siglip2Tokenizer().train_new_from_iterator(["so it is", "so"] * 9, 40)
    prompt = Prompt(template="{anchor}{statement}so", answers=("", "it"))
    with pytest.raises(EncoderError, match="changes the last tokens of the prompt"):
        prompt.answer_ids(pieces)


CHAT = "{% for m in messages %}patient {{ m.content }} has{% endfor %}"


def test_a_prompt_goes_into_the_chat_template() -> None:
    tokenizer = word_tokenizer()
    with pytest.raises(EncoderError, match=r"no chat template; use Prompt\(chat=False\)"):
        Prompt(chat=True).tokens(tokenizer, STATEMENT)
    tokenizer.chat_template = CHAT
    prompt = Prompt(template="{anchor} is {statement} true ?", answers=("yes", "no"), chat=True)
    tokens = prompt.tokens(tokenizer, STATEMENT, "lungs clear")
    words = tokenizer.convert_ids_to_tokens(list(tokens.ids))
    assert words[:4] == ["patient", "lungs", "clear", "is"]
    assert words[-3:] == ["true", "?", "has"]
    words = [STATEMENT[slice(*span)] for span in tokens.spans if span != (0, 0)]
    assert words == ["There", "is", "no", "effusion", "."]
    config = transformers.LlamaConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    model = build(config, torch.float32, transformers.AutoModelForCausalLM)
    assert check(CausalLanguageModel(model, tokenizer, name="chat", prompt=prompt)).passed


def test_no_padding_is_ever_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer that always pads changes no score."""
    plain = decoder("llama")
    tokenizer = word_tokenizer(padding_side="left")
    call = type(tokenizer).__call__

    def padded(self: object, text: str, **options: object) -> object:
        return call(self, text, **{"padding": "max_length", "max_length": 40, **options})

    monkeypatch.setattr(type(tokenizer), "__call__", padded)
    encoder: Encoder = CausalLanguageModel(plain.model, tokenizer, name="llama", prompt=PROMPT)
    assert encoder.tokenize([STATEMENT]) == plain.tokenize([STATEMENT])
