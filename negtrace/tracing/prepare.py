"""Pairs made ready to be swept: contrasts and groups of positions, or the reason why not."""

__all__ = ["Job", "Work", "prepare", "require_some"]

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.errors import AlignmentError, EncoderError, TraceError
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.results.provenance import Dropped
from negtrace.tracing.corruptions.base import Corruption
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.exact import Direction, Only, Swept, sweep
from negtrace.tracing.plan import Plan
from negtrace.tracing.positions import Positions, groups_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A pair with its contrasts: one, or several samples of one."""

    pair: Pair
    contrasts: list[Contrast]


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """All that a sweep is given, and which pair each of its contrasts is of."""

    encoder: Encoder
    contrasts: list[Contrast]
    anchors: Float[Tensor, "contrast dim"]
    owners: list[Pair]
    """The pair of each contrast."""
    direction: Direction
    plan: Plan
    row_tokens: int

    @staticmethod
    def of(
        encoder: Encoder, jobs: Sequence[Job], direction: Direction, plan: Plan, row_tokens: int
    ) -> "Work":
        """Return the work of some jobs, every anchor embedded."""
        owners = [job.pair for job in jobs for _ in job.contrasts]
        embedded = encoder.embed_anchors([job.pair.anchor for job in jobs])
        places = [place for place, job in enumerate(jobs) for _ in job.contrasts]
        return Work(
            encoder=encoder,
            contrasts=[contrast for job in jobs for contrast in job.contrasts],
            anchors=embedded[places],
            owners=owners,
            direction=direction,
            plan=plan,
            row_tokens=row_tokens,
        )

    def exactly(
        self, indices: Sequence[int], only: Only | None = None, anchors: Tensor | None = None
    ) -> Iterator[tuple[int, Swept]]:
        """Yield the exact scores of some contrasts, each with its index.

        Args:
            indices: of the contrasts.
            only: cells to run, by index; all of them when not given.
            anchors: embedded ones in the place of the work's own.
        """
        for swept in sweep(
            self.encoder,
            [self.contrasts[index] for index in indices],
            self.anchors[list(indices)] if anchors is None else anchors,
            direction=self.direction,
            plan=self.plan,
            row_tokens=self.row_tokens,
            only=None if only is None else {n: only[index] for n, index in enumerate(indices)},
            progress=False,
        ):
            yield indices[swept.index], swept

    def base(self, swept: Swept) -> float:
        """Return the score of the run that is patched."""
        return swept.corrupt if self.direction == "denoising" else swept.clean

    def by_pair(self, found: Mapping[int, Swept]) -> dict[str, Swept]:
        """Return the scores of each pair, by id, its samples averaged."""
        samples: dict[str, list[Swept]] = {}
        for index in sorted(found):
            samples.setdefault(self.owners[index].id, []).append(found[index])
        return {id_: _mean(of_pair) for id_, of_pair in samples.items()}


def _mean(samples: Sequence[Swept]) -> Swept:
    if len(samples) == 1:
        return samples[0]
    return Swept(
        index=samples[0].index,
        clean=float(np.mean([sample.clean for sample in samples])),
        corrupt=float(np.mean([sample.corrupt for sample in samples])),
        patched=np.mean([sample.patched for sample in samples], axis=0),
    )


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
