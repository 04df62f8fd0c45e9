"""The causal tracing effect: tokens are grouped under labels, pairs are reduced to one number."""

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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from negtrace._messages import one_of
from negtrace.errors import CTEError, UnknownNameError
from negtrace.results.intervals import confidence_interval, too_few
from negtrace.results.options import ReduceOptions, flat_fields
from negtrace.results.significance import adjusted, sign_flip_test
from negtrace.results.statistics import AGGREGATES, CellSums, PairSums, pairs_with_cell, units


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """Groups of tokens, each under one label."""

    labels: tuple[str, ...]
    member: Bool[np.ndarray, "pair position label"]
    """Whether a token belongs to a label."""
    summed: bool = False
    """Whether the effects of the tokens under a label are added up, not averaged."""


def gather(
    numerators: Float[np.ndarray, "pair site layer position"],
    d: Float[np.ndarray, " pair"],
    groups: Groups,
) -> PairSums:
    """Sum each pair's numerators over the tokens of each group; NaN cells count for nothing."""
    present = ~np.isnan(numerators)
    member = groups.member[:, None].astype(float)
    tokens = present.astype(float) @ member
    return PairSums(
        numerators=np.where(present, numerators, 0.0) @ member,
        tokens=np.minimum(tokens, 1.0) if groups.summed else tokens,
        d=d,
    )


def role_groups(roles: Int[np.ndarray, "pair position"], role_names: Sequence[str]) -> Groups:
    """Group tokens by role. Only roles that occur are listed, in the order of `role_names`."""
    occurring = [index for index in range(len(role_names)) if (roles == index).any()]
    return Groups(
        labels=tuple(role_names[index] for index in occurring),
        member=roles[:, :, None] == np.array(occurring, dtype=int),
    )


def token_groups(roles: Int[np.ndarray, "pair position"], role_names: Sequence[str]) -> Groups:
    """Keep tokens apart, labelled "cue", or "prefix 1" and "prefix 2" where a role repeats.

    Raises:
        CTEError: when the pairs do not share one sequence of roles.
    """
    sequences, counts = np.unique(roles, axis=0, return_counts=True)
    if len(sequences) > 1:
        raise CTEError(
            f"the {len(roles)} pairs follow {len(sequences)} different sequences of roles (the "
            f"commonest covers {counts.max()}), so their tokens cannot be matched one by one; "
            "use axis='role', or select() the pairs of one template"
        )
    positions = np.flatnonzero(sequences[0] >= 0)
    member = np.zeros((*roles.shape, len(positions)), dtype=bool)
    member[:, positions, np.arange(len(positions))] = True
    names = [role_names[role] for role in sequences[0, positions]]
    return Groups(labels=_numbered(names), member=member)


