"""Decoder language models, asked whether a statement is true given its anchor.

The score is the logit of the answer yes minus the logit of the answer no.
"""

__all__ = ["CausalLanguageModel", "context_window", "position_inputs"]

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.base import NO_BOUND, PROBE, EncoderDescription
from negtrace.encoders.batching import batches_by_length
from negtrace.encoders.completions import CompletionScorer
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.token_types import type_inputs, types_for
from negtrace.encoders.tokenizing import ReadOut
from negtrace.encoders.wrap import EmbedImages, ModuleEncoder
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens

COMPLETION_BATCH = 4
"""Rows whose next tokens are predicted at once. Each of their tokens has a number for every word
of the vocabulary."""


class CausalLanguageModel(ModuleEncoder, CompletionScorer):
    """A decoder that reads anchor and statement in one row, up to where its answer would begin.

    The embedding of a row is the logits of the two answers; the score is their difference.

    Args:
        model: a causal language model of transformers, with its head.
        tokenizer: its tokenizer.
        name: name in results.
        prompt: the question and its two answers.
        revision: commit of a model on the hub.
        embed_images: maps Pillow images to embeddings, [image dim]; None for texts as anchors only.

    Raises:
        EncoderError: when no blocks are found, or both answers begin with the same token.
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
        probe = self.prompt.tokens(tokenizer, PROBE)
        self.token_types = types_for(model.forward, probe.types, name)
        super().__init__(
            model,
            tokenizer,
            self._answer_logits,
            EncoderDescription(
                name=name,
                unit="logit",
                max_tokens=context_window(model.config.get_text_config()),
                revision=revision,
            ),
            embed_images=embed_images,
            encode_at=self._answer_logits,
        )

    @property
    @override
    def reading(self) -> dict[str, Any]:
        return {**super().reading, "prompt": asdict(self.prompt)}

    @override
    def _probe_ids(self, tokenizer: Any, text: str) -> tuple[int, ...]:
        return self.prompt.tokens(tokenizer, text).ids

    @override
    def _measured_rule(self, ids: Int[Tensor, "1 token"]) -> ReadOut:
        rule = super()._measured_rule(ids)
        if rule != "last":
            raise EncoderError(
                f"{self.name}: the answer's logits depend on the states of several positions "
                "after the last block; expected the last position alone. Use negtrace.wrap(..., "
                "encode=...)"
            )
        return rule

    @override
    def located(self, tokens: Sequence[Tokens]) -> list[Tokens]:
        """Return the tokens as they are: the answer is read behind the last one."""
        return list(tokens)

    @override
    def magnitude(self, text: Float[Tensor, "row 2"]) -> float:
        """Return the largest logit of an answer."""
        return text.abs().max().item()

    def _answer_logits(
        self, ids: Int[Tensor, "row token"], positions: Int[Tensor, "1 token"] | None = None
    ) -> Float[Tensor, "row 2"]:
        types = type_inputs(self.token_types, ids, positions)
        return self.answer_logits(input_ids=ids, **types, **position_inputs(positions))

    def answer_logits(self, **inputs: Any) -> Float[Tensor, "row 2"]:
        """Return the logits of both answers after each row, by the model's own forward."""
        parameters = inspect.signature(self._model.forward).parameters
        options = {"logits_to_keep": 1, "use_cache": False}
        known = {name: value for name, value in options.items() if name in parameters}
        output = self._model(**inputs, **known)
        logits: Tensor = output.logits[:, -1, self._answers]
        return logits

    @property
    @override
    def reads_anchor_in_row(self) -> bool:
        return True

    @override
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        return self._typed(
            [self.prompt.tokens(self._text_tokenizer, statement) for statement in statements]
        )

    @override
    def tokenize_against(
        self, statements: Sequence[str], anchors: Sequence[Anchor]
    ) -> list[Tokens]:
        return self._typed(
            [
                self.prompt.tokens(self._text_tokenizer, statement, anchor.text or "")
                for statement, anchor in zip(statements, anchors, strict=True)
            ]
        )

    @override
    def encode_against(
        self, ids: Int[Tensor, "row token"], anchors: Float[Tensor, "row _"]
    ) -> Float[Tensor, "row 2"]:
        """Return the logits of the answers: a text anchor is already in the row."""
        return self.encode(ids)

    @override
    def embed_anchors(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor _"]:
        """Return zeros for text anchors, which are read with the statement; embed images."""
        if any(anchor.text is None for anchor in anchors):
            return self.embed_images([anchor for anchor in anchors if anchor.text is None])
        return torch.zeros(len(anchors), 1, device=self.device)

    @override
    def score(
        self, text: Float[Tensor, "row 2"], anchor: Float[Tensor, "row _"]
    ) -> Float[Tensor, " row"]:
        """Return the logit of the first answer minus that of the second."""
        return text[:, 0] - text[:, 1]

    @override
    def tokenize_completion(self, prompt: str, completion: str) -> Tokens:
        tokens = Prompt(template="{anchor}{statement}").tokens(
            self._text_tokenizer, completion, prompt
        )
        return self._typed([tokens])[0]

    @override
    def completion_scores(
        self, prompts: Sequence[str], completions: Sequence[str]
    ) -> Float[Tensor, " row"]:
        rows = [
            self.tokenize_completion(prompt, completion)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        starts = [self._completion_start(row) for row in rows]
        scores = torch.empty(len(rows), dtype=torch.float64)
        for batch in batches_by_length(rows, COMPLETION_BATCH):
            ids = torch.tensor([rows[index].ids for index in batch], device=self.device)
            for index, each in zip(batch, self._token_scores(ids), strict=True):
                scores[index] = each[starts[index] - 1 :].mean()
        return scores

    def _completion_start(self, tokens: Tokens) -> int:
        """Return the position of the first token of a completion."""
        self.require_fit(tokens)
        start = tokens.added.index(False) if not all(tokens.added) else 0
        if not start:
            raise EncoderError(
                f"{self.name}: a completion needs a token of its own and one before it; give a "
                "prompt and a completion that are not blank"
            )
        return start

    @torch.no_grad()
    def _token_scores(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row next"]:
        """Return the log-probability of every token but the first, given those before it."""
        parameters = inspect.signature(self._model.forward).parameters
        options = {"use_cache": False} if "use_cache" in parameters else {}
        output = self._model(input_ids=ids, **type_inputs(self.token_types, ids), **options)
        scores: Tensor = output.logits[:, :-1].float().log_softmax(dim=-1)
        return scores.gather(-1, ids[:, 1:, None])[..., 0].double().cpu()


def position_inputs(positions: Int[Tensor, "1 token"] | None) -> dict[str, Tensor]:
    """Return positions as arguments of a model's forward; none where they are not given."""
    return {} if positions is None else {"position_ids": positions}


def context_window(config: Any) -> int:
    """Return the number of tokens that a decoder reads."""
    count = getattr(config, "max_position_embeddings", None) or 0
    return int(count) if count > 0 else NO_BOUND
