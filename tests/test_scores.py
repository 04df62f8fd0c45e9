import dataclasses
import itertools

import numpy as np
import pytest
from golden.results import ROW, noisy, published, result
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from negtrace.errors import CTEError, UnknownNameError
from negtrace.results.cte import CTE
from negtrace.results.kept import KeptPairs
from negtrace.results.layer_scores import (
    LAYER_SCORES,
    Draws,
    all_layer_scores,
    layer_scores,
    register_layer_score,
)
from negtrace.results.statistics import AGGREGATES, interval, mid_ranks, spearman

RESIDUAL = ("cue", "nast", "std", "transport")
D = np.array([1.0, 2.0, 5.0, 1.5])
METHOD = pytest.mark.parametrize("method", RESIDUAL)


def with_components(cte: CTE, size: float = 0.25) -> CTE:
    """Return the trace with both sites inside the blocks too, whose cells have ratio `size`."""
    inside = cte.corrupt[:, None, None, None] + size * cte.d[:, None, None, None]
    inside = np.broadcast_to(inside, cte.patched.shape).copy()
    inside[:, :, 0] = np.nan
    patched = np.concatenate([cte.patched, inside, inside], axis=1)
    return dataclasses.replace(cte, patched=patched, sites=("resid", "attn_out", "mlp_out"))


def test_no_method_is_the_default() -> None:
    with pytest.raises(TypeError, match="method"):
        layer_scores(noisy())
    with pytest.raises(UnknownNameError, match="unknown layer score 'sum'; known: component, cue"):
        layer_scores(noisy(), "sum")


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_published_heatmap_transport_peaks_at_block_4(aggregate: str, direction: str) -> None:
    cte = published(D, direction=direction)
    scores = layer_scores(cte, "transport", aggregate=aggregate)
    assert scores.layers[scores.values.argmax()] == "blocks.3"
    np.testing.assert_allclose(scores.values[:4], [0.1, 0.043, 0.164, 0.511], atol=1e-9)
    assert scores.alpha.argmax() == 3


def test_published_heatmap_nast_ranks_the_last_block_third() -> None:
    scores = layer_scores(published(D), "nast")
    ranking = [scores.layers[index] for index in np.argsort(-scores.values)[:3]]
    assert ranking == ["blocks.1", "blocks.3", "blocks.11"]
    assert scores.values[-1] == pytest.approx(1)
    # The whole effect sits on the cue before the first block, and on the read-out after the last.
    assert published(D).effect().values[0, 0].sum() == pytest.approx(1)


def test_published_heatmap_std_and_cue_by_hand() -> None:
    cte = published(D)
    fourth = np.array([0.182, 0.166, 0.106, 0.364, 0.194])
    assert layer_scores(cte, "std").values[3] == pytest.approx(fourth.std())
    assert layer_scores(cte, "cue").values[3] == pytest.approx(0.182)


def test_nast_adds_tokens_up_where_lengths_differ() -> None:
    ratios = np.full((2, 3, 8), 0.5)
    ratios[1, :, 6:] = np.nan
    roles = np.tile(np.array(ROW), (2, 1))
    roles[1, 6:] = -1
    scores = layer_scores(result(ratios, np.array([1.0, 3.0]), roles=roles), "nast")
    np.testing.assert_allclose(scores.values, (0.5 * 8 * 1 + 0.5 * 6 * 3) / 4)


def test_std_weights_roles_by_their_tokens_where_templates_differ() -> None:
    # From the cue on: cue .8; then two tokens of .2 in one pair, four in the other: mean three.
    ratios = np.full((2, 2, 6), np.nan)
    ratios[:, :, 0], ratios[:, :, 1:3], ratios[1, :, 3:5], ratios[0, :, 3] = 0.8, 0.2, 0.2, np.nan
    roles = np.array([[2, 5, 5, -1, -1, -1], [2, 5, 5, 5, 5, -1]])
    scores = layer_scores(result(ratios, np.ones(2), roles=roles), "std")
    np.testing.assert_allclose(scores.values, np.std([0.8, 0.2, 0.2, 0.2]))


def test_std_leaves_out_tokens_before_the_cue() -> None:
    ratios = np.zeros((2, 2, 8))
    ratios[:, :, :3] = 9.0
    np.testing.assert_allclose(layer_scores(result(ratios, np.ones(2)), "std").values, 0)


