"""Pairs in, causal tracing effect out: lay out, corrupt, sweep, collect."""

__all__ = ["trace"]

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from negtrace._files import canonical, sha256
from negtrace._messages import listed
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import evaluating, hooks_in
from negtrace.errors import NegtraceWarning, TraceError, UnknownNameError
from negtrace.pairs.pair import Pair, pairs_digest
from negtrace.pairs.radiology import radiology_pairs
from negtrace.pairs.roles import ROLES
from negtrace.results.cte import CTE
from negtrace.results.provenance import Dropped, Provenance
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.corruptions.base import Corruption, corruption_named
from negtrace.tracing.corruptions.contrast import Contrast
from negtrace.tracing.engines.attribution import estimator_named
from negtrace.tracing.engines.exact import (
    DIRECTIONS,
    ROW_TOKENS,
    Direction,
    Sweeper,
    Swept,
    groups_in,
)
from negtrace.tracing.positions import WHOLE, Positions
from negtrace.tracing.precision import deviation, half_precision
from negtrace.tracing.prepare import Job, Work, prepare, require_some
from negtrace.tracing.provenance import now, provenance_of, rules_of
from negtrace.tracing.sites import plan_for
from negtrace.tracing.verify import verified


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
    method: str = "exact",
    steps: int = 8,
    verify: int = 0,
    sweeper: Sweeper | None = None,
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
        method: `exact` runs every cell; `attribution` estimates all of them from one gradient,
            `integrated_gradients` from several along the way from one input to the other. An
            estimate says so wherever it is shown.
        steps: how many gradients are averaged, for `integrated_gradients`.
        verify: how many of the largest estimates, and as many random ones, are run exactly; how
            they correlate is in the provenance.
        sweeper: another way to compute the scores, such as those in `negtrace.tracing.engines`.
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
    run = sweeper or estimator_named(method, steps)
    _refuse_exact(verify, method)
    if hooked := hooks_in(encoder.model):
        warnings.warn(
            f"hooks of your own on {listed(hooked)} act in every run of this trace, and stay",
            NegtraceWarning,
            stacklevel=2,
        )
    with torch.inference_mode(), evaluating(encoder.model):
        plan = plan_for(encoder, sites, window)
        made = made.prepared(pairs, encoder)
        jobs, dropped = prepare(encoder, pairs, made, positions)
        require_some(jobs, dropped)
        how = {
            "corruption": made.settings(),
            "direction": way,
            "sites": [site.name for site in plan.sites],
            "positions": _named(positions),
            "window": plan.window,
            "method": method,
            "steps": steps if method == "integrated_gradients" else None,
            "sweeper": _named_engine(sweeper),
        }
        made_by = provenance_of(encoder, jobs, how)
        saved = Checkpoint(checkpoint, _key(made_by, jobs, row_tokens)) if checkpoint else None
        work = Work.of(encoder, jobs, way, plan, row_tokens)
        found = _swept(work, run, saved, progress)
        about = _measured(work, found, verify)
    scores = work.by_pair(found)
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
        estimator=method,
        direction=way,
        corruption=made.name,
        unit=encoder.unit,
        dropped=tuple(dropped),
        texts=tuple((job.pair.true, job.pair.false) for job in kept) if include_text else None,
        provenance=replace(
            made_by,
            pairs_digest=pairs_digest([job.pair for job in kept]),
            time=now(),
            config={**made_by.config, "alignment": rules_of(kept), **about},
        ),
    )


def _refuse_exact(verify: int, method: str) -> None:
    if verify < 0 or (verify and method == "exact"):
        raise TraceError(
            f"verify={verify} with method={method!r}; it takes the number of cells of an estimate "
            "to run exactly: method='attribution' or 'integrated_gradients'"
        )


def _swept(
    work: Work, run: Sweeper, saved: Checkpoint | None, progress: bool | None
) -> dict[int, Swept]:
    """Sweep every contrast, from the checkpoint on, and keep what is done whatever happens."""
    done = saved.done if saved else {}
    try:
        for swept in run(
            work.encoder,
            work.contrasts,
            work.anchors,
            direction=work.direction,
            plan=work.plan,
            row_tokens=work.row_tokens,
            done=frozenset(done),
            progress=progress,
        ):
            done[swept.index] = swept
            if saved:
                saved.keep(swept)
    finally:
        if saved:
            saved.write()
    return done


def _measured(work: Work, found: Mapping[int, Swept], verify: int) -> dict[str, object]:
    """Return what was measured of the result itself, for its provenance."""
    about: dict[str, object] = {}
    if verify:
        about["verified"] = verified(work, found, count=verify)
    if half := half_precision(work.encoder):
        gaps = deviation(work, found)
        about["half_precision"] = {"dtype": half, **gaps}
        warnings.warn(
            f"traced in {half}: on {gaps['pairs']} pairs an effect is up to "
            f"{gaps['largest_gap_of_effect']:.2g} from the one in float32",
            NegtraceWarning,
            stacklevel=4,
        )
    return about


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


def _named(positions: Positions) -> str:
    """Return how positions were chosen, in a word: their own numbers belong to no title."""
    if isinstance(positions, str):
        return positions
    return "given" if isinstance(positions, Mapping) else ", ".join(positions)


def _named_engine(sweeper: Sweeper | None) -> str | None:
    """Return which other engine was given, by its place in the code."""
    made = sweeper.func if isinstance(sweeper, partial) else sweeper
    if made is None:
        return None
    return f"{made.__module__}.{getattr(made, '__qualname__', type(made).__qualname__)}"


def _key(made_by: Provenance, jobs: Sequence[Job], row_tokens: int) -> str:
    """Return a digest of all that the scores of a sweep, and its batches, depend on."""
    ids = [job.pair.id for job in jobs]
    return sha256(canonical([asdict(replace(made_by, time="")), ids, row_tokens]))
