"""Catalogue: every class of the installed transformers that reads text and might be traced."""

__all__ = ["Entry", "Kind", "entries"]

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import transformers
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
    MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING_NAMES,
    MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

Kind = Literal["decoder", "text encoder", "dual encoder"]

DECODERS_THAT_EMBED = ("gpt2", "llama", "qwen3")
"""Decoders that are also tried as text encoders: E5-Mistral and Qwen3-Embedding are such."""


OTHER_INPUTS = (
    *("pixel_values", "flattened_patches"),
    *("input_features", "input_values", "audio_codes"),
)
"""Arguments of a forward that reads images or sounds besides texts."""

SPEAKS = {
    *MODEL_FOR_TEXT_TO_SPECTROGRAM_MAPPING_NAMES,
    *MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES,
}
"""Model types that turn text into sound."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A class of transformers, and the model type of its configuration."""

    kind: Kind
    model_type: str
    class_name: str

    @property
    def name(self) -> str:
        """Name in the table, such as `decoder/llama`."""
        return f"{self.kind.split()[0]}/{self.model_type}"

    @property
    def model_class(self) -> Any:
        """The class itself."""
        return getattr(transformers, self.class_name)


def entries() -> list[Entry]:
    """Return every decoder, then every text encoder, then every dual encoder, each class once."""
    every = [*_decoders(), *_embedders()]
    by_class = {(entry.kind, entry.class_name): entry for entry in reversed(every)}
    return [entry for entry in every if by_class[entry.kind, entry.class_name] is entry]


def _decoders() -> Iterator[Entry]:
    for model_type, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        yield Entry(kind="decoder", model_type=model_type, class_name=name)


def _embedders() -> Iterator[Entry]:
    """Yield the classes without a head: those with `get_text_features` are dual encoders."""
    duals = []
    for model_type in dict.fromkeys([*MODEL_MAPPING_NAMES, *MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES]):
        for name in _names_of(model_type):
            if not hasattr(transformers, name):
                continue
            if _has(name, "get_text_features"):
                duals.append(Entry(kind="dual encoder", model_type=model_type, class_name=name))
            elif _embeds_text(model_type, name):
                yield Entry(kind="text encoder", model_type=model_type, class_name=name)
    yield from duals


def _names_of(model_type: str) -> tuple[str, ...]:
    """Return the classes that embed: of an encoder with a decoder, the one of the encoder alone."""
    names = MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES.get(model_type) or MODEL_MAPPING_NAMES[model_type]
    if isinstance(names, str):  # transformers names several for a few model types
        alone = names.removesuffix("Model") + "EncoderModel"
        return (alone if hasattr(transformers, alone) else names,)
    return tuple(names)


def _embeds_text(model_type: str, name: str) -> bool:
    """Tell whether a class reads token ids alone, and is not a decoder without its head."""
    encodes = {
        *MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        *MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
        *DECODERS_THAT_EMBED,
    }
    if model_type in SPEAKS:
        return False
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and model_type not in encodes:
        return False
    try:
        arguments = inspect.signature(getattr(transformers, name).forward).parameters
    except (ImportError, AttributeError):  # it needs a library that is not installed
        return False
    return "input_ids" in arguments and not {*OTHER_INPUTS} & {*arguments}


def _has(name: str, method: str) -> bool:
    try:
        return hasattr(getattr(transformers, name), method)
    except ImportError:
        return False
