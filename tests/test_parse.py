"""Claims that are put into words are read back from them, for every template and finding."""

import re
from functools import cache
from random import Random

import pytest
from every_claim import plain_claims, written_claims
from hypothesis import given
from hypothesis import strategies as st

from negtrace.errors import LanguageError
from negtrace.language.claims import Claim, check_claim
from negtrace.language.counterfactuals import deny
from negtrace.language.cues import find_cues
from negtrace.language.findings import FINDINGS, VOCABULARY
from negtrace.language.parse import parse_claim, parse_claims
from negtrace.language.templates import STATEMENTS, UNSUITED
from negtrace.language.twins import finding_twins
from negtrace.language.usage import usage_of
from negtrace.language.wording import (
    caption,
    equivalents,
    kind_of,
    sentence,
    statement,
    statements,
)


@cache
def sampled(finding: str) -> list[tuple[Claim, str]]:
    """Return three statements of every claim, and all statements of the first one of each kind."""
    rng = Random(finding)  # noqa: S311
    kinds: set[str] = set()
    sample = []
    for claim in written_claims(finding):
        texts = list(statements(claim))
        if kind_of(claim) in kinds:
            texts = rng.sample(texts, min(3, len(texts)))
        kinds.add(kind_of(claim))
        sample += [(claim, text) for text in texts]
    return sample


@pytest.mark.parametrize("finding", VOCABULARY)
def test_a_statement_is_read_back_to_its_claim(finding: str) -> None:
    for claim, text in sampled(finding):
        assert parse_claim(text) == claim, text


@pytest.mark.parametrize("finding", VOCABULARY)
def test_the_sample_contains_every_template_and_name(finding: str) -> None:
    texts = [text for _, text in sampled(finding)]
    for kind, templates in STATEMENTS.items():
        if kind not in {kind_of(claim) for claim, _ in sampled(finding)}:
            assert kind.endswith("denied")
            continue
        unsuited = UNSUITED.get(usage_of(finding, VOCABULARY[finding].term).kind, frozenset())
        for template in templates:
            if template in unsuited:
                continue
            shape = re.sub(
                r"\{\w+\}", ".+", re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
            )
            assert any(re.fullmatch(shape, text) for text in texts), template
    for name in VOCABULARY[finding].names:
        assert any(name.words.lower() in text.lower() for text in texts), name


@pytest.mark.parametrize("finding", VOCABULARY)
def test_statements_are_well_formed(finding: str) -> None:
    names = {name.words: name for name in VOCABULARY[finding].names}
    for _, text in sampled(finding):
        assert re.fullmatch(r"[A-Z][a-z, -]*\.", text.replace("PICC", "picc").capitalize()), text
        assert not re.search(r"  |\ba [aeiou]|\ban [^aeiou]|\b(\w+) \1\b", text.lower()), text
        assert not re.search(r"\b(no|free of|without|the) an? ", text.lower()), text
        for words, name in names.items():
            if name.counted and re.search(rf"^there (is|may be) {words}\b", text.lower()):
                pytest.fail(f"no article in {text!r}")


@pytest.mark.parametrize("finding", VOCABULARY)
def test_statements_negate_where_the_claim_does(finding: str) -> None:
    for claim, text in sampled(finding):
        denies = not claim.present or claim.denied is not None
        assert bool(find_cues(text)) == denies, text


@pytest.mark.parametrize("finding", VOCABULARY)
def test_equivalents_are_read_back(finding: str) -> None:
    absent = Claim(finding=finding, present=False)
    texts = list(equivalents(finding))
    assert len(texts) >= 3
    for text in texts:
        # "The chest is free from lines and tubes." negates after all.
        assert find_cues(text) == () or "free from" in text
        assert parse_claim(text) == absent, text
    assert parse_claim(VOCABULARY[finding].abnormal) == absent.negate()


