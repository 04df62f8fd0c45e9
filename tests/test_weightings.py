"""From layer scores to multipliers: the paper's formula, the controls, the budget, the names."""

from inspect import signature

import numpy as np
import pytest
from claim_sets import layer_scores_of
from hypothesis import given
from hypothesis import strategies as st

from negtrace.errors import FinetuneError, UnknownNameError
from negtrace.training import FinetuneConfig
from negtrace.training.multipliers import WEIGHTINGS, equalised, require_names, scales

BLOCKS = ("b.0", "b.1", "b.2", "b.3")
ALPHA = [0.0, 0.25, 1.0, 0.5]
SCORES = layer_scores_of(BLOCKS, ALPHA)
GIVEN = ("scores", "sizes")
"""What `scales` is told of the model."""


def plain(weighting: str = "scored", **options: float) -> list[float]:
    return list(scales(SCORES, weighting, equal_budget=False, **options).values())


def test_a_multiplier_is_alpha_to_the_beta_and_no_less_than_the_floor() -> None:
    assert plain(floor=0.1) == [0.1, 0.25, 1.0, 0.5]
    assert plain(beta=2.0, floor=0.0) == [0.0, 0.0625, 1.0, 0.25]


def test_a_training_weighs_as_scales_does_unless_it_is_said() -> None:
    own = {n: p.default for n, p in signature(scales).parameters.items() if n not in GIVEN}
    assert own == {name: getattr(FinetuneConfig(), name) for name in own}


def test_beta_0_is_uniform_also_where_alpha_is_0() -> None:
    assert plain(beta=0.0) == plain("uniform") == [1.0] * 4


def test_the_controls_are_what_they_are_called() -> None:
    assert plain("inverted", floor=0.0) == [1.0, 0.75, 0.0, 0.5]
    assert plain("top", k=2) == [0.0, 0.0, 1.0, 1.0]
    assert plain("front", k=2) == [1.0, 1.0, 0.0, 0.0]
    drawn = [plain("permuted", seed=seed) for seed in range(8)]
    assert all(sorted(one) == sorted(plain()) for one in drawn)
    assert len({tuple(one) for one in drawn}) > 3
    assert plain("permuted", seed=3) == drawn[3]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@given(
    alpha=st.lists(st.floats(0, 1), min_size=3, max_size=12).filter(lambda a: max(a) > 0),
    beta=st.floats(0, 3),
    data=st.data(),
)
def test_every_weighting_has_the_same_budget(
    weighting: str, alpha: list[float], beta: float, data: st.DataObject
) -> None:
    names = tuple(f"b.{k}" for k in range(len(alpha)))
    sizes = {name: data.draw(st.integers(1, 1000)) for name in names}
    found = scales(layer_scores_of(names, alpha), weighting, beta=beta, sizes=sizes)
    assert tuple(found) == names
    assert np.average(list(found.values()), weights=list(sizes.values())) == pytest.approx(1)


def test_blocks_are_counted_by_their_trainable_weights() -> None:
    assert equalised({"a": 3.0, "b": 1.0}, {"a": 1, "b": 3}) == {
        "a": 2.0,
        "b": pytest.approx(2 / 3),
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beta": -1.0}, "beta -1.0"),
        ({"floor": 1.5}, "floor 1.5"),
        ({"k": 5}, r"k is 5; expected 1 \.\. 4"),
    ],
)
def test_a_setting_out_of_range_is_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(FinetuneError, match=said):
        scales(SCORES, **options)


def test_an_unknown_weighting_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="known: front, inverted, permuted"):
        scales(SCORES, "best")


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(FinetuneError, match="every multiplier is 0"):
        equalised({"a": 0.0})


def test_names_that_do_not_match_are_listed() -> None:
    require_names(("b", "a"), ("a", "b"), "clip")
    with pytest.raises(FinetuneError, match=r"of clip \(not in the model: x; without a score: b\)"):
        require_names(("a", "x"), ("a", "b"), "clip")