def test_draws_of_std_weigh_roles_by_the_tokens_of_the_pairs_drawn() -> None:
    # Half of the pairs have two prefix tokens behind their cue, half have none, so both the effect
    # and the weight of the role depend on which pairs are drawn.
    roles = np.array([[2, 4, 4, 8], [2, 8, -1, -1]] * 6)
    ratios = np.full((12, 3, 4), np.nan)
    ratios[::2], ratios[1::2, :, :2] = [1.0, 0.0, 0.0, 0.0], [1.0, 0.0]
    cte = result(ratios, np.ones(12), roles=roles)
    weights = np.array([np.ones(12), [1.0, 0.0] * 6, [0.0, 1.0] * 6])
    rows = LAYER_SCORES["std"].score(
        Draws(
            kept=KeptPairs(whole=cte, order=np.arange(len(cte))),
            aggregate="ratio_of_means",
            weights=weights,
        )
    )
    expected = [np.std([1, 0, 0, 0, 1, 0]), np.std([1, 0, 0, 0]), np.std([1, 0])]
    np.testing.assert_allclose(rows, np.repeat(np.array(expected)[:, None], 2, axis=1))


def test_component_adds_both_sites_up() -> None:
    scores = layer_scores(with_components(noisy(), 0.25), "component")
    np.testing.assert_allclose(scores.values, 2 * 8 * 0.25)
    assert set(all_layer_scores(with_components(noisy()))) == {*RESIDUAL, "component"}


def test_a_method_that_a_trace_does_not_allow_is_refused_or_left_out() -> None:
    cte = noisy()
    with pytest.raises(CTEError, match=r"'component' needs .* the site\(s\) attn_out, mlp_out"):
        layer_scores(cte, "component")
    assert tuple(all_layer_scores(cte)) == RESIDUAL
    roles = np.where(cte.roles == 2, 5, cte.roles)
    uncued = dataclasses.replace(cte, roles=roles)
    with pytest.raises(CTEError, match="a cue: no token of the patched runs"):
        layer_scores(uncued, "transport")
    assert tuple(all_layer_scores(uncued)) == ("nast",)
    patched = cte.patched.copy()
    patched[:, :, 2, 3] = np.nan
    holed = dataclasses.replace(cte, patched=patched)
    with pytest.raises(CTEError, match=r"cells at the cue in blocks\.1"):
        layer_scores(holed, "cue")


def test_selections_are_those_of_the_effect() -> None:
    cte = noisy(40)
    for segment, condition in itertools.product(("all", "correct"), (None, "negated")):
        scores = layer_scores(cte, "cue", segment=segment, condition=condition, aggregate="median")
        effect = cte.effect(segment=segment, condition=condition, aggregate="median")
        cue = effect.labels.index("cue")
        assert scores.n == effect.n
        for name in ("values", "low", "high"):
            ours, theirs = getattr(scores, name), getattr(effect, name)[0, 1:, cue]
            np.testing.assert_array_equal(ours, theirs)


@METHOD
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999))
def test_alpha_spans_0_to_1_and_keeps_the_ranking(method: str, seed: int) -> None:
    scores = layer_scores(noisy(seed=seed), method, resamples=20)
    assert (scores.alpha.min(), scores.alpha.max()) == (0, 1)
    np.testing.assert_array_equal(np.argsort(scores.alpha), np.argsort(scores.values))


def test_equal_blocks_all_weigh_1() -> None:
    scores = layer_scores(result(np.full((3, 4, 8), 0.5), np.ones(3)), "cue")
    np.testing.assert_array_equal(scores.alpha, 1)
    assert not scores.stable  # nothing is ranked


def test_scaling_raises_alpha_to_beta() -> None:
    scores = layer_scores(published(D), "transport")
    assert set(scores.scale(0.0).values()) == {1.0}
    assert scores.scale(2.0)["blocks.0"] == pytest.approx(scores.alpha[0] ** 2)
    assert tuple(scores.scale()) == scores.layers
    with pytest.raises(CTEError, match="beta must be 0 or more, not -1"):
        scores.scale(-1.0)


