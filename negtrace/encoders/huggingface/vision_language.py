"""Generative vision-language models, asked whether a statement is true of an image.

The score is the logit of the answer yes minus the logit of the answer no.
"""

__all__ = ["VisionLanguageModel"]

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.hooks import evaluating
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel, position_inputs
from negtrace.encoders.huggingface.dual import image_features
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.tokenizing import unpadded_ids
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens


@final
class VisionLanguageModel(CausalLanguageModel):
    """A decoder that reads an image as tokens, in the place of the anchor in the prompt.

    The image tower and its projection run once for each image. Their output is the embedding of the
    anchor, [token * width], and is put among the decoder's token embeddings. A row that starts from
    recorded states has the image in them and does not need it again. Text anchors are read as by
    any language model.

    Args:
        model: a model of transformers with `get_image_features`, an image token and a head.
        processor: its processor, with a tokenizer and an image processor.
        name: name in results.
        prompt: the question and its two answers.
        revision: commit of a model on the hub.

    Raises:
        EncoderError: when images are not read as a fixed number of tokens, or when the model's own
            forward over an image gives other logits.
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
        self._processor = processor
        self._image_id = int(model.config.image_token_id)
        image_token = processor.tokenizer.convert_ids_to_tokens(self._image_id) or "<image>"
        probe = self._read_probe(image_token, name)
        image = probe["input_ids"][0] == self._image_id
        self._count = int(image.sum())
        self._kinds = self._token_kinds(model, probe, image)
        self._image_text = image_token * self._count + _own_start(processor.tokenizer)
        super().__init__(
            model,
            processor.tokenizer,
            name=name,
            prompt=prompt,
            revision=revision,
            embed_images=self._features,
        )
        self._require_own_answer(probe)

    def _read_probe(self, image_token: str, name: str) -> dict[str, Tensor]:
        """Return the processor's own inputs for a text with an image, as tensors."""
        try:
            inputs = self._processor(text=[f"{image_token} There"], images=[_gradient()])
        except Exception as error:  # a processor whose parts do not fit can raise anything
            raise EncoderError(
                f"{name}: its processor cannot read a text with an image ({error}); check that "
                f"its tokenizer knows {image_token!r}"
            ) from error
        return {key: torch.as_tensor(np.array(value)) for key, value in inputs.items()}

    @staticmethod
    def _token_kinds(
        model: Any, probe: Mapping[str, Tensor], image: Tensor
    ) -> tuple[int, int] | None:
        """Return the token types of text and image; None where the model takes no token types."""
        types = probe.get("token_type_ids")
        if types is None or "token_type_ids" not in inspect.signature(model.forward).parameters:
            return None
        return int(types[0][~image][0]), int(types[0][image][0])

    def _features(self, images: Sequence[Any]) -> Float[Tensor, "image dim"]:
        output = image_features(self._model, self._processor.image_processor, images)
        features = output if isinstance(output, Tensor | list | tuple) else output.pooler_output
        counts = {feature.reshape(-1, feature.shape[-1]).shape[0] for feature in features}
        if counts != {self._count}:
            raise EncoderError(
                f"{self.name} reads images as {', '.join(map(str, sorted(counts)))} tokens; "
                f"expected {self._count} tokens for every image, as other numbers are not supported"
            )
        return torch.stack([feature.flatten() for feature in features])

    def _embeds(
        self, ids: Int[Tensor, "row token"], images: Float[Tensor, "row dim"] | None = None
    ) -> Float[Tensor, "row token width"]:
        image = ids == self._image_id
        # The id of the image token may lie outside the table of token embeddings.
        embeds: Tensor = self._model.get_input_embeddings()(ids.masked_fill(image, 0))
        if images is None or not image.any():
            return embeds
        return embeds.masked_scatter(image[..., None], images[image.any(dim=1)].to(embeds))

    def _inputs(self, ids: Int[Tensor, "row token"]) -> dict[str, Tensor]:
        if self._kinds is None:
            return {}
        text, image = self._kinds
        return {"token_type_ids": torch.where(ids == self._image_id, image, text)}

    @override
    def _answer_logits(
        self, ids: Int[Tensor, "row token"], positions: Int[Tensor, "1 token"] | None = None
    ) -> Float[Tensor, "row 2"]:
        return self.answer_logits(
            inputs_embeds=self._embeds(ids), **self._inputs(ids), **position_inputs(positions)
        )

    @override
    def encode_against(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row 2"]:
        return self.answer_logits(inputs_embeds=self._embeds(ids, anchors), **self._inputs(ids))

    @override
    def tokenize_against(
        self, statements: Sequence[str], anchors: Sequence[Anchor]
    ) -> list[Tokens]:
        return [
            self.prompt.tokens(
                self._text_tokenizer,
                statement,
                self._image_text if anchor.text is None else anchor.text,
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
        inputs = {key: value.to(self.device) for key, value in probe.items() if key != "labels"}
        weight = next(self.model.parameters())
        inputs["pixel_values"] = inputs["pixel_values"].to(weight)
        with evaluating(self.model), torch.inference_mode():
            expected = self.answer_logits(**inputs)
            logits = self.encode_against(inputs["input_ids"], self._features([_gradient()]))
        if not torch.allclose(expected, logits, rtol=1e-2, atol=1e-2 * expected.abs().max().item()):
            raise EncoderError(
                f"{self.name}: its own forward over an image gives other logits than its image "
                "tokens in the row; subclass negtrace.Encoder and override encode_against"
            )


def _gradient() -> Any:
    """Return an image that is dark at the top and bright at the bottom."""
    from PIL import Image

    return Image.linear_gradient("L").convert("RGB")


def _own_start(tokenizer: Any) -> str:
    """Return the start token if the tokenizer does not add it: it then follows the image."""
    start = tokenizer.bos_token
    if start is None or unpadded_ids(tokenizer, "There")[0] == tokenizer.bos_token_id:
        return ""
    return str(start)
