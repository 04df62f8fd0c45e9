"""Layer scores to multipliers: the paper's formula, the controls, the budget, the names."""

from dataclasses import dataclass, fields

import numpy as np
import pytest
from claim_sets import layer_scores_of
from hypothesis import given
from hypothesis import strategies as st

from negtrace.errors import FinetuneError, UnknownNameError
from negtrace.training import (
    WEIGHTINGS,
    FinetuneConfig,
    Front,
    Inverted,
    MultiplierOptions,
    Permuted,
    Scored,
    Top,
    Uniform,
    Weighting,
    multipliers,
)
from negtrace.training.multipliers import equalised, require_names

BLOCKS = ("b.0", "b.1", "b.2", "b.3")
ALPHA = [0.0, 0.25, 1.0, 0.5]


def plain(weighting: Weighting, alpha: list[float] = ALPHA) -> list[float]:
    """Return the multipliers before the budget is equalised."""
    return list(multipliers(layer_scores_of(BLOCKS, alpha), weighting, equal_budget=False).values())


def test_a_multiplier_is_alpha_to_the_beta_and_at_least_the_floor() -> None:
    assert plain(Scored(floor=0.1)) == [0.1, 0.25, 1.0, 0.5]
    assert plain(Scored(beta=2.0, floor=0.0)) == [0.0, 0.0625, 1.0, 0.25]


def test_the_floor_applies_after_beta() -> None:
    # Before beta, the floor would give 0.1 ** 2 = 0.01 and leave 0.25 ** 2 at 0.0625.
    assert plain(Scored(beta=2.0, floor=0.1)) == [0.1, 0.1, 1.0, 0.25]


def test_beta_0_is_uniform_even_where_alpha_is_0() -> None:
    assert plain(Scored(beta=0.0)) == plain(Uniform()) == [1.0] * 4


def test_the_inverted_weighting_raises_one_minus_alpha() -> None:
    assert plain(Inverted(floor=0.0)) == [1.0, 0.75, 0.0, 0.5]
    assert plain(Inverted(beta=2.0, floor=0.1)) == [1.0, 0.5625, 0.1, 0.25]


def test_top_and_front_train_k_blocks() -> None:
    assert plain(Top(k=2)) == [0.0, 0.0, 1.0, 1.0]
    assert plain(Front(k=2)) == [1.0, 1.0, 0.0, 0.0]


def test_of_equal_scores_the_earlier_block_is_on_top() -> None:
    assert plain(Top(k=1), [0.0, 1.0, 1.0, 0.5]) == [0.0, 1.0, 0.0, 0.0]
    assert plain(Top(k=2), [0.5, 0.5, 0.0, 1.0]) == [1.0, 0.0, 0.0, 1.0]
    assert plain(Top(k=3), [0.5] * 4) == [1.0, 1.0, 1.0, 0.0]
    # NumPy sorts up to 16 values so that equal ones keep their order, whatever it is asked for.
    many = Top(k=3).multipliers(np.tile([0.0, 1.0], 20))
    assert many.nonzero()[0].tolist() == [1, 3, 5]


def test_permuted_multipliers_are_the_scored_ones_in_another_order() -> None:
    orders = [plain(Permuted(seed=seed)) for seed in range(8)]
    assert all(sorted(order) == sorted(plain(Scored())) for order in orders)
    assert len({tuple(order) for order in orders}) > 3
    assert plain(Permuted(seed=3)) == orders[3]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@given(
    rest=st.lists(st.floats(0, 1), min_size=2, max_size=11),
    positive=st.floats(0, 1, exclude_min=True),
    data=st.data(),
)
def test_every_weighting_has_the_same_budget(
    weighting: str, rest: list[float], positive: float, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(rest)))
    alpha = [*rest[:at], positive, *rest[at:]]
    names = tuple(f"b.{k}" for k in range(len(alpha)))
    sizes = {name: data.draw(st.integers(1, 1000)) for name in names}
    by_name = multipliers(layer_scores_of(names, alpha), weighting, sizes=sizes)
    assert tuple(by_name) == names
    assert np.average(list(by_name.values()), weights=list(sizes.values())) == pytest.approx(1)


