"""Intervals and tests over pairs: by hand, against SciPy, and by how often they are right."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.results import noisy, result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from negtrace.experiments.gallery import summary
from negtrace.results.cte_json import read_json, write_json
from negtrace.results.heads import head_effect
from negtrace.results.intervals import (
    MIN_GROUPS,
    MIN_PAIRS,
    confidence_interval,
    jackknife_interval,
    share_interval,
    studentised,
    too_few,
)
from negtrace.results.layer_scores import layer_scores
from negtrace.results.options import Resampling
from negtrace.results.significance import adjusted, sign_flip_test
from negtrace.results.statistics import AGGREGATES, PairSums, interval, resample, subsets

AGGREGATE = pytest.mark.parametrize("aggregate", AGGREGATES)


def sums_of(over: np.ndarray, under: np.ndarray) -> PairSums:
    """Return [pair, cell] as the sums of one site and layer, each cell with tokens of its own."""
    shape = (len(over), 1, 1, over.shape[1])
    return PairSums(
        numerators=over.reshape(shape), tokens=under.reshape(shape), d=np.ones(len(over))
    )


# --- intervals ----------------------------------------------------------------------------------


def by_hand(over: np.ndarray, under: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """Return the studentised 95 % interval of one cell, written out pair by pair."""
    value, total, m = over.sum() / under.sum(), under.sum(), (under > 0).sum()
    present = under > 0
    residual = (over - value * under)[present]
    share = under[present] / total
    error = math.sqrt(((m - 1) / m) ** 2 * ((residual / (1 - share) ** 1.5) ** 2).sum()) / total
    found = []
    for counts in drawn.astype(int):
        chosen = np.repeat(np.arange(len(over)), counts)
        x, y = over[chosen], under[chosen]
        k = (y > 0).sum()
        again = x.sum() / y.sum()
        own = math.sqrt(k / (k - 1) * ((x - again * y) ** 2).sum()) / y.sum()
        found.append((again - value) / own)
    ordered, distances = np.sort(found), np.sort(np.abs(found))
    last = len(found) - 1
    first = math.floor(0.025 * (last + 2)) - 1
    middle = distances[math.ceil(0.95 * (last + 2)) - 1]
    low = value - max(middle, ordered[last - first]) * error
    return low, value + max(middle, -ordered[first]) * error


def test_the_studentised_interval_is_that_written_out_pair_by_pair() -> None:
    rng = np.random.default_rng(0)
    under = rng.lognormal(size=(11, 4))
    under[:3, 1] = 0  # three pairs lack the cell
    over = np.where(under > 0, rng.normal(0.4, 0.3, under.shape) * under, 0.0)
    drawn = resample(11, resamples=199, seed=4)[1:]
    low, high = studentised(over, under, drawn=drawn, confidence=0.95)
    for cell in range(4):
        expected = by_hand(over[:, cell], under[:, cell], drawn)
        np.testing.assert_allclose((low[cell], high[cell]), expected)


def test_cells_are_reduced_alike_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    over, under = rng.normal(size=(9, 7)), rng.lognormal(size=(9, 7))
    drawn = resample(9, resamples=99, seed=0)[1:]
    whole = studentised(over, under, drawn=drawn, confidence=0.9)
    monkeypatch.setattr("negtrace.results.intervals.CELLS", 2)
    monkeypatch.setattr("negtrace.results.significance.CELLS", 2)
    np.testing.assert_allclose(studentised(over, under, drawn=drawn, confidence=0.9), whole)


POPULATIONS = {"|d| plays no part": 0.0, "effect rises with |d|": 0.5, "effect falls": -0.5}


@pytest.mark.parametrize("pairs", [8, 16])
@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_of_few_pairs_cover_the_truth(name: str, pairs: int) -> None:
    correlation, sigma = POPULATIONS[name], 0.75
    hits = []
    for seed in range(6):
        log, rest = np.random.default_rng(seed).standard_normal((2, pairs, 500))
        effect = 0.4 + 0.3 * (correlation * log + math.sqrt(1 - correlation**2) * rest)
        size = np.exp(sigma * log)
        sums = sums_of(effect * size, size)
        low, high = confidence_interval(sums, "ratio_of_means", Resampling(seed=seed))
        truth = 0.4 + 0.3 * correlation * sigma  # E[|d| log |d|] / E[|d|] is sigma squared
        hits.append((low <= truth) & (truth <= high))
    assert 0.925 <= np.mean(hits) <= 0.975


def test_the_interval_of_a_median_covers_it_whatever_the_distribution() -> None:
    effect = np.random.default_rng(0).exponential(size=(8, 1500))
    low, high = confidence_interval(
        sums_of(effect, np.ones_like(effect)), "median", Resampling(resamples=500)
    )
    assert ((low <= np.log(2)) & (np.log(2) <= high)).mean() == pytest.approx(0.945, abs=0.02)


@AGGREGATE
@settings(max_examples=20, deadline=None)
@given(
    ratios=arrays(float, (9, 1, 3), elements=st.floats(-2, 2)),
    scale=st.floats(0.5, 4),
    shift=st.sampled_from([0.0, 0.5, -1.0]),
)
def test_intervals_move_with_the_effect(
    aggregate: str, ratios: np.ndarray, scale: float, shift: float
) -> None:
    over = ratios[:, 0]
    options = Resampling(resamples=60)
    low, high = confidence_interval(sums_of(over, np.ones_like(over)), aggregate, options)
    moved = scale * over + shift
    other = confidence_interval(sums_of(moved, np.ones_like(over)), aggregate, options)
    spread = over.std(axis=0) > 1e-3  # else rounding decides what has a spread
    np.testing.assert_allclose(
        np.stack(other)[..., spread], scale * np.stack([low, high])[..., spread] + shift, atol=1e-6
    )


@AGGREGATE
@pytest.mark.parametrize("pairs", [MIN_PAIRS - 1, MIN_PAIRS])
def test_too_few_pairs_have_no_interval_and_say_so(
    aggregate: str, pairs: int, tmp_path: Path
) -> None:
    cte, enough = noisy(pairs), pairs >= MIN_PAIRS
    remark = "" if enough else f"too few pairs ({pairs} of at least 8)"
    effect = cte.effect(aggregate=aggregate)
    scores = layer_scores(cte, "cue", aggregate=aggregate)
    assert np.isfinite(effect.low).all() == np.isfinite(effect.high).all() == enough
    assert np.isfinite(scores.low).all() == np.isfinite(scores.high).all() == enough
    assert effect.too_few == scores.too_few == effect.at(0, "cue").note == remark
    assert (not remark and "too few" not in repr(effect)) or remark in repr(effect)
    assert remark in scores.note
    assert not (remark and scores.stable)
    assert set(effect.to_dataframe()["note"]) == {remark}
    document = read_json(write_json(cte, tmp_path / "a.json", aggregate=aggregate))
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["effects"][0]["note"] == remark
    assert (remark in " ".join(summary(document))) if remark else True
    assert [entry["negated"] for entry in content["effects"][:1]] == [effect.negated]


def test_a_cell_of_few_pairs_has_no_interval_among_others_that_have() -> None:
    ratios = np.random.default_rng(0).normal(0.3, 0.2, size=(12, 3, 8))
    ratios[:5, :, 3] = np.nan
    effect = result(ratios, np.ones(12)).effect()
    assert np.isnan(effect.at(1, "cue").low)
    assert effect.at(1, "cue").note == "too few pairs (7 of at least 8)"
    assert np.isfinite(effect.at(1, "end").low)
    assert effect.at(1, "end").note == ""


def test_an_effect_that_two_of_eight_pairs_have_is_not_determined() -> None:
    over = np.zeros((8, 1))
    over[:2, 0] = [0.5, 0.9]
    ends = confidence_interval(sums_of(over, np.ones((8, 1))), "ratio_of_means", Resampling())
    assert np.isnan(ends).all()


def share_by_hand(right: list[float], size: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of a share, written out group by group."""
    n, groups = sum(size), len(size)
    p, m, z = sum(right) / n, sum(s * s for s in size) / n, stats.norm.ppf(0.975)
    c = 0.25 * (p * p + (1 - p) ** 2)
    spread = groups / (groups - 1) * sum((r - p * s) ** 2 for r, s in zip(right, size, strict=True))
    k = n * (n * n / (n - 1) * p * (1 - p) + c * m) / (spread + c * m * m)
    a = 2 * (z / 1.96) ** 2
    q = (p * k + a) / (k + 2 * a)
    reach = z * math.sqrt(q * (1 - q) / (k + 2 * a))
    return max(q - reach, 0), min(q + reach, 1)


