"""Dual encoders such as CLIP and SigLIP, which embed texts and images in one space.

No model is named here. The arguments that a model takes are read from the signatures of its
`get_text_features` and `get_image_features`; its structure is measured.
"""

__all__ = ["DualEncoder", "LogitEncoder", "image_features", "scale_of"]

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from negtrace.encoders.base import PROBE, EncoderDescription
from negtrace.encoders.token_types import TokenTypes, type_inputs, types_for
from negtrace.encoders.tokenizing import read_text
from negtrace.encoders.wrap import EmbedImages, ModuleEncoder
from negtrace.errors import EncoderError
from negtrace.phantom.bundled import TRAINED_ON


class LogitEncoder(ModuleEncoder):
    """An encoder whose score is its model's own image-text logit, cosine * scale + bias.

    Scale and bias are read from the model at every score, since training changes them.
    """

    @property
    @override
    def scale(self) -> float:
        return scale_of(self.model)

    @property
    @override
    def bias(self) -> float:
        return _number_of(self.model, "logit_bias", default=0.0)


@final
class DualEncoder(LogitEncoder):
    """A model with `get_text_features`, and with `get_image_features` where it reads images.

    The score is the model's own image-text logit: cosine * scale + bias.

    Args:
        model: a model of transformers.
        tokenizer: its tokenizer.
        image_processor: its image processor; None for texts as anchors only.
        name: name in results.
        revision: commit of a model on the hub.

    Raises:
        EncoderError: when the model has no logit scale, or embeds no text from its tokens alone.
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
        scale_of(model)  # for a clear error before anything is measured
        takes_positions = "position_ids" in _parameters(model.get_text_features)
        types = types_for(model.get_text_features, read_text(tokenizer, PROBE).types, name)
        self.token_types = types
        super().__init__(
            model,
            tokenizer,
            partial(_text_features, model, types),
            EncoderDescription(
                name=name,
                unit="logit",
                max_tokens=_context_of(model, model.config.get_text_config()),
                revision=revision,
                trained_on_phantom=getattr(model.config, "trained_on", None) == TRAINED_ON,
            ),
            embed_images=_image_features(model, image_processor),
            fill_context=True,
            encode_at=partial(_text_features_at, model, types) if takes_positions else None,
        )


def _parameters(function: Callable[..., Any]) -> Mapping[str, Any]:
    return inspect.signature(function).parameters


def _text_features(
    model: Any, types: TokenTypes | None, ids: Int[Tensor, "row token"]
) -> Float[Tensor, "row dim"]:
    return _embedding(model.get_text_features(input_ids=ids, **type_inputs(types, ids)))


def _text_features_at(
    model: Any,
    types: TokenTypes | None,
    ids: Int[Tensor, "row token"],
    positions: Int[Tensor, "1 token"],
) -> Float[Tensor, "row dim"]:
    inputs = type_inputs(types, ids, positions)
    return _embedding(model.get_text_features(input_ids=ids, position_ids=positions, **inputs))


def _embedding_of_images(
    model: Any, processor: Any, images: Sequence[Any]
) -> Float[Tensor, "image dim"]:
    return _embedding(image_features(model, processor(images=list(images), return_tensors="pt")))


def _image_features(model: Any, processor: Any | None) -> EmbedImages | None:
    if processor is None or not hasattr(model, "get_image_features"):
        return None
    return partial(_embedding_of_images, model, processor)


def image_features(model: Any, inputs: Mapping[str, Tensor]) -> Any:
    """Return the output of `get_image_features`, given all inputs that it takes.

    Args:
        model: a model of transformers with `get_image_features`.
        inputs: inputs as the model's processor makes them.
    """
    weight = next(model.parameters())
    parameters = _parameters(model.get_image_features)
    return model.get_image_features(
        **{
            key: value.to(weight) if value.is_floating_point() else value.to(weight.device)
            for key, value in inputs.items()
            if key in parameters
        }
    )


def _embedding(output: Any) -> Float[Tensor, "row dim"]:
    """Return the projected embedding, which older models return as a bare tensor.

    A model that projects every token (FLAVA) is read at the first, as in its own logits.
    """
    embedding: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return embedding[:, 0] if embedding.ndim == 3 else embedding


def _context_of(model: nn.Module, config: Any) -> int:
    """Return the number of tokens that a text tower can read.

    Where positions start behind a padding index, as in RoBERTa, not all of them are for tokens.
    """
    count = int(getattr(config, "max_position_embeddings", 512))
    for name, module in model.named_modules():
        padded = isinstance(module, nn.Embedding) and module.padding_idx is not None
        if padded and name.endswith("position_embeddings") and module.num_embeddings == count:
            return count - int(module.padding_idx or 0) - 1
    return count


def scale_of(model: nn.Module) -> float:
    """Return the factor of the cosine in a model's logit: exp(logit_scale) or 1 / temperature.

    Raises:
        EncoderError: when the model has neither a logit scale nor a temperature.
    """
    for name in ("logit_scale", "logit_scale_t"):  # `_t`: of texts, where images have their own
        if hasattr(model, name):
            return torch.as_tensor(getattr(model, name)).detach().double().exp().item()
    if hasattr(model, "temperature"):
        return 1 / _number_of(model, "temperature", default=1.0)
    raise EncoderError(
        f"{type(model).__name__} has neither logit_scale nor temperature; "
        "use negtrace.wrap(..., scale=...)"
    )


def _number_of(model: nn.Module, attribute: str, *, default: float) -> float:
    """Return a number that a model holds, such as its `logit_bias`, or `default` if it has none."""
    value = getattr(model, attribute, None)
    return default if value is None else torch.as_tensor(value).detach().double().item()
