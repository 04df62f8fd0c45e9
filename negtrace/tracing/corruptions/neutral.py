"""Neutral: a word that neither negates nor affirms replaces each token of the cue."""

__all__ = ["Neutral"]

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.errors import AlignmentError
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.corruptions.contrast import Contrast, contrast_at_cue, cue_positions


@CORRUPTIONS.register("neutral")
@dataclass(frozen=True, kw_only=True)
class Neutral(Corruption):
    """A word that neither negates nor affirms replaces each token of the cue."""

    name = "neutral"

    word: str = "the"
    """The neutral word. The encoder's tokenizer must read it as one token."""

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        cue = cue_positions(pair, true)
        [neutral] = encoder.tokenize_against([self._reworded(pair, len(cue))], [pair.anchor])
        changed = _changed(true.ids, neutral.ids) if len(neutral) == len(true) else set()
        if not changed or not changed <= {*cue}:
            raise AlignmentError(
                "neutral-word",
                "the neutral word does not fill the cue token for token; choose another word",
            )
        return [contrast_at_cue(pair, true, ids=neutral.ids)]

    def _reworded(self, pair: Pair, count: int) -> str:
        """Return the true statement with the word `count` times in the place of the cue."""
        start, end = pair.cue
        first = self.word.capitalize() if pair.true[start].isupper() else self.word
        phrase = " ".join([first, *[self.word] * (count - 1)])
        return pair.true[:start] + phrase + pair.true[end:]


def _changed(ids: Sequence[int], others: Sequence[int]) -> set[int]:
    """Return the positions at which two rows differ."""
    return {i for i, (one, other) in enumerate(zip(ids, others, strict=True)) if one != other}