def test_blocks_count_by_their_trainable_weights() -> None:
    assert equalised({"a": 3.0, "b": 1.0}, {"a": 1, "b": 3}) == {
        "a": 2.0,
        "b": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_the_options_have_the_defaults_of_the_weightings(name: str) -> None:
    assert MultiplierOptions(weighting=name).chosen() == WEIGHTINGS[name]()


def test_the_options_reach_the_weighting() -> None:
    options = MultiplierOptions(weighting="permuted", beta=2.0, floor=0.0, seed=5)
    assert options.chosen() == Permuted(beta=2.0, floor=0.0, seed=5)
    assert FinetuneConfig(weighting="front", k=2, seed=5).chosen() == Front(k=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "top", "beta": 2.0}, r"beta is 2\.0, but .* 'top' .* \(its settings: k\)"),
        ({"weighting": "uniform", "floor": 0.2}, r"'uniform' has no .* \(its settings: none\)"),
        ({"k": 2}, r"k is 2, but .* 'scored' .* \(its settings: beta, floor\); leave k out"),
    ],
)
def test_an_option_that_the_weighting_does_not_have_is_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(FinetuneError, match=message):
        MultiplierOptions(**options)


@pytest.mark.parametrize(
    ("weighting", "settings", "message"),
    [
        (Scored, {"beta": -1.0}, r"beta is -1\.0"),
        (Inverted, {"floor": 1.5}, r"floor is 1\.5; expected .* a floor in 0 \.\. 1"),
        (Top, {"k": 0}, "k is 0; expected 1 or more"),
    ],
)
def test_a_setting_out_of_range_is_refused(
    weighting: type[Weighting], settings: dict[str, float], message: str
) -> None:
    with pytest.raises(FinetuneError, match=message):
        weighting(**settings)


@pytest.mark.parametrize("weighting", [Top(k=5), Front(k=5)])
def test_more_blocks_than_there_are_cannot_be_trained(weighting: Weighting) -> None:
    with pytest.raises(FinetuneError, match=r"k is 5; expected 1 \.\. 4, the number of blocks"):
        plain(weighting)


def test_an_unknown_weighting_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: front, inverted, permuted"):
        multipliers(layer_scores_of(BLOCKS, ALPHA), "best")


def test_a_weighting_of_ones_own_has_settings_of_its_own() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Threshold(Weighting):
        least: float = 0.5

        def multipliers(self, alpha: np.ndarray) -> np.ndarray:
            return np.asarray(alpha >= self.least, dtype=float)

    assert [field.name for field in fields(Threshold)] == ["least"]
    assert plain(Threshold(least=0.25)) == [0.0, 1.0, 1.0, 1.0]
    with WEIGHTINGS.restored():
        WEIGHTINGS.register("threshold")(Threshold)
        assert FinetuneConfig(weighting="threshold").chosen() == Threshold()


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(FinetuneError, match="every multiplier is 0"):
        equalised({"a": 0.0})


def test_names_that_do_not_match_are_listed() -> None:
    require_names(("b", "a"), ("a", "b"), "clip")
    with pytest.raises(FinetuneError, match=r"of clip \(not in the model: x; without a score: b\)"):
        require_names(("a", "x"), ("a", "b"), "clip")


def test_the_names_of_scores_may_have_the_parts_of_wrappers() -> None:
    require_names(("base_model.model.b", "module._orig_mod.a"), ("a", "b"), "clip")
    require_names(("a", "b"), ("_orig_mod.a", "x.base_layer", "_orig_mod.b")[::2], "clip")
    with pytest.raises(FinetuneError, match=r"not in the model: module\.x"):
        require_names(("a", "module.x"), ("a", "b"), "clip")
    with pytest.raises(FinetuneError, match="the scores are not of the blocks"):
        require_names(("a", "module.a"), ("a", "b"), "clip")
