"""What each attention head does: its causal effect, and how far it looks for the negator.

Both are grids of blocks by heads with bootstrap intervals over pairs, and can be set side by side:
a head that looks at the negator need not be one that the score depends on.
"""

__all__ = ["Head", "HeadEffect", "HeadGrid", "HeadSelectivity", "head_effect", "selectivity_of"]

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, NamedTuple, Unpack

import numpy as np
from jaxtyping import Float

from negtrace.errors import CTEError
from negtrace.results.cte import CTE
from negtrace.results.effect import Effect, Groups, Reducing, Reduction, gather
from negtrace.results.provenance import Dropped, Provenance
from negtrace.results.statistics import AGGREGATES, interval, resample


class Head(NamedTuple):
    """One head: what was measured of it, and the bootstrap interval."""

    layer: str
    """The block as `named_modules()` calls it."""
    block: int
    """The block, counted from 1 as in every figure."""
    head: int
    """The head within its block, counted from 0 as in the site `head.0`."""
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadGrid:
    """A number for every head of every block."""

    measure: ClassVar[str]
    """What the values are."""
    said: ClassVar[tuple[str, ...]]
    """What a data frame says in every row."""

    layers: tuple[str, ...]
    """The blocks as `named_modules()` calls them."""
    heads: tuple[int, ...]
    """The heads by number, from 0."""
    values: Float[np.ndarray, "block head"]
    """NaN where there is no such cell."""
    low: Float[np.ndarray, "block head"]
    """Lower end of the bootstrap interval over pairs; NaN for a single pair."""
    high: Float[np.ndarray, "block head"]

    def top(self, count: int = 10) -> list[Head]:
        """The heads with the largest values, the largest first; equal ones by block."""
        every = [head for head in self._each() if not np.isnan(head.value)]
        return sorted(every, key=lambda head: -head.value)[:count]

    def to_dataframe(self) -> Any:
        """A tidy pandas.DataFrame: a row per head, the blocks in order."""
        import pandas as pd

        frame = pd.DataFrame(self._each(), columns=list(Head._fields))
        said = {name: getattr(self, name) for name in self.said}
        return frame.assign(**{"measure": self.measure, **said})

    def described(self) -> dict[str, Any]:
        """Every field as JSON holds it, by name: arrays as lists, NaN as None."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"measure": self.measure, **{name: _plain(it) for name, it in named.items()}}

    def _each(self) -> list[Head]:
        arrays = (self.values, self.low, self.high)
        return [
            Head(layer, place + 1, head, *(float(array[place, at]) for array in arrays))
            for place, layer in enumerate(self.layers)
            for at, head in enumerate(self.heads)
        ]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadEffect(HeadGrid, Reduction):
    """The causal tracing effect of each head, summed over what was patched apart; no unit.

    Heads that were patched at all positions at once (`positions="all"`) have one number each, and
    the sum is that number.
    """

    measure: ClassVar[str] = "effect"
    said: ClassVar[tuple[str, ...]] = (
        "model",
        "estimator",
        "positions",
        "window",
        "direction",
        "corruption",
        "aggregate",
        "segment",
        "condition",
        "n",
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadSelectivity(HeadGrid):
    """How much more each head attends to the negator than to what stands there otherwise.

    The mean over pairs of the largest difference, over queries, between attention to the cue in
    the negated statement and to its slot in the affirmative one (Quantmeyer et al. 2024, arXiv
    2407.10488). Between -1 and 1; a largest difference is above 0 by chance alone, the more so the
    more queries there are, so compare heads with each other.
    """

    measure: ClassVar[str] = "selectivity"
    said: ClassVar[tuple[str, ...]] = ("model", "queries", "n")

    by_pair: Float[np.ndarray, "pair block head"]
    """The largest difference of each pair."""
    ids: tuple[str, ...]
    """The pairs that were kept, in the order of `by_pair`."""
    queries: str
    """Which tokens look: `later` than the cue, or all `other` ones."""
    confidence: float
    resamples: int
    seed: int
    provenance: Provenance
    dropped: tuple[Dropped, ...] = ()

    @property
    def model(self) -> str:
        """The model's name."""
        return self.provenance.model

    @property
    def n(self) -> int:
        """Number of pairs kept."""
        return len(self.ids)


