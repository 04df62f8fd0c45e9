"""Pairs in, causal tracing effect out: lay out, corrupt, sweep, collect."""

__all__ = ["trace"]

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from negtrace.cte import CTE, Dropped, Provenance
from negtrace.encoders.base import Encoder
from negtrace.errors import EncoderError, TraceError, UnknownNameError
from negtrace.hooks import evaluating
from negtrace.pair_sources import radiology_pairs
from negtrace.pairs import Pair, digest
from negtrace.roles import ROLES, AlignmentError
from negtrace.schema.files import canonical, sha256
from negtrace.tokens import Tokens
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.corruption import Contrast, Corruption, corruption_named
from negtrace.tracing.sweep import DIRECTIONS, ROW_TOKENS, Direction, Swept, sweep
from negtrace.version import __version__


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """A pair with its contrasts: one, or several samples of one."""

    pair: Pair
    contrasts: list[Contrast]


def trace(
    encoder: Encoder,
    pairs: Sequence[Pair] | None = None,
    *,
    corruption: str | Corruption = "swap",
    settings: Mapping[str, object] | None = None,
    direction: str = "denoising",
    row_tokens: int = ROW_TOKENS,
    include_text: bool = False,
    checkpoint: Path | None = None,
    progress: bool | None = None,
) -> CTE:
    """Patch the residual state at every layer and position, and record what it brings back.

    Args:
        encoder: what to trace, from `negtrace.load` or `negtrace.wrap`; handed back untouched.
        pairs: minimal contrasts; the built-in radiology pairs, anchored on text, when not given.
        corruption: how the negation is destroyed, by name or made.
        settings: fields of a corruption given by name, such as `{"samples": 16}` of `noise`.
        direction: `denoising` restores the clean state in the corrupted run (sufficiency),
            `noising` injects the corrupted one into the clean run (necessity; the papers').
        row_tokens: how many tokens run at once; lower it where memory is short.
        include_text: keep the statements in the result, and in what is saved of it.
        checkpoint: file to keep finished work in; when it is there already, the trace goes on
            from it to the identical result. It is left for the caller to delete.
        progress: show a bar; None shows it on a terminal only.

    Returns:
        The raw scores of every pair and cell. Pairs that cannot be traced are in its `dropped`.

    Raises:
        UnknownNameError: for an unknown corruption or direction.
        TraceError: when no pair can be traced, or no score tells any pair's statements apart.
    """
    pairs = radiology_pairs() if pairs is None else list(pairs)
    made = corruption_named(corruption, settings) if isinstance(corruption, str) else corruption
    way = _direction(direction)
    with torch.inference_mode(), evaluating(encoder.model):
        jobs, dropped = _prepare(encoder, pairs, made)
        _require_some(jobs, dropped)
        made_by = _provenance(encoder, [job.pair for job in jobs], made, way)
        saved = Checkpoint(checkpoint, _key(made_by, jobs, row_tokens)) if checkpoint else None
        scores = _collect(encoder, jobs, way, row_tokens, saved, progress)
    finite = {id_ for id_, one in scores.items() if np.isfinite(one.clean + one.corrupt)}
    kept = [job for job in jobs if job.pair.id in finite]
    dropped += [_nan_score(job.pair) for job in jobs if job.pair.id not in finite]
    _require_some(kept, dropped)
    _require_effect(encoder, [scores[job.pair.id] for job in kept])
    return CTE(
        clean=np.array([scores[job.pair.id].clean for job in kept]),
        corrupt=np.array([scores[job.pair.id].corrupt for job in kept]),
        patched=_stacked([scores[job.pair.id].patched for job in kept])[:, None],
        roles=_roles([_base(job.contrasts[0], way) for job in kept]),
        negated=np.array([job.pair.negated == "true" for job in kept]),
        ids=tuple(job.pair.id for job in kept),
        layers=encoder.layers,
        direction=way,
        corruption=made.name,
        unit=encoder.unit,
        dropped=tuple(dropped),
        texts=tuple((job.pair.true, job.pair.false) for job in kept) if include_text else None,
        provenance=replace(made_by, pairs_digest=digest([job.pair for job in kept]), time=_now()),
    )


def _direction(name: str) -> Direction:
    for known in DIRECTIONS:
        if name == known:
            return known
    raise UnknownNameError(f"unknown direction {name!r}; known: {', '.join(DIRECTIONS)}")