def test_the_interval_of_a_share_is_that_written_out_group_by_group() -> None:
    rng = np.random.default_rng(0)
    size = rng.integers(1, 5, (9, 3)).astype(float)
    right = rng.binomial(size.astype(int), [0.2, 0.6, 1.0]).astype(float)
    low, high = share_interval(right, size, confidence=0.95)
    for cell in range(3):
        by_hand = share_by_hand(right[:, cell].tolist(), size[:, cell].tolist())
        assert (low[cell], high[cell]) == pytest.approx(by_hand)


def test_the_interval_of_independent_answers_is_that_of_agresti_and_coull() -> None:
    """With 17 of 20 right, 19 of 24 are right after two right and two wrong ones are added."""
    right = np.repeat([1.0, 0.0], [17, 3])
    ends = share_interval(right, np.ones(20), confidence=0.95)
    reach = 1.96 * math.sqrt(19 / 24 * 5 / 24 / 24)
    assert ends == pytest.approx((19 / 24 - reach, 19 / 24 + reach), abs=1e-4)


@given(
    right=arrays(float, 12, elements=st.integers(0, 4).map(float)),
    confidence=st.floats(0.01, 0.999),
)
def test_the_interval_of_a_share_holds_the_share_and_mirrors(
    right: np.ndarray, confidence: float
) -> None:
    size, share = np.full(12, 4.0), right.mean() / 4
    low, high = share_interval(right, size, confidence=confidence)
    assert 0 <= low <= share <= high <= 1
    assert high > low
    mirrored = share_interval(size - right, size, confidence=confidence)
    assert 1 - np.array(mirrored[::-1]) == pytest.approx(np.array([low, high]))


