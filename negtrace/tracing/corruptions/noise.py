"""Noise: Gaussian noise is added to the embeddings of the cue."""

__all__ = ["Noise"]

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.errors import TraceError
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.corruptions.contrast import (
    Contrast,
    RunEdit,
    contrast_at_cue,
    cue_positions,
)
from negtrace.tracing.corruptions.seeding import generator_for


@CORRUPTIONS.register("noise")
@dataclass(frozen=True, kw_only=True)
class Noise(Corruption):
    """Gaussian noise is added to the embeddings of the cue (ROME, arXiv 2202.05262).

    At each position i of the cue, the input of block 0 becomes x(i) + multiple * s * z(i). Here s
    is the standard deviation of all entries of x in this statement, and z(i) is standard normal.
    Both depend on the pair alone, so its result does not depend on the other pairs of the trace.
    """

    name = "noise"

    multiple: float = 3.0
    """Standard deviation of the noise, in standard deviations of the embeddings."""
    samples: int = 8
    """Independent noise samples, whose scores are averaged."""
    seed: int = 0
    """Seed of the noise."""

    def __post_init__(self) -> None:
        if not self.multiple > 0 or self.samples < 1:
            raise TraceError(
                f"noise of {self.multiple} standard deviations in {self.samples} samples; "
                "expected a positive multiple and at least one sample"
            )

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        cue = cue_positions(pair, true)
        return [
            contrast_at_cue(pair, true, edit=self._edit(pair, sample, cue))
            for sample in range(self.samples)
        ]

    def _edit(self, pair: Pair, sample: int, cue: list[int]) -> RunEdit:
        def add_noise(hidden: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
            # Drawn on the CPU in float32, so that every device and dtype gets the same noise.
            generator = generator_for(pair, self.seed, sample)
            noise = torch.randn(len(cue), hidden.shape[-1], generator=generator).to(hidden)
            noisy = hidden.clone()
            noisy[cue] += self.multiple * hidden.std() * noise
            return noisy

        return add_noise
