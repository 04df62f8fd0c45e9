"""One weight per block, derived from a CTE in several ways; none of them is the default.

A residual CTE says where the signal sits after a block, not what the block does, and its sum over
positions is 1 at the embedding and at the last block by construction. So compare the methods:

- `nast`: the effect summed over all positions (NAST, arXiv 2602.12498).
- `std`: the population standard deviation of the effect over positions from the cue on
  (Quantmeyer et al. 2024, arXiv 2407.10488).
- `cue`: the effect at the cue, that is, how much of the negation still sits there.
- `transport`: what the block moved away from the cue.
- `component`: what the block's own attention and MLP write, patched one at a time and added up.
"""

__all__ = [
    "METHODS",
    "STABLE",
    "Draws",
    "LayerScores",
    "Method",
    "all_layer_scores",
    "layer_scores",
]

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from jaxtyping import Bool, Float

from negtrace._messages import listed
from negtrace._registry import Registry
from negtrace.errors import CTEError
from negtrace.results.cte import CTE
from negtrace.results.effect import Groups, Reducing, Reduction, gather, role_groups, token_groups
from negtrace.results.statistics import AGGREGATES, interval, resample, spearman

STABLE = 0.9
"""Mean Spearman correlation from which a ranking of blocks counts as stable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerScores(Reduction):
    """A score and a weight for each block."""

    method: str
    layers: tuple[str, ...]
    """The blocks as `named_modules()` calls them; the embedding is none."""
    values: Float[np.ndarray, " block"]
    """The method's own scores; no unit."""
    low: Float[np.ndarray, " block"]
    """Lower end of the bootstrap interval over pairs; NaN for a single pair."""
    high: Float[np.ndarray, " block"]
    alpha: Float[np.ndarray, " block"]
    """`values` scaled to 0 .. 1 by their minimum and maximum; all 1 where they are equal."""
    rank_stability: float
    """Mean Spearman correlation of the bootstrap draws' scores with `values`; NaN without draws."""

    @property
    def stable(self) -> bool:
        """Whether the ranking of blocks survives redrawing the pairs."""
        return bool(self.rank_stability >= STABLE)

    @property
    def note(self) -> str:
        """In one sentence, how far the ranking can be trusted."""
        if np.isnan(self.rank_stability):
            return f"stability unknown: {self.n} pair(s), {self.resamples} bootstrap draws"
        found = f"rank stability {self.rank_stability:.2f} over {self.n} pairs"
        if self.stable:
            return f"ranking stable: {found}"
        return f"ranking NOT stable: {found}, below {STABLE:g}; trace more pairs before using it"

    def scale(self, beta: float = 1.0) -> dict[str, float]:
        """alpha ** beta by block, the factor of NAST; beta 0 is uniform, also where alpha is 0.

        Raises:
            CTEError: when `beta` is negative.
        """
        if beta < 0:
            raise CTEError(f"beta must be 0 or more, not {beta}: it would divide by a zero alpha")
        return dict(zip(self.layers, (self.alpha**beta).tolist(), strict=True))

    def to_dataframe(self) -> Any:
        """A tidy pandas.DataFrame: a row per block."""
        import pandas as pd

        arrays = {name: getattr(self, name) for name in ("values", "low", "high", "alpha")}
        frame = pd.DataFrame({"method": self.method, "layer": list(self.layers), **arrays})
        described = (
            "rank_stability",
            "stable",
            "model",
            "estimator",
            "direction",
            "segment",
            "condition",
            "n",
        )
        return frame.rename(columns={"values": "score"}).assign(
            **{name: getattr(self, name) for name in described}
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """The kept pairs, redrawn; row 0 of everything is the point estimate."""

    kept: CTE
    aggregate: str
    weights: Float[np.ndarray, "draw pair"]

    def effect(self, site: str, groups: Groups) -> Float[np.ndarray, "draw layer label"]:
        """The effect at one site, by draw."""
        place = self.kept.sites.index(site)
        numerators = self.kept.numerators[:, place : place + 1]
        cells = gather(numerators, self.kept.d, groups)
        return np.asarray(AGGREGATES[self.aggregate](cells, self.weights)[:, 0])

    def cue(self) -> Float[np.ndarray, "draw layer"]:
        """The effect at the cue, by draw."""
        groups = self.kept.groups("role")
        return self.effect("resid", groups)[:, :, groups.labels.index("cue")]

    def total(self, site: str) -> Float[np.ndarray, "draw layer"]:
        """The effect summed over each pair's tokens, then aggregated; missing cells add nothing."""
        member = (self.kept.roles >= 0)[:, :, None]
        return self.effect(site, Groups(labels=("sum",), member=member, summed=True))[:, :, 0]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to score blocks, and what it needs of a trace."""

    score: Callable[[Draws], np.ndarray]
    """From the redrawn effects to scores by draw and block; row 0 is the point estimate."""
    sites: tuple[str, ...] = ("resid",)
    cue: bool = False
    """Whether it reads the residual stream at the cue, the embedding included."""
    positions: tuple[str, ...] | None = None
    """Which positions have to be patched at once for its sum to mean anything; None for any."""

    def lacks(self, kept: CTE) -> str | None:
        """What the kept pairs lack for this method, in words; None when nothing."""
        absent = [site for site in self.sites if site not in kept.sites]
        if absent:
            return f"the site(s) {', '.join(absent)}; it has {', '.join(kept.sites)}"
        if self.positions and kept.positions not in self.positions:
            return f"positions {' or '.join(map(repr, self.positions))}, not {kept.positions!r}"
        token = np.ones(kept.roles.shape, dtype=bool)
        if self.cue:
            token = kept.roles == _index(kept, "cue")
            if not token.any():
                return "a cue: no token of the patched runs has that role"
        cells = (~np.isnan(kept.patched) & token[:, None, None]).any(axis=(0, 3))
        wanted = cells[[kept.sites.index(site) for site in self.sites]].all(axis=0)
        layers = [n for n, found in zip(kept.layers, wanted, strict=True) if not found]
        layers = layers if self.cue else [name for name in layers if name != kept.layers[0]]
        return f"cells {'at the cue ' if self.cue else ''}in {listed(layers)}" if layers else None


METHODS: Registry[Method] = Registry("layer score")


def _method(name: str, **needs: Any) -> Callable[[Callable[[Draws], np.ndarray]], Method]:
    return lambda score: METHODS.register(name)(Method(score=score, **needs))


@_method("nast", positions=("token",))
def nast(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Sum of the effect over all positions."""
    return draws.total("resid")[:, 1:]


@_method("std", cue=True, positions=("token",))
def std(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Population standard deviation of the effect over positions from the first cue on.

    Token by token where the pairs share one template. Otherwise over the effects of the roles from
    the cue on, each weighted by its mean number of tokens in a pair; pairs without a cue are out.
    """
    kept = draws.kept
    after = _from_the_cue_on(kept)
    roles = np.where(after, kept.roles, -1)
    grouped = token_groups if len(np.unique(roles, axis=0)) == 1 else role_groups
    groups = grouped(roles, kept.role_names)
    tokens = groups.member.sum(axis=1).mean(axis=0)
    effect = draws.effect("resid", groups)[:, 1:]
    share = np.where(np.isnan(effect), 0.0, tokens)
    return _weighted_std(np.nan_to_num(effect), share)


@_method("cue", cue=True)
def cue(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """The effect at the cue."""
    return draws.cue()[:, 1:]


@_method("transport", cue=True)
def transport(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """CTE(l - 1, cue) - CTE(l, cue): what block l moved away from the cue."""
    return np.asarray(-np.diff(draws.cue(), axis=1))


@_method("component", sites=("attn_out", "mlp_out"), positions=("token", "role", "all"))
def component(draws: Draws) -> Float[np.ndarray, "draw block"]:
    """Effects of `attn_out` and `mlp_out`, each summed over all positions, added up.

    To first order what the block writes; the two are patched one at a time.
    """
    return np.asarray(draws.total("attn_out") + draws.total("mlp_out"))[:, 1:]


def _index(kept: CTE, role: str) -> int:
    return kept.role_names.index(role) if role in kept.role_names else len(kept.role_names)


def _from_the_cue_on(kept: CTE) -> Bool[np.ndarray, "pair position"]:
    started = np.cumsum(kept.roles == _index(kept, "cue"), axis=1) > 0
    return np.asarray(started & (kept.roles >= 0) & (kept.roles != _index(kept, "pad")))


def _weighted_std(
    effect: Float[np.ndarray, "draw block label"], share: Float[np.ndarray, "draw block label"]
) -> Float[np.ndarray, "draw block"]:
    total = share.sum(axis=2)
    share = np.divide(share, total[:, :, None], where=total[:, :, None] > 0, out=share * np.nan)
    mean = (share * effect).sum(axis=2, keepdims=True)
    return np.asarray(np.sqrt((share * (effect - mean) ** 2).sum(axis=2)))


def layer_scores(cte: CTE, method: str, **how: Unpack[Reducing]) -> LayerScores:
    """Score every block of `cte` by `method`; the other arguments are those of `CTE.effect`.

    Raises:
        CTEError: when no pair is left, or a block, a site or the cue that the method needs is
            missing.
        UnknownNameError: when a name is not known.
    """
    way = METHODS[method]
    kept, reduction = cte.keep(**how)
    n, confidence = reduction.n, reduction.confidence
    if lack := way.lacks(kept):
        raise CTEError(f"layer score {method!r} needs what these {n} pairs lack: {lack}")
    weights = resample(n, resamples=reduction.resamples, seed=reduction.seed)
    drawn = way.score(Draws(kept=kept, aggregate=reduction.aggregate, weights=weights))
    low, high = interval(drawn[1:] if n > 1 else drawn[:0], confidence=confidence)
    return LayerScores(
        **vars(reduction),
        method=method,
        layers=cte.layers[1:],
        values=drawn[0],
        low=low,
        high=high,
        alpha=_min_max(drawn[0]),
        rank_stability=_stability(drawn) if n > 1 else float("nan"),
    )


def all_layer_scores(cte: CTE, **how: Unpack[Reducing]) -> dict[str, LayerScores]:
    """Every method that the kept pairs have the sites and the cue for, by name."""
    kept, _ = cte.keep(**how)
    possible = [method for method in METHODS if METHODS[method].lacks(kept) is None]
    return {method: layer_scores(cte, method, **how) for method in possible}


def _min_max(values: Float[np.ndarray, " block"]) -> Float[np.ndarray, " block"]:
    spread = values.max() - values.min()
    # 0/0 has no meaning; equal blocks are all as important as the most important one.
    return np.asarray((values - values.min()) / spread) if spread > 0 else np.ones_like(values)


def _stability(drawn: Float[np.ndarray, "draw block"]) -> float:
    usable = drawn[1:][np.isfinite(drawn[1:]).all(axis=1)]
    if not len(usable) or drawn.shape[1] < 2:
        return float("nan")
    return float(spearman(usable, drawn[0]).mean())
