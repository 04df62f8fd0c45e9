"""Laws of the wording: seeded, grammatical for every finding, and minimal where it must be."""

import re
from functools import cache
from itertools import product

import pytest

from negtrace.errors import UnknownNameError
from negtrace.language.claims import SEVERITIES, SIDES, ZONES, Claim
from negtrace.language.findings import FINDINGS, Finding
from negtrace.language.twins import FINDING_TWINS, finding_twins
from negtrace.language.wording import (
    ABSENT,
    PRESENT,
    caption,
    phrase,
    realize,
    sentence,
)

PLURALS = {
    "effusion": "pleural effusions",
    "pneumothorax": "pneumothoraces",
    "nodule": "nodules",
    "device": "support devices",
    "opacity": "lung opacities",
    "lesion": "lung lesions",
    "fracture": "fractures",
}


def claims_of(finding: str) -> list[Claim]:
    """Return every claim that may be made of a finding."""
    stated = FINDINGS[finding].attributes
    return [
        Claim(finding=finding, present=present, side=side, zone=zone, severity=severity)
        for present, side, zone, severity in product(
            (True, False),
            (None, *SIDES) if "side" in stated else (None,),
            (None, *ZONES) if "zone" in stated else (None,),
            (None, *SEVERITIES) if "severity" in stated else (None,),
        )
    ]


@cache
def every_sentence(finding: str) -> list[tuple[Claim, str]]:
    """Return each claim in enough seeds to meet every template."""
    return [
        (claim, sentence(claim, seed=seed)) for claim in claims_of(finding) for seed in range(40)
    ]


@pytest.mark.parametrize("finding", FINDINGS)
def test_sentences_are_well_formed(finding: str) -> None:
    for claim, text in every_sentence(finding):
        assert re.fullmatch(r"[A-Z][a-z, -]*\.", text), text
        assert not re.search(r"  |\ba [aeiou]|\ban [^aeiou]|\b(\w+) \1\b", text.lower()), text
        assert FINDINGS[finding].term.split()[0] in text.lower() or claim.side, text


@pytest.mark.parametrize("finding", FINDINGS)
def test_articles_and_numbers_agree(finding: str) -> None:
    counted = FINDINGS[finding].article != ""
    for claim, text in every_sentence(finding):
        lower = text.lower()
        many = counted and claim.side == "bilateral"
        noun = PLURALS[finding] if many else FINDINGS[finding].term
        assert re.search(rf"\b{noun}\b", lower), text
        assert not (many and re.search(r"\ban? (\w+ )*" + noun, lower)), text
        assert (" are " in lower) <= many, text
        if claim.present and counted and not many:
            assert re.search(rf"\ban? (\w+ )*{noun}", lower), text
        if many and re.match(r"there (is|are) (?!no evidence)", lower):
            assert lower.startswith("there are"), text
        if counted or claim.severity:
            assert "some" not in lower.split(), text


@pytest.mark.parametrize("finding", FINDINGS)
def test_attributes_are_said(finding: str) -> None:
    sized = FINDINGS[finding].article != ""
    grades = {"small": "mild", "moderate": "moderate", "large": "severe"}
    for claim, text in every_sentence(finding):
        words = re.findall(r"[a-z]+", text.lower())
        if claim.side:
            assert (claim.side in words) or (claim.side == "bilateral" and "both" in words), text
        if claim.zone:
            assert claim.zone in words, text
        if claim.severity:
            assert (claim.severity if sized else grades[claim.severity]) in words, text


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_template_is_met(finding: str) -> None:
    texts = {
        present: {text for claim, text in every_sentence(finding) if claim.present == present}
        for present in (True, False)
    }
    for present, templates in ((True, PRESENT), (False, ABSENT)):
        for template in set(templates):
            shape = re.sub(r"\{\w+\}", ".+", template.replace(".", r"\."))
            assert any(re.fullmatch(shape, text) for text in texts[present]), template


@pytest.mark.parametrize("finding", FINDINGS)
def test_polarity_is_said(finding: str) -> None:
    cues = {"no", "without", "absent", "negative"}
    for claim, text in every_sentence(finding):
        assert bool(cues & set(re.findall(r"[a-z]+", text.lower()))) != claim.present, text


@pytest.mark.parametrize("finding", FINDINGS)
def test_equivalents_neither_name_nor_negate(finding: str) -> None:
    absent = Claim(finding=finding, present=False)
    for seed in range(30):
        text = sentence(absent, wording="equivalent", seed=seed).lower()
        assert FINDINGS[finding].term not in text
        assert not {"no", "not", "without", "absent"} & set(text.replace(".", "").split())
        assert text.endswith(".")
    assert (
        phrase(absent, wording="equivalent").removeprefix("a ") == FINDINGS[finding].normal_phrase
    )


def test_captions_differ_only_in_the_flipped_claim() -> None:
    kept = [Claim(finding="edema", present=True), Claim(finding="nodule", present=True)]
    asked = Claim(finding="effusion", present=True)
    for seed in range(40):
        affirmed = caption([kept[0], asked, kept[1]], seed=seed)
        denied = caption([kept[0], asked.negate(), kept[1]], seed=seed)
        assert affirmed.replace("a pleural effusion", "no pleural effusion") == denied


def test_captions_list_in_order() -> None:
    names = ["edema", "nodule", "effusion"]
    text = caption([Claim(finding=name, present=False) for name in names], seed=2).lower()
    assert "no pulmonary edema, no nodule and no pleural effusion." in text


def test_realize_says_every_claim_once() -> None:
    claims = [Claim(finding=finding, present=False) for finding in FINDINGS]
    for seed in range(20):
        text = realize(claims, seed=seed).lower()
        places = [re.findall(rf"\b{f.term}\b", text) for f in FINDINGS.values()]
        assert [len(found) for found in places] == [1] * len(FINDINGS)


def test_wording_is_seeded() -> None:
    claims = claims_of("nodule")[:5]
    assert realize(claims, seed=3) == realize(claims, seed=3)
    assert len({realize(claims, seed=seed) for seed in range(20)}) > 10


def test_nothing_to_say() -> None:
    assert realize([]) == ""
    with pytest.raises(UnknownNameError, match="unknown finding 'gout'"):
        sentence(Claim(finding="gout", present=True))


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDINGS)
def test_twins_differ_in_one_word(finding: Finding) -> None:
    for affirmed, negated in finding_twins(finding):
        pairs = list(zip(affirmed.split(), negated.split(), strict=True))
        assert sum(a != b for a, b in pairs) == 1
    assert len(finding_twins(finding)) == len(FINDING_TWINS)
