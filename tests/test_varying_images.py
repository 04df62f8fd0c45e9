"""Vision-language models whose images take different numbers of tokens."""

import copy
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import vision_language_models as small
from language_models import PROMPT
from PIL import Image
from torch import Tensor, nn

import negtrace
from negtrace.cli import main
from negtrace.encoders.huggingface.image_prompt import ImagePrompt
from negtrace.encoders.huggingface.vision_language import VisionLanguageModel
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.tracing.trace import trace

SITES = ("resid", "attn_out", "mlp_out")
MODULES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "resid": lambda layer: layer,
    "attn_out": lambda layer: layer.self_attn,
    "mlp_out": lambda layer: layer.mlp,
}
Hook = Callable[[nn.Module, object, object], object]


def picture(seed: int, rows: int, columns: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (rows, columns, 3), np.uint8)
    return Image.fromarray(pixels)


IMAGES = (picture(1, 40, 40), picture(2, 24, 56))
PAIRS = [
    Pair(true=f"There is no {what}.", false=f"There is some {what}.", anchor=Anchor(image=image))
    for what, image in zip(("effusion", "nodule"), IMAGES, strict=True)
]


@cache
def encoder(name: str) -> VisionLanguageModel:
    return small.varying(name, torch.float64)


class Plain:
    """Plain forwards of the model over the processor's own inputs, each with some hooks."""

    def __init__(self, name: str) -> None:
        self.model, self.processor = encoder(name).model, small.PROCESSORS[name]
        self.layers = self.model.model.language_model.layers
        self.yes, self.no = small.tokenizer().convert_tokens_to_ids(["yes", "no"])

    def inputs(self, statement: str, image: Image.Image) -> dict[str, Tensor]:
        read = self.processor(text=[f"<image> is {statement} true ? answer :"], images=[image])
        values = {key: torch.as_tensor(np.array(value)) for key, value in read.items()}
        return {k: v.double() if v.is_floating_point() else v for k, v in values.items()}

    def score(
        self, inputs: dict[str, Tensor], hooks: Sequence[tuple[nn.Module, Hook]] = ()
    ) -> float:
        handles = [module.register_forward_hook(hook) for module, hook in hooks]
        with torch.no_grad():
            logits = self.model(**inputs).logits[0, -1]
        for handle in handles:
            handle.remove()
        return float(logits[self.yes] - logits[self.no])

    def states(self, inputs: dict[str, Tensor]) -> dict[tuple[str, int], Tensor]:
        states: dict[tuple[str, int], Tensor] = {}

        def recorder(key: tuple[str, int]) -> Hook:
            return lambda _, __, output: states.update({key: hidden(output).clone()})

        self.score(
            inputs,
            [
                (MODULES[site](layer), recorder((site, number)))
                for site in SITES
                for number, layer in enumerate(self.layers)
            ],
        )
        return states

    def patched(
        self, inputs: dict[str, Tensor], site: str, layer: int, at: int, state: Tensor
    ) -> float:
        def write(_: nn.Module, __: object, output: object) -> object:
            changed = hidden(output).clone()
            changed[0, at] = state
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return self.score(inputs, [(MODULES[site](self.layers[layer]), write)])


def hidden(output: object) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("name", small.CONFIGS)
def test_every_cell_is_that_of_a_plain_forward_over_the_image(name: str) -> None:
    cte = trace(encoder(name), PAIRS, sites=SITES, progress=False)
    plain = Plain(name)
    counts = set()
    for row, (pair, image) in enumerate(zip(PAIRS, IMAGES, strict=True)):
        true, false = plain.inputs(pair.true, image), plain.inputs(pair.false, image)
        clean, corrupt = plain.score(true), plain.score(false)
        assert cte.clean[row] == pytest.approx(clean, abs=1e-12)
        states = plain.states(true)
        moved = 0
        for site, layer, at in np.ndindex(
            len(SITES), len(plain.layers), true["input_ids"].shape[1]
        ):
            state = states[SITES[site], layer][0, at]
            expected = plain.patched(false, SITES[site], layer, at, state)
            gap = abs(cte.patched[row, site, layer + 1, at] - expected)
            assert gap < 1e-9 * abs(clean - corrupt), (SITES[site], layer, at)
            moved += abs(expected - corrupt) > 1e-6 * abs(clean - corrupt)
        assert moved > 20
        counts.add(int((true["input_ids"] == plain.model.config.image_token_id).sum()))
    assert len(counts) == 2


