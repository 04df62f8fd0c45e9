"""Sentences, captions and reports: grammatical for every finding, and chosen by the seed."""

import re
from functools import cache

import pytest
from every_claim import plain_claims

from negtrace.errors import UnknownNameError
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.templates import ABSENT, PRESENT
from negtrace.language.wording import (
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


BARE = re.compile(r"chest radiograph with|(?!an? )(?:(?! is | are ).)*$")
"""Sentences in the style of a caption, which has no articles."""


def claims_of(finding: str) -> list[Claim]:
    """Return every claim whose attributes the phantom draws."""
    return list(plain_claims(finding, FINDINGS[finding].attributes))


@cache
def every_sentence(finding: str) -> list[tuple[Claim, str]]:
    """Return a sentence of each claim for 40 seeds, so that every template occurs."""
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
        plural = counted and claim.side == "bilateral"
        noun = PLURALS[finding] if plural else FINDINGS[finding].term
        assert re.search(rf"\b{noun}\b", lower), text
        assert not (plural and re.search(r"\ban? (\w+ )*" + noun, lower)), text
        assert (" are " in lower) <= plural, text
        if (
            claim.present
            and counted
            and not plural
            and not (BARE.match(lower) and not lower.startswith(("the ", "there ")))
        ):
            assert re.search(rf"\ban? ([\w-]+ )*{noun}", lower), text
        if plural and re.match(r"there (is|are) (?!no evidence)", lower):
            assert lower.startswith("there are"), text
        if counted or claim.severity:
            assert "some" not in lower.split(), text


@pytest.mark.parametrize("finding", FINDINGS)
def test_sentences_state_the_attributes(finding: str) -> None:
    sized = FINDINGS[finding].article != ""
    grades = {
        "small": {"mild"},
        "moderate": {"moderate"},
        "large": {"severe", "extensive", "marked"},
    }
    zones = {"upper": {"upper"}, "middle": {"middle", "mid"}, "lower": {"lower"}}
    for claim, text in every_sentence(finding):
        words = set(re.findall(r"[a-z]+", text.lower()))
        if claim.side:
            assert (claim.side in words) or (claim.side == "bilateral" and "both" in words), text
        if claim.zone:
            assert zones[claim.zone] & words, text
        if claim.severity:
            assert words & ({claim.severity} if sized else grades[claim.severity]), text


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_template_occurs(finding: str) -> None:
    texts = {
        present: {text for claim, text in every_sentence(finding) if claim.present == present}
        for present in (True, False)
    }
    for present, templates in ((True, PRESENT), (False, ABSENT)):
        for template in set(templates):
            shape = re.sub(r"\{\w+\}", ".+", template.replace(".", r"\."))
            assert any(re.fullmatch(shape, text) for text in texts[present]), template


@pytest.mark.parametrize("finding", FINDINGS)
def test_absent_findings_are_denied_and_present_ones_are_not(finding: str) -> None:
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


def test_negating_one_claim_changes_only_its_part_of_a_caption() -> None:
    others = [Claim(finding="edema", present=True), Claim(finding="nodule", present=True)]
    asked = Claim(finding="effusion", present=True)
    for seed in range(40):
        affirmed = caption([others[0], asked, others[1]], seed=seed)
        denied = caption([others[0], asked.negate(), others[1]], seed=seed)
        # What is not there comes last, so the order of the other two stays.
        assert "and no pleural effusion." in denied
        said = [
            sorted(re.split(r", | and |with |showing ", text.lower()))
            for text in (affirmed, denied)
        ]
        changed = [part.replace("a pleural", "no pleural").strip(".") for part in said[0]]
        assert sorted(changed) == sorted(part.strip(".") for part in said[1])


def test_a_caption_keeps_the_order_of_denials() -> None:
    names = ["edema", "nodule", "effusion"]
    text = caption([Claim(finding=name, present=False) for name in names], seed=2).lower()
    assert "no pulmonary edema, no nodule and no pleural effusion." in text


def test_realize_says_every_claim_once() -> None:
    claims = [Claim(finding=finding, present=False) for finding in FINDINGS]
    for seed in range(20):
        text = realize(claims, seed=seed).lower()
        mentions = [re.findall(rf"\b{f.term}\b", text) for f in FINDINGS.values()]
        assert [len(names) for names in mentions] == [1] * len(FINDINGS)


def test_realize_depends_on_the_seed() -> None:
    claims = claims_of("nodule")[:5]
    assert realize(claims, seed=3) == realize(claims, seed=3)
    assert len({realize(claims, seed=seed) for seed in range(20)}) > 10


def test_no_claims_give_no_text() -> None:
    assert realize([]) == ""


def test_an_unknown_finding_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown finding 'gout'"):
        sentence(Claim(finding="gout", present=True))
