"""Text encoders such as BERT and sentence-transformers models; their score is a cosine."""

__all__ = ["TextEncoder", "stored_read_out"]

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

from jaxtyping import Float, Int
from torch import Tensor

from negtrace._messages import one_of
from negtrace.encoders.base import EncoderDescription
from negtrace.encoders.options import READ_OUTS, TextReadOut
from negtrace.encoders.tokenizing import ReadOut
from negtrace.encoders.wrap import ModuleEncoder, pooled
from negtrace.errors import EncoderError

STATES: dict[str, ReadOut] = {"cls": "first", "mean": "mean"}
"""Token states that a read-out reads."""

POOLING: dict[str, TextReadOut] = {
    "cls": "cls",
    "cls_token": "cls",
    "mean": "mean",
    "mean_tokens": "mean",
}
"""Read-outs by the names that sentence-transformers gives them."""


@final
class TextEncoder(ModuleEncoder):
    """A text tower whose embedding is its first token, the mean of its tokens, or its pooler's.

    Args:
        model: a model of transformers without a head.
        tokenizer: its tokenizer.
        name: name in results.
        read_out: `cls`, `mean` or `pooler`.
        revision: commit of a model on the hub.

    Raises:
        UnknownNameError: for an unknown read-out.
        EncoderError: when the model has no pooler and it is asked for.
    """

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
        one_of("read-out", read_out, READ_OUTS)
        super().__init__(
            model,
            tokenizer,
            _pooler(model) if read_out == "pooler" else pooled(model, STATES[read_out]),
            EncoderDescription(
                name=name, unit="cosine", max_tokens=_max_tokens(model), revision=revision
            ),
        )


def _pooler(model: Any) -> Callable[[Tensor], Tensor]:
    if getattr(model, "pooler", None) is None:
        raise EncoderError(f"{type(model).__name__} has no pooler; use read_out 'cls' or 'mean'")

    def encode(ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        embedding: Tensor = model(input_ids=ids).pooler_output
        return embedding

    return encode


def _max_tokens(model: Any) -> int:
    # RoBERTa's first token stands at its padding index plus one, which leaves fewer positions.
    offset = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
    return int(getattr(model.config, "max_position_embeddings", 512)) - offset


def stored_read_out(read: Callable[[str], Any | None]) -> TextReadOut | None:
    """Return the read-out that a sentence-transformers model asks for; None for other models.

    Args:
        read: returns the content of a JSON file of the model, None where there is no such file.

    Raises:
        EncoderError: when the model pools in another way or has a module that is not supported.
    """
    read_out: TextReadOut | None = None
    for module in read("modules.json") or ():
        kind = module["type"].rsplit(".", 1)[-1]
        if kind == "Pooling":
            read_out = _pooling(read(f"{module['path']}/config.json") or {})
        elif kind not in {"Transformer", "Normalize"}:
            raise EncoderError(
                f"a sentence-transformers module {kind!r}; expected Transformer, Pooling and "
                "Normalize. Give the whole model to negtrace.wrap(..., encode=...)"
            )
    return read_out


def _pooling(config: Mapping[str, Any]) -> TextReadOut:
    modes = [key.removeprefix("pooling_mode_") for key, on in config.items() if on is True]
    modes = [config["pooling_mode"]] if "pooling_mode" in config else modes
    read_outs = [POOLING.get(mode) for mode in modes if mode != "include_prompt"]
    if len(read_outs) == 1 and read_outs[0]:
        return read_outs[0]
    raise EncoderError(f"it pools by {', '.join(modes) or 'nothing'}; expected cls or mean")
