"""open_clip models, with open_clip's own text tower or one of transformers (BiomedCLIP).

open_clip pads every statement to the context. Here a statement runs at its own length if the
embedding is measured to be the same: during a call, the tower's positions and causal mask are cut
to the length of the row. A tower whose embedding depends on the padding runs padded, as it was
trained.
"""

__all__ = ["OpenClipEncoder", "OpenClipFamily"]

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from typing_extensions import override

from negtrace._files import exists
from negtrace.encoders.base import PROBE, Encoder, EncoderDescription
from negtrace.encoders.families import FAMILIES, Family, LoadRequest
from negtrace.encoders.guard import reason_of
from negtrace.encoders.hooks import evaluating
from negtrace.encoders.huggingface.dual import LogitEncoder
from negtrace.encoders.tokenizing import unpadded_ids
from negtrace.errors import EncoderError, require

CONFIG = "open_clip_config.json"
PREFIXES = ("open_clip:", "hf-hub:", "local-dir:")
"""Starts of names that are open_clip's."""

BY_POSITION = ("positional_embedding", "attn_mask")
"""Tensors of open_clip's text towers with one row for each position of the context."""


@final
class OpenClipEncoder(LogitEncoder):
    """A model of open_clip; the score is its own image-text logit: cosine * scale + bias.

    Args:
        model: from `open_clip.create_model` or a similar function.
        tokenizer: from `open_clip.get_tokenizer`.
        preprocess: maps a Pillow image to pixels; None for texts as anchors only.
        name: name in results.

    Raises:
        EncoderError: when the tower appends a token of its own (CoCa), or depends on padding that
            does not stand before its read-out position.
    """

    family: ClassVar[str] = "open_clip"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        preprocess: Callable[[Any], Tensor] | None,
        *,
        name: str,
    ) -> None:
        _require_no_class_token(model, name)
        words = _Words(tokenizer) if hasattr(tokenizer, "sot_token_id") else _Pieces(tokenizer)
        context = min(int(tokenizer.context_length), int(model.context_length))
        encode = _text_features(model, int(model.context_length))
        padded = _depends_on_padding(model, words, encode, context)
        super().__init__(
            model,
            words,
            encode,
            EncoderDescription(
                name=name,
                unit="logit",
                max_tokens=context,
            ),
            embed_images=partial(_image_features, model, preprocess) if preprocess else None,
            fill_context=padded,
        )
        if padded and self._tokenizer.pad_to is None:
            raise EncoderError(
                f"{name}: the embedding depends on the padding, but is not read behind it; "
                "subclass negtrace.Encoder, and fill the context in its tokenize"
            )


class _Words:
    """open_clip's byte-pair tokenizer, called like one of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(
        self, text: str, *, padding: object = False, max_length: int = 0, **_: Any
    ) -> dict[str, list[int]]:
        tokenizer = self._tokenizer
        ids = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        fill = max(0, max_length - len(ids)) if padding else 0
        return {
            "input_ids": ids + [0] * fill,
            "attention_mask": [1] * len(ids) + [0] * fill,
        }

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._tokenizer.decode([i]).strip() for i in ids]


class _Pieces:
    """A tokenizer of transformers inside one of open_clip, which cleans the text first."""

    def __init__(self, tokenizer: Any) -> None:
        if getattr(tokenizer, "tokenizer_mode", "") or getattr(tokenizer, "strip_sep_token", False):
            raise EncoderError(
                "open_clip's tokenizer rewrites token ids (mode 'clips' or strip_sep_token); "
                "use negtrace.wrap with a tokenizer that gives the final ids"
            )
        self._tokenizer = tokenizer.tokenizer
        self._clean = getattr(tokenizer, "clean_fn", str)
        self.is_fast = getattr(self._tokenizer, "is_fast", False)

    def __call__(self, text: str, **options: Any) -> Any:
        cleaned = self._clean(text)
        inputs = self._tokenizer(cleaned, **options)
        if len(cleaned) != len(text):  # then its spans are not those of the statement
            inputs.pop("offset_mapping", None)
        return inputs

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        pieces: list[str] = self._tokenizer.convert_ids_to_tokens(ids)
        return pieces


class _TextTower(nn.Module):
    """`encode_text` as the forward of a module, so that it can be called with other tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        embedding: Tensor = self.model.encode_text(ids)
        return embedding


