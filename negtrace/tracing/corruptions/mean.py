"""Mean: the mean embedding at its position replaces each embedding of the cue."""

__all__ = ["Mean"]

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched
from negtrace.encoders.hooks import evaluating, input_edited
from negtrace.errors import EncoderError, TraceError
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.corruptions.contrast import Contrast, contrast_at_cue, cue_positions


@CORRUPTIONS.register("mean")
@dataclass(frozen=True, kw_only=True)
class Mean(Corruption):
    """The mean input at its position replaces each input of block 0 at the cue (mean ablation).

    The mean at a position is over the statements of all pairs of the trace, true and false, that
    are long enough to reach it. Wang et al. (IOI, arXiv 2211.00593) take it over a reference set.
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
        means, cue = self.means, cue_positions(pair, true)

        def put_mean(hidden: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
            hidden = hidden.clone()
            hidden[cue] = means[cue].to(hidden)
            return hidden

        return [contrast_at_cue(pair, true, edit=put_mean)]


def _mean_inputs(pairs: Sequence[Pair], encoder: Encoder) -> Float[Tensor, "position width"]:
    """Return the mean input of block 0 at each position, over the statements that reach it."""
    rows = _rows(pairs, encoder)
    longest = len(rows[-1])
    totals, counts = [], []
    for length, same_length in groupby(rows, len):
        for batch in batched(list(same_length)):
            inputs = _inputs(encoder, torch.tensor(batch, device=encoder.device))
            reached = inputs.new_full((length, 1), len(inputs))
            totals.append(pad(inputs.sum(dim=0), (0, 0, 0, longest - length)))
            counts.append(pad(reached, (0, 0, 0, longest - length)))
    return torch.stack(totals).sum(dim=0) / torch.stack(counts).sum(dim=0)


def _rows(pairs: Sequence[Pair], encoder: Encoder) -> list[tuple[int, ...]]:
    """Return the token ids of all statements that fit the tower, shortest first."""
    anchors = [pair.anchor for pair in pairs]
    trues = encoder.tokenize_against([pair.true for pair in pairs], anchors)
    falses = encoder.tokenize_against([pair.false for pair in pairs], anchors)
    rows = [row.ids for row in (*trues, *falses) if len(row) <= encoder.max_tokens]
    if not rows:
        raise TraceError(
            f"no statement of {len(pairs)} pairs fits the {encoder.max_tokens} tokens of "
            f"{encoder.name}, so there is no mean; give shorter statements"
        )
    # Sorted by content too: batches, sums and their rounding are the same for any order of pairs.
    return sorted(rows, key=lambda ids: (len(ids), ids))


def _inputs(
    encoder: Encoder, ids: Int[Tensor, "row token"]
) -> Float[Tensor, "finite_row token width"]:
    """Return the inputs of block 0 in float64, without rows that hold NaN or infinity."""
    inputs: list[Tensor] = []

    def record(hidden: Tensor) -> Tensor:
        inputs.append(hidden.double())
        return hidden

    with (
        torch.no_grad(),
        evaluating(encoder.model),
        input_edited(encoder.blocks[0], record, row_axis=encoder.row_axis),
        encoder.guarded("the mean input of its first block was measured"),
    ):
        encoder.encode(ids)
    if len(inputs) != 1:
        raise EncoderError(
            f"{encoder.name}: the first block ran {len(inputs)} times in one forward; expected "
            "once. Name other modules as the blocks"
        )
    return inputs[0][inputs[0].isfinite().all(dim=(1, 2))]
