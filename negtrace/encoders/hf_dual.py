"""Hugging Face dual encoders: CLIP, SigLIP and whatever else embeds text and images alike."""

__all__ = ["DualEncoder", "scale_of"]

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.wrap import ModuleEncoder
from negtrace.errors import EncoderError


@final
class DualEncoder(ModuleEncoder):
    """A model with `get_text_features`; images are read where a processor is given.

    The score is the model's own image-text logit: cosine times its scale, plus its bias.
    """

    family: ClassVar[str] = "dual encoder"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        image_processor: Any | None,
        *,
        name: str,
        revision: str | None = None,
    ) -> None:
        super().__init__(
            model,
            tokenizer,
            _text_features(model),
            name=name,
            unit="logit",
            max_tokens=int(model.config.text_config.max_position_embeddings),
            embed_images=_image_features(model, image_processor) if image_processor else None,
            fill_context=True,
            encode_at=_text_features_at(model),
            scale=scale_of(model),
            bias=_number(model, "logit_bias", default=0.0),
            revision=revision,
        )


def _text_features(model: Any) -> Callable[[Tensor], Tensor]:
    def encode(ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        return _embedding(model.get_text_features(input_ids=ids))

    return encode


def _text_features_at(model: Any) -> Callable[[Tensor, Tensor], Tensor]:
    def encode_at(
        ids: Int[Tensor, "row token"], positions: Int[Tensor, "1 token"]
    ) -> Float[Tensor, "row dim"]:
        return _embedding(model.get_text_features(input_ids=ids, position_ids=positions))

    return encode_at


def _image_features(model: Any, processor: Any) -> Callable[[Sequence[Any]], Tensor]:
    def embed(images: Sequence[Any]) -> Float[Tensor, "image dim"]:
        pixels = processor(images=list(images), return_tensors="pt")["pixel_values"]
        weight = next(model.parameters())
        return _embedding(model.get_image_features(pixel_values=pixels.to(weight)))

    return embed


def _embedding(output: Any) -> Float[Tensor, "row dim"]:
    """Return the projected embedding, which older models return bare."""
    return output if isinstance(output, Tensor) else output.pooler_output


def scale_of(model: nn.Module) -> float:
    """Return what the model multiplies a cosine by.

    Raises:
        EncoderError: when it has neither a logit scale nor a temperature.
    """
    if hasattr(model, "logit_scale"):
        return torch.as_tensor(model.logit_scale).detach().double().exp().item()
    if hasattr(model, "temperature"):
        return 1 / _number(model, "temperature", default=1.0)
    raise EncoderError(
        f"{type(model).__name__} has neither logit_scale nor temperature; "
        "use negtrace.wrap(..., scale=...)"
    )


def _number(model: nn.Module, attribute: str, *, default: float) -> float:
    value = getattr(model, attribute, None)
    return default if value is None else torch.as_tensor(value).detach().double().item()
