"""Mask: the tokenizer's mask token replaces each token of the cue."""

__all__ = ["Mask"]

from dataclasses import dataclass

from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.errors import TraceError
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.corruptions.contrast import Contrast, contrast_at_cue, cue_positions


@CORRUPTIONS.register("mask")
@dataclass(frozen=True, kw_only=True)
class Mask(Corruption):
    """The tokenizer's mask token replaces each token of the cue (BERT, arXiv 1810.04805)."""

    name = "mask"

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        mask = encoder.mask_token_id
        if mask is None:
            raise TraceError(
                f"the tokenizer of {encoder.name} has no mask token, and a tower that never saw "
                "one cannot read it; choose neutral, mean or resample"
            )
        cue = cue_positions(pair, true)
        ids = tuple(mask if i in cue else token for i, token in enumerate(true.ids))
        return [contrast_at_cue(pair, true, ids=ids)]
