"""Decoder language models: is a statement true, given its anchor? The logit of yes minus no."""

__all__ = ["CausalLanguageModel", "context_window", "placed"]

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.base import PROBE
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.wrap import EmbedImages, ModuleEncoder
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens


class CausalLanguageModel(ModuleEncoder):
    """A decoder that reads anchor and statement in one row and is read at the answer's place.

    Its embedding of a row is the logits of the two answers, its score their difference.

    Args:
        model: a causal language model of transformers, with its head.
        tokenizer: its tokenizer.
        name: what to call it in results.
        prompt: what is asked, and the answers.
        revision: which revision of a model on the hub.

    Raises:
        EncoderError: when no blocks are found, or the answers cannot be told apart.
    """

    family: ClassVar[str] = "language model"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        prompt: Prompt | None = None,
        revision: str | None = None,
        embed_images: EmbedImages | None = None,
    ) -> None:
        self.prompt = prompt or Prompt()
        self._text_tokenizer = tokenizer
        self._model = model
        self._answers = list(self.prompt.answer_ids(tokenizer))
        super().__init__(
            model,
            tokenizer,
            self._answer_logits,
            name=name,
            unit="logit",
            max_tokens=context_window(model.config.get_text_config()),
            embed_images=embed_images,
            encode_at=self._answer_logits,
            revision=revision,
            probe=self.prompt.tokens(tokenizer, PROBE).ids,
        )

    def _answer_logits(
        self, ids: Int[Tensor, "row token"], positions: Int[Tensor, "1 token"] | None = None
    ) -> Float[Tensor, "row 2"]:
        return self.answer_logits(input_ids=ids, **placed(positions))

    def answer_logits(self, **inputs: Any) -> Float[Tensor, "row 2"]:
        """Return the logits of both answers after each row, by the model's own forward."""
        taken = inspect.signature(self._model.forward).parameters
        last = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        output = self._model(**inputs, **last, use_cache=False)
        logits: Tensor = output.logits[:, -1, self._answers]
        return logits

    @override
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        return [self.prompt.tokens(self._text_tokenizer, statement) for statement in statements]

    @override
    def tokenize_against(
        self, statements: Sequence[str], anchors: Sequence[Anchor]
    ) -> list[Tokens]:
        return [
            self.prompt.tokens(self._text_tokenizer, statement, anchor.text or "")
            for statement, anchor in zip(statements, anchors, strict=True)
        ]

    @override
    def encode_against(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row _"]
    ) -> Float[Tensor, "row 2"]:
        """Return the answers' logits: a text anchor stands in the row already."""
        return self.encode(ids)

    @override
    def embed_anchors(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor _"]:
        """Return nothing of any width for text anchors: they are read with the statement."""
        if any(anchor.text is None for anchor in anchors):
            return self.embed_images([anchor for anchor in anchors if anchor.text is None])
        return torch.zeros(len(anchors), 1, device=self.device)

    @override
    def score(
        self, text: Float[Tensor, "row 2"], anchor: Float[Tensor, "row _"]
    ) -> Float[Tensor, " row"]:
        """Return the logit of the first answer minus that of the second."""
        return text[:, 0] - text[:, 1]


def placed(positions: Int[Tensor, "1 token"] | None) -> dict[str, Tensor]:
    """Return positions as a model takes them, where there are any."""
    return {} if positions is None else {"position_ids": positions}


def context_window(config: Any) -> int:
    """Return how many tokens a decoder sees: its positions, or its sliding window if shorter."""
    windows = [getattr(config, key, None) for key in ("max_position_embeddings", "sliding_window")]
    return min(int(count) for count in (*windows, 1 << 20) if count)
