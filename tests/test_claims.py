"""Claims state only what their finding can have; a counterfactual changes one attribute."""

from dataclasses import fields, replace
from typing import get_args

import pytest
from every_claim import plain_claims

from negtrace.errors import LanguageError, UnknownNameError
from negtrace.language.claims import Claim, check_claim
from negtrace.language.counterfactuals import (
    OPPOSITES,
    Attribute,
    contradictions,
    counterfactuals,
    deny,
)
from negtrace.language.findings import FINDINGS, VOCABULARY

CHEXPERT = {
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "Pleural Effusion", "Pleural Other", "Pneumonia",
    "Pneumothorax", "Support Devices",
}  # fmt: skip
NIH = {
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis",
    "Hernia", "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
}  # fmt: skip


def test_the_vocabulary_covers_both_label_sets() -> None:
    assert {finding.label for finding in VOCABULARY.values()} - {""} == CHEXPERT | {"Nodule"}
    assert {finding.nih for finding in VOCABULARY.values()} - {""} == NIH
    assert [key for key, finding in VOCABULARY.items() if finding.label] == list(FINDINGS)


@pytest.mark.parametrize("finding", VOCABULARY.values(), ids=VOCABULARY)
def test_every_entry_of_the_vocabulary_is_complete(finding) -> None:
    assert set(finding.allowed) <= {"side", "zone", "severity"}
    assert len(set(finding.allowed)) == len(finding.allowed)
    assert len(finding.names) >= 2
    assert finding.normal.endswith(".")
    assert finding.abnormal.endswith(".")
    for name in finding.names:
        assert name.counted == (name.article in ("a", "an"))
        assert (name.plural != name.words) == name.counted
        assert not name.counted or (name.article == "an") == (name.words[0] in "aeiou")


def test_a_claim_that_its_finding_cannot_have_is_refused() -> None:
    right = Claim(finding="effusion", present=True, side="left", zone="lower", severity="small")
    assert check_claim(right) is right
    wrong: list[tuple[dict[str, object], str]] = [
        ({"finding": "cardiomegaly"}, "a claim on 'cardiomegaly' has a side"),
        ({"present": False, "certainty": "possible"}, "can be neither in doubt"),
        ({"present": False, "denied": "place"}, "can be neither in doubt"),
        ({"certainty": "possible", "denied": "place"}, "no attribute of it can be denied"),
        ({"severity": None, "denied": "severity"}, "the severity of 'effusion' is denied but not"),
    ]
    for change, message in wrong:
        with pytest.raises(LanguageError, match=message):
            check_claim(replace(right, **change))
    # A record that was read from a file may hold any value.
    object.__setattr__(misread := replace(right), "side", "up")
    with pytest.raises(LanguageError, match="side is 'up'; expected one of left, right, bilateral"):
        check_claim(misread)
    with pytest.raises(UnknownNameError, match="unknown finding 'gout'"):
        check_claim(Claim(finding="gout", present=True))


def test_the_repr_of_a_claim_shows_what_it_states() -> None:
    claim = Claim(finding="mass", present=True, zone="upper", denied="place")
    assert repr(claim) == "Claim(finding='mass', present=True, zone='upper', denied='place')"
    assert eval(repr(claim)) == claim  # noqa: S307


def test_negating_twice_gives_the_claim_again() -> None:
    claim = Claim(finding="mass", present=True, zone="upper")
    assert claim.negate().negate() == claim
    assert deny(claim, "place").negate() == claim
    assert not replace(claim, certainty="possible").negate().certainty


CLAIMS = [claim for finding in VOCABULARY for claim in plain_claims(finding)]


def test_a_counterfactual_differs_in_exactly_one_attribute() -> None:
    for claim in CLAIMS:
        made = counterfactuals(claim)
        order = [wrong.changed for wrong in made]
        assert order == sorted(order, key=get_args(Attribute).index)
        assert len({wrong.claim for wrong in made}) == len(made)
        for wrong in made:
            before, after = vars(claim), vars(wrong.claim)
            changed = [f.name for f in fields(claim) if before[f.name] != after[f.name]]
            assert changed == ["present" if wrong.changed == "presence" else wrong.changed]
            assert check_claim(wrong.claim)
        values = [value for value in (claim.side, claim.zone, claim.severity) if value]
        assert len(made) == 1 + sum(len(OPPOSITES[value]) for value in values)


@pytest.mark.parametrize(
    ("low", "middle", "high"),
    [("left", "bilateral", "right"), ("upper", "middle", "lower"), ("small", "moderate", "large")],
)
def test_a_value_is_changed_to_the_opposite_end(low: str, middle: str, high: str) -> None:
    assert (OPPOSITES[low], OPPOSITES[high]) == ((high,), (low,))
    assert OPPOSITES[middle] in ((low, high), (high, low))


def test_counterfactuals_in_chosen_attributes() -> None:
    claim = Claim(finding="nodule", present=True, side="bilateral", zone="middle")
    assert [c.claim.side for c in counterfactuals(claim, ["side"])] == ["left", "right"]
    assert counterfactuals(claim, ["severity"]) == ()
    with pytest.raises(LanguageError, match="has a side"):
        counterfactuals(Claim(finding="hernia", present=True, side="left"))


def test_contradictions_are_the_counterfactuals_that_must_be_wrong() -> None:
    both = Claim(finding="effusion", present=True, side="bilateral", zone="upper", severity="large")
    assert [c.changed for c in contradictions(both)] == ["presence", "zone", "severity"]
    left = replace(both, side="left")
    assert [c.changed for c in contradictions(left)] == ["presence", "side", "zone", "severity"]
    assert [c.claim for c in contradictions(left.negate())] == [left]
    assert [c.claim for c in contradictions(deny(left, "place"))] == [left]
