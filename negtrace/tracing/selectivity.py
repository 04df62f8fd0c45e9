"""How far each attention head looks for the negator, measured on pairs of statements."""

__all__ = ["QUERIES", "head_selectivity"]

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batches_by_length
from negtrace.encoders.hooks import evaluating
from negtrace.errors import AlignmentError, UnknownNameError
from negtrace.pairs.pair import Pair
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.heads import HeadSelectivity, selectivity_of
from negtrace.results.options import Resampling
from negtrace.results.provenance import Dropped
from negtrace.tracing.attention import attention_patterns, require_patterns
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.corruptions.contrast import Correspondence, Run
from negtrace.tracing.prepare import Job, prepare, require_some
from negtrace.tracing.provenance import provenance_of, rules_of

Queries = Literal["later", "other"]
QUERIES: tuple[Queries, ...] = get_args(Queries)
"""Which tokens look for the cue: those behind it, or all but itself."""

BATCH = 32
"""Statements whose attention is held at once."""


class _Sides(NamedTuple):
    """A pair's two runs, and which positions of the affirmative one stand for each negated one."""

    negated: Run
    affirmative: Run
    sources: Correspondence


def head_selectivity(
    encoder: Encoder,
    pairs: Sequence[Pair] | None = None,
    *,
    queries: str = "later",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool | None = None,
) -> HeadSelectivity:
    """Measure every head's selectivity for the negator.

    For each pair, the largest difference over queries q of the attention from q to the cue of the
    negated statement and from its like to the cue's slot in the affirmative one; then the mean over
    pairs (Quantmeyer et al. 2024, arXiv 2407.10488). A cue or slot of several tokens counts as a
    whole: their attention is added up.

    Args:
        encoder: a model whose attention can be read; handed back untouched.
        pairs: as for `negtrace.trace`.
        queries: `later`, the tokens behind the cue, as in the paper; `other`, all but the cue, for
            a tower that reads both ways. Padding does not look, unless it is read out; nor does
            the end token that it follows.
        confidence: of the bootstrap interval over pairs.
        resamples: bootstrap draws.
        seed: of the draws.
        progress: show a bar; None shows it on a terminal only.

    Raises:
        SiteError: when the model gives no attention patterns, with the reason.
        TraceError: when no pair is left.
        UnknownNameError: for unknown queries.
    """
    if queries not in QUERIES:
        raise UnknownNameError(f"unknown queries {queries!r}; known: {', '.join(QUERIES)}")
    require_patterns(encoder)
    pairs = radiology_pairs() if pairs is None else list(pairs)
    with torch.inference_mode(), evaluating(encoder.model):
        jobs, dropped = prepare(encoder, pairs, corruption_named("swap"), "token")
        jobs, slotless = _with_slot(jobs, queries)
        dropped += slotless
        require_some(jobs, dropped)
        anchors = encoder.embed_anchors([job.pair.anchor for job in jobs])
        sides = [_sides(job) for job in jobs]
        looks = _looks(encoder, sides, anchors, progress)
    found = [
        _largest(one, looks[2 * place], looks[2 * place + 1], queries)
        for place, one in enumerate(sides)
    ]
    return selectivity_of(
        np.stack(found),
        [job.pair.id for job in jobs],
        layers=encoder.block_names,
        queries=queries,
        provenance=provenance_of(encoder, jobs, {"queries": queries, "alignment": rules_of(jobs)}),
        dropped=dropped,
        resampling=Resampling(confidence=confidence, resamples=resamples, seed=seed),
    )


def _with_slot(jobs: Sequence[Job], queries: str) -> tuple[list[Job], list[Dropped]]:
    """Return the jobs whose statements can be compared, and the others with their reasons."""
    kept, dropped = [], []
    for job in jobs:
        try:
            _require_slot(_sides(job), queries)
        except AlignmentError as error:
            dropped.append(Dropped(id=job.pair.id, code=error.code, reason=str(error)))
        else:
            kept.append(job)
    return kept, dropped


def _require_slot(sides: _Sides, queries: str) -> None:
    if not _cue(sides.affirmative):
        raise AlignmentError(
            "no-slot",
            "nothing stands where the cue does in the affirmative statement, so attention to it "
            "has nothing to be compared with; put another word there",
        )
    if not _compared(sides, queries):
        raise AlignmentError(
            "no-query", f"no token {'behind' if queries == 'later' else 'but'} the cue has a like"
        )


def _sides(job: Job) -> _Sides:
    contrast = job.contrasts[0]
    if job.pair.negated == "true":
        return _Sides(contrast.clean, contrast.corrupt, contrast.clean_from_corrupt)
    return _Sides(contrast.corrupt, contrast.clean, contrast.corrupt_from_clean)


def _cue(run: Run) -> list[int]:
    return [i for i, role in enumerate(run.roles) if role == "cue"]


def _compared(sides: _Sides, queries: str) -> list[int]:
    """Return the queries of the negated statement that have a like in the affirmative one."""
    run, cue = sides.negated, _cue(sides.negated)
    after = max(cue) if queries == "later" else -1
    return [
        i
        for i, role in enumerate(run.roles)
        if i > after and i not in cue and sides.sources[i]
        if role != "pad" or i == run.read_out
    ]


def _looks(
    encoder: Encoder, sides: Sequence[_Sides], anchors: Tensor, progress: bool | None
) -> dict[int, Float[np.ndarray, "block head query"]]:
    """Return the attention to the cue, or its slot, in each pair's two runs, the negated first."""
    runs = [run for one in sides for run in (one.negated, one.affirmative)]
    found = {}
    hidden = None if progress is None else not progress
    with tqdm(total=len(runs), desc="attention", unit="statement", disable=hidden) as bar:
        for batch in batches_by_length([run.ids for run in runs], BATCH):
            found.update(_look(encoder, runs, batch, anchors))
            bar.update(len(batch))
    return found


def _look(
    encoder: Encoder, runs: Sequence[Run], batch: Sequence[int], anchors: Tensor
) -> dict[int, Float[np.ndarray, "block head query"]]:
    ids = torch.tensor([runs[index].ids for index in batch], device=encoder.device)
    patterns = attention_patterns(encoder, ids, anchors[[index // 2 for index in batch]])
    return {
        index: patterns[:, row][..., _cue(runs[index])].sum(dim=-1).cpu().numpy().astype(float)
        for row, index in enumerate(batch)
    }


def _largest(
    sides: _Sides,
    negated: Float[np.ndarray, "block head query"],
    affirmative: Float[np.ndarray, "block head like"],
    queries: str,
) -> Float[np.ndarray, "block head"]:
    """Return the largest difference over the queries that can be compared."""
    differences = [
        negated[..., i] - affirmative[..., list(sides.sources[i])].mean(axis=-1)
        for i in _compared(sides, queries)
    ]
    return np.asarray(np.max(differences, axis=0))
