"""Pairs made ready to be swept: contrasts and groups of positions, or the reason why not."""

__all__ = ["Job", "prepare", "require_some"]

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from negtrace.cte import Dropped
from negtrace.encoders.base import Encoder
from negtrace.errors import EncoderError, TraceError
from negtrace.pairs import Pair
from negtrace.roles import AlignmentError
from negtrace.tokens import Tokens
from negtrace.tracing.corruption import Contrast, Corruption, Run
from negtrace.tracing.plan import Positions, groups_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A pair with its contrasts: one, or several samples of one."""

    pair: Pair
    contrasts: list[Contrast]


def prepare(
    encoder: Encoder, pairs: Sequence[Pair], corruption: Corruption, positions: Positions
) -> tuple[list[Job], list[Dropped]]:
    """Turn each pair into contrasts, or into the reason why not.

    Raises:
        TraceError: when an id occurs twice, or the positions make no sense.
    """
    jobs, dropped = [], []
    counts = Counter(pair.id for pair in pairs)
    if repeated := [id_ for id_, count in counts.items() if count > 1]:
        raise TraceError(
            f"{len(repeated)} pair ids occur twice, {repeated[0]!r} first; make each one unique"
        )
    anchors = [pair.anchor for pair in pairs]
    trues = encoder.tokenize_against([pair.true for pair in pairs], anchors)
    falses = encoder.tokenize_against([pair.false for pair in pairs], anchors)
    for pair, true, false in zip(pairs, trues, falses, strict=True):
        try:
            _require_fit(encoder, pair, true, false)
            contrasts = corruption.contrasts(pair, true, false, encoder)
        except AlignmentError as error:
            dropped.append(Dropped(id=pair.id, code=error.code, reason=str(error)))
        else:
            jobs.append(
                Job(pair=pair, contrasts=[_grouped(one, positions, pair) for one in contrasts])
            )
    return jobs, dropped


def _grouped(contrast: Contrast, positions: Positions, pair: Pair) -> Contrast:
    def grouped(run: Run) -> Run:
        return replace(run, groups=groups_of(run.roles, positions, pair.id))

    return replace(contrast, clean=grouped(contrast.clean), corrupt=grouped(contrast.corrupt))


def _require_fit(encoder: Encoder, pair: Pair, true: Tokens, false: Tokens) -> None:
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


def require_some(jobs: Sequence[Job], dropped: Sequence[Dropped]) -> None:
    """Raise a TraceError, with the reasons counted, when no pair is left."""
    if jobs:
        return
    reasons = {drop.code: drop.reason for drop in dropped}
    counts = Counter(drop.code for drop in dropped)
    told = "; ".join(f"{count} {code} ({reasons[code]})" for code, count in counts.items())
    raise TraceError(f"no pair is left to trace: {told or 'no pairs were given'}")
