"""Contents of figures as tables and titles: nothing is drawn here, and no effect is computed.

`heatmap_table`, `head_table` and `bar_table` say what `heatmap`, `head_heatmap` and
`layer_importance` draw. A title is made of facts: short texts by kind, such as the direction.
"""

__all__ = [
    "LEGIBLE",
    "BarTable",
    "HeatmapTable",
    "bar_table",
    "below",
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

from negtrace._messages import one_of, short
from negtrace.errors import CTEError
from negtrace.results.cte import CTE
from negtrace.results.effect import Effect, Reduction
from negtrace.results.heads import HeadEffect, HeadSelectivity, head_effect
from negtrace.results.intervals import MIN_PAIRS
from negtrace.results.layer_scores import LayerScores
from negtrace.results.significance import ALPHA

LIMIT = 1.0
"""Largest value of the colour scale of every heatmap of states, so that figures can be compared;
cells beyond it are counted in the title. Heads are many and each does little, so their colour scale
follows their values."""

EFFECT = "causal tracing effect (0 none, 1 full)"
SELECTIVITY = "attention to the negator, negated minus affirmative"

LEGIBLE = 16
"""Largest number of layers whose cells are annotated, and largest number of layers named."""

ROUNDING = 0.005
"""Excess over the colour scale that is not counted: with two decimals, 1.004 reads 1.00."""

MARKED = f"\n\N{BULLET} not clear of 0 (q > {ALPHA:g})"
"""Key to the marks, as a further line of a title."""

PATCHED = {
    "token": "",
    "role": "all tokens of a role at once",
    "all": "all positions at once",
    "given": "positions as given",
}
"""Facts on the positions that were patched at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatmapTable:
    """Contents of a heatmap."""

    rows: tuple[str, ...]
    """Row labels in the order of the sentence, with the number of pairs where some lack the row."""
    columns: tuple[str, ...]
    """Column labels: `embed` and the numbers of the blocks."""
    values: Float[np.ndarray, "row column"]
    """NaN, drawn hatched, where no pair has the cell."""
    text: tuple[tuple[str, ...], ...]
    """Text in each cell: its value."""
    small_text: tuple[tuple[str, ...], ...]
    """Small text in each cell: its interval, or nothing."""
    annotate: bool
    """Whether the cells are wide enough for text."""
    title: str
    over: int
    """Number of cells beyond the colour scale."""
    unclear: Bool[np.ndarray, "row column"]
    """Cells that are marked, since their effect is not clear of 0."""
    limit: float = LIMIT
    """Colours span -limit to limit."""
    label: str = EFFECT
    """Label of the colour bar."""

    @property
    def intervals(self) -> bool:
        """True when any cell holds an interval."""
        return any(map(any, self.small_text))


@dataclass(frozen=True, kw_only=True, eq=False)
class BarTable:
    """Contents of a layer-importance plot: a group of bars per block, one bar per method."""

    methods: tuple[str, ...]
    columns: tuple[str, ...]
    """Numbers of the blocks, from 1."""
    heights: Float[np.ndarray, "method block"]
    low: Float[np.ndarray, "method block"]
    """Lower end of the bootstrap interval."""
    high: Float[np.ndarray, "method block"]
    """Upper end of the bootstrap interval."""
    stable: Bool[np.ndarray, " method"]
    """Whether the method's ranking of blocks is stable."""
    label: str
    """Label of the vertical axis."""
    title: str


def heatmap_table(
    result: CTE | Effect,
    *,
    intervals: bool = False,
    annotate: bool = True,
    mark: bool = True,
    site: str | None = None,
) -> HeatmapTable:
    """Return the contents of `heatmap`; arguments and errors are the same."""
    effect = result.effect() if isinstance(result, CTE) else result
    index = _site(effect, site)
    values = effect.values[index].T
    counts = effect.counts[index].max(axis=0).tolist()
    over = int((np.abs(values) > LIMIT + ROUNDING).sum())
    unclear = _unclear(effect, effect.q[index].T, mark=mark)
    columns = ("embed", *map(str, range(1, len(effect.layers))))
    return HeatmapTable(
        rows=tuple(_row(name, n, effect.n) for name, n in zip(effect.labels, counts, strict=True)),
        columns=columns,
        values=values,
        text=_texts(values),
        small_text=_intervals(effect.low[index].T, effect.high[index].T, shown=intervals),
        annotate=annotate and len(columns) <= LEGIBLE,
        title=title(facts(effect, f"site {effect.sites[index]}")) + below(over, unclear),
        over=over,
        unclear=unclear,
    )


def head_table(
    result: CTE | Effect | HeadEffect | HeadSelectivity,
    *,
    intervals: bool = False,
    annotate: bool = True,
    mark: bool = True,
) -> HeatmapTable:
    """Return the contents of `head_heatmap`; arguments and errors are the same."""
    grid = head_effect(result) if isinstance(result, CTE | Effect) else result
    values = grid.values.T
    q = grid.q.T if isinstance(grid, HeadEffect) else np.full(values.shape, np.nan)
    unclear = _unclear(grid, q, mark=mark)
    return HeatmapTable(
        rows=tuple(f"head {head}" for head in grid.heads),
        columns=tuple(map(str, range(1, len(grid.layers) + 1))),
        values=values,
        text=_texts(values),
        small_text=_intervals(grid.low.T, grid.high.T, shown=intervals),
        annotate=annotate and len(grid.layers) <= LEGIBLE,
        title=title(facts_of_heads(grid)) + below(0, unclear),
        over=0,
        unclear=unclear,
        limit=_rounded_up(values),
        label=SELECTIVITY if isinstance(grid, HeadSelectivity) else EFFECT,
    )


def bar_table(scores: LayerScores | Sequence[LayerScores]) -> BarTable:
    """Return the contents of `layer_importance`: the scores of one method, or alpha of several.

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
    note, shown = "alpha: each method scaled to 0 .. 1", facts(first)
    if len(several) == 1:
        note, shown = first.note, {**shown, "too_few": ""}  # which the note says
    return BarTable(
        methods=tuple(one.method for one in several),
        columns=tuple(map(str, range(1, len(first.layers) + 1))),
        heights=heights,
        low=low,
        high=high,
        stable=np.array([one.stable for one in several]),
        label=f"{first.method} score" if len(several) == 1 else "alpha (0 least, 1 most)",
        title=f"{title(shown)}\n{note}",
    )


def facts_of_heads(grid: HeadEffect | HeadSelectivity) -> dict[str, str]:
    """Return the facts of a grid of heads, for its title."""
    if isinstance(grid, HeadEffect):
        at_once = grid.positions in ("all", "given")
        return facts(grid, "heads" if at_once else "heads, summed over positions")
    queries = "tokens after it" if grid.queries == "after_cue" else "other tokens"
    return {
        "model": short(grid.model),
        "direction": "selectivity for the negator",
        "site": f"largest difference over {queries}",
        "kept": f"n = {grid.n} ({len(grid.dropped)} dropped)",
        "aggregate": "mean over pairs",
        "too_few": grid.too_few,
    }


def facts(result: Reduction, site: str = "") -> dict[str, str]:
    """Return the facts of a reduction, for its title; empty where a setting is the usual one."""
    options, counts = result.options, []
    if options.condition is None:
        counts = [f"{result.negated} negated, {result.n - result.negated} affirmative"]
    counts += [f"{result.below_floor} below floor, {result.dropped} dropped"]
    return {
        "model": short(result.model),
        "direction": result.direction,
        "corruption": result.corruption,
        "estimator": "" if result.estimator == "exact" else f"{result.estimator} (APPROXIMATION)",
        "window": "" if result.window == 1 else f"window of {result.window} layers",
        "positions": PATCHED.get(result.positions, f"roles {result.positions}, each at once"),
        "pairs": f"{options.segment} pairs",
        "condition": "" if options.condition is None else f"{options.condition} statement true",
        "site": site,
        "kept": f"n = {result.n} ({'; '.join(counts)})",
        "aggregate": options.aggregate.replace("_", " "),
        "too_few": result.too_few,
    }


def shared(
    several: Sequence[Mapping[str, str]],
) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the facts that hold for all, and the other facts of each.

    >>> shared([{"model": "toy", "pairs": "all"}, {"model": "toy", "pairs": "correct"}])
    ({'model': 'toy'}, [{'pairs': 'all'}, {'pairs': 'correct'}])
    """
    common = {k: v for k, v in several[0].items() if all(other.get(k) == v for other in several)}
    return common, [{k: v for k, v in one.items() if k not in common} for one in several]


def title(named: Mapping[str, str]) -> str:
    """Join facts to a title: the experiment in the first line, the reduction in the second.

    A third line says so where there are too few pairs.

    >>> title({"model": "toy", "direction": "noising", "corruption": "swap", "aggregate": "median"})
    'toy: noising, swap\\nmedian'
    """
    model = named.get("model", "")
    first = _joined(named, "direction", "corruption", "estimator", "pairs", "condition")
    second = _joined(named, "site", "window", "positions", "kept", "aggregate")
    lines = (": ".join(filter(None, (model, first))), second, named.get("too_few", ""))
    return "\n".join(filter(None, lines))


def below(over: int, unclear: Bool[np.ndarray, "row column"]) -> str:
    """Return further lines of a title: cells beyond the colour scale, and the key to the marks."""
    beyond = f"\n{over} cell(s) beyond the colour scale" if over else ""
    return beyond + (MARKED if unclear.any() else "")


def verdict(one: LayerScores) -> str:
    """Return how far a method's ranking can be trusted, short enough for a panel."""
    if one.too_few:
        return one.too_few
    stability = "unknown" if np.isnan(one.rank_stability) else f"{one.rank_stability:.2f}"
    return f"rank stability {stability}{'' if one.stable else ': NOT stable'}"


def _joined(named: Mapping[str, str], *kinds: str) -> str:
    return ", ".join(named[kind] for kind in kinds if named.get(kind))


def _rounded_up(values: Float[np.ndarray, "row column"]) -> float:
    """Return the least round number that no value exceeds; 1 where there is no value."""
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
    few = ", too few" if count < MIN_PAIRS <= n else ""
    return name if count == n else f"{name} (n={count}{few})"


def _unclear(
    result: Effect | HeadEffect | HeadSelectivity, q: Float[np.ndarray, "row column"], *, mark: bool
) -> Bool[np.ndarray, "row column"]:
    """Return the cells to mark; none where too few pairs can tell any cell from 0."""
    return np.asarray((q > ALPHA) & (mark and not result.too_few))


def _texts(values: Float[np.ndarray, "row column"]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(_short, row)) for row in values)


def _intervals(
    low: Float[np.ndarray, "row column"], high: Float[np.ndarray, "row column"], *, shown: bool
) -> tuple[tuple[str, ...], ...]:
    bounds = np.stack([low, high], axis=-1)
    return tuple(tuple(_bounds(ends) if shown else "" for ends in row) for row in bounds)


def _short(value: float) -> str:
    if np.isnan(value):
        return ""
    text = f"{value:.2f}"
    return "0" if float(text) == 0 else text.replace("0.", ".", 1) if abs(value) < 0.995 else text


def _bounds(ends: Float[np.ndarray, " two"]) -> str:
    return "" if np.isnan(ends).any() else f"[{_short(ends[0])}, {_short(ends[1])}]"


def _scaled(
    one: LayerScores, values: Float[np.ndarray, " block"], methods: int
) -> Float[np.ndarray, " block"]:
    """Return the values of one method alone, else on the scale of the method's alpha."""
    if methods == 1:
        return values
    spread = one.values.max() - one.values.min()
    if spread == 0:
        return one.alpha if values is one.values else np.full_like(values, np.nan)
    return np.asarray((values - one.values.min()) / spread)
