"""Text encoders such as BERT and sentence-transformers models; their score is a cosine."""

__all__ = ["TextEncoder"]

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, final

from jaxtyping import Float, Int
from tokenizers import normalizers
from torch import Tensor
from typing_extensions import override

from negtrace._messages import one_of
from negtrace.encoders.base import NO_BOUND, PROBE, EncoderDescription
from negtrace.encoders.huggingface.sentence_model import SentenceModel, embedding_of
from negtrace.encoders.huggingface.sentence_transformers import Pooling, SentenceSettings
from negtrace.encoders.options import READ_OUTS
from negtrace.encoders.token_types import TokenTypes, type_inputs, types_for
from negtrace.encoders.tokenizing import read_text, unpadded_ids
from negtrace.encoders.wrap import ModuleEncoder
from negtrace.errors import EncoderError

POOLING: dict[str, Pooling] = {"cls": "cls", "mean": "mean", "last": "lasttoken"}
"""Poolings of the read-outs that read token states."""


@final
class TextEncoder(ModuleEncoder):
    """A text tower whose embedding is pooled from its tokens, or is its pooler's.

    Args:
        model: a model of transformers without a head, or a `SentenceModel` of one.
        tokenizer: its tokenizer; it lower-cases from now on where the settings say so.
        name: name in results.
        read_out: `cls`, `mean`, `last` or `pooler`; as the settings say when not given.
        settings: prompt, poolings and more of a sentence-transformers model.
        revision: commit of a model on the hub.

    Raises:
        UnknownNameError: for an unknown read-out.
        EncoderError: when the model has no pooler and it is asked for, or cannot be traced.
    """

    family: ClassVar[str] = "text encoder"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        read_out: str | None = None,
        settings: SentenceSettings | None = None,
        revision: str | None = None,
    ) -> None:
        # sentence-transformers cuts there, where its own files name no length.
        longest = NO_BOUND if settings is None else tokenizer.model_max_length
        settings = settings or SentenceSettings()
        if read_out is not None:
            one_of("read-out", read_out, READ_OUTS)
            settings = replace(settings, pooling=(POOLING.get(read_out, "mean"),))
        self._settings = settings
        self._reads_pooler = read_out == "pooler"
        if settings.lower_case:
            _lower_case(tokenizer)
        transformer = model.transformer if isinstance(model, SentenceModel) else model
        self.token_types = types_for(
            transformer.forward, read_text(tokenizer, settings.prompt + PROBE).types, name
        )
        encode = embedding_of(
            model, settings, _prompt_tokens(tokenizer, settings.prompt), self.token_types
        )
        super().__init__(
            model,
            tokenizer,
            _pooler(model, self.token_types) if read_out == "pooler" else encode,
            EncoderDescription(
                name=name,
                unit="cosine",
                max_tokens=min(settings.max_tokens or longest, _max_tokens(model)),
                revision=revision,
            ),
        )
        self._tokenizer = replace(self._tokenizer, prompt=settings.prompt)

    @property
    @override
    def reading(self) -> dict[str, Any]:
        settings = self._settings
        return {
            **super().reading,
            "pooling": ["pooler"] if self._reads_pooler else list(settings.pooling),
            "pool_prompt": settings.pool_prompt,
            "prompt": settings.prompt,
            "lower_case": settings.lower_case,
            "truncate_dim": settings.truncate_dim,
        }

    @override
    def _probe_ids(self, tokenizer: Any, text: str) -> tuple[int, ...]:
        return unpadded_ids(tokenizer, self._settings.prompt + text)


def _lower_case(tokenizer: Any) -> None:
    """Let a tokenizer lower-case every text, before anything else that it does."""
    if not getattr(tokenizer, "is_fast", False):
        raise EncoderError(
            "the model wants lower-cased texts (do_lower_case), and its tokenizer is not a fast "
            "one; save it with tokenizer.json"
        )
    backend = tokenizer.backend_tokenizer
    further = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *further])


def _prompt_tokens(tokenizer: Any, prompt: str) -> int:
    """Return the number of tokens of a prompt, as sentence-transformers counts them.

    A special token behind it, such as [SEP], does not count.
    """
    if not prompt:
        return 0
    ids = unpadded_ids(tokenizer, prompt)
    return len(ids) - (ids[-1] in tokenizer.all_special_ids)


def _pooler(model: Any, types: TokenTypes | None) -> Callable[[Tensor], Tensor]:
    if getattr(model, "pooler", None) is None:
        raise EncoderError(
            f"{type(model).__name__} has no pooler; use read_out 'cls', 'mean' or 'last'"
        )

    return partial(_pooled, model, types)


def _pooled(
    model: Any, types: TokenTypes | None, ids: Int[Tensor, "row token"]
) -> Float[Tensor, "row dim"]:
    embedding: Tensor = model(input_ids=ids, **type_inputs(types, ids)).pooler_output
    return embedding


def _max_tokens(model: Any) -> int:
    # RoBERTa's first token stands at its padding index plus one, which leaves fewer positions.
    offset = model.config.pad_token_id + 1 if "roberta" in model.config.model_type else 0
    count = getattr(model.config, "max_position_embeddings", 512)
    # XLNet has no bound, and says -1.
    return int(count) - offset if count and count > 0 else NO_BOUND
