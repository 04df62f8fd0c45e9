"""Families of encoders whose files transformers reads, and the bundled phantom.

A model's configuration names the class it was made as: a language model, a vision-language model,
or neither. Of those that are neither, a dual encoder embeds texts and images; the rest embed texts.
"""

__all__ = ["DualFamily", "LanguageFamily", "PhantomFamily", "TextFamily", "VisionLanguageFamily"]

from typing import ClassVar, final

from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.encoders.families import FAMILIES, Family, LoadRequest
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel
from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.huggingface.files import ModelFiles
from negtrace.encoders.huggingface.sentence_model import Dense, SentenceModel
from negtrace.encoders.huggingface.sentence_transformers import (
    DenseSettings,
    SentenceSettings,
    sentence_settings,
)
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.huggingface.vision_language import VisionLanguageModel
from negtrace.encoders.huggingface.weights import LoadedModel, require_weights
from negtrace.errors import EncoderError
from negtrace.phantom.bundled import CHECKPOINT


@final
@FAMILIES.register("phantom")
class PhantomFamily(Family):
    """A small CLIP trained on synthetic chest radiographs: it sees well and negates badly."""

    accepts: ClassVar[str] = "phantom"

    @override
    def matches(self, request: LoadRequest) -> bool:
        return request.name_or_path == "phantom"

    @override
    def load(self, request: LoadRequest) -> Encoder:
        bundled = LoadRequest(name_or_path=str(CHECKPOINT), options=request.options)
        return _dual_encoder(bundled, request.name)


class HuggingFaceFamily(Family):
    """A model that transformers reads."""

    accepts: ClassVar[str] = (
        "a folder with config.json, weights and tokenizer files, or a model's name on the Hugging "
        "Face hub"
    )
    options: ClassVar[tuple[str, ...]] = ("revision", "trust_remote_code")

    @override
    def objection(self, option: str, request: LoadRequest) -> str | None:
        if option == "revision" and request.folder:
            return "a folder holds one revision; only a model on the hub has several"
        return super().objection(option, request)


@final
@FAMILIES.register("language model")
class LanguageFamily(HuggingFaceFamily):
    """A decoder language model, asked whether a statement is true given a text."""

    options: ClassVar[tuple[str, ...]] = (*HuggingFaceFamily.options, "prompt")

    @override
    def matches(self, request: LoadRequest) -> bool:
        return not _is_pooled(request) and request.files.purpose == "language"

    @override
    def load(self, request: LoadRequest) -> Encoder:
        files = request.files
        loaded = files.model(request.dtype, "language")
        encoder = CausalLanguageModel(
            loaded.model,
            files.tokenizer(),
            name=request.name,
            prompt=request.options.prompt,
            revision=files.commit,
        )
        require_weights(encoder, loaded)
        return encoder


@final
@FAMILIES.register("vision-language model")
class VisionLanguageFamily(HuggingFaceFamily):
    """A generative vision-language model, asked whether a statement is true of an image."""

    options: ClassVar[tuple[str, ...]] = (*HuggingFaceFamily.options, "prompt")

    @override
    def matches(self, request: LoadRequest) -> bool:
        return not _is_pooled(request) and request.files.purpose == "vision-language"

    @override
    def load(self, request: LoadRequest) -> Encoder:
        files = request.files
        loaded = files.model(request.dtype, "vision-language")
        encoder = VisionLanguageModel(
            loaded.model,
            files.processor(),
            name=request.name,
            prompt=request.options.prompt,
            revision=files.commit,
        )
        # Text and image meet in one forward, of which the probe is only a part.
        require_weights(encoder, loaded, measured=False)
        return encoder


@final
@FAMILIES.register("dual encoder")
class DualFamily(HuggingFaceFamily):
    """A dual encoder such as CLIP or SigLIP: cosine of text and image, times its logit scale."""

    @override
    def matches(self, request: LoadRequest) -> bool:
        embeds = _is_pooled(request) or request.files.purpose == "embedding"
        return embeds and request.files.has_method("get_text_features")

    @override
    def load(self, request: LoadRequest) -> Encoder:
        return _dual_encoder(request, request.name)


@final
@FAMILIES.register("text encoder")
class TextFamily(HuggingFaceFamily):
    """A text encoder such as BERT or a sentence-transformers model: cosine of two texts."""

    options: ClassVar[tuple[str, ...]] = (*HuggingFaceFamily.options, "read_out")

    @override
    def matches(self, request: LoadRequest) -> bool:
        embeds = _is_pooled(request) or request.files.purpose == "embedding"
        return embeds and not request.files.has_method("get_text_features")

    @override
    def load(self, request: LoadRequest) -> Encoder:
        files = request.files
        settings = sentence_settings(files.json)
        _require_read_out(request, settings)
        loaded = _with_maps(files, files.encoder(request.dtype), settings)
        encoder = TextEncoder(
            loaded.model,
            files.tokenizer(),
            name=request.name,
            read_out=request.options.read_out,
            settings=settings,
            revision=files.commit,
        )
        require_weights(encoder, loaded)
        return encoder


def _require_read_out(request: LoadRequest, settings: SentenceSettings | None) -> None:
    """Refuse a model that does not say how it is read, where the mean is no fair guess."""
    if settings is not None or request.options.read_out is not None:
        return
    way_out = "say how to read its token states: read_out='mean', 'cls' or 'last'"
    if request.files.json("modules.json") is not None:
        raise EncoderError(f"{request.name}: its modules.json names no Pooling; {way_out}")
    if request.files.config.is_encoder_decoder and request.files.encoder_class is not None:
        raise EncoderError(
            f"{request.name} is an encoder with a decoder; to trace its encoder alone, {way_out}"
        )


def _with_maps(
    files: ModelFiles, loaded: LoadedModel, settings: SentenceSettings | None
) -> LoadedModel:
    """Return a loaded model with the linear maps behind its pooling, if it has any."""
    steps = settings.after_pooling if settings else ()
    maps = [step for step in steps if isinstance(step, DenseSettings)]
    if not maps:
        return loaded
    model = SentenceModel(
        loaded.model, [Dense(each, files.tensors(each.path)) for each in maps]
    ).eval()
    return LoadedModel(
        model=model.to(next(loaded.model.parameters()).dtype),
        missing=tuple(f"transformer.{name}" for name in loaded.missing),
        unexpected=loaded.unexpected,
    )


def _is_pooled(request: LoadRequest) -> bool:
    """Return whether a read-out was asked for, or the files ask for one.

    A decoder that is pooled embeds statements, whatever it was first made for.
    """
    files = request.files
    if request.folder is None:
        _ = files.config  # first, for a clear error where there is no such model
    # Before the config of a folder: a model of other modules has none, and is refused by name.
    try:
        settings = sentence_settings(files.json)
    except EncoderError as error:
        raise EncoderError(f"{request.name}: {error}") from error
    _ = files.config
    return request.options.read_out is not None or settings is not None


def _dual_encoder(request: LoadRequest, name: str) -> DualEncoder:
    files = request.files
    loaded = files.model(request.dtype)
    encoder = DualEncoder(
        loaded.model,
        files.tokenizer(),
        files.image_processor(),
        name=name,
        revision=files.commit,
    )
    require_weights(encoder, loaded)
    return encoder
