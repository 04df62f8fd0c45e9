"""A corrected encoder: a model whose embeddings of denying statements are corrected."""

__all__ = ["Corrected", "corrected"]

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from negtrace.correction.base import Correct, Correction, correction_named
from negtrace.encoders.base import Encoder, EncoderDescription
from negtrace.encoders.digests import weight_versions
from negtrace.encoders.hooks import evaluating
from negtrace.encoders.sites import BlockSites
from negtrace.errors import EncoderError
from negtrace.language.denials import Denials, denials_of
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.tokens import Tokens


def corrected(
    encoder: Encoder,
    method: str | Correction = "reflection",
    *,
    strength: float | None = None,
) -> "Corrected":
    """Return an encoder that corrects the embeddings of statements that deny something.

    Nothing is trained, and the model is left as it is. What a statement denies is found by
    `negtrace.language.find_cues`, so any text will do. A statement without a cue keeps its
    embedding bit for bit. One with a cue costs two or three more forwards, once.

    >>> from negtrace.encoders import load
    >>> mended = corrected(load("phantom"), "reflection", strength=0.5)
    >>> mended
    Corrected('phantom + reflection', 8 blocks, causal, score in logit)

    Args:
        encoder: the model.
        method: a name in `CORRECTIONS`, or a correction.
        strength: how far the embedding is moved; the correction's own when not given.

    Raises:
        UnknownNameError: when no correction has that name.
        EncoderError: for an encoder that gives statements no embedding of their own, one that is
            corrected already, or a negative strength.
    """
    if isinstance(method, Correction):
        if strength is not None:
            raise EncoderError("a correction has its own strength; give a name, or no strength")
        return Corrected(encoder, method)
    return Corrected(encoder, correction_named(method, strength))


class Corrected(Encoder):
    """An encoder whose embeddings of denying statements are corrected.

    The correction of a statement is found when the statement is tokenized, by the model as it is
    then, and belongs to its token ids. A patch changes what the tower gives; the correction of the
    run that is patched stays. So a patch of the whole input of block 0 does not give the score of
    the other statement: what is missing is the share of the correction.

    Args:
        encoder: the model.
        correction: the correction.

    Raises:
        EncoderError: for an encoder that gives statements no embedding of their own, or one that is
            corrected already.
    """

    def __init__(self, encoder: Encoder, correction: Correction) -> None:
        if isinstance(encoder, Corrected):
            raise EncoderError(
                f"{encoder.name} is corrected already; correct its `encoder` instead"
            )
        if encoder.reads_anchor_in_row:
            raise EncoderError(
                f"{encoder.name} reads a statement together with its anchor, so a statement has no "
                "embedding that could be corrected; correct a model with a text tower of its own"
            )
        super().__init__(
            encoder.model,
            EncoderDescription(
                name=f"{encoder.name} + {correction.name}",
                unit=encoder.unit,
                max_tokens=encoder.max_tokens,
                revision=encoder.revision,
                tokenizer_name=encoder.tokenizer_name,
                trained_on_phantom=encoder.trained_on_phantom,
            ),
            block_names=encoder.block_names,
            causal=encoder.causal,
        )
        self.family = encoder.family  # type: ignore[misc]
        self.row_axis = encoder.row_axis
        self.encoder = encoder
        """The model without the correction."""
        self.correction = correction
        self._corrections: dict[tuple[int, ...], Correct] = {}
        self._known: set[str] = set()
        self._versions: object = None

    @property
    @override
    def beyond_blocks(self) -> str:
        return f"the {self.correction.name} of what a statement denies"

    @override
    def tokenize(self, statements: Sequence[str]) -> list[Tokens]:
        tokens = self.encoder.tokenize(statements)
        self._forget_changed()
        new = {
            text: (row.ids, denials)
            for text, row in zip(statements, tokens, strict=True)
            if text not in self._known and len(row) <= self.max_tokens
            if (denials := denials_of(text)) is not None
        }
        if new:
            self._learn(new)
        return tokens

    def _forget_changed(self) -> None:
        """Forget every correction if the weights have changed since."""
        if (versions := weight_versions(self.model)) != self._versions:
            self._corrections.clear()
            self._known.clear()
            self._versions = versions

    def _learn(self, statements: dict[str, tuple[tuple[int, ...], Denials]]) -> None:
        """Keep the correction of each of these statements."""
        texts = {text: self.correction.texts(denials) for text, (_, denials) in statements.items()}
        wanted = [
            *statements,
            *self.correction.neutral,
            *(t for some in texts.values() for t in some),
        ]
        # No inference mode: its tensors could not be used where gradients are on.
        with torch.no_grad(), evaluating(self.model):
            unique = [text for text in dict.fromkeys(wanted) if text]
            embedded = dict(zip(unique, self.encoder.embed_texts(unique), strict=True))
            unit = {text: nn.functional.normalize(row, dim=0) for text, row in embedded.items()}
            of_neutral = torch.stack([unit[text] for text in self.correction.neutral])
            neutral = unit[""] = nn.functional.normalize(of_neutral.mean(dim=0), dim=0)
            for text, (ids, _) in statements.items():
                parts = torch.stack([unit[part] for part in texts[text]])
                self._corrections[ids] = self.correction.correct(embedded[text], parts, neutral)
        self._known.update(statements)

    @override
    def located(self, tokens: Sequence[Tokens]) -> list[Tokens]:
        return self.encoder.located(tokens)

    @override
    def encode(self, ids: Int[Tensor, "row token"]) -> Float[Tensor, "row dim"]:
        return self._corrected(ids, self.encoder.encode(ids))

    def _corrected(
        self, ids: Int[Tensor, "row token"], embeddings: Float[Tensor, "row dim"]
    ) -> Float[Tensor, "row dim"]:
        """Return the embeddings with those of denying statements corrected."""
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, key in enumerate(map(tuple, ids.tolist())):
            if key in self._corrections:
                rows.setdefault(key, []).append(row)
        if not rows:
            return embeddings
        result = embeddings.clone()
        for key, of_statement in rows.items():
            result[of_statement] = self._corrections[key](embeddings[of_statement])
        return result

    @override
    def embed_texts(self, statements: Sequence[str]) -> Float[Tensor, "statement dim"]:
        with evaluating(self.model), self.guarded("statements were embedded"):
            return super().embed_texts(statements)

    @override
    def embed_images(self, anchors: Sequence[Anchor]) -> Float[Tensor, "anchor dim"]:
        return self.encoder.embed_images(anchors)

    @override
    def score(
        self, text: Float[Tensor, "row dim"], anchor: Float[Tensor, "row dim"]
    ) -> Float[Tensor, " row"]:
        return self.encoder.score(text, anchor)

    @override
    def magnitude(self, text: Float[Tensor, "row dim"]) -> float:
        return self.encoder.magnitude(text)

    @property
    @override
    def probe(self) -> Int[Tensor, "1 token"]:
        return self.encoder.probe

    @property
    @override
    def block_sites(self) -> tuple[BlockSites, ...]:
        return self.encoder.block_sites

    @property
    @override
    def reads_one_layer(self) -> bool:
        return self.encoder.reads_one_layer

    @property
    @override
    def mask_token_id(self) -> int | None:
        return self.encoder.mask_token_id

    @property
    @override
    def reads_images(self) -> bool:
        return self.encoder.reads_images

    @property
    @override
    def scale(self) -> float:
        return self.encoder.scale

    @property
    @override
    def bias(self) -> float:
        return self.encoder.bias

    @property
    @override
    def reading(self) -> dict[str, Any]:
        return {**self.encoder.reading, "correction": self.correction.settings()}
