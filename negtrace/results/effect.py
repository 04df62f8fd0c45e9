"""The causal tracing effect: which tokens are pooled, and what comes out of it."""

__all__ = [
    "Effect",
    "Estimate",
    "Groups",
    "Reduction",
    "estimate",
    "gather",
    "role_groups",
    "token_groups",
]

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int

from negtrace.errors import CTEError, UnknownNameError
from negtrace.results.statistics import AGGREGATES, Cells, interval, resample


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """Which tokens stand under which label."""

    labels: tuple[str, ...]
    member: Bool[np.ndarray, "pair position label"]
    summed: bool = False
    """Whether the tokens under a label are added up rather than averaged."""


def gather(
    numerators: Float[np.ndarray, "pair site layer position"],
    d: Float[np.ndarray, " pair"],
    groups: Groups,
) -> Cells:
    """Sum each pair's numerators over the tokens under each label; NaN cells do not exist."""
    present = ~np.isnan(numerators)
    member = groups.member[:, None].astype(float)
    tokens = present.astype(float) @ member
    return Cells(
        numerators=np.where(present, numerators, 0.0) @ member,
        tokens=np.minimum(tokens, 1.0) if groups.summed else tokens,
        d=d,
    )


def role_groups(roles: Int[np.ndarray, "pair position"], role_names: tuple[str, ...]) -> Groups:
    """Tokens grouped by role; only roles that occur, in the order of `role_names`."""
    occurring = [index for index in range(len(role_names)) if (roles == index).any()]
    return Groups(
        labels=tuple(role_names[index] for index in occurring),
        member=roles[:, :, None] == np.array(occurring, dtype=int),
    )


def token_groups(roles: Int[np.ndarray, "pair position"], role_names: tuple[str, ...]) -> Groups:
    """Tokens kept one by one, labelled "cue", or "prefix 1", "prefix 2" where a role repeats.

    Raises:
        CTEError: when the pairs do not share one row of roles.
    """
    rows, counts = np.unique(roles, axis=0, return_counts=True)
    if len(rows) > 1:
        raise CTEError(
            f"the {len(roles)} pairs follow {len(rows)} different rows of roles (the commonest "
            f"covers {counts.max()}), so their tokens cannot be matched one by one; "
            "use axis='role', or select() the pairs of one template"
        )
    places = np.flatnonzero(rows[0] >= 0)
    member = np.zeros((*roles.shape, len(places)), dtype=bool)
    member[:, places, np.arange(len(places))] = True
    return Groups(labels=_numbered([role_names[rows[0, p]] for p in places]), member=member)


def _numbered(names: list[str]) -> tuple[str, ...]:
    return tuple(
        f"{name} {names[: place + 1].count(name)}" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    )


class Reducing(TypedDict, total=False):
    """How pairs are reduced to an effect; `CTE.effect` says what each option means."""

    aggregate: str
    segment: str
    condition: str | None
    floor: float | None
    confidence: float
    resamples: int
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduction:
    """Which pairs of which trace were reduced, and how."""

    model: str
    direction: str
    """`denoising` (restore clean: sufficiency) or `noising` (inject corrupted: necessity)."""
    corruption: str
    unit: str
    """Unit of the raw scores: `logit` or `cosine`; effects have none."""
    positions: str
    """What was patched at once: `token`, `role`, `all`, the roles chosen, or `given`."""
    window: int
    """How many layers were patched at once."""
    estimator: str
    """`exact`, or the approximation that the scores come from."""
    aggregate: str
    segment: str
    """`all`, or pairs by d: `correct` (d >= tau), `ambiguous` or `incorrect` (d <= -tau)."""
    condition: str | None
    """Which statement is true: the `negated` one, the `affirmative` one, None for both."""
    floor: float
    """Pairs with |d| below this were left out; score units."""
    n: int
    """Number of pairs kept."""
    below_floor: int
    """Number of pairs left out by the floor."""
    dropped: int
    """Number of pairs that were never traced."""
    confidence: float
    resamples: int
    seed: int


class Estimate(NamedTuple):
    """One cell of an effect."""

    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Effect(Reduction):
    """The causal tracing effect: 0 is no effect, 1 the full one; signs kept, nothing clipped."""

    values: Float[np.ndarray, "site layer label"]
    """NaN where no kept pair has the cell."""
    low: Float[np.ndarray, "site layer label"]
    """Lower end of the bootstrap interval; NaN where fewer than two pairs have the cell."""
    high: Float[np.ndarray, "site layer label"]
    counts: Int[np.ndarray, "site layer label"]
    """Number of kept pairs that have the cell."""
    axis: str
    """What `labels` are: `role` or `token`."""
    labels: tuple[str, ...]
    layers: tuple[str, ...]
    sites: tuple[str, ...]

    def at(self, layer: str | int, label: str, *, site: str | None = None) -> Estimate:
        """The effect in one cell; an integer layer counts from 0, the embedding.

        Raises:
            UnknownNameError: when a layer, label or site is not in this result.
        """
        if isinstance(layer, int):
            if not 0 <= layer < len(self.layers):
                raise UnknownNameError(
                    f"no layer {layer}; layers count 0 to {len(self.layers) - 1}"
                )
            layer = self.layers[layer]
        cell = (
            0 if site is None else _place("site", site, self.sites),
            _place("layer", layer, self.layers),
            _place("label", label, self.labels),
        )
        value, low, high = (float(a[cell]) for a in (self.values, self.low, self.high))
        return Estimate(value=value, low=low, high=high, pairs=int(self.counts[cell]))

    def of_site(self, site: str) -> "Effect":
        """The effect at one site alone.

        Raises:
            UnknownNameError: when the site is not in this result.
        """
        place = [_place("site", site, self.sites)]
        arrays = {name: getattr(self, name)[place] for name in ("values", "low", "high", "counts")}
        return replace(self, sites=(site,), **arrays)

    def to_dataframe(self) -> Any:
        """A tidy pandas.DataFrame: a row per site, layer and label."""
        import pandas as pd

        index = pd.MultiIndex.from_product(
            [self.sites, self.layers, self.labels], names=["site", "layer", self.axis]
        )
        arrays = {"effect": self.values, "low": self.low, "high": self.high, "pairs": self.counts}
        frame = pd.DataFrame({k: a.ravel() for k, a in arrays.items()}, index=index).reset_index()
        described = (
            "model",
            "estimator",
            "direction",
            "corruption",
            "aggregate",
            "segment",
            "condition",
            "n",
        )
        return frame.assign(**{name: getattr(self, name) for name in described})


def estimate(
    how: Reduction,
    *,
    numerators: Float[np.ndarray, "pair site layer position"],
    d: Float[np.ndarray, " pair"],
    groups: Groups,
    axis: str,
    layers: tuple[str, ...],
    sites: tuple[str, ...],
) -> Effect:
    """Reduce the kept pairs' raw scores to the effect of each site, layer and label."""
    cells = gather(numerators, d, groups)
    draws = AGGREGATES[how.aggregate](
        cells, resample(how.n, resamples=how.resamples, seed=how.seed)
    )
    low, high = interval(draws[1:], confidence=how.confidence)
    counts = (cells.tokens > 0).sum(axis=0)
    return Effect(
        **vars(how),
        values=draws[0],
        low=np.where(counts > 1, low, np.nan),
        high=np.where(counts > 1, high, np.nan),
        counts=counts,
        axis=axis,
        labels=groups.labels,
        layers=layers,
        sites=sites,
    )


def _place(kind: str, name: str, known: tuple[str, ...]) -> int:
    if name not in known:
        raise UnknownNameError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
    return known.index(name)