def test_intervals_of_few_independent_answers_cover_the_truth() -> None:
    """From 16 answers on, they cover 92 % or more at every share, and 97 % at most in the mean."""
    truth = np.linspace(0.5, 0.999, 400)
    for n in (16, 32, 100):
        answers = (np.arange(n)[:, None] < np.arange(n + 1)).astype(float)
        low, high = share_interval(answers, np.ones_like(answers), confidence=0.95)
        inside = (low[:, None] <= truth) & (truth <= high[:, None])
        covers = (inside * stats.binom.pmf(np.arange(n + 1)[:, None], n, truth)).sum(axis=0)
        assert covers.min() > 0.92
        assert covers.mean() < 0.97


@pytest.mark.parametrize("groups", [8, 16, 100])
@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.95])
def test_intervals_of_few_correlated_answers_cover_the_truth(groups: int, accuracy: float) -> None:
    rng = np.random.default_rng(0)
    chance = rng.beta(2 * accuracy, 2 - 2 * accuracy, (groups, 4000))
    right = rng.binomial(4, chance).astype(float)
    low, high = share_interval(right, np.full(right.shape, 4.0), confidence=0.95)
    assert 0.93 < np.mean((low <= accuracy) & (accuracy <= high)) < 0.985


def test_pairs_that_all_agree_have_an_interval_of_no_length() -> None:
    size = np.random.default_rng(0).lognormal(size=(9, 1))
    for aggregate in ("ratio_of_means", "median"):
        ends = confidence_interval(sums_of(0.25 * size, size), aggregate, Resampling(resamples=50))
        np.testing.assert_allclose(ends, 0.25)


