"""The result of a trace, collected from the scores of its sweep."""

__all__ = ["collected"]

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from negtrace.encoders.base import Encoder
from negtrace.errors import TraceError
from negtrace.pairs.pair import Pair, pairs_digest
from negtrace.pairs.roles import ROLES
from negtrace.pairs.sample import composition
from negtrace.results.cte import CTE
from negtrace.results.provenance import Dropped, Provenance
from negtrace.tracing.config import TraceConfig
from negtrace.tracing.engines.sweep import ContrastScores, Sweep
from negtrace.tracing.positions import WHOLE, name_of
from negtrace.tracing.prepare import PreparedPair, mean_scores, require_some
from negtrace.tracing.provenance import now, rules_of


def collected(
    config: TraceConfig,
    sweep: Sweep,
    prepared: Sequence[PreparedPair],
    scores: Mapping[int, ContrastScores],
    dropped: Sequence[Dropped],
    provenance: Provenance,
    measured: Mapping[str, object],
) -> CTE:
    """Return the result of a trace. Pairs whose scores are not finite are dropped.

    Args:
        config: the settings of the trace.
        sweep: what was run.
        prepared: the pairs, in the order of the sweep.
        scores: the scores of every contrast, by its index.
        dropped: the pairs that were not run.
        provenance: how the trace was made; its time and its pairs are set here.
        measured: measurements of the result itself, for the provenance.

    Raises:
        TraceError: when no pair is left, or every clean run has the score of its corrupted run.
    """
    pairs, by_pair, not_finite = _split_by_finite(prepared, mean_scores(prepared, scores))
    dropped = [*dropped, *map(_nan_score, not_finite)]
    require_some(pairs, dropped)
    _require_effect(sweep.encoder, by_pair)
    settings = provenance.config
    role_names = (*ROLES, WHOLE) if config.positions == WHOLE else ROLES
    return CTE(
        clean=np.array([mean.clean for mean in by_pair]),
        corrupt=np.array([mean.corrupt for mean in by_pair]),
        patched=_stacked([mean.patched for mean in by_pair]),
        roles=_roles(_labels(sweep, by_pair), role_names),
        negated=np.array([each.pair.negated == "true" for each in pairs]),
        ids=tuple(each.pair.id for each in pairs),
        layers=sweep.encoder.layers,
        sites=tuple(site.name for site in sweep.plan.sites),
        role_names=role_names,
        positions=name_of(config.positions),
        window=config.window,
        estimator=settings["method"],
        direction=config.direction,
        corruption=settings["corruption"]["name"],
        unit=sweep.encoder.unit,
        dropped=tuple(dropped),
        differing=tuple(each.differing.words for each in pairs),
        texts=tuple((each.pair.true, each.pair.false) for each in pairs)
        if config.include_text
        else None,
        provenance=replace(
            provenance,
            pairs_digest=pairs_digest([each.pair for each in pairs]),
            composition=composition([each.pair for each in pairs]).to_json(),
            time=now(),
            config={**settings, "alignment": rules_of(pairs), **measured},
        ),
    )


def _split_by_finite(
    prepared: Sequence[PreparedPair], means: Sequence[ContrastScores]
) -> tuple[list[PreparedPair], list[ContrastScores], list[Pair]]:
    """Return the pairs with finite scores, their scores, and the other pairs."""
    scored = list(zip(prepared, means, strict=True))
    finite = [(pair, mean) for pair, mean in scored if _is_finite(mean)]
    others = [prepared_pair.pair for prepared_pair, mean in scored if not _is_finite(mean)]
    return [pair for pair, _ in finite], [mean for _, mean in finite], others


def _is_finite(scores: ContrastScores) -> bool:
    return bool(np.isfinite(scores.clean + scores.corrupt))


def _nan_score(pair: Pair) -> Dropped:
    return Dropped(
        id=pair.id,
        code="nan-score",
        reason="the model's score is not a finite number; look for overflow in its dtype",
    )


def _require_effect(encoder: Encoder, scores: Sequence[ContrastScores]) -> None:
    """Raise a TraceError when every clean run has the score of its corrupted run."""
    if all(score.clean == score.corrupt for score in scores):
        raise TraceError(
            f"{encoder.name} scores the clean and the corrupted run of all {len(scores)} pairs "
            "alike (d = 0), so there is no effect to restore; run `negtrace check` on the model, "
            "or choose another corruption"
        )


def _labels(sweep: Sweep, scores: Sequence[ContrastScores]) -> list[list[str]]:
    """Return the labels of the groups that are patched, for each pair."""
    patchings = sweep.patchings()
    return [[label for label, _ in patchings[each.index].groups] for each in scores]


def _stacked(
    grids: Sequence[Float[np.ndarray, "site layer _"]],
) -> Float[np.ndarray, "pair site layer position"]:
    """Stack grids of several widths, NaN where a statement has no token."""
    longest = max(grid.shape[2] for grid in grids)
    stacked = np.full((len(grids), *grids[0].shape[:2], longest), np.nan)
    for row, grid in zip(stacked, grids, strict=True):
        row[:, :, : grid.shape[2]] = grid
    return stacked


def _roles(rows: Sequence[Sequence[str]], names: Sequence[str]) -> Int[np.ndarray, "pair position"]:
    """Return the index of each label in `names`, -1 where there is none."""
    roles = np.full((len(rows), max(map(len, rows))), -1)
    for row, labels in zip(roles, rows, strict=True):
        row[: len(labels)] = [names.index(label) for label in labels]
    return roles
