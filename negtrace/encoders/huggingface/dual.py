"""Hugging Face dual encoders: CLIP, SigLIP and whatever else embeds text and images alike.

No family is named: what a model takes is read off the signatures of `get_text_features` and
`get_image_features`, and what it is made of is measured.
"""

__all__ = ["DualEncoder", "context_of", "image_features", "number_of", "scale_of"]

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.wrap import EmbedImages, ModuleEncoder
from negtrace.errors import EncoderError


@final
class DualEncoder(ModuleEncoder):
    """A model with `get_text_features`; images are read where a processor is given.

    The score is the model's own image-text logit: cosine times its scale, plus its bias.

    Raises:
        EncoderError: when the model has no such logit, or embeds no text from its tokens alone.
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
        scale = scale_of(model)
        takes_positions = "position_ids" in _parameters(model.get_text_features)
        super().__init__(
            model,
            tokenizer,
            _text_features(model),
            name=name,
            unit="logit",
            max_tokens=context_of(model, model.config.get_text_config()),
            embed_images=_image_features(model, image_processor),
            fill_context=True,
            encode_at=_text_features_at(model) if takes_positions else None,
            scale=scale,
            bias=number_of(model, "logit_bias", default=0.0),
            revision=revision,
        )


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    return inspect.signature(function).parameters


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


def _image_features(model: Any, processor: Any | None) -> EmbedImages | None:
    if processor is None or not hasattr(model, "get_image_features"):
        return None

    def embed(images: Sequence[Any]) -> Float[Tensor, "image dim"]:
        return _embedding(image_features(model, processor, images))

    return embed


def image_features(model: Any, processor: Any, images: Sequence[Any]) -> Any:
    """Return what `get_image_features` gives for images, handed all of theirs that it takes."""
    weight = next(model.parameters())
    taken = _parameters(model.get_image_features)
    read = processor(images=list(images), return_tensors="pt")
    return model.get_image_features(
        **{
            key: value.to(weight) if value.is_floating_point() else value.to(weight.device)
            for key, value in read.items()
            if key in taken
        }
    )


def _embedding(output: Any) -> Float[Tensor, "row dim"]:
    """Return the projected embedding, which older models return bare.

    A model that projects every token (FLAVA) is read at the first, as its own logits are.
    """
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found[:, 0] if found.ndim == 3 else found


def context_of(model: nn.Module, config: Any) -> int:
    """Return how many tokens a text tower reads.

    Positions that start after a padding index, as RoBERTa's do, are not all for tokens.
    """
    count = int(getattr(config, "max_position_embeddings", 512))
    for name, module in model.named_modules():
        padded = isinstance(module, nn.Embedding) and module.padding_idx is not None
        if padded and name.endswith("position_embeddings") and module.num_embeddings == count:
            return count - int(module.padding_idx or 0) - 1
    return count


def scale_of(model: nn.Module) -> float:
    """Return what the model multiplies a cosine by.

    Raises:
        EncoderError: when it has neither a logit scale nor a temperature.
    """
    for name in ("logit_scale", "logit_scale_t"):  # the latter is a text's where each side has one
        if hasattr(model, name):
            return torch.as_tensor(getattr(model, name)).detach().double().exp().item()
    if hasattr(model, "temperature"):
        return 1 / number_of(model, "temperature", default=1.0)
    raise EncoderError(
        f"{type(model).__name__} has neither logit_scale nor temperature; "
        "use negtrace.wrap(..., scale=...)"
    )


def number_of(model: nn.Module, attribute: str, *, default: float) -> float:
    """Return a model's number, such as its `logit_bias`, or `default` where it has none."""
    value = getattr(model, attribute, None)
    return default if value is None else torch.as_tensor(value).detach().double().item()
