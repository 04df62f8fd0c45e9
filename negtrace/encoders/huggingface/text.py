"""Hugging Face text encoders of the BERT kind, anchored on text, their score a cosine."""

__all__ = ["READ_OUTS", "TextEncoder", "stored_read_out"]

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, final, get_args

from jaxtyping import Float, Int
from torch import Tensor

from negtrace.encoders.tokenizing import ReadOut
from negtrace.encoders.wrap import ModuleEncoder, pooled
from negtrace.errors import EncoderError, UnknownNameError

TextReadOut = Literal["cls", "mean", "pooler"]
READ_OUTS: tuple[TextReadOut, ...] = get_args(TextReadOut)

_STATE: dict[str, ReadOut] = {"cls": "first", "mean": "mean"}
_MODES = {"cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean"}


@final
class TextEncoder(ModuleEncoder):
    """A text tower whose embedding is its first state, the mean of all, or its pooler's output."""

    family: ClassVar[str] = "text encoder"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        read_out: str = "mean",
        revision: str | None = None,
    ) -> None:
        if read_out not in READ_OUTS:
            raise UnknownNameError(f"unknown read-out {read_out!r}; known: {', '.join(READ_OUTS)}")
        super().__init__(
            model,
            tokenizer,
            _pooler(model) if read_out == "pooler" else pooled(model, _STATE[read_out]),
            name=name,
            unit="cosine",
            max_tokens=_max_tokens(model),
            revision=revision,
        )


def _pooler(model: Any) -> Callable[[Tensor], Tensor]:
    if getattr(model, "pooler", None) is None:
        raise EncoderError(f"{type(model).__name__} has no pooler; use read_out 'cls' or 'mean'")

    def encode(ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        read: Tensor = model(input_ids=ids).pooler_output
        return read

    return encode


def _max_tokens(model: Any) -> int:
    # RoBERTa's positions start after its padding index, so that many are not for tokens.
    offset = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
    return int(getattr(model.config, "max_position_embeddings", 512)) - offset


def stored_read_out(read: Callable[[str], Any | None]) -> TextReadOut | None:
    """Return the read-out that a sentence-transformers model asks for; None for any other.

    Args:
        read: gives what a JSON file of the model holds, or None where there is no such file.

    Raises:
        EncoderError: when it pools in a way, or has a module, that is not supported.
    """
    read_out: TextReadOut | None = None
    for module in read("modules.json") or ():
        kind = module["type"].rsplit(".", 1)[-1]
        if kind == "Pooling":
            read_out = _pooling(read(f"{module['path']}/config.json") or {})
        elif kind not in {"Transformer", "Normalize"}:
            raise EncoderError(
                f"a sentence-transformers module {kind!r}, expected Transformer, Pooling and "
                "Normalize; give the whole of it to negtrace.wrap(..., encode=...)"
            )
    return read_out


def _pooling(config: Mapping[str, Any]) -> TextReadOut:
    modes = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True]
    modes = [config["pooling_mode"]] if "pooling_mode" in config else modes
    chosen = [_MODES.get(mode) for mode in modes if mode != "include_prompt"]
    if chosen == ["cls"]:
        return "cls"
    if chosen == ["mean"]:
        return "mean"
    raise EncoderError(f"it pools by {', '.join(modes) or 'nothing'}; expected cls or mean")
