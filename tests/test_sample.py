import dataclasses
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negtrace.cli import main
from negtrace.cli.tracing import Heads, Trace
from negtrace.encoders.load import load
from negtrace.errors import PairError, UnknownNameError
from negtrace.experiments.before_after import Evaluation, _pairs
from negtrace.pairs import (
    Anchor,
    Composition,
    Pair,
    composition,
    phantom_pairs,
    radiology_pairs,
    sample,
    write_pairs,
)
from negtrace.pairs.sample import FIELDS, _value
from negtrace.tracing.trace import trace

RADIOLOGY = radiology_pairs()
SHAPES = {"radiology": RADIOLOGY, "uneven": RADIOLOGY[:37], "phantom": phantom_pairs(96, size=8)}

strata = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abcde"), st.sampled_from("xyz")),
    min_size=1,
    max_size=60,
)


def made(rows: list[tuple[bool, str, str]]) -> list[Pair]:
    texts = "There is no shadow.", "There is a shadow."
    return [
        Pair(
            id=f"p{number}",
            true=texts[not negated],
            false=texts[negated],
            anchor=Anchor(text="A film."),
            tags={"finding": finding, "template": template},
        )
        for number, (negated, finding, template) in enumerate(rows)
    ]


def counted(pairs: list[Pair], *fields: str) -> Counter[tuple[str, ...]]:
    return Counter(tuple(_value(pair, field) for field in fields) for pair in pairs)


def farthest(pairs: list[Pair], drawn: list[Pair], *fields: str) -> float:
    """Return the largest difference of a count in the sample from its share."""
    counts, share = counted(drawn, *fields), len(drawn) / len(pairs)
    return max(abs(counts[k] - n * share) for k, n in counted(pairs, *fields).items())


@settings(max_examples=200, deadline=None)
@given(rows=strata, n=st.integers(1, 70), seed=st.integers(0, 3))
def test_a_sample_has_the_number_the_shares_and_the_order_it_should(
    rows: list[tuple[bool, str, str]], n: int, seed: int
) -> None:
    pairs = made(rows)
    drawn = sample(pairs, n, seed=seed)
    assert len(drawn) == min(n, len(pairs))
    places = [pairs.index(pair) for pair in drawn]
    assert places == sorted(set(places))
    assert farthest(pairs, drawn, *FIELDS) < 1
    assert farthest(pairs, drawn, "condition") < 1


