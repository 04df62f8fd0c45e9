"""Projection: the direction of what a text denies is taken out of its embedding."""

__all__ = ["Projection"]

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from negtrace.correction.base import CORRECTIONS, Correct, Correction
from negtrace.language.denials import Denials


@CORRECTIONS.register("projection")
@dataclass(frozen=True, kw_only=True)
class Projection(Correction):
    """The direction of each denied span is replaced by that of a neutral text.

    With the unit embedding n of a cue with its scope, read as a text of its own, and the unit
    embedding a of a text that claims nothing, the embedding becomes, for one span after the other,

        e* = e - strength (<e, n> n - |e| a)

    (ICLR 2026, OpenReview Dd86hsSam5, for embeddings of length 1.)
    """

    name = "projection"

    @override
    def texts(self, denials: Denials) -> tuple[str, ...]:
        return denials.denied

    @override
    def correct(
        self,
        statement: Float[Tensor, " dim"],
        texts: Float[Tensor, "text dim"],
        neutral: Float[Tensor, " dim"],
    ) -> Correct:
        def correct(embeddings: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
            for span in texts.to(embeddings.dtype):
                along = (embeddings @ span)[:, None] * span
                kept = embeddings.norm(dim=-1, keepdim=True) * neutral.to(embeddings.dtype)
                embeddings = embeddings - self.strength * (along - kept)
            return embeddings

        return correct