@pytest.mark.parametrize("name", small.CONFIGS)
def test_a_saved_folder_loads_and_passes_the_check(name: str, tmp_path: Path) -> None:
    small.model(name).save_pretrained(tmp_path)
    small.save_processor(name, tmp_path)
    assert (
        main(["check", str(tmp_path), "--template", PROMPT.template, "--answers", *PROMPT.answers])
        == 0
    )
    loaded = negtrace.load(tmp_path, prompt=PROMPT)
    assert loaded.family == "vision-language model"
    anchors = [pair.anchor for pair in PAIRS]
    [one, other] = loaded.tokenize_against([pair.true for pair in PAIRS], anchors)
    assert len(one) != len(other)
    traced = trace(loaded, PAIRS, progress=False)
    assert traced.clean == pytest.approx(
        trace(encoder(name), PAIRS, progress=False).clean, abs=1e-3
    )


@pytest.mark.parametrize("name", ["qwen3_vl", "internvl"])
def test_images_of_several_sizes_run_in_one_batch(name: str) -> None:
    """The rows are equally long: the image with fewer tokens has a longer statement."""
    reader = encoder(name)
    anchors = [pair.anchor for pair in PAIRS]
    few, many = sorted(
        zip(anchors, reader.tokenize_against(["no"] * 2, anchors), strict=True),
        key=lambda each: len(each[1]),
    )
    longer = " ".join(["no"] * (1 + len(many[1]) - len(few[1])))
    statements, ordered = ["no", longer], [many[0], few[0]]
    ids = torch.tensor([row.ids for row in reader.tokenize_against(statements, ordered)])
    rows = reader.embed_anchors(ordered)
    together = reader.encode_against(ids, rows)
    alone = torch.cat([reader.encode_against(ids[[i]], rows[[i]]) for i in range(2)])
    assert torch.allclose(together, alone, atol=1e-12)
    with pytest.raises(EncoderError, match="tokenize each statement with its own anchor"):
        reader.encode_against(ids, rows.flip(0))


@pytest.mark.parametrize("name", small.CONFIGS)
def test_a_text_anchor_is_read_without_an_image(name: str) -> None:
    reader = encoder(name)
    pair = Pair(
        true=PAIRS[0].true, false=PAIRS[0].false, anchor=Anchor(text="The lungs are clear.")
    )
    cte = trace(reader, [pair], progress=False)
    [row] = reader.tokenize_against([pair.true], [pair.anchor])
    ids = torch.tensor([row.ids])
    yes, no = small.tokenizer().convert_tokens_to_ids(["yes", "no"])
    with torch.no_grad():
        logits = reader.model(input_ids=ids).logits[0, -1]
    assert cte.clean[0] == pytest.approx(float(logits[yes] - logits[no]), abs=1e-12)


def test_the_model_keeps_no_positions_of_a_trace() -> None:
    reader = encoder("qwen2_vl")
    before = torch.tensor([[7]])
    reader.model.model.rope_deltas = before
    try:
        trace(reader, PAIRS[:1], progress=False)
        assert reader.model.model.rope_deltas is before
    finally:
        reader.model.model.rope_deltas = None


def test_the_chat_template_says_what_stands_around_an_image() -> None:
    processor = copy.copy(small.PROCESSORS["qwen2_vl"])
    processor.chat_template = (
        "{% for m in messages %}user : {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}<img><image></img>{% else %}{{ c['text'] }}{% endif %}"
        "{% endfor %}{% endfor %}"
    )
    token = int(encoder("qwen2_vl").model.config.image_token_id)
    prompt = ImagePrompt(processor=processor, prompt=PROMPT, image_id=token, name="tiny")
    assert prompt.placeholder == "<img><image></img>"
    text = prompt.text(IMAGES[0])
    assert text.startswith("<img><image>")
    assert text.endswith("<image></img>")