def _text_features(model: Any, context: int) -> Callable[[Tensor], Tensor]:
    tower = _TextTower(model)
    by_position = {
        name: value
        for name, value in (*tower.named_parameters(), *tower.named_buffers())
        if name.endswith(BY_POSITION) and ".visual." not in name and len(value) == context
    }

    return partial(_embedding, tower, by_position)


def _embedding(
    tower: nn.Module, by_position: Mapping[str, Tensor], ids: Int[Tensor, "row token"]
) -> Float[Tensor, "row dim"]:
    embedding: Tensor = functional_call(tower, _cut(by_position, ids.shape[1]), (ids,))
    return embedding


def _cut(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return positional embeddings and masks of the first `count` positions."""
    return {
        name: value[:count, :count] if name.endswith("attn_mask") else value[:count]
        for name, value in tensors.items()
    }


def _depends_on_padding(
    model: nn.Module, tokenizer: Any, encode: Callable[[Tensor], Tensor], context: int
) -> bool:
    """Return whether padding a statement to the context changes its embedding."""
    device = next(model.parameters()).device
    filled = tokenizer(PROBE, padding="max_length", max_length=context, truncation=False)
    rows = [list(unpadded_ids(tokenizer, PROBE)), list(filled["input_ids"])]
    with evaluating(model), torch.inference_mode():
        short, long = (encode(torch.tensor([row], device=device)) for row in rows)
    return not torch.allclose(short, long, rtol=1e-2, atol=1e-2 * long.abs().max().item())


def _image_features(
    model: Any, preprocess: Callable[[Any], Tensor], images: Sequence[Any]
) -> Float[Tensor, "image dim"]:
    pixels = torch.stack([preprocess(image) for image in images])
    embedding: Tensor = model.encode_image(pixels.to(next(model.parameters())))
    return embedding


def _require_no_class_token(model: Any, name: str) -> None:
    if getattr(getattr(model, "text", None), "cls_emb", None) is not None:
        raise EncoderError(
            f"{name}: the text tower appends a class token to every row (CoCa), so its states are "
            "not those of the tokens; subclass negtrace.Encoder and give that token an id"
        )


@final
@FAMILIES.register("open_clip")
class OpenClipFamily(Family):
    """A model of open_clip: cosine of text and image, times its logit scale."""

    accepts: ClassVar[str] = (
        f"open_clip:ARCHITECTURE/WEIGHTS, hf-hub:NAME or a folder with {CONFIG}"
    )

    @override
    def matches(self, request: LoadRequest) -> bool:
        if request.holds(CONFIG):  # of a folder with both files, transformers reads the other
            return not request.holds("config.json")
        return request.name_or_path.startswith(PREFIXES)

    @override
    def objection(self, option: str, request: LoadRequest) -> str | None:
        if option == "revision":
            return (
                "open_clip loads the newest one only; download the revision into a folder and give "
                "the folder"
            )
        return super().objection(option, request)

    @override
    def load(self, request: LoadRequest) -> Encoder:
        open_clip = require("open_clip", extra="open_clip")
        source = request.name_or_path
        name = request.options.name or _shown(source)
        in_open_clip, weights = _source_of(source)
        try:
            # It raises where open_clip's other functions would go on with random weights.
            model, preprocess = open_clip.create_model_from_pretrained(in_open_clip, **weights)
            tokenizer = open_clip.get_tokenizer(in_open_clip)
        except Exception as error:  # a damaged file can raise anything
            reason = reason_of(error, longest=1000) or type(error).__name__
            raise EncoderError(
                f"{_shown(source)}: open_clip cannot read it: {reason}; expected {self.accepts}"
            ) from error
        return OpenClipEncoder(model.to(request.dtype).eval(), tokenizer, preprocess, name=name)


def _source_of(source: str) -> tuple[str, dict[str, str]]:
    """Return open_clip's own name of a model, and the weights to ask for."""
    if source.startswith("open_clip:"):
        architecture, _, weights = source.removeprefix("open_clip:").partition("/")
        if not weights:
            raise EncoderError(
                f"{source} names no weights, and random ones show nothing; "
                "expected open_clip:ARCHITECTURE/WEIGHTS, such as open_clip:ViT-B-32/openai"
            )
        return architecture, {"pretrained": weights}
    return source if source.startswith(PREFIXES) else f"local-dir:{source}", {}


def _shown(source: str) -> str:
    """Return the name of a model in results: of a folder the last part, as its path is private."""
    path = Path(source.removeprefix("local-dir:"))
    return path.resolve().name if exists(path) else source
