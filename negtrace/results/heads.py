"""Attention heads: the causal effect of each, and its selectivity for the negator.

Both are grids of blocks by heads with intervals over pairs, and can be drawn side by
side. A head that attends to the negator need not be one that the score depends on.
"""

__all__ = ["Head", "HeadEffect", "HeadGrid", "HeadSelectivity", "head_effect", "selectivity_of"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from typing_extensions import override

from negtrace._files import as_json
from negtrace.errors import CTEError
from negtrace.results.cte import CTE
from negtrace.results.effect import Effect, Groups, Reduction
from negtrace.results.intervals import MIN_PAIRS, confidence_interval, studentised, too_few
from negtrace.results.kept import kept_pairs
from negtrace.results.options import ReduceOptions, Resampling, flat_fields, reduce_options
from negtrace.results.provenance import Dropped, Provenance
from negtrace.results.significance import adjusted, sign_flip_test
from negtrace.results.statistics import AGGREGATES, resample, units


class Head(NamedTuple):
    """One head with its value and interval, and the test of its effect against 0."""

    layer: str
    """Block as `named_modules()` calls it."""
    block: int
    """Number of the block, from 1 as in every figure."""
    head: int
    """Number of the head within its block, from 0 as in the site `head.0`."""
    value: float
    low: float
    high: float
    p: float
    """NaN for a selectivity, which is above 0 by chance alone, and where there is no test."""
    q: float


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class HeadGrid:
    """A number for every head of every block."""

    measure: ClassVar[str]
    """Name of what the values measure."""

    layers: tuple[str, ...]
    """Blocks as `named_modules()` calls them."""
    heads: tuple[int, ...]
    """Numbers of the heads, from 0."""
    values: Float[np.ndarray, "block head"]
    """NaN where there is no such cell."""
    low: Float[np.ndarray, "block head"]
    """Lower end of the interval over pairs; NaN for fewer than eight pairs."""
    high: Float[np.ndarray, "block head"]
    """Upper end of the interval."""

    def top(self, count: int = 10) -> list[Head]:
        """Return the heads with the largest values, the largest first; equal ones by block."""
        known = [head for head in self._all_heads() if not np.isnan(head.value)]
        return sorted(known, key=lambda head: -head.value)[:count]

    def to_dataframe(self) -> Any:
        """Return a tidy pandas.DataFrame with a row per head, the blocks in order."""
        import pandas as pd

        frame = pd.DataFrame(self._all_heads(), columns=list(Head._fields))
        return frame.assign(measure=self.measure, **self._facts())

    def to_json(self) -> dict[str, Any]:
        """Return every field as JSON holds it, by name: arrays as lists, NaN as None."""
        named = {name: as_json(value) for name, value in flat_fields(self).items()}
        return {"measure": self.measure, **named, "note": self._facts()["note"]}

    def _facts(self) -> dict[str, Any]:
        """Return the facts that a data frame repeats in every row."""
        raise NotImplementedError

    def _tests(self) -> tuple[np.ndarray, np.ndarray]:
        """Return p and q of every head."""
        missing = np.full(self.values.shape, np.nan)
        return missing, missing

    def _all_heads(self) -> list[Head]:
        arrays = (self.values, self.low, self.high, *self._tests())
        return [
            Head(layer, block + 1, head, *(float(array[block, column]) for array in arrays))
            for block, layer in enumerate(self.layers)
            for column, head in enumerate(self.heads)
        ]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class HeadEffect(HeadGrid, Reduction):
    """Causal tracing effect of each head, summed over positions; no unit.

    Where heads were patched at all positions at once (`positions="all"`), each head has one number
    and the sum is that number.
    """

    measure: ClassVar[str] = "effect"

    p: Float[np.ndarray, "block head"]
    """Two-sided p-value of no effect, as of `Effect`."""
    q: Float[np.ndarray, "block head"]
    """p corrected for the number of heads that are tested."""

    def _tests(self) -> tuple[np.ndarray, np.ndarray]:
        return self.p, self.q

    def _facts(self) -> dict[str, Any]:
        named = flat_fields(self)
        trace = ("model", "estimator", "positions", "window", "direction", "corruption")
        rest = ("aggregate", "segment", "condition", "n", "negated")
        return {**{name: named[name] for name in (*trace, *rest)}, "note": self.too_few}


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadSelectivity(HeadGrid):
    """Attention of each head to the negator, minus its attention to the slot without one.

    For a pair with negated statement x and affirmative statement y, the selectivity of a head is
    max over queries q of A(x, q, cue) - A(y, q', slot), where q' is the token of y that corresponds
    to q; the value is the mean over pairs (Quantmeyer et al. 2024, arXiv 2407.10488). It lies
    between -1 and 1. A largest difference is above 0 by chance alone, the more so the more queries
    there are, so compare heads with each other.
    """

    measure: ClassVar[str] = "selectivity"

    by_pair: Float[np.ndarray, "pair block head"]
    """Selectivity in each pair."""
    ids: tuple[str, ...]
    """Public ids of the pairs, in the order of `by_pair`."""
    queries: str
    """Tokens whose attention counts: `after_cue`, or all `other` tokens."""
    resampling: Resampling
    """Draws behind the intervals."""
    provenance: Provenance
    dropped: tuple[Dropped, ...] = ()

    @override
    def to_json(self) -> dict[str, Any]:
        """Return every field as JSON holds it, by name; the pairs by their public ids."""
        return {**super().to_json(), "dropped": [drop.to_json() for drop in self.dropped]}

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.provenance.model

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.ids)

    @property
    def too_few(self) -> str:
        """Remark that there are too few pairs for intervals; empty where there are enough."""
        return too_few(self.n)

    def _facts(self) -> dict[str, Any]:
        return {"model": self.model, "queries": self.queries, "n": self.n, "note": self.too_few}


