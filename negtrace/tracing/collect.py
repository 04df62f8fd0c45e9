"""The result of a trace, collected from the scores of its sweep."""

__all__ = ["collected", "patched_run"]

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import compress

import numpy as np
from jaxtyping import Bool, Float, Int

from negtrace.encoders.base import Encoder
from negtrace.errors import TraceError
from negtrace.pairs.pair import Pair, pairs_digest, public_ids
from negtrace.pairs.roles import ROLES
from negtrace.pairs.sample import composition
from negtrace.results.cte import CTE
from negtrace.results.provenance import Dropped, Provenance, dropped_pair
from negtrace.tracing.config import TraceConfig
from negtrace.tracing.engines.sweep import Sweep
from negtrace.tracing.positions import WHOLE, name_of
from negtrace.tracing.prepare import PreparedPairs, require_some
from negtrace.tracing.provenance import now
from negtrace.tracing.scores import SweepScores


def patched_run(direction: str) -> str:
    """Return the run that is patched: `corrupt` or `clean`."""
    return "corrupt" if direction == "denoising" else "clean"


def collected(
    config: TraceConfig,
    sweep: Sweep,
    prepared: PreparedPairs,
    scores: SweepScores,
    dropped: Sequence[Dropped],
    provenance: Provenance,
    measured: Mapping[str, object],
) -> CTE:
    """Return the result of a trace. Pairs whose scores are not finite are dropped.

    Args:
        config: the settings of the trace.
        sweep: what was run.
        prepared: the pairs, in the order of the sweep.
        scores: the scores of every contrast.
        dropped: the pairs that were not run.
        provenance: how the trace was made; its time and its pairs are set here.
        measured: measurements of the result itself, for the provenance.

    Raises:
        TraceError: when no pair is left, or every clean run has the score of its corrupted run.
    """
    clean, corrupt, patched = _mean_scores(prepared, scores)
    finite = np.isfinite(clean + corrupt)
    pairs = _Kept(prepared, finite)
    dropped = [*dropped, *pairs.dropped]
    require_some(pairs.ids, dropped)
    clean, corrupt = clean[finite], corrupt[finite]
    _require_effect(sweep.encoder, clean, corrupt)
    settings = provenance.config
    role_names = (*ROLES, WHOLE) if config.positions == WHOLE else ROLES
    roles = _roles(prepared, finite, patched_run(config.direction), role_names)
    return CTE(
        clean=clean,
        corrupt=corrupt,
        patched=(patched if finite.all() else patched[finite])[..., : roles.shape[1]],
        roles=roles,
        negated=np.array(pairs.negated),
        ids=tuple(pairs.ids),
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
        differing=tuple(each.words for each in compress(prepared.differing, finite)),
        texts=tuple((pair.true, pair.false) for pair in pairs) if config.include_text else None,
        public_ids=public_ids(pairs),
        provenance=replace(
            provenance,
            pairs_digest=pairs_digest(pairs),
            composition=composition(pairs).to_json(),
            time=now(),
            config={
                **settings,
                "alignment": dict(sorted(Counter(compress(prepared.rules, finite)).items())),
                **measured,
            },
        ),
    )


class _Kept:
    """The pairs with finite scores, read again wherever they are iterated over."""

    def __init__(self, prepared: PreparedPairs, finite: Bool[np.ndarray, " pair"]) -> None:
        self._prepared, self._finite = prepared, finite
        self.ids: list[str] = []
        self.negated: list[bool] = []
        """True for each pair whose true statement is the negated one."""
        self.dropped: list[Dropped] = []
        """The other pairs."""
        for pair, kept in zip(prepared.pairs(), finite, strict=True):
            if kept:
                self.ids.append(pair.id)
                self.negated.append(pair.negated == "true")
            else:
                self.dropped.append(_nan_score(pair))

    def __iter__(self) -> Iterator[Pair]:
        return compress(self._prepared.pairs(), self._finite)


def _nan_score(pair: Pair) -> Dropped:
    reason = "the model's score is not a finite number; look for overflow in its dtype"
    return dropped_pair(pair, "nan-score", reason)


def _mean_scores(
    prepared: PreparedPairs, scores: SweepScores
) -> tuple[
    Float[np.ndarray, " pair"],
    Float[np.ndarray, " pair"],
    Float[np.ndarray, "pair site layer position"],
]:
    """Return the clean, corrupted and patched scores of each pair, averaged over its samples."""
    arrays = scores.clean, scores.corrupt, scores.patched
    starts = list(prepared.contrasts.starts)
    if len(starts) == len(scores.clean):
        return arrays
    ends = [*starts[1:], len(scores.clean)]
    clean, corrupt, patched = (
        np.array([array[i:k].mean(axis=0) for i, k in zip(starts, ends, strict=True)])
        for array in arrays
    )
    return clean, corrupt, patched


def _require_effect(
    encoder: Encoder, clean: Float[np.ndarray, " pair"], corrupt: Float[np.ndarray, " pair"]
) -> None:
    """Raise a TraceError when every clean run has the score of its corrupted run."""
    if (clean == corrupt).all():
        raise TraceError(
            f"{encoder.name} scores the clean and the corrupted run of all {len(clean)} pairs "
            "alike (d = 0), so there is no effect to restore; run `negtrace check` on the model, "
            "or choose another corruption"
        )


def _roles(
    prepared: PreparedPairs,
    finite: Bool[np.ndarray, " every_pair"],
    run: str,
    names: Sequence[str],
) -> Int[np.ndarray, "pair position"]:
    """Return the index in `names` of the label of each group, -1 where there is none."""
    contrasts = prepared.contrasts
    first = np.zeros(len(contrasts), dtype=bool)
    first[np.array(contrasts.starts)[finite]] = True
    widths = np.array(contrasts.widths(run))[first]
    roles = np.full((len(widths), widths.max()), -1)
    number = {name: index for index, name in enumerate(names)}
    for row, labels in zip(roles, compress(contrasts.groups(run), first), strict=True):
        row[: len(labels)] = [number[label] for label in labels]
    return roles