def head_effect(result: CTE | Effect, **how: Unpack[Reducing]) -> HeadEffect:
    """The effect of every head that `result` has a site for, summed over positions.

    Args:
        result: traced at `sites=("head",)`; an effect that is already reduced will do where all
            positions were patched at once, and the other arguments are then its own.
        **how: as in `CTE.effect`.

    Raises:
        CTEError: when no head was traced, no pair is left, or an effect is not of all positions
            at once.
        UnknownNameError: when a name is not known.
    """
    places = _heads_in(result.sites)
    if isinstance(result, Effect):
        return _of_effect(result, places)
    kept, reduction = result.keep(**how)
    token = (kept.roles >= 0)[:, :, None]
    groups = Groups(labels=("sum",), member=token, summed=True)
    cells = gather(kept.numerators[:, list(places.values())], kept.d, groups)
    weights = resample(reduction.n, resamples=reduction.resamples, seed=reduction.seed)
    # No head writes at `embed`.
    draws = AGGREGATES[reduction.aggregate](cells, weights)[:, :, 1:, 0]
    kept_draws = draws[1:] if reduction.n > 1 else draws[:0]
    low, high = interval(kept_draws, confidence=reduction.confidence)
    return HeadEffect(
        **vars(reduction),
        layers=result.layers[1:],
        heads=tuple(places),
        values=draws[0].T,
        low=low.T,
        high=high.T,
    )


def selectivity_of(
    by_pair: Float[np.ndarray, "pair block head"],
    ids: Sequence[str],
    *,
    layers: Sequence[str],
    queries: str,
    provenance: Provenance,
    dropped: Sequence[Dropped] = (),
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> HeadSelectivity:
    """Average what was found in each pair, with bootstrap intervals that ignore their order.

    Raises:
        CTEError: when there is no pair.
    """
    if not len(by_pair):
        raise CTEError("selectivity needs at least one pair")
    order = np.argsort(np.array(ids))
    ordered = by_pair[order]
    weights = resample(len(order), resamples=resamples, seed=seed)
    draws = np.tensordot(weights, ordered, axes=1) / len(order)
    low, high = interval(draws[1:] if len(order) > 1 else draws[:0], confidence=confidence)
    return HeadSelectivity(
        layers=tuple(layers),
        heads=tuple(range(by_pair.shape[2])),
        values=draws[0],
        low=low,
        high=high,
        by_pair=ordered,
        ids=tuple(ids[place] for place in order),
        queries=queries,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        provenance=provenance,
        dropped=tuple(dropped),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def _heads_in(sites: Sequence[str]) -> dict[int, int]:
    """Return where each head's site is, by the head's number."""
    found = {
        int(site.removeprefix("head.")): place
        for place, site in enumerate(sites)
        if site.startswith("head.")
    }
    if not found:
        raise CTEError(
            f"no head was traced, only {', '.join(sites)}; trace with sites=('head',) and, for one "
            "number a head, positions='all'"
        )
    return dict(sorted(found.items()))


def _of_effect(effect: Effect, places: dict[int, int]) -> HeadEffect:
    if effect.labels != ("all",):
        raise CTEError(
            "an effect that is reduced by role cannot be summed over tokens any more; pass the "
            "CTE itself (of a document, document.cte()), or trace with positions='all'"
        )
    how = {name: getattr(effect, name) for name in Reduction.__dataclass_fields__}
    kept = list(places.values())
    grids = {name: getattr(effect, name)[kept, 1:, 0].T for name in ("values", "low", "high")}
    return HeadEffect(**how, **grids, layers=effect.layers[1:], heads=tuple(places))