@settings(max_examples=50, deadline=None)
@given(rows=strata, n=st.integers(1, 70), order=st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_change_a_sample(
    rows: list[tuple[bool, str, str]], n: int, order: random.Random
) -> None:
    pairs = made(rows)
    turned = order.sample(pairs, len(pairs))
    assert {pair.id for pair in sample(turned, n)} == {pair.id for pair in sample(pairs, n)}


@pytest.mark.parametrize("name", SHAPES)
def test_conditions_and_findings_keep_their_shares_at_every_size(name: str) -> None:
    pairs = SHAPES[name]
    for n in range(1, len(pairs) + 1):
        drawn = sample(pairs, n)
        assert farthest(pairs, drawn, "condition") < 1
        assert farthest(pairs, drawn, "finding") < 1
        assert farthest(pairs, drawn, "template") < 2
        assert farthest(pairs, drawn, *FIELDS) < 1


def test_small_samples_hold_both_conditions_and_many_findings() -> None:
    # Every k-th pair holds one condition only at these sizes.
    for n in (8, 12, 24, 70):
        counts = composition(sample(RADIOLOGY, n)).counts
        assert counts["condition"] == {"negated": n // 2, "affirmative": n // 2}
        assert len(counts["finding"]) == min(n, 14)
        assert len(counts["template"]) == 5


def test_a_seed_draws_others_in_the_same_shares() -> None:
    one, again, other = (sample(RADIOLOGY, 20, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert composition(one).counts["condition"] == composition(other).counts["condition"]


@pytest.mark.parametrize("n", [12, 20, 24, 35, 48, 70, 100])
def test_two_fields_are_crossed_as_far_as_the_number_allows(n: int) -> None:
    for seed in range(3):
        drawn = sample(RADIOLOGY, n, seed=seed)
        assert farthest(RADIOLOGY, drawn, "condition", "template") <= 1
        assert farthest(RADIOLOGY, drawn, "condition", "finding") < 1


@pytest.mark.parametrize("n", [2, 3, 4, 8, 20])
@pytest.mark.parametrize("rare", [1, 5, 10])
def test_a_rare_condition_is_drawn_too(n: int, rare: int) -> None:
    rows = [(number < rare, "abcde"[number % 5], "xyz"[number % 3]) for number in range(100)]
    for few_are_negated in (True, False):
        pairs = made([(negated == few_are_negated, *rest) for negated, *rest in rows])
        counts = composition(sample(pairs, n)).counts["condition"]
        assert min(counts.values()) == max(1, n * rare // 100)
        assert sum(counts.values()) == n


def test_one_pair_of_few_is_of_the_common_condition() -> None:
    [pair] = sample(made([(number < 5, "a", "x") for number in range(100)]), 1)
    assert pair.negated == "false"


def test_other_tags_can_be_balanced() -> None:
    tagged = [
        dataclasses.replace(pair, tags={"site": "ab"[number % 3 == 0]})
        for number, pair in enumerate(RADIOLOGY)
    ]
    drawn = composition(sample(tagged, 12, by=("site",)), by=("site",))
    assert drawn.counts == {"site": {"a": 8, "b": 4}}
    with pytest.raises(UnknownNameError, match=r"unknown field of these pairs 'sight'; known: .*"):
        sample(tagged, 12, by=("sight",))


def test_pairs_without_tags_are_balanced_by_their_subject() -> None:
    plain = [dataclasses.replace(pair, tags={}) for pair in RADIOLOGY]
    drawn = composition(sample(plain, 14))
    assert set(drawn.counts["finding"].values()) == {1}
    assert "template" not in drawn.counts
    assert len(drawn.counts["finding"]) == 14


def test_impossible_samples_are_refused() -> None:
    for n in (0, -3):
        with pytest.raises(PairError, match=f"a sample of {n} pairs; expected 1 or more"):
            sample(RADIOLOGY, n)
    with pytest.raises(PairError, match="an id occurs twice"):
        sample([*RADIOLOGY, RADIOLOGY[0]], 8)
    with pytest.raises(PairError, match="no pairs to count"):
        composition([])
    assert sample([], 5) == []


@pytest.mark.parametrize("wrong", ["8.0", "'8'", "None", "[8]"])
def test_a_number_of_pairs_is_a_whole_number(wrong: str) -> None:
    code = f"import negtrace as n; n.sample(n.radiology_pairs(), {wrong})"  # no types are checked
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    message = f"PairError: a sample of {wrong} pairs; expected a whole number"
    assert done.stderr.splitlines()[-1].endswith(message)


def test_a_composition_says_what_pairs_there_are_and_names_nothing_in_an_export() -> None:
    whole = composition(RADIOLOGY)
    assert str(whole) == (
        "140 pairs: 70 negated, 70 affirmative; 14 findings (10 each); 5 templates (28 each)"
    )
    one = composition(RADIOLOGY[:1])
    assert str(one) == "1 pair: 1 negated, 0 affirmative; 1 finding (1 each); 1 template (1 each)"
    assert whole.to_json() == {
        "pairs": 140,
        "condition": {"negated": 70, "affirmative": 70},
        "finding": {"values": 14, "least": 10, "most": 10},
        "template": {"values": 5, "least": 28, "most": 28},
    }
    assert isinstance(whole, Composition)


@pytest.mark.parametrize("command", [Trace, Heads])
def test_a_limit_draws_a_fair_sample_and_prints_it(
    command: type, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(model="toy", limit=20)._pairs() == sample(RADIOLOGY, 20)
    assert capsys.readouterr().out == (
        "20 pairs: 10 negated, 10 affirmative; 14 findings (1 to 2 each); 5 templates (4 each)\n"
    )
    assert command(model="toy", limit=1000)._pairs() == RADIOLOGY
    assert command(model="toy")._pairs() == RADIOLOGY
    write_pairs(RADIOLOGY[:30], tmp_path / "p.jsonl")
    assert command(model="toy", pairs=tmp_path / "p.jsonl", limit=8)._pairs() == sample(
        RADIOLOGY[:30], 8
    )


def test_a_limit_of_no_pairs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "toy", "--limit", "0", "--out", str(tmp_path)]) == 1
    assert "a sample of 0 pairs; expected 1 or more" in capsys.readouterr().err


def test_the_trace_beside_a_training_is_of_a_fair_sample() -> None:
    evaluation = Evaluation(pairs=12, seed=3)
    assert _pairs(evaluation, "text") == sample(RADIOLOGY, 12, seed=3)


def test_a_trace_says_what_the_pairs_in_it_are_made_of() -> None:
    """Dropped pairs do not count: the toy reads no image."""
    pairs = [*sample(RADIOLOGY, 6), phantom_pairs(1, size=8)[0]]
    cte = trace(load("toy"), pairs, progress=False)
    kept = [pair for pair in pairs if pair.id in cte.ids]
    assert cte.provenance.composition == composition(kept).to_json()
    assert len(kept) < len(pairs)