def head_effect(
    result: CTE | Effect, options: ReduceOptions | None = None, **changes: Any
) -> HeadEffect:
    """Reduce pairs to the effect of every head that was traced, summed over positions.

    Args:
        result: CTE traced at `sites=("head",)`. An effect of one does where all positions were
            patched at once; it is reduced already, so there are no options then.
        options: options of the reduction, as of `CTE.effect`; None takes the defaults.
        **changes: single options by name.

    Raises:
        CTEError: when no head was traced, when no pair is left, or for an effect with options or
            with positions apart.
        UnknownNameError: for an unknown option, aggregate, segment or condition.
    """
    sites = _head_sites(result.sites)
    if isinstance(result, Effect):
        if options is not None or changes:
            raise CTEError("an effect is reduced already; pass the CTE itself to give options")
        return _of_effect(result, sites)
    kept, reduction = kept_pairs(result, reduce_options(options, **changes))
    options = reduction.options
    member = (kept.roles >= 0)[:, :, None]
    groups = Groups(labels=("sum",), member=member, summed=True)
    sums = kept.sums(groups, list(sites.values()))
    low, high = confidence_interval(sums, options.aggregate, options)
    values = AGGREGATES[options.aggregate](sums, np.ones((1, units(reduction.n))))[0]
    p = np.full(values.shape, np.nan)
    if options.resamples:
        p = sign_flip_test(sums, options.aggregate, seed=options.seed)
    grids = {"values": values, "low": low, "high": high, "p": p}
    blocks = {name: grid[:, 1:, 0].T for name, grid in grids.items()}  # no head in the embedding
    return HeadEffect(
        **vars(reduction),
        **blocks,
        q=adjusted(blocks["p"]),
        layers=result.layers[1:],
        heads=tuple(sites),
    )


def selectivity_of(
    by_pair: Float[np.ndarray, "pair block head"],
    ids: Sequence[str],
    *,
    layers: Sequence[str],
    queries: str,
    provenance: Provenance,
    dropped: Sequence[Dropped] = (),
    resampling: Resampling | None = None,
) -> HeadSelectivity:
    """Average the selectivity over pairs, with intervals that ignore their order.

    Args:
        by_pair: selectivity of each head in each pair.
        ids: public ids of the pairs.
        layers: names of the blocks.
        queries: tokens whose attention counted.
        provenance: origin of the numbers.
        dropped: pairs that were not measured.
        resampling: draws behind the intervals; None takes the defaults.

    Raises:
        CTEError: when there is no pair.
    """
    if not len(by_pair):
        raise CTEError("selectivity needs at least one pair")
    resampling = resampling or Resampling()
    order = np.argsort(np.array(ids))
    ordered = by_pair[order]
    low, high = (np.full(ordered.shape[1:], np.nan) for _ in range(2))
    if len(order) >= MIN_PAIRS and resampling.resamples:
        count = units(len(order))
        drawn = resample(count, resamples=resampling.resamples, seed=resampling.seed)[1:]
        ones = np.ones_like(ordered)
        low, high = studentised(ordered, ones, drawn=drawn, confidence=resampling.confidence)
    return HeadSelectivity(
        layers=tuple(layers),
        heads=tuple(range(by_pair.shape[2])),
        values=ordered.mean(axis=0),
        low=low,
        high=high,
        by_pair=ordered,
        ids=tuple(ids[index] for index in order),
        queries=queries,
        resampling=resampling,
        provenance=provenance,
        dropped=tuple(dropped),
    )


def _head_sites(sites: Sequence[str]) -> dict[int, int]:
    """Return the index of each head's site, by the number of the head."""
    indices = {
        int(site.removeprefix("head.")): index
        for index, site in enumerate(sites)
        if site.startswith("head.")
    }
    if not indices:
        raise CTEError(
            f"no head was traced, only {', '.join(sites)}; trace with sites=('head',) and, for one "
            "number a head, positions='all'"
        )
    return dict(sorted(indices.items()))


def _of_effect(effect: Effect, sites: dict[int, int]) -> HeadEffect:
    if effect.labels != ("all",):
        raise CTEError(
            "an effect that is reduced by role cannot be summed over tokens any more; pass the "
            "CTE itself (of a document, document.cte()), or trace with positions='all'"
        )
    reduction = {name: getattr(effect, name) for name in Reduction.__dataclass_fields__}
    indices = list(sites.values())
    names = ("values", "low", "high", "p")
    grids = {name: getattr(effect, name)[indices, 1:, 0].T for name in names}
    return HeadEffect(
        **reduction,
        **grids,
        q=adjusted(grids["p"]),
        layers=effect.layers[1:],
        heads=tuple(sites),
    )