@pytest.mark.parametrize("finding", FINDINGS)
def test_sentences_and_captions_are_read_back(finding: str) -> None:
    for claim in plain_claims(finding, FINDINGS[finding].attributes):
        for seed in range(6):
            text = sentence(claim, seed=seed)
            assert parse_claim(text) == claim, text
            assert parse_claims(caption([claim], seed=seed)) == (claim,)
    for affirmed, negated in finding_twins(FINDINGS[finding]):
        assert parse_claim(affirmed) == Claim(finding=finding, present=True)
        assert parse_claim(negated) == Claim(finding=finding, present=False)


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("no left-sided effusion", Claim(finding="effusion", present=False, side="left")),
        (
            "effusion not involving the left base",
            Claim(finding="effusion", present=True, side="left", zone="lower", denied="place"),
        ),
        (
            "mass not present in the upper lobe",
            Claim(finding="mass", present=False, zone="upper"),
        ),
        (
            "no large pneumothorax",
            Claim(finding="pneumothorax", present=False, severity="large"),
        ),
        ("no evidence of malignant features", Claim(finding="malignancy", present=False)),
        (
            "The effusion is not large.",
            Claim(finding="effusion", present=True, severity="large", denied="severity"),
        ),
        ("Heart size is not normal size.", Claim(finding="cardiomegaly", present=True)),
        ("The heart is not of normal heart size", Claim(finding="cardiomegaly", present=True)),
        ("Pericardial effusion without hernia", Claim(finding="hernia", present=False)),
        ("Left and right nodules", Claim(finding="nodule", present=True, side="bilateral")),
    ],
)
def test_denials_and_their_attributes_are_read(text: str, claim: Claim | None) -> None:
    assert parse_claims(text) == (() if claim is None else (claim,))


def test_statements_include_these_wordings() -> None:
    effusion = Claim(finding="effusion", present=True, side="left", zone="lower")
    assert "Effusion not involving the left base." in statements(deny(effusion, "place"))
    absent = Claim(finding="effusion", present=False, side="left")
    assert "No left-sided effusion." in statements(absent)
    mass = Claim(finding="mass", present=False, zone="upper")
    assert "Mass in the upper lobe not present." in statements(mass)
    large = Claim(finding="pneumothorax", present=False, severity="large")
    assert "No large pneumothorax." in statements(large)
    assert "No evidence of malignant features." in statements(
        Claim(finding="malignancy", present=False)
    )


def test_every_claim_of_a_report_is_read() -> None:
    text = (
        "Heart size is normal. Small left effusion at the base, no pneumothorax or consolidation. "
        "Possible right upper lobe nodule; mild edema. No rib fractures."
    )
    assert parse_claims(text) == (
        Claim(finding="cardiomegaly", present=False),
        Claim(finding="effusion", present=True, side="left", zone="lower", severity="small"),
        Claim(finding="pneumothorax", present=False),
        Claim(finding="consolidation", present=False),
        Claim(finding="nodule", present=True, side="right", zone="upper", certainty="possible"),
        Claim(finding="edema", present=True, severity="small"),
        Claim(finding="fracture", present=False),
    )


def test_a_report_has_the_claims_of_its_sentences() -> None:
    rng = Random(7)  # noqa: S311
    every = [claim for finding in VOCABULARY for claim in written_claims(finding)]
    for seed in range(60):
        claims = rng.sample(every, 6)
        report = " ".join(statement(claim, seed=seed) for claim in claims)
        assert parse_claims(report) == tuple(claims), report


@pytest.mark.parametrize(
    "text", ["", "The patient is well.", "Nodule and mass.", "\u05d0\u05d9\u05df"]
)
def test_a_text_without_exactly_one_claim_is_refused(text: str) -> None:
    with pytest.raises(LanguageError, match="expected a text with one claim"):
        parse_claim(text)


@given(st.text(), st.lists(st.sampled_from(["no", "effusion", "left", ",", ".", "mass", "normal"])))
def test_any_text_is_read_as_valid_claims(text: str, parts: list[str]) -> None:
    for claim in parse_claims(f"{text} {' '.join(parts)}"):
        assert check_claim(claim) is claim


def test_statements_depend_on_the_seed() -> None:
    claim = Claim(finding="nodule", present=False, side="left", severity="small")
    assert statement(claim, seed=4) == statement(claim, seed=4)
    assert len({statement(claim, seed=seed) for seed in range(60)}) > 30
    with pytest.raises(LanguageError, match="has a zone"):
        statement(Claim(finding="hernia", present=True, zone="upper"))
