"""Claims say what their finding can have, and counterfactuals change one thing of them."""

from dataclasses import fields, replace
from typing import get_args

import pytest

from negtrace.errors import LanguageError, UnknownNameError
from negtrace.language.claims import SEVERITIES, SIDES, ZONES, Claim, check_claim
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
def test_every_entry_is_whole(finding) -> None:
    assert set(finding.allowed) <= {"side", "zone", "severity"}
    assert len(set(finding.allowed)) == len(finding.allowed)
    assert len(finding.names) >= 2
    assert finding.normal.endswith(".")
    assert finding.abnormal.endswith(".")
    for name in finding.names:
        assert name.counted == (name.article in ("a", "an"))
        assert (name.plural != name.words) == name.counted
        assert not name.counted or (name.article == "an") == (name.words[0] in "aeiou")


def test_a_claim_is_held_to_what_its_finding_can_have() -> None:
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
    # As a record read from a file may have it.
    object.__setattr__(misread := replace(right), "side", "up")
    with pytest.raises(LanguageError, match="side is 'up'; expected one of left, right, bilateral"):
        check_claim(misread)
    with pytest.raises(UnknownNameError, match="unknown finding 'gout'"):
        check_claim(Claim(finding="gout", present=True))


def test_a_claim_shows_what_is_stated() -> None:
    claim = Claim(finding="mass", present=True, zone="upper", denied="place")
    assert repr(claim) == "Claim(finding='mass', present=True, zone='upper', denied='place')"
    assert eval(repr(claim)) == claim  # noqa: S307


def test_to_negate_twice_is_to_affirm() -> None:
    claim = Claim(finding="mass", present=True, zone="upper")
    assert claim.negate().negate() == claim
    assert deny(claim, "place").negate() == claim
    assert not replace(claim, certainty="possible").negate().certainty


CLAIMS = [
    Claim(finding=key, present=present, side=side, zone=zone, severity=severity)
    for key, finding in VOCABULARY.items()
    for present in (True, False)
    for side in ((None, *SIDES) if "side" in finding.allowed else (None,))
    for zone in ((None, *ZONES) if "zone" in finding.allowed else (None,))
    for severity in ((None, *SEVERITIES) if "severity" in finding.allowed else (None,))
]


def test_a_counterfactual_differs_in_exactly_one_attribute() -> None:
    for claim in CLAIMS:
        made = counterfactuals(claim)
        assert [m.changed for m in made] == sorted(
            (m.changed for m in made), key=get_args(Attribute).index
        )
        assert len({m.claim for m in made}) == len(made)
        for one in made:
            before, after = vars(claim), vars(one.claim)
            changed = [f.name for f in fields(claim) if before[f.name] != after[f.name]]
            assert changed == ["present" if one.changed == "presence" else one.changed]
            assert check_claim(one.claim)
        wanted = 1 + sum(len(OPPOSITES[v]) for v in (claim.side, claim.zone, claim.severity) if v)
        assert len(made) == wanted


@pytest.mark.parametrize(
    ("one", "between", "other"),
    [("left", "bilateral", "right"), ("upper", "middle", "lower"), ("small", "moderate", "large")],
)
def test_what_is_changed_is_changed_to_the_far_end(one: str, between: str, other: str) -> None:
    assert (OPPOSITES[one], OPPOSITES[other]) == ((other,), (one,))
    assert OPPOSITES[between] in ((one, other), (other, one))


def test_counterfactuals_of_some_attributes() -> None:
    claim = Claim(finding="nodule", present=True, side="bilateral", zone="middle")
    assert [c.claim.side for c in counterfactuals(claim, ["side"])] == ["left", "right"]
    assert counterfactuals(claim, ["severity"]) == ()
    with pytest.raises(LanguageError, match="has a side"):
        counterfactuals(Claim(finding="hernia", present=True, side="left"))


def test_only_what_must_be_wrong_contradicts_a_claim() -> None:
    both = Claim(finding="effusion", present=True, side="bilateral", zone="upper", severity="large")
    assert [c.changed for c in contradictions(both)] == ["presence", "zone", "severity"]
    left = replace(both, side="left")
    assert [c.changed for c in contradictions(left)] == ["presence", "side", "zone", "severity"]
    assert [c.claim for c in contradictions(left.negate())] == [left]
    assert [c.claim for c in contradictions(deny(left, "place"))] == [left]