def test_subsets_hold_half_of_the_pairs_and_are_never_empty() -> None:
    drawn = subsets(3, resamples=4000, seed=0)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert (drawn.sum(axis=1) > 0).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 4 / 7, atol=0.05)  # of 7 subsets, 4 hold a pair


def test_the_jackknife_interval_of_a_mean_is_its_studentised_one() -> None:
    values = np.random.default_rng(0).normal(size=(12, 2))
    drawn = resample(12, resamples=400, seed=0)[1:]
    low, high = jackknife_interval(
        values.mean(axis=0),
        drawn @ values / 12,
        (values.sum(axis=0) - values) / 11,
        drawn=drawn,
        confidence=0.95,
    )
    error = values.std(axis=0, ddof=1) / np.sqrt(12)
    reach = (high - low) / 2 / error
    np.testing.assert_allclose((high + low) / 2, values.mean(axis=0))
    assert (reach > stats.t.ppf(0.975, 11) * 0.9).all()
    assert (reach < stats.t.ppf(0.975, 11) * 1.4).all()


def test_the_remark_counts_pairs() -> None:
    assert too_few(0) == "too few pairs (0 of at least 8)"
    assert too_few(MIN_PAIRS) == ""


# --- tests against 0 ----------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [5, 9, 13])
def test_exact_p_values_are_those_of_scipy(pairs: int) -> None:
    values = np.random.default_rng(pairs).normal(0.3, 1, size=(pairs, 4))
    p = sign_flip_test(sums_of(values, np.ones_like(values)), "ratio_of_means", seed=0).ravel()
    for cell in range(4):
        expected = stats.permutation_test(
            (values[:, cell],),
            np.mean,
            permutation_type="samples",
            n_resamples=np.inf,
            alternative="two-sided",
        )
        assert p[cell] == pytest.approx(expected.pvalue)


def test_p_of_a_median_is_that_of_the_sign_test() -> None:
    values = np.random.default_rng(3).normal(0.5, 1, size=(11, 3))
    p = sign_flip_test(sums_of(values, np.ones_like(values)), "median", seed=0).ravel()
    expected = [stats.binomtest(int(n), 11).pvalue for n in (values > 0).sum(axis=0)]
    np.testing.assert_allclose(p, expected)


def test_random_p_values_are_seeded_close_to_the_exact_ones_and_never_0() -> None:
    values = np.random.default_rng(0).normal(0.15, 1, size=(40, 3))
    values[:, 2] = np.random.default_rng(1).uniform(1, 2, size=40)
    sums = sums_of(values, np.ones_like(values))
    one, again, other = (
        sign_flip_test(sums, "mean_of_ratios", seed=seed).ravel() for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    student = stats.ttest_1samp(values, 0).pvalue
    np.testing.assert_allclose(one[:2], student[:2], atol=0.02)
    assert one[2] == pytest.approx(1e-4)


@pytest.mark.parametrize("pairs", range(1, 9))
def test_below_six_pairs_no_cell_can_be_clear_of_0(pairs: int) -> None:
    values = np.linspace(1, 2, pairs)[:, None]
    [p] = sign_flip_test(sums_of(values, 2 * np.ones((pairs, 1))), "ratio_of_means", seed=0).ravel()
    assert p == pytest.approx(2 / 2**pairs)
    assert (p < 0.05) == (pairs >= 6)


def test_pairs_without_an_effect_do_not_lend_a_cell_certainty() -> None:
    values = np.zeros((10, 1))
    values[:4, 0] = 1.0
    [p] = sign_flip_test(sums_of(values, np.ones((10, 1))), "ratio_of_means", seed=0).ravel()
    assert p == pytest.approx(2 / 2**4)


def test_p_values_are_uniform_without_an_effect() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((12, 2000)) * rng.lognormal(size=(12, 1))
    p = sign_flip_test(sums_of(values, np.ones_like(values)), "ratio_of_means", seed=0).ravel()
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=0.02)


