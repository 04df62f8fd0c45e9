"""Training data: apart from what the benchmark asks, true to their anchors, read from files."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from negtrace.bench.candidates import phantom_candidates
from negtrace.bench.cases import PhantomCases
from negtrace.bench.claims import ATTRIBUTES, phantom_test_sets
from negtrace.bench.polarity import polarity_questions
from negtrace.datasets.claim_sets import ClaimSet
from negtrace.errors import FinetuneError, NegtraceWarning
from negtrace.language.cues import find_cues
from negtrace.language.parse import parse_claims
from negtrace.language.templates import CAPTIONS
from negtrace.phantom.patients import HELD_OUT_SEEDS, TRAIN_SEEDS
from negtrace.training.data import (
    caption_of,
    phantom_training_sets,
    text_training_sets,
    training_sets,
)

SETS = phantom_training_sets(60)


def test_no_radiograph_of_the_benchmark_is_trained_on() -> None:
    trained = {one.anchor.digest for one in SETS}
    asked = polarity_questions(PhantomCases(), 24, seed=0)
    held = {question.case.anchor.digest for question in asked}
    held |= {one.anchor.digest for one in phantom_test_sets(24, seed=0)}
    for candidates in phantom_candidates(24, seed=0).values():
        held |= {anchor.digest for anchor in candidates.anchors}
    assert not trained & held
    assert not set(TRAIN_SEEDS) & set(HELD_OUT_SEEDS[:10])


def test_no_frame_of_the_questions_holds_a_denial() -> None:
    heads = tuple(frame.partition("{")[0] for frame in CAPTIONS if not frame.startswith("{"))
    texts = [
        text for one in SETS for text in (caption_of(one), one.right, *dict(one.wrong).values())
    ]
    denials = [text for text in texts if re.search(r"\b(no|without|absent|negative)\b", text)]
    assert len(denials) > len(SETS)
    assert not [text for text in denials if any(head in text for head in heads)]


def test_half_of_the_sets_are_about_an_absent_finding_and_wrong_claims_differ() -> None:
    for one in SETS:
        wrong = [text for _, text in one.wrong]
        assert wrong
        assert one.right not in wrong
        assert len(set(wrong)) == len(wrong)
    assert {attribute for one in SETS for attribute, _ in one.wrong} == set(ATTRIBUTES)
    denied = [bool(find_cues(one.right)) for one in SETS[1::2]]
    assert np.mean(denied) > 0.9


def test_the_same_seed_gives_the_same_sets() -> None:
    assert (
        phantom_training_sets(6, seed=3)
        == phantom_training_sets(6, seed=3)
        != phantom_training_sets(6, seed=4)
    )
    assert (
        text_training_sets(6, seed=3)
        == text_training_sets(6, seed=3)
        != text_training_sets(6, seed=4)
    )


def test_every_combination_of_three_findings_is_equally_likely() -> None:
    stated = [parse_claims(one.right) for one in phantom_training_sets(300, seed=1)]
    present = Counter(
        sum(claim.present for claim in claims) for claims in stated if len(claims) == 3
    )
    assert present.keys() == {0, 1, 2, 3}
    # One in eight says that all three are present, and one in eight that none is.
    assert min(present[0], present[3]) > 4


@pytest.mark.parametrize("make", [phantom_training_sets, text_training_sets])
def test_findings_can_be_left_out(make: Callable[..., list[ClaimSet]]) -> None:
    sets = make(60, findings=("edema", "cardiomegaly"))
    texts = [
        t for one in sets for t in (one.caption, one.right, *(wrong for _, wrong in one.wrong))
    ]
    texts += [one.anchor.text or "" for one in sets]
    assert {claim.finding for text in texts for claim in parse_claims(text)} == {
        "edema",
        "cardiomegaly",
    }


def test_claim_sets_are_read_with_their_captions(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(tmp_path / "a.png")
    wrong = [{"text": "There is some edema.", "attribute": "existence"}]
    rows = [
        {"anchor": {"image": "a.png"}, "right": "There is no edema.", "wrong": wrong},
        {"anchor": {"text": "Dry."}, "right": "No edema.", "wrong": wrong, "caption": "Clear."},
        {"anchor": {"text": "Dry."}, "right": "No edema.", "wrong": []},
    ]
    path = tmp_path / "sets.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(NegtraceWarning, match=r"1 line\(s\) of sets.jsonl cannot be used"):
        sets = training_sets(path)
    assert [caption_of(one) for one in sets] == ["There is no edema.", "Clear."]


def test_data_that_do_not_exist_are_answered_with_the_ready_made_ones(tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match=r"none\.jsonl': .* ready-made data \(phantom, text\)"):
        training_sets(tmp_path / "none.jsonl")
