"""Pairs in, causal tracing effect out: lay out, corrupt, sweep, collect."""

__all__ = ["trace"]

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from negtrace.cte import CTE, Dropped, Provenance
from negtrace.encoders.base import Encoder
from negtrace.errors import SiteError, TraceError, UnknownNameError
from negtrace.hooks import evaluating
from negtrace.pair_sources import radiology_pairs
from negtrace.pairs import Pair, digest
from negtrace.roles import ROLES
from negtrace.schema.files import canonical, sha256
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.corruption import Contrast, Corruption, corruption_named
from negtrace.tracing.jobs import Job, prepare, require_some
from negtrace.tracing.plan import WHOLE, Plan, Positions, sites_of
from negtrace.tracing.sweep import (
    DIRECTIONS,
    ROW_TOKENS,
    Direction,
    Sweeper,
    Swept,
    groups_in,
    sweep,
)
from negtrace.version import __version__


def trace(
    encoder: Encoder,
    pairs: Sequence[Pair] | None = None,
    *,
    corruption: str | Corruption = "swap",
    settings: Mapping[str, object] | None = None,
    direction: str = "denoising",
    sites: Sequence[str] = ("resid",),
    positions: Positions = "token",
    window: int = 1,
    sweeper: Sweeper = sweep,
    row_tokens: int = ROW_TOKENS,
    include_text: bool = False,
    checkpoint: Path | None = None,
    progress: bool | None = None,
) -> CTE:
    """Patch the state at every site, layer and position, and record what it brings back.

    Args:
        encoder: what to trace, from `negtrace.load` or `negtrace.wrap`; handed back untouched.
        pairs: minimal contrasts; the built-in radiology pairs, anchored on text, when not given.
        corruption: how the negation is destroyed, by name or made.
        settings: fields of a corruption given by name, such as `{"samples": 16}` of `noise`.
        direction: `denoising` restores the clean state in the corrupted run (sufficiency),
            `noising` injects the corrupted one into the clean run (necessity; the papers').
        sites: `resid` (what a block gives), `resid_pre` (what it is given), `attn_out`, `mlp_out`
            (what its attention and its MLP add), `head` (every head's part of `attn_out`) or
            `head.3`.
        positions: what is patched at once: `token` (each alone), `role` (all tokens of a role),
            `all`, some roles by name, or the positions of each pair by its id.
        window: how many layers are patched at once, centred on the cell's own. More than one makes
            peaks higher (arXiv 2309.16042), and every figure says so.
        sweeper: how scores are computed; `negtrace.interop` has others.
        row_tokens: how many tokens run at once; lower it where memory is short.
        include_text: keep the statements in the result, and in what is saved of it.
        checkpoint: file to keep finished work in; when it is there already, the trace goes on
            from it to the identical result. It is left for the caller to delete.
        progress: show a bar; None shows it on a terminal only.

    Returns:
        The raw scores of every pair and cell. Pairs that cannot be traced are in its `dropped`.

    Raises:
        UnknownNameError: for an unknown corruption or direction.
        SiteError: for a site that the model does not offer, or a window wider than it is deep.
        TraceError: when no pair can be traced, or no score tells any pair's statements apart.
    """
    pairs = radiology_pairs() if pairs is None else list(pairs)
    made = corruption_named(corruption, settings) if isinstance(corruption, str) else corruption
    way = _direction(direction)
    with torch.inference_mode(), evaluating(encoder.model):
        plan = Plan(sites=sites_of(encoder, sites), window=_window(encoder, window))
        jobs, dropped = prepare(encoder, pairs, made, positions)
        require_some(jobs, dropped)
        made_by = _provenance(encoder, jobs, made, way, plan, positions)
        saved = Checkpoint(checkpoint, _key(made_by, jobs, row_tokens)) if checkpoint else None
        scores = _collect(encoder, jobs, way, plan, sweeper, row_tokens, saved, progress)
    finite = {id_ for id_, one in scores.items() if np.isfinite(one.clean + one.corrupt)}
    kept = [job for job in jobs if job.pair.id in finite]
    dropped += [_nan_score(job.pair) for job in jobs if job.pair.id not in finite]
    require_some(kept, dropped)
    _require_effect(encoder, [scores[job.pair.id] for job in kept])
    role_names = (*ROLES, WHOLE) if positions == WHOLE else ROLES
    return CTE(
        clean=np.array([scores[job.pair.id].clean for job in kept]),
        corrupt=np.array([scores[job.pair.id].corrupt for job in kept]),
        patched=_stacked([scores[job.pair.id].patched for job in kept]),
        roles=_roles([_labels(job.contrasts[0], way) for job in kept], role_names),
        negated=np.array([job.pair.negated == "true" for job in kept]),
        ids=tuple(job.pair.id for job in kept),
        layers=encoder.layers,
        sites=tuple(site.name for site in plan.sites),
        role_names=role_names,
        positions=_named(positions),
        window=plan.window,
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
    jobs: Sequence[Job],
    direction: Direction,
    plan: Plan,
    sweeper: Sweeper,
    row_tokens: int,
    saved: Checkpoint | None,
    progress: bool | None,
) -> dict[str, Swept]:
    """Sweep every contrast and average the samples of each pair."""
    anchors = encoder.embed_anchors([job.pair.anchor for job in jobs])
    owner = [i for i, job in enumerate(jobs) for _ in job.contrasts]
    done = saved.done if saved else {}
    try:
        for swept in sweeper(
            encoder,
            [contrast for job in jobs for contrast in job.contrasts],
            anchors[owner],
            direction=direction,
            plan=plan,
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


def _labels(contrast: Contrast, direction: Direction) -> list[str]:
    """Return what is patched in the run that is patched, group by group."""
    base = contrast.corrupt if direction == "denoising" else contrast.clean
    return [label for label, _ in groups_in(base)]


def _stacked(
    arrays: Sequence[Float[np.ndarray, "site layer _"]],
) -> Float[np.ndarray, "pair site layer position"]:
    """Stack ragged grids, NaN where a statement has no token."""
    longest = max(array.shape[2] for array in arrays)
    stacked = np.full((len(arrays), *arrays[0].shape[:2], longest), np.nan)
    for row, array in zip(stacked, arrays, strict=True):
        row[:, :, : array.shape[2]] = array
    return stacked


def _roles(rows: Sequence[Sequence[str]], names: Sequence[str]) -> Int[np.ndarray, "pair position"]:
    roles = np.full((len(rows), max(map(len, rows))), -1)
    for row, labels in zip(roles, rows, strict=True):
        row[: len(labels)] = [names.index(label) for label in labels]
    return roles


def _window(encoder: Encoder, window: int) -> int:
    if not 1 <= window <= len(encoder.blocks):
        raise SiteError(
            f"a window of {window} layers; {encoder.name} has {len(encoder.blocks)} blocks, so "
            f"expected 1 to {len(encoder.blocks)}"
        )
    return window


def _named(positions: Positions) -> str:
    """Return how positions were chosen, in a word: their own numbers belong to no title."""
    if isinstance(positions, str):
        return positions
    return "given" if isinstance(positions, Mapping) else ", ".join(positions)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _key(made_by: Provenance, jobs: Sequence[Job], row_tokens: int) -> str:
    """Return a digest of all that the scores of a sweep, and its batches, depend on."""
    ids = [job.pair.id for job in jobs]
    return sha256(canonical([asdict(replace(made_by, time="")), ids, row_tokens]))


def _provenance(
    encoder: Encoder,
    jobs: Sequence[Job],
    corruption: Corruption,
    direction: Direction,
    plan: Plan,
    positions: Positions,
) -> Provenance:
    return Provenance(
        package_version=__version__,
        time=_now(),
        model=encoder.name,
        family=encoder.family,
        revision=encoder.revision,
        weights_digest=encoder.digest,
        tokenizer=encoder.tokenizer_name,
        pairs_digest=digest([job.pair for job in jobs]),
        config={
            "corruption": corruption.settings(),
            "direction": direction,
            "sites": [site.name for site in plan.sites],
            "positions": _named(positions),
            "window": plan.window,
        },
    )
