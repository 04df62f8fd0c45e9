"""Pairs prepared for a sweep: their contrasts, or the reason why a pair cannot be traced."""

__all__ = [
    "PreparedPair",
    "mean_scores",
    "prepare",
    "require_some",
    "warn_of_differences",
]

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from negtrace.encoders.base import Encoder
from negtrace.errors import AlignmentError, EncoderError, NegtraceWarning, TraceError
from negtrace.pairs.differences import Differences, differences_note
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.results.provenance import Dropped
from negtrace.tracing.corruptions.base import Corruption
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.sweep import ContrastScores
from negtrace.tracing.positions import Positions, groups_of


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedPair:
    """A pair, and what is run for it."""

    pair: Pair
    contrasts: Sequence[Contrast]
    """One contrast, or several samples whose scores are averaged."""

    @property
    def differing(self) -> Differences:
        """Words in which the two runs differ apart from the negation, the same in every sample."""
        return self.contrasts[0].differing


def prepare(
    encoder: Encoder, pairs: Sequence[Pair], corruption: Corruption, positions: Positions
) -> tuple[list[PreparedPair], list[Dropped]]:
    """Return the pairs that can be traced, prepared, and the others with their reasons.

    Raises:
        TraceError: when an id occurs twice, or positions are not in a pair's runs.
    """
    _require_unique_ids(pairs)
    prepared, dropped = [], []
    anchors = [pair.anchor for pair in pairs]
    statements = [pair.true for pair in pairs] + [pair.false for pair in pairs]
    tokens = _located(encoder, encoder.tokenize_against(statements, [*anchors, *anchors]))
    trues, falses = tokens[: len(pairs)], tokens[len(pairs) :]
    for pair, true, false in zip(pairs, trues, falses, strict=True):
        try:
            _require_fit(encoder, pair, true, false)
            contrasts = corruption.contrasts(pair, true, false, encoder)
        except AlignmentError as error:
            dropped.append(Dropped(id=pair.id, code=error.code, reason=str(error)))
        else:
            grouped = [_grouped(contrast, positions, pair.id) for contrast in contrasts]
            prepared.append(PreparedPair(pair=pair, contrasts=grouped))
    return prepared, dropped


def _located(encoder: Encoder, tokens: Sequence[Tokens]) -> list[Tokens]:
    """Return the tokens with the position that is read out; too long ones are dropped later."""
    fitting = [index for index, each in enumerate(tokens) if len(each) <= encoder.max_tokens]
    located = dict(zip(fitting, encoder.located([tokens[n] for n in fitting]), strict=True))
    return [located.get(index, each) for index, each in enumerate(tokens)]


def _require_unique_ids(pairs: Sequence[Pair]) -> None:
    counts = Counter(pair.id for pair in pairs)
    if repeated := [id_ for id_, count in counts.items() if count > 1]:
        raise TraceError(
            f"{len(repeated)} pair ids occur twice, {repeated[0]!r} first; make each one unique"
        )


def _grouped(contrast: Contrast, positions: Positions, pair_id: str) -> Contrast:
    """Return the contrast with the positions that are patched together."""

    def grouped(run: Run) -> Run:
        return replace(run, groups=groups_of(run.roles, positions, pair_id))

    return replace(contrast, clean=grouped(contrast.clean), corrupt=grouped(contrast.corrupt))


def _require_fit(encoder: Encoder, pair: Pair, true: Tokens, false: Tokens) -> None:
    """Raise an AlignmentError when the model cannot read a statement or the anchor."""
    try:
        encoder.require_fit(true)
        encoder.require_fit(false)
        if pair.anchor.text is not None:
            encoder.require_fit(encoder.tokenize([pair.anchor.text])[0])
    except EncoderError as error:
        raise AlignmentError("too-long", str(error)) from error
    if pair.anchor.text is None and not encoder.reads_images:
        raise AlignmentError(
            "image-anchor", "the encoder has no image tower; give the pair a text anchor"
        )


def require_some(prepared: Sequence[PreparedPair], dropped: Sequence[Dropped]) -> None:
    """Raise a TraceError, with the reasons counted, when no pair is left."""
    if prepared:
        return
    reasons = {drop.code: drop.reason for drop in dropped}
    counts = Counter(drop.code for drop in dropped)
    summary = "; ".join(f"{count} {code} ({reasons[code]})" for code, count in counts.items())
    raise TraceError(f"no pair is left to trace: {summary or 'no pairs were given'}")


def warn_of_differences(prepared: Sequence[PreparedPair]) -> None:
    """Warn once of all pairs whose two runs differ in more than the negation.

    The warning names the line that called the caller of this function.
    """
    if note := differences_note(each.differing for each in prepared):
        warnings.warn(note, NegtraceWarning, stacklevel=3)


def mean_scores(
    prepared: Sequence[PreparedPair], scores: Mapping[int, ContrastScores]
) -> list[ContrastScores]:
    """Return the scores of each pair, averaged over its samples.

    Args:
        prepared: the pairs, whose contrasts were swept one pair after the other.
        scores: the scores of every contrast, by its index in the sweep.
    """
    means, start = [], 0
    for pair in prepared:
        samples = [scores[start + n] for n in range(len(pair.contrasts))]
        means.append(_mean(samples))
        start += len(samples)
    return means


def _mean(samples: Sequence[ContrastScores]) -> ContrastScores:
    if len(samples) == 1:
        return samples[0]
    return ContrastScores(
        index=samples[0].index,
        clean=float(np.mean([sample.clean for sample in samples])),
        corrupt=float(np.mean([sample.corrupt for sample in samples])),
        patched=np.mean([sample.patched for sample in samples], axis=0),
    )