def test_cells_that_a_law_fixes_are_no_tests() -> None:
    ratios = np.random.default_rng(0).normal(0.5, 0.1, size=(10, 3, 8))
    ratios[:, 0, 3], ratios[:, 1, 3], ratios[:, 2, 3] = 1.0, 0.0, np.nan
    ratios[:, 1, 4] = 1 + 1e-6 * np.arange(10)  # 1 up to rounding
    effect = result(ratios, np.linspace(1, 2, 10)).effect()
    for layer, role in ((0, "cue"), (1, "cue"), (2, "cue"), (1, "subject")):
        assert np.isnan(effect.at(layer, role).p)
        assert np.isnan(effect.at(layer, role).q)
    for layer, role in ((0, "cue"), (1, "cue"), (1, "subject")):  # rounding is no spread
        cell = effect.at(layer, role)
        assert cell.low == cell.value == cell.high
    assert effect.at(0, "subject").p == pytest.approx(2 / 2**10)
    assert np.isfinite(effect.q).sum() == np.isfinite(effect.p).sum() == 3 * 7 - 4


@given(
    values=st.lists(st.floats(0.0001, 1), min_size=1, max_size=30),
    holes=st.lists(st.integers(0, 29), max_size=5),
)
def test_false_discoveries_are_controlled_as_in_scipy(
    values: list[float], holes: list[int]
) -> None:
    p = np.array(values)
    p[[hole for hole in holes if hole < len(p)]] = np.nan
    tested = ~np.isnan(p)
    q = adjusted(p)
    assert np.isnan(q[~tested]).all()
    expected = stats.false_discovery_control(p[tested]) if tested.any() else []
    np.testing.assert_allclose(q[tested], expected)


def test_the_grid_is_corrected_as_a_whole_and_one_site_keeps_its_q() -> None:
    effect = noisy(20).effect()
    np.testing.assert_array_equal(effect.q, adjusted(effect.p))
    assert (effect.q[~np.isnan(effect.q)] >= effect.p[~np.isnan(effect.p)]).all()
    np.testing.assert_array_equal(effect.of_site("resid").q, effect.q)


def test_without_draws_there_is_no_test() -> None:
    effect = noisy().effect(resamples=0)
    assert np.isnan(effect.p).all()
    assert np.isnan(effect.q).all()


def test_heads_are_tested_over_their_own_grid() -> None:
    ratios = np.random.default_rng(0).normal(0.1, 0.1, size=(10, 3, 1))
    base: Any = result(ratios, np.ones(10), roles=np.zeros((10, 1), dtype=int))
    patched = np.repeat(base.patched, 2, axis=1)
    patched[:, :, 0] = np.nan
    whole = {"sites": ("head.0", "head.1"), "positions": "all", "role_names": ("all",)}
    fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
    heads = type(base)(**{**fields, **whole, "patched": patched})
    grid, of_effect = head_effect(heads), head_effect(heads.effect())
    np.testing.assert_allclose(grid.p, of_effect.p)
    np.testing.assert_allclose(grid.q, of_effect.q)
    assert grid.to_dataframe()[["p", "q"]].notna().all(axis=None)


# --- the page -----------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]


def test_the_page_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from interval_coverage import tables

    measured = json.loads(
        (ROOT / "benchmarks" / "results" / "interval_coverage.json").read_text("utf-8")
    )
    page = (ROOT / "docs" / "explanation" / "intervals.md").read_text("utf-8")
    for table in tables(measured):
        assert table in page
    words = re.sub(r"\s+", " ", page)
    assert f"at least {MIN_PAIRS} pairs" in words
    assert f"at least {MIN_GROUPS} groups" in words


def test_one_draw_is_its_own_interval_and_none_has_no_ends() -> None:
    low, high = interval(np.array([[2.0, 3.0]]), confidence=0.9)
    assert low.tolist() == high.tolist() == [2.0, 3.0]
    assert np.isnan(interval(np.empty((0, 2)), confidence=0.9)).all()
