"""Very many pairs: draws are of groups of pairs, so their time and memory do not grow."""

import tracemalloc

import numpy as np
import pytest

from negtrace.pairs.roles import ROLES
from negtrace.results import kept, statistics
from negtrace.results.cte import CTE
from negtrace.results.layer_scores import all_layer_scores
from negtrace.results.provenance import Provenance

PROVENANCE = Provenance(
    package_version="0",
    time="2026-01-01",
    model="drawn",
    family="none",
    revision=None,
    weights_digest="",
    tokenizer="none",
    pairs_digest="",
    config={},
)


def many(pairs: int, seed: int = 0) -> CTE:
    """Return scores with an effect that falls from the cue on, and noise that depends on d."""
    rng = np.random.default_rng(seed)
    roles = np.tile([ROLES.index(name) for name in ("start", "cue", "end")], (pairs, 1))
    d = rng.lognormal(sigma=0.5, size=pairs)
    law = np.array([[0, 1, 0], [0.1, 0.6, 0.3], [0.2, 0.1, 0.7]])
    effect = law + rng.normal(size=(pairs, 3, 3)) * 0.3 * d[:, None, None]
    return CTE(
        clean=d,
        corrupt=np.zeros(pairs),
        patched=(effect * d[:, None, None])[:, None],
        roles=roles,
        negated=rng.random(pairs) < 0.5,
        ids=tuple(f"{number:06d}" for number in rng.permutation(pairs)),
        layers=("embed", "a", "b"),
        direction="denoising",
        corruption="swap",
        unit="logit",
        provenance=PROVENANCE,
    )


@pytest.mark.parametrize("aggregate", ["ratio_of_means", "mean_of_ratios", "median"])
def test_intervals_over_groups_are_those_over_pairs(
    aggregate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cte = many(3000)
    by_group = cte.effect(aggregate=aggregate)
    scores = all_layer_scores(cte, aggregate=aggregate)
    monkeypatch.setattr(statistics, "MOST_UNITS", 10_000)
    by_pair = cte.effect(aggregate=aggregate)
    np.testing.assert_allclose(by_group.values, by_pair.values, rtol=1e-12)
    np.testing.assert_array_equal(by_group.counts, by_pair.counts)
    length = by_pair.high - by_pair.low
    np.testing.assert_allclose(by_group.high - by_group.low, length, rtol=0.15)
    assert np.all(np.abs(by_group.low - by_pair.low) < 0.15 * length)
    np.testing.assert_allclose(by_group.p, by_pair.p, atol=0.05)
    for name, score in all_layer_scores(cte, aggregate=aggregate).items():
        np.testing.assert_allclose(scores[name].values, score.values, rtol=1e-12)
        reach = score.high - score.low
        np.testing.assert_allclose(scores[name].high - scores[name].low, reach, rtol=0.2)


def test_the_memory_of_the_draws_does_not_grow() -> None:
    peaks = []
    for pairs in (2_000, 20_000):
        cte = many(pairs)
        tracemalloc.start()
        cte.effect()
        all_layer_scores(cte)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    own = 20_000 * 3 * 3 * 8  # the scores themselves, which are not copied
    assert peaks[1] < peaks[0] + 4 * own  # ids, roles and groups
    assert peaks[1] < 20_000 * 1_000 * 8  # a thousand draws of every pair


@pytest.mark.parametrize("aggregate", ["ratio_of_means", "median"])
def test_parts_of_any_size_give_the_same(aggregate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cte = many(1000)
    whole = cte.effect(aggregate=aggregate), all_layer_scores(cte, aggregate=aggregate)
    monkeypatch.setattr(kept, "AT_ONCE", 70)
    monkeypatch.setattr(statistics, "MOST_UNITS", 300)
    by_group = cte.effect(aggregate=aggregate), all_layer_scores(cte, aggregate=aggregate)
    monkeypatch.setattr(kept, "AT_ONCE", 1000)
    at_once = cte.effect(aggregate=aggregate), all_layer_scores(cte, aggregate=aggregate)
    for name in ("values", "low", "high", "p", "counts"):
        expected = getattr(at_once[0], name)
        np.testing.assert_allclose(getattr(by_group[0], name), expected, rtol=1e-9)
    for method, scores in by_group[1].items():
        for name in ("values", "low", "high"):
            expected = getattr(at_once[1][method], name)
            np.testing.assert_allclose(getattr(scores, name), expected, rtol=1e-9)
        np.testing.assert_allclose(scores.values, whole[1][method].values, rtol=1e-9)
    np.testing.assert_allclose(by_group[0].values, whole[0].values, rtol=1e-12)
    np.testing.assert_array_equal(by_group[0].counts, whole[0].counts)