def test_rankings_of_noise_are_called_unstable() -> None:
    steady = layer_scores(published(np.tile(D, 2)), "transport")
    assert steady.rank_stability == pytest.approx(1)
    assert steady.stable
    assert steady.note == "ranking stable: rank stability 1.00 over 8 pairs"
    noise = layer_scores(noisy(8), "cue")
    assert not noise.stable
    assert noise.note.startswith("ranking NOT stable: rank stability 0.")
    assert noise.note.endswith("below 0.9; trace more pairs before using it")


def test_rank_stability_is_a_mean_over_the_bootstrap_draws_alone() -> None:
    def fixed(draws: Draws) -> np.ndarray:
        rows = np.tile([1.0, 2.0, 3.0], (len(draws.weights), 1))
        rows[2:4] = [[3.0, 2.0, 1.0], [2.0, 1.0, 3.0]]
        return rows

    with LAYER_SCORES.restored():
        register_layer_score("fixed")(fixed)
        scores = layer_scores(noisy(), "fixed", resamples=3)
    assert scores.rank_stability == pytest.approx((1 - 1 + 0.5) / 3)
    assert scores.values.tolist() == [1, 2, 3]
    assert (scores.low <= scores.high).all()


def test_a_score_of_another_shape_is_refused() -> None:
    with LAYER_SCORES.restored():
        register_layer_score("all layers")(lambda draws: draws.total())
        with pytest.raises(
            CTEError, match=r"'all layers' gave .* shape \(18, 4\), expected \(18, 3\)"
        ):
            layer_scores(noisy(12), "all layers", resamples=5)


@pytest.mark.parametrize("method", LAYER_SCORES)
def test_the_order_of_pairs_does_not_matter(method: str) -> None:
    cte = with_components(noisy())
    turned = CTE.concat([cte.select(np.arange(12) >= 5), cte.select(np.arange(12) < 5)])
    ours, theirs = (layer_scores(one, method, resamples=20) for one in (cte, turned))
    for name in ("values", "low", "high"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_one_pair_has_neither_intervals_nor_stability() -> None:
    scores = layer_scores(noisy(1), "nast")
    assert np.isnan(scores.low).all()
    assert not scores.stable
    assert scores.note == "stability unknown: 1 pair(s), 1000 bootstrap draws"


def test_dataframe_has_a_row_per_block() -> None:
    frame = layer_scores(noisy(), "nast").to_dataframe()
    assert list(frame.layer) == ["blocks.0", "blocks.1", "blocks.2"]
    assert {"score", "alpha", "low", "high", "stable", "method"} <= set(frame.columns)


def test_every_method_is_scored_in_both_directions() -> None:
    for method in LAYER_SCORES:
        noising, denoising = (
            layer_scores(with_components(noisy(direction=direction)), method, resamples=5)
            for direction in ("noising", "denoising")
        )
        assert (noising.direction, denoising.direction) == ("noising", "denoising")


@given(values=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_mid_ranks_add_up(values: list[int]) -> None:
    ranks = mid_ranks(np.array([values], dtype=float))
    assert ranks.sum() == len(values) * (len(values) - 1) / 2


def test_spearman_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    draws, reference = rng.integers(0, 5, (20, 7)).astype(float), rng.normal(size=7)
    expected = [stats.spearmanr(draw, reference).statistic for draw in draws]
    np.testing.assert_allclose(spearman(draws, reference), expected)


def test_intervals_agree_with_numpy_and_pass_over_missing_draws() -> None:
    draws = np.random.default_rng(0).normal(size=(100, 3))
    expected = np.quantile(draws, [0.05, 0.95], axis=0)
    np.testing.assert_allclose(interval(draws, confidence=0.9), expected)
    holed = np.concatenate([draws, np.full((50, 3), np.nan)])
    np.testing.assert_allclose(interval(holed, confidence=0.9), expected)
    assert np.isnan(interval(np.full((5, 1), np.nan), confidence=0.9)).all()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda draws: draws.at_role("subjekt"), "unknown role of this trace 'subjekt'; known: "),
        (lambda draws: draws.total("head.9"), "unknown site of this trace 'head.9'; known: resid"),
    ],
    ids=["role", "site"],
)
def test_a_score_that_asks_for_an_unknown_role_or_site_is_told_the_known_ones(
    ask: object, message: str
) -> None:
    with LAYER_SCORES.restored():
        register_layer_score("asking")(lambda draws: ask(draws)[:, 1:])
        with pytest.raises(UnknownNameError, match=message):
            layer_scores(noisy(), "asking")
