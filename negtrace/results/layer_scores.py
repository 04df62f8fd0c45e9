"""Layer scores: one number per block, derived from a CTE in several ways. None is the default.

The effect at `resid` says where the negation sits after a block, not what the block does: summed
over positions, it is 1 at the embedding and at the last block whatever the model does in between.
So compare the methods:

- `nast`: effect summed over all positions (NAST, arXiv 2602.12498).
- `std`: population standard deviation of the effect over positions from the cue on (Quantmeyer et
  al. 2024, arXiv 2407.10488).
- `cue`: effect at the cue, so how much of the negation still sits there.
- `transport`: effect at the cue before the block minus after it, so what the block moved away.
- `component`: effects of the block's own attention and MLP, patched one at a time and added up.
"""

__all__ = [
    "LAYER_SCORES",
    "Draws",
    "LayerScores",
    "all_layer_scores",
    "layer_scores",
    "register_layer_score",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from negtrace._messages import listed, one_of
from negtrace._registry import Registry
from negtrace.errors import CTEError
from negtrace.results.cte import CTE
from negtrace.results.effect import Groups, Reduction, role_groups, token_groups
from negtrace.results.intervals import MIN_PAIRS, jackknife_interval
from negtrace.results.kept import KeptPairs, kept_pairs
from negtrace.results.options import ReduceOptions, flat_fields, reduce_options
from negtrace.results.statistics import (
    AGGREGATES,
    Quotient,
    grouped,
    interval,
    resample,
    spearman,
    subsets,
    units,
)

STABLE = 0.9
"""Least mean Spearman correlation at which a ranking of blocks counts as stable."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LayerScores(Reduction):
    """A score and a weight for each block."""

    method: str
    layers: tuple[str, ...]
    """Blocks as `named_modules()` calls them; the embedding is not among them."""
    values: Float[np.ndarray, " block"]
    """Scores of the method; no unit."""
    low: Float[np.ndarray, " block"]
    """Lower end of the interval over pairs; NaN for fewer than eight pairs."""
    high: Float[np.ndarray, " block"]
    """Upper end of the interval."""
    alpha: Float[np.ndarray, " block"]
    """(values - min) / (max - min), so 0 to 1; all 1 where the values are equal."""
    rank_stability: float
    """Mean Spearman correlation of the bootstrap draws' scores with `values`; NaN without draws."""

    @property
    def stable(self) -> bool:
        """True when redrawing enough pairs hardly changes the ranking of the blocks."""
        return bool(self.rank_stability >= STABLE) and self.n >= MIN_PAIRS

    @property
    def note(self) -> str:
        """Verdict on the ranking of blocks in one sentence."""
        if np.isnan(self.rank_stability):
            draws = self.options.resamples
            return f"stability unknown: {self.n} pair(s), {draws} bootstrap draws"
        measured = f"rank stability {self.rank_stability:.2f} over {self.n} pairs"
        if self.too_few:
            return f"ranking NOT stable: {self.too_few}; {measured}"
        if self.stable:
            return f"ranking stable: {measured}"
        return f"ranking NOT stable: {measured}, below {STABLE:g}; trace more pairs before using it"

    def scale(self, beta: float = 1.0) -> dict[str, float]:
        """Return alpha ** beta for each block, the factor of NAST; beta 0 gives 1 everywhere.

        Raises:
            CTEError: when `beta` is negative.
        """
        if beta < 0:
            raise CTEError(f"beta must be 0 or more, not {beta}: it would divide by a zero alpha")
        return dict(zip(self.layers, (self.alpha**beta).tolist(), strict=True))

    def to_dataframe(self) -> Any:
        """Return a tidy pandas.DataFrame with a row per block."""
        import pandas as pd

        arrays = {"score": self.values, "low": self.low, "high": self.high, "alpha": self.alpha}
        frame = pd.DataFrame({"method": self.method, "layer": list(self.layers), **arrays})
        facts = {**flat_fields(self), "stable": self.stable, "note": self.note}
        return frame.assign(**{name: facts[name] for name in _COLUMNS})


_COLUMNS = (
    *("rank_stability", "stable", "model", "estimator", "direction"),
    *("segment", "condition", "n", "negated", "note"),
)
"""Facts that a data frame repeats in every row."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Pairs of a trace, drawn again and again: everything that a layer score is computed from.

    Its methods return one row per draw. Row 0 counts every pair once: it is the score itself. From
    the other rows intervals and stability follow: bootstrap draws, then each pair left out in turn
    (or random subsets of the pairs, where the aggregate is no quotient).
    """

    kept: KeptPairs
    """The pairs that the reduction counts."""
    aggregate: str
    """Name of the aggregate over pairs."""
    weights: Float[np.ndarray, "draw unit"]
    """Number of times each pair counts, by draw; each group of pairs, where there are more than
    2,000 (`negtrace.results.statistics.grouped` adds up what belongs to pairs)."""

    @property
    def cte(self) -> CTE:
        """Result of the pairs that the reduction counts: a copy of their scores."""
        return self.kept.cte

    def effect(self, site: str, groups: Groups) -> Float[np.ndarray, "draw layer label"]:
        """Return the effect at one site for each group of tokens.

        Raises:
            UnknownNameError: for a site that was not traced.
        """
        sites = self.kept.whole.sites
        one_of("site of this trace", site, sites)
        sums = self.kept.sums(groups, [sites.index(site)])
        return np.asarray(AGGREGATES[self.aggregate](sums, self.weights)[:, 0])

    def at_role(self, role: str, site: str = "resid") -> Float[np.ndarray, "draw layer"]:
        """Return the effect at the tokens of one role, the embedding first.

        Raises:
            UnknownNameError: for a site that was not traced, or a role that no token has.
        """
        groups = self.kept.groups("role")
        one_of("role of this trace", role, groups.labels)
        return self.effect(site, groups)[:, :, groups.labels.index(role)]

    def total(self, site: str = "resid") -> Float[np.ndarray, "draw layer"]:
        """Return the effect summed over the tokens of each pair, the embedding first."""
        member = (self.kept.roles >= 0)[:, :, None]
        return self.effect(site, Groups(labels=("sum",), member=member, summed=True))[:, :, 0]


Score = Callable[[Draws], np.ndarray]
"""From draws to scores by draw and block: an array of shape (draws, blocks)."""


@dataclass(frozen=True, kw_only=True)
class ScoreMethod:
    """A way to score blocks, and its needs. `register_layer_score` says what each need means."""

    score: Score
    sites: tuple[str, ...]
    cue: bool
    positions: tuple[str, ...] | None

    def lacks(self, kept: KeptPairs) -> str | None:
        """Return in words what these pairs lack for this method; None when nothing."""
        cte = kept.whole
        absent = [site for site in self.sites if site not in cte.sites]
        if absent:
            return f"the site(s) {', '.join(absent)}; it has {', '.join(cte.sites)}"
        if self.positions and cte.positions not in self.positions:
            return f"positions {' or '.join(map(repr, self.positions))}, not {cte.positions!r}"
        if self.cue and not kept.is_role("cue").any():
            return "a cue: no token of the patched runs has that role"
        layers = self._without_cells(kept)
        return f"cells {'at the cue ' if self.cue else ''}in {listed(layers)}" if layers else None

    def _without_cells(self, kept: KeptPairs) -> list[str]:
        """Return the layers where a site that the method reads has no cell, in no pair."""
        cte = kept.whole
        cells = kept.cells(kept.is_role("cue") if self.cue else np.ones(kept.roles.shape, bool))
        complete = cells[[cte.sites.index(site) for site in self.sites]].all(axis=0)
        lacking = np.flatnonzero(~complete).tolist()
        # The embedding counts where the cue is followed through.
        return [cte.layers[index] for index in lacking if index or self.cue]


LAYER_SCORES: Registry[ScoreMethod] = Registry("layer score")


def register_layer_score(
    name: str,
    *,
    sites: Sequence[str] = ("resid",),
    cue: bool = False,
    positions: Sequence[str] | None = None,
) -> Callable[[Score], Score]:
    """Return a decorator that makes a function a layer score under `name`.

    The function takes `Draws` and returns an array of shape (draws, blocks); row 0 is the score.
    `layer_scores`, `all_layer_scores`, `write_json` and the command line then know it.

    Args:
        name: name of the method.
        sites: sites that a trace must have.
        cue: whether the score reads the effect at the cue, from the embedding on.
        positions: ways of patching (`token`, `role`, `all`) in which the score means anything;
            None allows all. A sum over positions, say, needs tokens that were patched one by one.

    Raises:
        NegtraceError: when `name` is taken.
    """

    def register(score: Score) -> Score:
        only = None if positions is None else tuple(positions)
        method = ScoreMethod(score=score, sites=tuple(sites), cue=cue, positions=only)
        LAYER_SCORES.register(name)(method)
        return score

    return register


@register_layer_score("nast", positions=("token",))
def nast(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Sum of the effect over all positions."""
    return draws.total()[:, 1:]


@register_layer_score("std", cue=True, positions=("token",))
def std(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Population standard deviation of the effect over positions from the first cue on.

    Token by token where the pairs share one template. Otherwise over the roles from the cue on,
    each weighted by its mean number of tokens in a pair. Pairs without a cue are left out.
    """
    kept = draws.kept
    roles = np.where(_from_the_cue_on(kept), kept.roles, -1)
    one_template = bool((roles == roles[0]).all())
    groups = (token_groups if one_template else role_groups)(roles, kept.whole.role_names)
    counts = groups.member.sum(axis=1).astype(float)
    tokens = draws.weights @ grouped(counts, draws.weights.shape[1])
    effect = draws.effect("resid", groups)[:, 1:]
    weights = np.where(np.isnan(effect), 0.0, tokens[:, None])
    return _weighted_std(np.nan_to_num(effect), weights)


@register_layer_score("cue", cue=True)
def cue(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Effect at the cue."""
    return draws.at_role("cue")[:, 1:]


@register_layer_score("transport", cue=True)
def transport(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Effect at the cue before the block minus after it: CTE(l - 1, cue) - CTE(l, cue)."""
    return np.asarray(-np.diff(draws.at_role("cue"), axis=1))


@register_layer_score(
    "component", sites=("attn_out", "mlp_out"), positions=("token", "role", "all")
)
def component(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Effects of `attn_out` and `mlp_out`, each summed over all positions, added up.

    To first order, this is what the block writes; the two are patched one at a time.
    """
    return np.asarray(draws.total("attn_out") + draws.total("mlp_out"))[:, 1:]


def _from_the_cue_on(kept: KeptPairs) -> Bool[np.ndarray, "pair position"]:
    started = np.logical_or.accumulate(kept.is_role("cue"), axis=1)
    return np.asarray(started & (kept.roles >= 0) & ~kept.is_role("pad"))


def _weighted_std(
    effect: Float[np.ndarray, "draw block label"], weights: Float[np.ndarray, "draw block label"]
) -> Float[np.ndarray, "draw block"]:
    total = weights.sum(axis=2)[:, :, None]
    share = np.divide(weights, total, where=total > 0, out=weights * np.nan)
    mean = (share * effect).sum(axis=2, keepdims=True)
    return np.asarray(np.sqrt((share * (effect - mean) ** 2).sum(axis=2)))


def layer_scores(
    cte: CTE, method: str, options: ReduceOptions | None = None, **changes: Any
) -> LayerScores:
    """Score every block of `cte` by one method.

    Args:
        cte: result of a trace.
        method: name of a registered method.
        options: options of the reduction, as of `CTE.effect`; None takes the defaults.
        **changes: single options by name.

    Raises:
        CTEError: when no pair is left, when the trace lacks a site, a layer or the cue that the
            method needs, or when the method gives an array of another shape.
        UnknownNameError: for an unknown method, option, aggregate, segment or condition.
    """
    scoring = LAYER_SCORES[method]
    kept, reduction = kept_pairs(cte, reduce_options(options, **changes))
    n, options = reduction.n, reduction.options
    if lack := scoring.lacks(kept):
        raise CTEError(f"layer score {method!r} needs what these {n} pairs lack: {lack}")
    drawn = resample(units(n), resamples=options.resamples, seed=options.seed)
    further = _further_draws(reduction)
    weights = np.concatenate([drawn, further])
    draws = scoring.score(Draws(kept=kept, aggregate=options.aggregate, weights=weights))
    expected = (len(weights), len(cte.layers) - 1)
    if draws.shape != expected:
        raise CTEError(
            f"layer score {method!r} gave an array of shape {draws.shape}, expected {expected}: "
            "a row per draw, a column per block"
        )
    draws, others = draws[: len(drawn)], draws[len(drawn) :]
    low, high = _interval(reduction, draws, others, drawn[1:])
    return LayerScores(
        **vars(reduction),
        method=method,
        layers=cte.layers[1:],
        values=draws[0],
        low=low,
        high=high,
        alpha=_min_max(draws[0]),
        rank_stability=_rank_stability(draws) if n > 1 else float("nan"),
    )


def _further_draws(reduction: Reduction) -> Float[np.ndarray, "draw unit"]:
    """Return the draws that intervals need beside the bootstrap; none without intervals."""
    n, options = units(reduction.n), reduction.options
    if n < MIN_PAIRS or not options.resamples:
        return np.zeros((0, n))
    if isinstance(AGGREGATES[options.aggregate], Quotient):
        return 1 - np.eye(n)
    return subsets(n, resamples=options.resamples, seed=options.seed)


def _interval(
    reduction: Reduction,
    draws: Float[np.ndarray, "row block"],
    others: Float[np.ndarray, "other block"],
    drawn: Float[np.ndarray, "draw unit"],
) -> tuple[Float[np.ndarray, " block"], Float[np.ndarray, " block"]]:
    """Return the ends of the intervals of scores; `others` are those of `_further_draws`."""
    options = reduction.options
    if not isinstance(AGGREGATES[options.aggregate], Quotient) or not len(others):
        return interval(others, confidence=options.confidence)
    return jackknife_interval(
        draws[0], draws[1:], others, drawn=drawn, confidence=options.confidence
    )


def all_layer_scores(
    cte: CTE, options: ReduceOptions | None = None, **changes: Any
) -> dict[str, LayerScores]:
    """Score every block by every method that the trace has the sites and cells for.

    Arguments and errors are those of `layer_scores`.

    Returns:
        Layer scores by name of the method.
    """
    kept, _ = kept_pairs(cte, reduce_options(options, **changes))
    possible = [method for method in LAYER_SCORES if LAYER_SCORES[method].lacks(kept) is None]
    return {method: layer_scores(cte, method, options, **changes) for method in possible}


def _min_max(values: Float[np.ndarray, " block"]) -> Float[np.ndarray, " block"]:
    spread = values.max() - values.min()
    # 0/0 has no meaning; equal blocks are all as important as the most important one.
    return np.asarray((values - values.min()) / spread) if spread > 0 else np.ones_like(values)


def _rank_stability(draws: Float[np.ndarray, "draw block"]) -> float:
    """Return the mean Spearman correlation of rows 1, 2, ... with row 0."""
    usable = draws[1:][np.isfinite(draws[1:]).all(axis=1)]
    if not len(usable) or draws.shape[1] < 2:
        return float("nan")
    return float(spearman(usable, draws[0]).mean())
