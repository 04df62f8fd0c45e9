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
from negtrace.encoders.huggingface.text import TextEncoder, stored_read_out
from negtrace.encoders.huggingface.vision_language import VisionLanguageModel
from negtrace.encoders.huggingface.weights import require_weights
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
        return _pooling(request) is None and request.files.purpose == "language"

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
        return _pooling(request) is None and request.files.purpose == "vision-language"

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
        embeds = _pooling(request) is not None or request.files.purpose == "embedding"
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
        embeds = _pooling(request) is not None or request.files.purpose == "embedding"
        return embeds and not request.files.has_method("get_text_features")

    @override
    def load(self, request: LoadRequest) -> Encoder:
        files = request.files
        loaded = files.model(request.dtype)
        encoder = TextEncoder(
            loaded.model,
            files.tokenizer(),
            name=request.name,
            read_out=_pooling(request) or "mean",
            revision=files.commit,
        )
        require_weights(encoder, loaded)
        return encoder


def _pooling(request: LoadRequest) -> str | None:
    """Return the read-out that was asked for or that the files ask for; None where neither does.

    A decoder that is pooled embeds statements, whatever it was first made for.
    """
    _ = request.files.config  # first, for a clear error where there is no such model
    return request.options.read_out or stored_read_out(request.files.json)


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