def _numbered(names: list[str]) -> tuple[str, ...]:
    """Return names, each that repeats with its number of occurrence behind it."""
    return tuple(
        f"{name} {names[: index + 1].count(name)}" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Reduction:
    """Facts of one reduction: the trace, the options, and the number of pairs."""

    model: str
    direction: str
    """`denoising` (restore clean: sufficiency) or `noising` (inject corrupted: necessity)."""
    corruption: str
    unit: str
    """Unit of the raw scores: `logit` or `cosine`; effects have none."""
    positions: str
    """Positions that were patched at once: `token`, `role`, `all`, the roles chosen, or `given`."""
    window: int
    """Number of layers that were patched at once."""
    estimator: str
    """`exact`, or the approximation that computed the scores."""
    options: ReduceOptions
    """Options of the reduction; `floor` is the number that was used."""
    n: int
    """Number of pairs that were reduced."""
    negated: int
    """Number of those pairs whose true statement is the negated one."""
    below_floor: int
    """Number of selected pairs that the floor left out."""
    dropped: int
    """Number of pairs that were never traced."""

    @property
    def too_few(self) -> str:
        """Remark that there are too few pairs for intervals; empty where there are enough."""
        return too_few(self.n)

    def __repr__(self) -> str:
        options = self.options
        chosen = [self.direction, self.corruption, f"{options.segment} pairs", options.aggregate]
        pairs = f"n = {self.n}, {self.negated} negated and {self.n - self.negated} affirmative"
        remark = f"; {self.too_few}" if self.too_few else ""
        return f"<{type(self).__name__} of {self.model}: {', '.join(chosen)}; {pairs}{remark}>"


class Estimate(NamedTuple):
    """Effect in one cell, with its interval, its number of pairs, and its test against 0."""

    value: float
    low: float
    high: float
    pairs: int
    p: float
    """p-value of no effect; NaN where there is nothing to test."""
    q: float
    """p corrected for the number of cells."""
    note: str
    """Remark that too few pairs have the cell; empty where there are enough."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Effect(Reduction):
    """Causal tracing effect: 0 is no effect, 1 the full one; signs are kept, nothing is clipped."""

    values: Float[np.ndarray, "site layer label"]
    """NaN where no pair has the cell."""
    low: Float[np.ndarray, "site layer label"]
    """Lower end of the interval; NaN where fewer than eight pairs have the cell, or where the pairs
    do not determine it."""
    high: Float[np.ndarray, "site layer label"]
    """Upper end of the interval."""
    p: Float[np.ndarray, "site layer label"]
    """Two-sided p-value of no effect, by flipping the signs of pairs; NaN where there is nothing to
    test: without the cell, or where its effect is 0, or 1, in every pair."""
    q: Float[np.ndarray, "site layer label"]
    """p corrected for the number of cells that are tested (Benjamini & Hochberg)."""
    counts: Int[np.ndarray, "site layer label"]
    """Number of pairs that have the cell."""
    axis: str
    """Kind of the labels: `role` or `token`."""
    labels: tuple[str, ...]
    layers: tuple[str, ...]
    """`embed`, then the blocks as `named_modules()` calls them."""
    sites: tuple[str, ...]

    def at(self, layer: str | int, label: str, *, site: str | None = None) -> Estimate:
        """Return the effect in one cell; an integer layer counts from 0, the embedding.

        Args:
            layer: name or number of the layer.
            label: role, or token where the effect is by token.
            site: name of the site; None takes the first.

        Raises:
            UnknownNameError: when a layer, label or site is not in this result.
        """
        cell = (
            0 if site is None else _index("site", site, self.sites),
            _index("layer", self._layer(layer), self.layers),
            _index("label", label, self.labels),
        )
        pairs = int(self.counts[cell])
        return Estimate(
            value=float(self.values[cell]),
            low=float(self.low[cell]),
            high=float(self.high[cell]),
            pairs=pairs,
            p=float(self.p[cell]),
            q=float(self.q[cell]),
            note=too_few(pairs),
        )

    def of_site(self, site: str) -> "Effect":
        """Return the effect at one site alone; q stays that of all sites together.

        Raises:
            UnknownNameError: when the site is not in this result.
        """
        chosen = [_index("site", site, self.sites)]
        names = ("values", "low", "high", "p", "q", "counts")
        return replace(self, sites=(site,), **{name: getattr(self, name)[chosen] for name in names})

    def to_dataframe(self) -> Any:
        """Return a tidy pandas.DataFrame with a row per site, layer and label.

        `note` says where too few pairs have a cell for an interval.
        """
        import pandas as pd

        index = pd.MultiIndex.from_product(
            [self.sites, self.layers, self.labels], names=["site", "layer", self.axis]
        )
        arrays = {"effect": self.values, "low": self.low, "high": self.high}
        arrays |= {"p": self.p, "q": self.q, "pairs": self.counts}
        columns: dict[str, Any] = {name: array.ravel() for name, array in arrays.items()}
        columns["note"] = [too_few(count) for count in self.counts.ravel().tolist()]
        facts = flat_fields(self)
        return (
            pd.DataFrame(columns, index=index)
            .reset_index()
            .assign(**{name: facts[name] for name in _COLUMNS})
        )

    def _layer(self, layer: str | int) -> str:
        if isinstance(layer, str):
            return layer
        if not 0 <= layer < len(self.layers):
            raise UnknownNameError(f"no layer {layer}; layers count 0 to {len(self.layers) - 1}")
        return self.layers[layer]


_COLUMNS = (
    "model",
    "estimator",
    "direction",
    "corruption",
    "aggregate",
    "segment",
    "condition",
    "n",
    "negated",
)
"""Facts that a data frame repeats in every row."""


def estimate(
    reduction: Reduction,
    sums: CellSums,
    *,
    axis: str,
    labels: tuple[str, ...],
    layers: tuple[str, ...],
    sites: tuple[str, ...],
) -> Effect:
    """Reduce the scores of the selected pairs to the effect of each site, layer and label."""
    options = reduction.options
    low, high = confidence_interval(sums, options.aggregate, options)
    counts = pairs_with_cell(sums)
    p = np.full(counts.shape, np.nan)
    if options.resamples:
        p = sign_flip_test(sums, options.aggregate, seed=options.seed)
    return Effect(
        **vars(reduction),
        values=AGGREGATES[options.aggregate](sums, np.ones((1, units(reduction.n))))[0],
        low=low,
        high=high,
        p=p,
        q=adjusted(p),
        counts=counts,
        axis=axis,
        labels=labels,
        layers=layers,
        sites=sites,
    )


def _index(kind: str, name: str, known: tuple[str, ...]) -> int:
    one_of(kind, name, known)
    return known.index(name)
