"""The benchmark of ways to mend negation: what a training has seen, and how runs are summed up."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from mend import Run, held_out_complements, names_any, subject, summary, table, texts_for
from selective import marked_mean

from negtrace.language.complements import complements
from negtrace.language.findings import FINDINGS


@pytest.mark.parametrize("swapped", [False, True])
def test_held_out_words_are_in_no_text_of_the_strict_tier(swapped: bool) -> None:
    about = subject("phantom", 0, swapped=swapped)
    strict, others = (texts_for(about, seen, 0) for seen in ("none", "text"))
    assert len(strict) > 3000
    for key in about.held_out:
        words = [name.words.lower() for name in FINDINGS[key].names]
        assert not [text for text in strict if any(word in text.lower() for word in words)]
        assert [text for text in others if names_any(text, [key])]


def test_the_halves_are_swapped() -> None:
    one, other = (subject("phantom", 0, swapped=swapped) for swapped in (False, True))
    assert (one.trained, one.held_out) == (other.held_out, other.trained)


def test_a_third_of_the_complements_is_held_out_and_none_is_cut() -> None:
    groups = {one.group for one in complements()}
    held_out = held_out_complements()
    assert held_out < groups
    assert 0.3 < len(held_out) / len(groups) < 0.36


def runs(*values: float, row: str) -> list[Run]:
    return [
        {"model": "m", "row": row, "seen": "", "seed": k, "swapped": False, "negated": value}
        for k, value in enumerate(values)
    ]


def test_a_difference_is_taken_run_by_run() -> None:
    before, after = summary(runs(0.1, 0.5, 0.9, row="before") + runs(0.2, 0.6, 1.0, row="after"))
    assert before["mean"]["negated"] == pytest.approx(0.5)
    assert after["over_before"]["negated"] == pytest.approx([0.1, 0.1, 0.1])
    assert marked_mean(after, "negated", "over_before") == "0.600+"
    assert "| after |  | 3 | 0.600+ |" in table([before, after])


def test_a_difference_that_is_not_clear_has_no_sign() -> None:
    _, after = summary(runs(0.1, 0.5, 0.9, row="before") + runs(0.3, 0.4, 0.9, row="after"))
    assert marked_mean(after, "negated", "over_before") == "0.533"
