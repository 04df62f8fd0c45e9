"""open_clip models: their native text tower, or a Hugging Face one with a projection (BiomedCLIP).

open_clip runs every statement padded to its context. Here a statement runs at its own length,
where that is measured to give the same embedding: for the time of a call the tower's positions
and causal mask are those of the row. A tower that sees its padding is run padded, as in training.
"""

__all__ = ["PREFIXES", "OpenClipEncoder", "load_open_clip"]

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from negtrace.encoders.base import PROBE
from negtrace.encoders.hooks import evaluating
from negtrace.encoders.huggingface.dual import number_of, scale_of
from negtrace.encoders.tokenizing import unpadded_ids
from negtrace.encoders.wrap import ModuleEncoder
from negtrace.errors import EncoderError, require

PREFIXES = ("open_clip:", "hf-hub:", "local-dir:")
"""How a name says that it is one of open_clip's."""

BY_POSITION = ("positional_embedding", "attn_mask")
"""What open_clip's text towers hold for each place of their context."""


@final
class OpenClipEncoder(ModuleEncoder):
    """A model of open_clip; the score is its own image-text logit.

    Args:
        model: from `open_clip.create_model` or its like.
        tokenizer: from `open_clip.get_tokenizer`.
        preprocess: maps a Pillow image to pixels; without it anchors are texts.
        name: what to call it in results.

    Raises:
        EncoderError: when the tower appends a token of its own (CoCa), or is read amid padding.
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
        reads = _Words(tokenizer) if hasattr(tokenizer, "sot_token_id") else _Pieces(tokenizer)
        context = min(int(tokenizer.context_length), int(model.context_length))
        encode = _text_features(model, int(model.context_length))
        padded = _sees_padding(model, reads, encode, context)
        super().__init__(
            model,
            reads,
            encode,
            name=name,
            unit="logit",
            max_tokens=context,
            embed_images=_image_features(model, preprocess) if preprocess else None,
            fill_context=padded,
            scale=scale_of(model),
            bias=number_of(model, "logit_bias", default=0.0),
        )
        if padded and self._tokenizer.pad_to is None:
            raise EncoderError(
                f"{name}: the text tower sees its padding, but is not read behind it; "
                "subclass negtrace.Encoder, and fill the context in its tokenize"
            )


class _Words:
    """open_clip's own byte-pair tokenizer, called as one of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(
        self, text: str, *, padding: object = False, max_length: int = 0, **_: Any
    ) -> dict[str, list[int]]:
        own = self._tokenizer
        ids = [own.sot_token_id, *own.encode(text), own.eot_token_id]
        filling = max(0, max_length - len(ids)) if padding else 0
        return {
            "input_ids": ids + [0] * filling,
            "attention_mask": [1] * len(ids) + [0] * filling,
        }

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._tokenizer.decode([i]).strip() for i in ids]


class _Pieces:
    """A tokenizer of transformers within one of open_clip, which cleans the text first."""

    def __init__(self, tokenizer: Any) -> None:
        if getattr(tokenizer, "tokenizer_mode", "") or getattr(tokenizer, "strip_sep_token", False):
            raise EncoderError(
                "open_clip's tokenizer rewrites token ids (mode 'clips', strip_sep_token); "
                "use negtrace.wrap with a tokenizer that gives the final ids"
            )
        self._tokenizer = tokenizer.tokenizer
        self._clean = getattr(tokenizer, "clean_fn", str)
        self.is_fast = getattr(self._tokenizer, "is_fast", False)

    def __call__(self, text: str, **options: Any) -> Any:
        cleaned = self._clean(text)
        read = self._tokenizer(cleaned, **options)
        if len(cleaned) != len(text):  # then its spans are not the statement's
            read.pop("offset_mapping", None)
        return read

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        found: list[str] = self._tokenizer.convert_ids_to_tokens(ids)
        return found


class _TextTower(nn.Module):
    """`encode_text` as a module's forward, which is what can be called with other tensors."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        embedded: Tensor = self.model.encode_text(ids)
        return embedded


def _text_features(model: Any, context: int) -> Callable[[Tensor], Tensor]:
    tower = _TextTower(model)
    whole = {
        name: value
        for name, value in (*tower.named_parameters(), *tower.named_buffers())
        if name.endswith(BY_POSITION) and ".visual." not in name and len(value) == context
    }

    def encode(ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        embedded: Tensor = functional_call(tower, _cut(whole, ids.shape[1]), (ids,))
        return embedded

    return encode


def _cut(whole: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return positions and masks for the first `count` places."""
    return {
        name: value[:count, :count] if name.endswith("attn_mask") else value[:count]
        for name, value in whole.items()
    }


def _sees_padding(
    model: nn.Module, tokenizer: Any, encode: Callable[[Tensor], Tensor], context: int
) -> bool:
    """Return whether a statement embeds otherwise when it is padded to the context."""
    device = next(model.parameters()).device
    filled = tokenizer(PROBE, padding="max_length", max_length=context, truncation=False)
    rows = [list(unpadded_ids(tokenizer, PROBE)), list(filled["input_ids"])]
    with evaluating(model), torch.inference_mode():
        short, long = (encode(torch.tensor([row], device=device)) for row in rows)
    return not torch.allclose(short, long, rtol=1e-2, atol=1e-2 * long.abs().max().item())


def _image_features(
    model: Any, preprocess: Callable[[Any], Tensor]
) -> Callable[[Sequence[Any]], Tensor]:
    def embed(images: Sequence[Any]) -> Float[Tensor, "image dim"]:
        pixels = torch.stack([preprocess(image) for image in images])
        embedded: Tensor = model.encode_image(pixels.to(next(model.parameters())))
        return embedded

    return embed


def _require_no_class_token(model: Any, name: str) -> None:
    if getattr(getattr(model, "text", None), "cls_emb", None) is not None:
        raise EncoderError(
            f"{name}: the text tower appends a class token to every row (CoCa), so its states are "
            "not those of the tokens; subclass negtrace.Encoder and give that token an id"
        )


def load_open_clip(source: str, *, name: str | None = None, dtype: torch.dtype) -> OpenClipEncoder:
    """Load `open_clip:ARCHITECTURE/WEIGHTS`, `hf-hub:NAME`, or a folder with open_clip_config.json.

    Raises:
        ExtraError: when open_clip is not installed; it names the pip extra.
        EncoderError: when open_clip cannot read it.
    """
    open_clip = require("open_clip", extra="open_clip")
    called, options = _named(source)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(called, **options)
        tokenizer = open_clip.get_tokenizer(called)
    except Exception as error:  # whatever a damaged file makes a reader raise
        said = str(error).strip().splitlines() or [repr(error)]
        raise EncoderError(
            f"{_shown(source)}: open_clip cannot read it: {said[0]}; expected "
            "open_clip:ARCHITECTURE/WEIGHTS, hf-hub:NAME or a folder with open_clip_config.json"
        ) from error
    return OpenClipEncoder(
        model.to(dtype).eval(), tokenizer, preprocess, name=name or _shown(source)
    )


def _named(source: str) -> tuple[str, dict[str, str]]:
    """Return what open_clip calls a source, and which weights it asks for."""
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
    """Return a name for results: of a folder its last part alone, since paths are private."""
    place = source.removeprefix("local-dir:")
    return Path(place).resolve().name if Path(place).exists() else source
