"""Retrieval suite: each anchor's own statement among all statements, and the other way round.

Recall at k (R@k) is the share of queries whose right candidate is among the k best. Chance is
k / number of candidates. A tie counts as wrong.
"""

__all__ = ["retrieval_rows", "retrieval_suite", "retrieve_from_file"]

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from negtrace.bench.candidates import CandidateSet, phantom_candidates, text_candidates
from negtrace.bench.cases import data_name, require_images
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import require_any, token_counts, too_long
from negtrace.bench.question_files import read_candidates
from negtrace.bench.report import ReportRow
from negtrace.bench.result import Intervals, SuiteResult, describe_data
from negtrace.bench.scoring import score_matrix
from negtrace.bench.suites import SUITES
from negtrace.datasets.note import NOWHERE, Note
from negtrace.encoders.base import Encoder
from negtrace.results.statistics import rank_of_correct

MOST_CANDIDATES = 300
"""Chance depends on the number of candidates, so it is limited."""

KS = (1, 5, 10)


@SUITES.register("retrieval")
def retrieval_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """Each anchor's own statement among all statements, and the other way round."""
    data = data_name(encoder, config)
    count = min(config.count, MOST_CANDIDATES)
    if data == "phantom":
        sets = phantom_candidates(count, seed=config.seed)
    elif data == "text":
        sets = text_candidates(count, seed=config.seed)
    else:
        return retrieve_from_file(encoder, Path(data), config)
    return _retrieve(encoder, Path(data).name, sets, (), config)


def retrieve_from_file(encoder: Encoder, path: Path, config: BenchConfig) -> SuiteResult:
    """Retrieval on NegBench's retrieval CSV."""
    if config.images is not None:
        require_images(encoder)
    candidates, notes = read_candidates(path, images=config.images)
    first = candidates.subset(range(min(config.count, len(candidates.texts))))
    return _retrieve(encoder, path.name, {"with negation": first}, notes, config)


def _retrieve(
    encoder: Encoder,
    name: str,
    sets: Mapping[str, CandidateSet],
    notes: Sequence[Note],
    config: BenchConfig,
) -> SuiteResult:
    sets, too_long_notes = _drop_long_candidates(encoder, sets)
    anchors = [anchor for candidates in sets.values() for anchor in candidates.anchors]
    questions = {
        series: [list(candidates.texts), [anchor.digest for anchor in candidates.anchors]]
        for series, candidates in sets.items()
    }
    count = max(len(candidates.texts) for candidates in sets.values())
    return SuiteResult(
        rows=tuple(retrieval_rows(encoder, sets, Intervals.from_config(config))),
        notes=(*notes, *too_long_notes),
        data=describe_data(name, anchors, questions, count),
    )


def _drop_long_candidates(
    encoder: Encoder, sets: Mapping[str, CandidateSet]
) -> tuple[dict[str, CandidateSet], list[Note]]:
    """Candidates that fit the encoder's context in every set, and a note on each other row.

    The same rows are left out of every set, so that their anchors stay the same.

    Raises:
        BenchError: when fewer than two rows fit.
    """
    counts = [
        token_counts(encoder, candidates.texts, candidates.anchors) for candidates in sets.values()
    ]
    longest = [max(row) for row in zip(*counts, strict=True)]
    short = [index for index, count in enumerate(longest) if count <= encoder.max_tokens]
    require_any(encoder, short[1:], len(longest))
    sources = next(iter(sets.values())).sources or (NOWHERE,) * len(longest)
    notes = [
        too_long(encoder, f"statement {index}", count, sources[index])
        for index, count in enumerate(longest)
        if count > encoder.max_tokens
    ]
    return {series: candidates.subset(short) for series, candidates in sets.items()}, notes


def retrieval_rows(
    encoder: Encoder, sets: Mapping[str, CandidateSet], intervals: Intervals
) -> list[ReportRow]:
    """Rows of recall at 1, 5 and 10 of each set of candidates, in both directions."""
    rows = []
    for series, candidates in sets.items():
        scores = score_matrix(encoder, candidates.texts, candidates.anchors)
        for axis, table in (("anchor to text", scores), ("text to anchor", scores.T)):
            rows += _recall_rows(table, intervals, series=series, axis=axis)
    return rows


def _recall_rows(
    scores: Float[np.ndarray, "row row"], intervals: Intervals, *, series: str, axis: str
) -> list[ReportRow]:
    n = len(scores)
    ranks = rank_of_correct(scores, np.arange(n))
    groups = [str(index) for index in range(n)]
    rows = []
    for k in KS:
        share, low, high = intervals.share((ranks <= k).astype(float), groups)
        rows.append(
            ReportRow(
                measure="recall",
                scorer="model",
                series=series,
                axis=axis,
                level=f"R@{k}",
                estimate=share,
                low=low,
                high=high,
                n=n,
                chance=min(k / n, 1.0),
            )
        )
    return rows
