"""Generative vision-language models, asked whether a statement is true of an image.

The score is the logit of the answer yes minus the logit of the answer no.
"""

__all__ = ["VisionLanguageModel"]

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.hooks import evaluating
from negtrace.encoders.huggingface.attention import HFPrefixAttention
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel, position_inputs
from negtrace.encoders.huggingface.dual import image_features
from negtrace.encoders.huggingface.image_prompt import ImagePrompt
from negtrace.encoders.huggingface.image_rows import GRID, ImageRows
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.key_value_cache import PrefixAttention
from negtrace.encoders.wrap import EncodeAt
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

FEATURES = "mm_encoder_outputs"
"""Argument of a model's forward that takes image features in place of the image."""

TYPES = ("token_type_ids", "mm_token_type_ids")
"""Arguments of a model's forward that tell image tokens from others."""

SIZES = ((256, 256), (128, 320))
"""Width and height of the images on which the model's own forward is compared."""

KEPT_TEXTS = 1024
"""Images whose text is kept."""


@final
class VisionLanguageModel(CausalLanguageModel):
    """A decoder that reads an image as tokens, in the place of the anchor in the prompt.

    The processor says how many tokens an image takes. The image tower and its projection run once
    for each image. Their output is the embedding of the anchor (`ImageRows`). The model's own
    forward is given it in place of the image, so that positions, masks and features that are added
    behind the first blocks are the model's own. A row that starts from recorded states has the
    image in them. Text anchors are read as by any language model.

    Args:
        model: a model of transformers with `get_image_features`, an image token and a head, whose
            forward takes image features as `mm_encoder_outputs`.
        processor: its processor, with a tokenizer and an image processor.
        name: name in results.
        prompt: the question and its two answers.
        revision: commit of a model on the hub.

    Raises:
        EncoderError: when the model takes no image features, or its own forward over an image gives
            other logits.
    """

    family: ClassVar[str] = "vision-language model"

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str,
        prompt: Prompt | None = None,
        revision: str | None = None,
    ) -> None:
        self._image_id = int(model.config.image_token_id)
        self._parameters = frozenset(inspect.signature(model.forward).parameters)
        if FEATURES not in self._parameters:
            raise EncoderError(
                f"{name}: the forward of {type(model).__name__} takes no {FEATURES}, so an image "
                "cannot be given to it as features; subclass negtrace.Encoder"
            )
        self._image_prompt = ImagePrompt(
            processor=processor, prompt=prompt or Prompt(), image_id=self._image_id, name=name
        )
        self._image_text = lru_cache(KEPT_TEXTS)(self._text_of_image)
        probes = [self._image_prompt.inputs(image) for image in _gradients()]
        self._kinds = self._token_kinds(probes[0])
        with evaluating(model), torch.inference_mode():
            self._rows = ImageRows.of(image_features(model, probes[0]))
        super().__init__(
            model,
            processor.tokenizer,
            name=name,
            prompt=prompt,
            revision=revision,
            embed_images=self._features,
        )
        for probe in probes:
            self._require_own_answer(probe)

    def _token_kinds(self, probe: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
        """Return the token types of text and image, by the argument of the forward."""
        image = probe["input_ids"][0] == self._image_id
        return {
            name: (int(probe[name][0][~image][0]), int(probe[name][0][image][0]))
            for name in TYPES
            if name in probe and name in self._parameters
        }

    def _text_of_image(self, anchor: Anchor) -> str:
        return self._image_prompt.text(anchor.open_image())

    def _features(self, images: Sequence[Any]) -> Float[Tensor, "image dim"]:
        rows = [self._row(self._image_prompt.inputs(image)) for image in images]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def _row(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, " dim"]:
        return self._rows.row(image_features(self._model, inputs), inputs.get(GRID))

    def _logits(
        self,
        ids: Int[Tensor, "row token"],
        anchors: Float[Tensor, "row dim"] | None = None,
        positions: Int[Tensor, "..."] | None = None,
    ) -> Float[Tensor, "row 2"]:
        """Return the logits of both answers; without anchors, image tokens stand for nothing."""
        image = ids == self._image_id
        inputs = self._type_inputs(ids) | position_inputs(positions)
        if anchors is None or not image.any():
            # The id of the image token may lie outside the table of token embeddings.
            embed = self._model.get_input_embeddings()
            inputs["inputs_embeds"] = embed(ids.masked_fill(image, 0))
        else:
            counts = [count for count in image.sum(dim=1).tolist() if count]
            rows = anchors[image.any(dim=1)]
            inputs |= {"input_ids": ids, FEATURES: {"image": self._rows.output(rows, counts)}}
            inputs |= self._grid_inputs(rows)
        with _without_last_positions(self._model):
            return self.answer_logits(**inputs)

    def _type_inputs(self, ids: Int[Tensor, "row token"]) -> dict[str, Any]:
        return {
            name: torch.where(ids == self._image_id, image, text)
            for name, (text, image) in self._kinds.items()
        }

    def _grid_inputs(self, images: Float[Tensor, "image dim"]) -> dict[str, Tensor]:
        return {GRID: self._rows.grids(images)} if GRID in self._parameters else {}

    @override
    def _answer_logits(
        self, ids: Int[Tensor, "row token"], positions: Int[Tensor, "1 token"] | None = None
    ) -> Float[Tensor, "row 2"]:
        return self._logits(ids, positions=positions)

    @override
    def encode_against(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row 2"]:
        return self._logits(ids, anchors)

    @override
    def _prefix(self, encode_at: EncodeAt) -> PrefixAttention:
        return HFPrefixAttention(self.blocks, self._encode_tail)

    def _encode_tail(
        self, ids: Int[Tensor, "row token"], start: int, anchors: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row 2"]:
        return self._logits(ids[:, start:], anchors, self._positions(ids, anchors)[..., start:])

    def _positions(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row dim"]
    ) -> Int[Tensor, "... token"]:
        """Return the position of every token, which a model such as Qwen2-VL counts by itself."""
        image = ids == self._image_id
        count = getattr(self._model.base_model, "get_rope_index", None)
        if count is None or not image.any():
            return torch.arange(ids.shape[1], device=ids.device)[None]
        grids = self._grid_inputs(anchors[image.any(dim=1)])
        positions: Tensor = count(ids, **self._type_inputs(ids), **grids)[0]
        return positions

    @override
    def tokenize_against(
        self, statements: Sequence[str], anchors: Sequence[Anchor]
    ) -> list[Tokens]:
        return [
            self.prompt.tokens(
                self._text_tokenizer,
                statement,
                self._image_text(anchor) if anchor.text is None else anchor.text,
            )
            for statement, anchor in zip(statements, anchors, strict=True)
        ]

    @override
    def embed_anchors(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        """Return the image tokens of each image anchor; zeros for texts, which are in the row."""
        images = list(dict.fromkeys(anchor for anchor in anchors if anchor.text is None))
        if not images:
            return torch.zeros(len(anchors), 1, device=self.device)
        rows = dict(zip(images, self.embed_images(images), strict=True))
        empty = torch.zeros_like(rows[images[0]])
        return torch.stack([rows.get(anchor, empty) for anchor in anchors])

    def _require_own_answer(self, probe: Mapping[str, Tensor]) -> None:
        """Refuse a model whose own forward over an image gives other logits than this encoder."""
        weight = next(self.model.parameters())
        inputs = {
            key: value.to(weight) if value.is_floating_point() else value.to(weight.device)
            for key, value in probe.items()
            if key in self._parameters and key != "labels"
        }
        with (
            evaluating(self.model),
            torch.inference_mode(),
            self.guarded("its own forward over an image ran"),
        ):
            with _without_last_positions(self._model):
                expected = self.answer_logits(**inputs)
            logits = self.encode_against(inputs["input_ids"], self._row(probe)[None])
        if not torch.allclose(expected, logits, rtol=1e-2, atol=1e-2 * expected.abs().max().item()):
            raise EncoderError(
                f"{self.name}: its own forward over an image gives other logits than its image "
                "features in the row; subclass negtrace.Encoder and override encode_against"
            )


@contextmanager
def _without_last_positions(model: Any) -> Iterator[None]:
    """Make a model count positions anew inside the `with`, and leave it as it was.

    Some models keep the shift of positions of their last forward (`rope_deltas`), for the next.
    """
    keepers = [module for module in model.modules() if "rope_deltas" in vars(module)]
    kept = [module.rope_deltas for module in keepers]
    try:
        for module in keepers:
            module.rope_deltas = None
        yield
    finally:
        for module, value in zip(keepers, kept, strict=True):
            module.rope_deltas = value


def _gradients() -> list[Any]:
    """Return images of two sizes that are dark at the top and bright at the bottom."""
    from PIL import Image

    gradient = Image.linear_gradient("L").convert("RGB")
    return [gradient.resize(size) for size in SIZES]