def _prepare(
    encoder: Encoder, pairs: Sequence[Pair], corruption: Corruption
) -> tuple[list[_Job], list[Dropped]]:
    """Turn each pair into contrasts, or into the reason why not."""
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
            jobs.append(_Job(pair=pair, contrasts=contrasts))
    return jobs, dropped


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


def _require_some(jobs: Sequence[_Job], dropped: Sequence[Dropped]) -> None:
    if jobs:
        return
    reasons = {drop.code: drop.reason for drop in dropped}
    counts = Counter(drop.code for drop in dropped)
    told = "; ".join(f"{count} {code} ({reasons[code]})" for code, count in counts.items())
    raise TraceError(f"no pair is left to trace: {told or 'no pairs were given'}")


def _nan_score(pair: Pair) -> Dropped:
    return Dropped(
        id=pair.id,
        code="nan-score",
        reason="the model's score is not a finite number; look for overflow in its dtype",
    )


def _require_effect(encoder: Encoder, scores: Sequence[Swept]) -> None:
    """Raise when nothing in the model tells any clean run from its corruption."""
    if all(score.clean == score.corrupt for score in scores):
        raise TraceError(
            f"{encoder.name} scores the clean and the corrupted run of all {len(scores)} pairs "
            "alike (d = 0), so there is no effect to restore; run `negtrace check` on the model, "
            "or choose another corruption"
        )


def _collect(
    encoder: Encoder,
    jobs: Sequence[_Job],
    direction: Direction,
    row_tokens: int,
    saved: Checkpoint | None,
    progress: bool | None,
) -> dict[str, Swept]:
    """Sweep every contrast and average the samples of each pair."""
    anchors = encoder.embed_anchors([job.pair.anchor for job in jobs])
    owner = [i for i, job in enumerate(jobs) for _ in job.contrasts]
    done = saved.done if saved else {}
    try:
        for swept in sweep(
            encoder,
            [contrast for job in jobs for contrast in job.contrasts],
            anchors[owner],
            direction=direction,
            row_tokens=row_tokens,
            done=frozenset(done),
            progress=progress,
        ):
            done[swept.index] = swept
            if saved:
                saved.keep(swept)
    finally:
        if saved:
            saved.write()
    samples: dict[int, list[Swept]] = {i: [] for i in range(len(jobs))}
    for index in sorted(done):
        samples[owner[index]].append(done[index])
    return {job.pair.id: _mean(samples[i]) for i, job in enumerate(jobs)}


def _mean(samples: Sequence[Swept]) -> Swept:
    if len(samples) == 1:
        return samples[0]
    return Swept(
        index=samples[0].index,
        clean=float(np.mean([sample.clean for sample in samples])),
        corrupt=float(np.mean([sample.corrupt for sample in samples])),
        patched=np.mean([sample.patched for sample in samples], axis=0),
    )


def _base(contrast: Contrast, direction: Direction) -> tuple[str, ...]:
    """Return the roles of the run that is patched."""
    return (contrast.corrupt if direction == "denoising" else contrast.clean).roles


def _stacked(
    arrays: Sequence[Float[np.ndarray, "layer _"]],
) -> Float[np.ndarray, "pair layer position"]:
    """Stack ragged grids, NaN where a statement has no token."""
    longest = max(array.shape[1] for array in arrays)
    stacked = np.full((len(arrays), arrays[0].shape[0], longest), np.nan)
    for row, array in zip(stacked, arrays, strict=True):
        row[:, : array.shape[1]] = array
    return stacked


def _roles(rows: Sequence[tuple[str, ...]]) -> Int[np.ndarray, "pair position"]:
    roles = np.full((len(rows), max(map(len, rows))), -1)
    for row, names in zip(roles, rows, strict=True):
        row[: len(names)] = [ROLES.index(name) for name in names]
    return roles


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _key(made_by: Provenance, jobs: Sequence[_Job], row_tokens: int) -> str:
    """Return a digest of all that the scores of a sweep, and its batches, depend on."""
    ids = [job.pair.id for job in jobs]
    return sha256(canonical([asdict(replace(made_by, time="")), ids, row_tokens]))


def _provenance(
    encoder: Encoder, pairs: Sequence[Pair], corruption: Corruption, direction: Direction
) -> Provenance:
    return Provenance(
        package_version=__version__,
        time=_now(),
        model=encoder.name,
        family=encoder.family,
        revision=encoder.revision,
        weights_digest=encoder.digest,
        tokenizer=encoder.tokenizer_name,
        pairs_digest=digest(pairs),
        config={"corruption": corruption.settings(), "direction": direction},
    )
