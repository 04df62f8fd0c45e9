"""Corruptions by other embeddings: noise, mean, zero, on the cue's inputs of block 0."""

__all__ = ["Mean", "Noise", "Zero"]

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import override

from negtrace.encoders.base import BATCH, Encoder, batched
from negtrace.encoders.hooks import evaluating, input_edited
from negtrace.errors import TraceError
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption, generator_of
from negtrace.tracing.corruptions.contrast import Contrast, RunEdit, on_cue, positions_of_cue


@CORRUPTIONS.register("noise")
@dataclass(frozen=True, kw_only=True)
class Noise(Corruption):
    """Gaussian noise on the cue's embeddings (causal tracing, ROME, arXiv 2202.05262).

    Its size is a multiple of the standard deviation of the statement's own embeddings, so that
    a pair's result depends on no other pair; its seed is drawn from the pair's content.
    """

    name = "noise"

    multiple: float = 3.0
    """Standard deviation of the noise, in standard deviations of the embeddings."""
    samples: int = 8
    """Independent noise samples whose scores are averaged."""
    seed: int = 0

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
        cue = positions_of_cue(pair, true)
        return [
            on_cue(pair, true, edit=self._edit(pair, sample, cue)) for sample in range(self.samples)
        ]

    def _edit(self, pair: Pair, sample: int, cue: list[int]) -> RunEdit:
        def add_noise(hidden: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
            # Drawn on the CPU in float32, so that every device and dtype gets the same noise.
            generator = generator_of(pair, self.seed, sample)
            drawn = torch.randn(len(cue), hidden.shape[-1], generator=generator).to(hidden)
            noisy = hidden.clone()
            noisy[cue] += self.multiple * hidden.std() * drawn
            return noisy

        return add_noise


@CORRUPTIONS.register("zero")
@dataclass(frozen=True, kw_only=True)
class Zero(Corruption):
    """The cue's inputs of block 0 become zeros (zero ablation)."""

    name = "zero"

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        cue = positions_of_cue(pair, true)

        def clear(hidden: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
            return hidden.index_fill(0, torch.tensor(cue, device=hidden.device), 0)

        return [on_cue(pair, true, edit=clear)]


@CORRUPTIONS.register("mean")
@dataclass(frozen=True, kw_only=True)
class Mean(Corruption):
    """The cue's inputs of block 0 become the mean input at their positions (mean ablation).

    The mean is over the statements of all pairs of the trace, true and false, that reach the
    position; after Wang et al. (IOI, arXiv 2211.00593), who take it over a reference set.
    """

    name = "mean"

    means: Float[Tensor, "position width"] | None = field(default=None, repr=False, compare=False)
    """Mean input of block 0 at each position, in float64."""

    @override
    def prepared(self, pairs: Sequence[Pair], encoder: Encoder) -> Corruption:
        return replace(self, means=_mean_inputs(pairs, encoder))

    @override
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        if self.means is None:
            raise TraceError("mean needs all pairs first; call prepared(pairs, encoder)")
        means, cue = self.means, positions_of_cue(pair, true)

        def level(hidden: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
            levelled = hidden.clone()
            levelled[cue] = means[cue].to(hidden)
            return levelled

        return [on_cue(pair, true, edit=level)]


def _mean_inputs(pairs: Sequence[Pair], encoder: Encoder) -> Float[Tensor, "position width"]:
    """Return the mean input of block 0 at each position, over the statements that reach it."""
    rows = _rows(pairs, encoder)
    longest = len(rows[-1])
    totals, counts = [], []
    for length, same in groupby(rows, len):
        for batch in batched(list(same), BATCH):
            inputs = _inputs(encoder, torch.tensor(batch, device=encoder.device))
            reached = inputs.new_full((length, 1), len(inputs))
            totals.append(pad(inputs.sum(dim=0), (0, 0, 0, longest - length)))
            counts.append(pad(reached, (0, 0, 0, longest - length)))
    return torch.stack(totals).sum(dim=0) / torch.stack(counts).sum(dim=0)


def _rows(pairs: Sequence[Pair], encoder: Encoder) -> list[tuple[int, ...]]:
    """Return the token ids of the statements that fit the tower, in an order of their own."""
    anchors = [pair.anchor for pair in pairs]
    trues = encoder.tokenize_against([pair.true for pair in pairs], anchors)
    falses = encoder.tokenize_against([pair.false for pair in pairs], anchors)
    rows = [row.ids for row in (*trues, *falses) if len(row) <= encoder.max_tokens]
    if not rows:
        raise TraceError(
            f"no statement of {len(pairs)} pairs fits the {encoder.max_tokens} tokens of "
            f"{encoder.name}, so there is no mean; give shorter statements"
        )
    # Sorted, so that batches and sums, and with them rounding, are those of any order of pairs.
    return sorted(rows, key=lambda ids: (len(ids), ids))


def _inputs(encoder: Encoder, ids: Int[Tensor, "row token"]) -> Float[Tensor, "kept token width"]:
    """Return the inputs of block 0 in float64, without rows that hold anything but numbers."""
    found: list[Tensor] = []

    def keep(hidden: Tensor) -> Tensor:
        found.append(hidden.double())
        return hidden

    with torch.no_grad(), evaluating(encoder.model), input_edited(encoder.blocks[0], keep):
        encoder.encode(ids)
    return found[0][found[0].isfinite().all(dim=(1, 2))]
