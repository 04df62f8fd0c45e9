"""Reflection: away from what the same text would say if it affirmed what it denies."""

__all__ = ["Reflection"]

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from negtrace.correction.base import CORRECTIONS, Correct, Correction
from negtrace.language.denials import Denials


@CORRECTIONS.register("reflection")
@dataclass(frozen=True, kw_only=True)
class Reflection(Correction):
    """The model's own affirmative judgement, turned round.

    With unit embeddings A of the text with its denials affirmed, and O of the text without them,
    the embedding becomes

        e* = |e| (O - strength (A - O)) / |O - strength (A - O)|

    So the statement's own embedding e gives only its length. In a patched run the difference
    e* - e of the statement as it is is added to what the tower gives.
    """

    name = "reflection"

    strength: float = 0.5

    @override
    def texts(self, denials: Denials) -> tuple[str, ...]:
        return denials.affirmed, denials.omitted

    @override
    def correct(
        self,
        statement: Float[Tensor, " dim"],
        texts: Float[Tensor, "text dim"],
        neutral: Float[Tensor, " dim"],
    ) -> Correct:
        affirmed, omitted = texts
        target = nn.functional.normalize(omitted - self.strength * (affirmed - omitted), dim=0)
        offset = target * statement.norm() - statement
        return lambda embeddings: embeddings + offset.to(embeddings.dtype)
