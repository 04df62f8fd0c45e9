"""Zero: zeros replace the embeddings of the cue."""

__all__ = ["Zero"]

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.corruptions.contrast import Contrast, contrast_at_cue, cue_positions


@CORRUPTIONS.register("zero")
@dataclass(frozen=True, kw_only=True)
class Zero(Corruption):
    """Zeros replace the input of block 0 at the cue (zero ablation)."""

    name = "zero"

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        cue = cue_positions(pair, true)

        def clear(hidden: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
            return hidden.index_fill(0, torch.tensor(cue, device=hidden.device), 0)

        return [contrast_at_cue(pair, true, edit=clear)]
