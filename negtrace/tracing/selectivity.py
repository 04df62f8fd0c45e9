"""Selectivity: how much each attention head attends to the negator, measured on pairs."""

__all__ = ["head_selectivity"]

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from negtrace._messages import one_of
from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batches_by_length
from negtrace.encoders.hooks import evaluating
from negtrace.errors import AlignmentError
from negtrace.pairs.alignment import Correspondence
from negtrace.pairs.pair import Pair, public_ids
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.heads import HeadSelectivity, selectivity_of
from negtrace.results.options import Resampling
from negtrace.results.provenance import Dropped, dropped_pair
from negtrace.tracing.attention import attention_patterns, require_patterns
from negtrace.tracing.config import QUERIES
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.corruptions.contrast import Run
from negtrace.tracing.prepare import PreparedPair, prepare, require_some, warn_of_differences
from negtrace.tracing.provenance import provenance_of

BATCH = 32
"""Statements whose attention is computed at once."""


class _Runs(NamedTuple):
    """The two runs of a pair."""

    negated: Run
    affirmative: Run
    correspondence: Correspondence
    """For each position of the negated run, the positions of the affirmative one."""


def head_selectivity(
    encoder: Encoder,
    pairs: Sequence[Pair] | None = None,
    *,
    queries: str = "after_cue",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool | None = None,
) -> HeadSelectivity:
    """Measure the selectivity of every head for the negator (Quantmeyer et al., arXiv 2407.10488).

    Let A(q, c) be the attention from query token q to the cue of the negated statement, and B(q, c)
    the attention between the corresponding tokens of the affirmative statement. The selectivity of
    a head is the mean over pairs of the largest A(q, c) - B(q, c) over queries q. Attention to
    the tokens of a cue of several tokens is added up.

    Args:
        encoder: a model whose attention can be read. It is left unchanged.
        pairs: as for `negtrace.trace`.
        queries: `after_cue`, the tokens after the cue, as in the paper; `other`, all tokens but the
            cue, for a tower that reads in both directions. Padding is a query only where the
            embedding is read there, and the end token before padding is not.
        confidence: of the bootstrap interval over pairs.
        resamples: number of bootstrap draws.
        seed: of the draws.
        progress: show a progress bar; None shows it on a terminal only.

    Raises:
        SiteError: when the model's attention patterns cannot be read, with the reason.
        TraceError: when no pair is left.
        UnknownNameError: for unknown queries.
    """
    one_of("queries", queries, QUERIES)
    require_patterns(encoder)
    pairs = radiology_pairs() if pairs is None else list(pairs)
    with torch.inference_mode(), evaluating(encoder.model):
        whole, dropped = prepare(encoder, pairs, corruption_named("swap"), "token")
        prepared, without_slot = _with_slot(whole, queries)
        dropped += without_slot
        require_some(prepared, dropped)
        warn_of_differences(each.differing for each in prepared)
        anchors = encoder.embed_anchors([each.pair.anchor for each in prepared])
        runs = [_runs(each) for each in prepared]
        attention = _attention(encoder, runs, anchors, progress)
    by_pair = [
        _largest(each, attention[2 * index], attention[2 * index + 1], queries)
        for index, each in enumerate(runs)
    ]
    config = {
        "queries": queries,
        "alignment": dict(sorted(Counter(each.rule for each in prepared).items())),
        "differing": sum(bool(each.differing) for each in prepared),
    }
    return selectivity_of(
        np.stack(by_pair),
        public_ids([each.pair for each in prepared]),
        layers=encoder.block_names,
        queries=queries,
        provenance=provenance_of(encoder, [each.pair for each in prepared], config),
        dropped=dropped,
        resampling=Resampling(confidence=confidence, resamples=resamples, seed=seed),
    )


def _with_slot(
    prepared: Sequence[PreparedPair], queries: str
) -> tuple[list[PreparedPair], list[Dropped]]:
    """Return the pairs whose attention can be compared, and the others with their reasons."""
    kept, dropped = [], []
    for each in prepared:
        try:
            _require_slot(_runs(each), queries)
        except AlignmentError as error:
            dropped.append(dropped_pair(each.pair, error.code, str(error)))
        else:
            kept.append(each)
    return kept, dropped


def _require_slot(runs: _Runs, queries: str) -> None:
    """Raise an AlignmentError when the affirmative statement has nothing to compare with."""
    if not _cue(runs.affirmative):
        raise AlignmentError(
            "no-slot",
            "the affirmative statement has no word in the place of the cue, so there is no "
            "attention to compare with; put another word there",
        )
    if not _queries(runs, queries):
        where = "after" if queries == "after_cue" else "but"
        raise AlignmentError(
            "no-query", f"no token {where} the cue has a counterpart in the affirmative statement"
        )


def _runs(prepared: PreparedPair) -> _Runs:
    contrast = prepared.contrasts[0]
    if prepared.pair.negated == "true":
        return _Runs(contrast.clean, contrast.corrupt, contrast.clean_from_corrupt)
    return _Runs(contrast.corrupt, contrast.clean, contrast.corrupt_from_clean)


def _cue(run: Run) -> list[int]:
    return [i for i, role in enumerate(run.roles) if role == "cue"]


def _queries(runs: _Runs, queries: str) -> list[int]:
    """Return the query positions of the negated run that have a counterpart."""
    run, cue = runs.negated, _cue(runs.negated)
    after = max(cue) if queries == "after_cue" else -1
    return [
        i
        for i, role in enumerate(run.roles)
        if i > after and i not in cue and runs.correspondence[i]
        if role != "pad" or i == run.read_out
    ]


def _attention(
    encoder: Encoder, pairs: Sequence[_Runs], anchors: Tensor, progress: bool | None
) -> dict[int, Float[np.ndarray, "block head query"]]:
    """Return the attention to the cue or its slot in every run.

    Keys are 2 i for the negated run of pair i, and 2 i + 1 for its affirmative run.
    """
    runs = [run for pair in pairs for run in (pair.negated, pair.affirmative)]
    attention: dict[int, Float[np.ndarray, "block head query"]] = {}
    disable = None if progress is None else not progress
    with tqdm(total=len(runs), desc="attention", unit="statement", disable=disable) as bar:
        for batch in batches_by_length([run.ids for run in runs], BATCH):
            attention |= _batch_attention(encoder, runs, batch, anchors)
            bar.update(len(batch))
    return attention


def _batch_attention(
    encoder: Encoder, runs: Sequence[Run], batch: Sequence[int], anchors: Tensor
) -> dict[int, Float[np.ndarray, "block head query"]]:
    """Return the attention to the cue or its slot in some runs of equal length."""
    ids = torch.tensor([runs[index].ids for index in batch], device=encoder.device)
    patterns = attention_patterns(encoder, ids, anchors[[index // 2 for index in batch]])
    return {
        index: patterns[:, row][..., _cue(runs[index])].sum(dim=-1).cpu().numpy().astype(float)
        for row, index in enumerate(batch)
    }


def _largest(
    runs: _Runs,
    negated: Float[np.ndarray, "block head query"],
    affirmative: Float[np.ndarray, "block head counterpart"],
    queries: str,
) -> Float[np.ndarray, "block head"]:
    """Return the largest difference between the two statements' attention, over the queries."""
    differences = [
        negated[..., i] - affirmative[..., list(runs.correspondence[i])].mean(axis=-1)
        for i in _queries(runs, queries)
    ]
    return np.asarray(np.max(differences, axis=0))
