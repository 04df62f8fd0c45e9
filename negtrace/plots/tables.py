"""What a picture of a result shows, as tables and titles: no drawing here, and no effects computed.

`heatmap_table`, `head_table` and `bar_table` say what `negtrace.plots.heatmaps` would draw.
"""

__all__ = [
    "LEGIBLE",
    "LIMIT",
    "BarTable",
    "HeatmapTable",
    "bar_table",
    "beyond",
    "facts",
    "facts_of_heads",
    "head_table",
    "heatmap_table",
    "shared",
    "title",
    "verdict",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from negtrace._messages import one_of
from negtrace.errors import CTEError
from negtrace.results.cte import CTE
from negtrace.results.effect import Effect, Reduction
from negtrace.results.heads import HeadEffect, HeadSelectivity, head_effect
from negtrace.results.layer_scores import LayerScores

LIMIT = 1.0
"""Colours span -LIMIT to LIMIT in every heatmap of states, so that figures compare; excess is
noted. Heads are many and each does little: their colours span what there is."""

EFFECT = "causal tracing effect (0 none, 1 full)"
SELECTIVITY = "attention to the negator, negated minus affirmative"

LEGIBLE = 16
"""Cells are annotated up to this many layers, and at most this many layers are named."""

ROUNDING = 0.005
"""Annotations have two decimals, so 1.004 reads 1.00 and is not called excess."""


TOGETHER = {
    "token": "",
    "role": "all tokens of a role at once",
    "all": "all positions at once",
    "given": "positions as given",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatmapTable:
    """What a heatmap shows."""

    rows: tuple[str, ...]
    """Labels in the order of the sentence; with the number of pairs where not all have it."""
    columns: tuple[str, ...]
    values: Float[np.ndarray, "row column"]
    """NaN, drawn hatched, where no pair has the cell."""
    text: tuple[tuple[str, ...], ...]
    """What is written in each cell."""
    small_text: tuple[tuple[str, ...], ...]
    """The interval beneath it; empty where not asked for."""
    annotate: bool
    """Whether the cells are wide enough for text."""
    title: str
    over: int
    """Number of cells beyond the colour scale."""
    limit: float = LIMIT
    """Colours span -limit to limit."""
    label: str = EFFECT
    """What the colours mean."""

    @property
    def intervals(self) -> bool:
        """Whether intervals stand beneath the values."""
        return any(map(any, self.small_text))


@dataclass(frozen=True, kw_only=True, eq=False)
class BarTable:
    """What a layer-importance plot shows: a group of bars per block, one bar per method."""

    methods: tuple[str, ...]
    columns: tuple[str, ...]
    heights: Float[np.ndarray, "method block"]
    low: Float[np.ndarray, "method block"]
    high: Float[np.ndarray, "method block"]
    stable: Bool[np.ndarray, " method"]
    label: str
    title: str


def heatmap_table(
    result: CTE | Effect, *, intervals: bool = False, annotate: bool = True, site: str | None = None
) -> HeatmapTable:
    """What `heatmap` draws of `result`; a CTE is reduced with the defaults of `CTE.effect`.

    Raises:
        CTEError: when `result` has several sites and none is named.
    """
    effect = result.effect() if isinstance(result, CTE) else result
    place = _site(effect, site)
    values = effect.values[place].T
    columns = ("embed", *map(str, range(1, len(effect.layers))))
    bounds = np.stack([effect.low[place].T, effect.high[place].T], axis=-1)
    most = effect.counts[place].max(axis=0).tolist()
    over = int((np.abs(values) > LIMIT + ROUNDING).sum())
    return HeatmapTable(
        rows=tuple(_row(name, n, effect.n) for name, n in zip(effect.labels, most, strict=True)),
        columns=columns,
        values=values,
        text=tuple(tuple(map(_short, row)) for row in values),
        small_text=tuple(tuple(_bounds(b) if intervals else "" for b in row) for row in bounds),
        annotate=annotate and len(columns) <= LEGIBLE,
        title=title(facts(effect, f"site {effect.sites[place]}")) + beyond(over),
        over=over,
    )


def bar_table(scores: LayerScores | Sequence[LayerScores]) -> BarTable:
    """What `layer_importance` draws: the scores of one method, or alpha of several.

    Raises:
        CTEError: when there is nothing to draw, or the blocks differ.
    """
    several = [scores] if isinstance(scores, LayerScores) else list(scores)
    if not several:
        raise CTEError("no layer scores to draw; pass at least one")
    first = several[0]
    if any(other.layers != first.layers for other in several):
        raise CTEError("layer scores of different blocks do not share an axis; draw them apart")
    heights, low, high = (
        np.stack([_scaled(one, getattr(one, name), len(several)) for one in several])
        for name in ("values", "low", "high")
    )
    notes = first.note if len(several) == 1 else "alpha: each method scaled to 0 .. 1"
    return BarTable(
        methods=tuple(one.method for one in several),
        columns=tuple(map(str, range(1, len(first.layers) + 1))),
        heights=heights,
        low=low,
        high=high,
        stable=np.array([one.stable for one in several]),
        label=f"{first.method} score" if len(several) == 1 else "alpha (0 least, 1 most)",
        title=f"{title(facts(first))}\n{notes}",
    )


def head_table(
    result: CTE | Effect | HeadEffect | HeadSelectivity,
    *,
    intervals: bool = False,
    annotate: bool = True,
) -> HeatmapTable:
    """What `head_heatmap` draws: heads down, blocks across; a CTE is reduced by `head_effect`.

    Raises:
        CTEError: when no head was traced.
    """
    grid = head_effect(result) if isinstance(result, CTE | Effect) else result
    bounds = np.stack([grid.low.T, grid.high.T], axis=-1)
    values = grid.values.T
    return HeatmapTable(
        rows=tuple(f"head {head}" for head in grid.heads),
        columns=tuple(map(str, range(1, len(grid.layers) + 1))),
        values=values,
        text=tuple(tuple(map(_short, row)) for row in values),
        small_text=tuple(tuple(_bounds(b) if intervals else "" for b in row) for row in bounds),
        annotate=annotate and len(grid.layers) <= LEGIBLE,
        title=title(facts_of_heads(grid)),
        over=0,
        limit=_reach(values),
        label=SELECTIVITY if isinstance(grid, HeadSelectivity) else EFFECT,
    )


def facts_of_heads(grid: HeadEffect | HeadSelectivity) -> dict[str, str]:
    """What a title says of a grid of heads, by kind."""
    if isinstance(grid, HeadEffect):
        together = grid.positions in ("all", "given")
        return facts(grid, "heads" if together else "heads, summed over positions")
    behind = "tokens behind it" if grid.queries == "later" else "other tokens"
    return {
        "model": grid.model,
        "direction": "selectivity for the negator",
        "site": f"largest difference over {behind}",
        "kept": f"n = {grid.n} ({len(grid.dropped)} dropped)",
        "aggregate": "mean over pairs",
    }


def facts(what: Reduction, site: str = "") -> dict[str, str]:
    """What a title says of a reduction, by kind; empty where there is nothing to say."""
    options = what.options
    return {
        "model": what.model,
        "direction": what.direction,
        "corruption": what.corruption,
        "estimator": "" if what.estimator == "exact" else f"{what.estimator} (APPROXIMATION)",
        "window": "" if what.window == 1 else f"window of {what.window} layers",
        "positions": TOGETHER.get(what.positions, f"roles {what.positions}, each at once"),
        "pairs": f"{options.segment} pairs",
        "condition": "" if options.condition is None else f"{options.condition} statement true",
        "site": site,
        "kept": f"n = {what.n} ({what.below_floor} below floor, {what.dropped} dropped)",
        "aggregate": options.aggregate.replace("_", " "),
    }


def shared(
    several: Sequence[Mapping[str, str]],
) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The facts that are the same everywhere, to be said once, and what is left of each.

    >>> shared([{"model": "toy", "pairs": "all"}, {"model": "toy", "pairs": "correct"}])
    ({'model': 'toy'}, [{'pairs': 'all'}, {'pairs': 'correct'}])
    """
    same = {k: v for k, v in several[0].items() if all(other.get(k) == v for other in several)}
    return same, [{k: v for k, v in one.items() if k not in same} for one in several]


def title(said: Mapping[str, str]) -> str:
    """Facts as a title: the experiment on the first line, what was kept of it on the second.

    >>> title({"model": "toy", "direction": "noising", "corruption": "swap", "aggregate": "median"})
    'toy: noising, swap\\nmedian'
    """
    model = said.get("model", "")
    first = _joined(said, "direction", "corruption", "estimator", "pairs", "condition")
    second = _joined(said, "site", "window", "positions", "kept", "aggregate")
    lines = (": ".join(filter(None, (model, first))), second)
    return "\n".join(filter(None, lines))


def beyond(over: int) -> str:
    """A further line of a title where cells lie beyond the colour scale."""
    return f"\n{over} cell(s) beyond the colour scale" if over else ""


def verdict(one: LayerScores) -> str:
    """How far the method's ranking can be trusted, short enough for a panel."""
    stability = "unknown" if np.isnan(one.rank_stability) else f"{one.rank_stability:.2f}"
    return f"rank stability {stability}{'' if one.stable else ': NOT stable'}"


def _joined(said: Mapping[str, str], *kinds: str) -> str:
    return ", ".join(said[kind] for kind in kinds if said.get(kind))


def _reach(values: Float[np.ndarray, "row column"]) -> float:
    """The least round number that no value goes beyond; 1 where there is no value."""
    largest = np.abs(values[~np.isnan(values)]).max(initial=0.0)
    steps = [step * 10.0**power for power in range(-3, 3) for step in (1, 2, 3, 4, 5, 6, 8)]
    return next((step for step in steps if largest and largest <= step), 1.0)


def _site(effect: Effect, site: str | None) -> int:
    if site is None and len(effect.sites) > 1:
        raise CTEError(f"name the site to draw: one of {', '.join(effect.sites)}")
    if site is None:
        return 0
    one_of("site", site, effect.sites)
    return effect.sites.index(site)


def _row(label: str, count: int, n: int) -> str:
    name = label.replace("_", " ")
    return name if count == n else f"{name} (n={count})"


def _short(value: float) -> str:
    if np.isnan(value):
        return ""
    text = f"{value:.2f}"
    return "0" if float(text) == 0 else text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def _bounds(bounds: Float[np.ndarray, " two"]) -> str:
    return "" if np.isnan(bounds).any() else f"[{_short(bounds[0])}, {_short(bounds[1])}]"


def _scaled(
    one: LayerScores, values: Float[np.ndarray, " block"], methods: int
) -> Float[np.ndarray, " block"]:
    """The values themselves if drawn alone, else on the scale of the method's alpha."""
    if methods == 1:
        return values
    spread = one.values.max() - one.values.min()
    if spread == 0:
        return one.alpha if values is one.values else np.full_like(values, np.nan)
    return np.asarray((values - one.values.min()) / spread)
