"""What is realized is read back to the same claim, for every template and vocabulary entry."""

import gzip
import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from negtrace.errors import LanguageError
from negtrace.language.claims import CERTAINTIES, SEVERITIES, SIDES, ZONES, Claim, check_claim
from negtrace.language.counterfactuals import counterfactuals, deny
from negtrace.language.cues import find_cues
from negtrace.language.findings import FINDINGS, VOCABULARY
from negtrace.language.parse import parse_claim, parse_claims
from negtrace.language.twins import claim_twins, finding_twins
from negtrace.language.wording import (
    STATEMENTS,
    caption,
    equivalents,
    kind_of,
    sentence,
    statement,
    statements,
)


def claims_of(finding: str) -> Iterator[Claim]:
    """Yield every claim that can be made of a finding."""
    allowed = VOCABULARY[finding].allowed
    sides = (None, *SIDES) if "side" in allowed else (None,)
    zones = (None, *ZONES) if "zone" in allowed else (None,)
    severities = (None, *SEVERITIES) if "severity" in allowed else (None,)
    for present, side, zone, severity in product((True, False), sides, zones, severities):
        claim = Claim(finding=finding, present=present, side=side, zone=zone, severity=severity)
        yield claim
        if not present:
            continue
        for certainty in CERTAINTIES:
            yield Claim(**{**vars(claim), "certainty": certainty})
        if side or zone:
            yield deny(claim, "place")
        if severity:
            yield deny(claim, "severity")


@cache
def sampled(finding: str) -> list[tuple[Claim, str]]:
    """Return for every claim some of its wordings, and for the barest of each kind all of them."""
    rng = Random(finding)  # noqa: S311
    seen: set[str] = set()
    found = []
    for claim in claims_of(finding):
        every = list(statements(claim))
        whole = kind_of(claim) not in seen
        seen.add(kind_of(claim))
        found += [
            (claim, text) for text in (every if whole else rng.sample(every, min(3, len(every))))
        ]
    return found


@pytest.mark.parametrize("finding", VOCABULARY)
def test_what_is_realized_is_read_back(finding: str) -> None:
    for claim, text in sampled(finding):
        assert parse_claim(text) == claim, text


@pytest.mark.parametrize("finding", VOCABULARY)
def test_every_template_and_every_name_is_met(finding: str) -> None:
    texts = [text for _, text in sampled(finding)]
    for kind, templates in STATEMENTS.items():
        if kind not in {kind_of(claim) for claim, _ in sampled(finding)}:
            assert kind.endswith("denied")
            continue
        for template in templates:
            shape = re.sub(
                r"\{\w+\}", ".+", re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
            )
            assert any(re.fullmatch(shape, text) for text in texts), template
    for name in VOCABULARY[finding].names:
        assert any(name.words in text.lower() for text in texts), name


@pytest.mark.parametrize("finding", VOCABULARY)
def test_statements_are_well_formed(finding: str) -> None:
    names = {name.words: name for name in VOCABULARY[finding].names}
    for _, text in sampled(finding):
        assert re.fullmatch(r"[A-Z][a-z, -]*\.", text), text
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
def test_the_sentences_of_realize_are_read_back(finding: str) -> None:
    for claim in claims_of(finding):
        plain = not (claim.certainty or claim.denied)
        if not plain or (claim.zone and "zone" not in FINDINGS[finding].attributes):
            continue
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
        ("Heart size is not normal size.", None),
        ("The heart is not of normal heart size", Claim(finding="cardiomegaly", present=True)),
        ("Pericardial effusion without hernia", Claim(finding="hernia", present=False)),
        ("Left and right nodules", Claim(finding="nodule", present=True, side="bilateral")),
    ],
)
def test_attributes_are_denied_in_words(text: str, claim: Claim | None) -> None:
    assert parse_claims(text) == (() if claim is None else (claim,))


def test_each_of_these_wordings_is_realized() -> None:
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


def test_several_claims_in_one_report() -> None:
    text = (
        "Heart size is normal. Small left effusion at the base, no pneumothorax or consolidation. "
        "Possible right upper lobe nodule; mild edema. No rib fractures."
    )
    assert parse_claims(text) == (
        Claim(finding="effusion", present=True, side="left", zone="lower", severity="small"),
        Claim(finding="pneumothorax", present=False),
        Claim(finding="consolidation", present=False),
        Claim(finding="nodule", present=True, side="right", zone="upper", certainty="possible"),
        Claim(finding="edema", present=True, severity="small"),
        Claim(finding="fracture", present=False),
    )


def test_a_report_is_the_claims_of_its_sentences() -> None:
    rng = Random(7)  # noqa: S311
    every = [claim for finding in VOCABULARY for claim in claims_of(finding)]
    for seed in range(60):
        claims = rng.sample(every, 6)
        report = " ".join(statement(claim, seed=seed) for claim in claims)
        assert parse_claims(report) == tuple(claims), report


@pytest.mark.parametrize(
    "text", ["", "The patient is well.", "Nodule and mass.", "\u05d0\u05d9\u05df"]
)
def test_one_claim_is_asked_for(text: str) -> None:
    with pytest.raises(LanguageError, match="expected a text with one claim"):
        parse_claim(text)


@given(st.text(), st.lists(st.sampled_from(["no", "effusion", "left", ",", ".", "mass", "normal"])))
def test_any_text_is_parsed_to_claims_that_can_be_made(text: str, parts: list[str]) -> None:
    for claim in parse_claims(f"{text} {' '.join(parts)}"):
        assert check_claim(claim) is claim


def test_statements_are_seeded_and_varied() -> None:
    claim = Claim(finding="nodule", present=False, side="left", severity="small")
    assert statement(claim, seed=4) == statement(claim, seed=4)
    assert len({statement(claim, seed=seed) for seed in range(60)}) > 40
    with pytest.raises(LanguageError, match="has a zone"):
        statement(Claim(finding="hernia", present=True, zone="upper"))


def clip_model(folder: Path) -> Tokenizer:
    """CLIP's byte-pair encoding, from its published vocabulary."""
    lines = gzip.decompress((folder / "clip_bpe/bpe_simple_vocab_16e6.txt.gz").read_bytes())
    merges = [tuple(line.split()) for line in lines.decode().split("\n")[1 : 49152 - 256 - 1]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), *("".join(merge) for merge in merges)]
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    model = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
    model.normalizer = normalizers.Lowercase()
    words = Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(words, behavior="removed", invert=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    return model


def bert_model(folder: Path) -> Tokenizer:
    """BERT's uncased WordPiece."""
    lines = (folder / "bert_vocab/vocab.txt").read_text("utf-8").splitlines()
    vocabulary = {piece: i for i, piece in enumerate(lines)}
    model = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    model.normalizer = normalizers.BertNormalizer()
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return model


@pytest.mark.parametrize("make", [clip_model, bert_model])
def test_twins_are_one_token_apart_to_real_tokenizers(
    make: Callable[[Path], Tokenizer], data_dir: Path
) -> None:
    model = make(data_dir)
    rng = Random(3)  # noqa: S311
    every = [c for f in VOCABULARY for c in claims_of(f) if not (c.certainty or c.denied)]
    for claim in rng.sample(every, 25):
        for other in counterfactuals(claim):
            if "bilateral" in (claim.side, other.claim.side) and other.changed == "side":
                continue
            pairs = claim_twins(claim, other.claim, length=lambda text: len(model.encode(text).ids))
            assert len(pairs) >= 2
            for one, two in pairs[:6]:
                assert (parse_claim(one), parse_claim(two)) == (claim, other.claim)
                ids = [model.encode(text).ids for text in (one, two)]
                assert sum(a != b for a, b in zip(*ids, strict=True)) == 1, (one, two)


def test_twins_that_there_cannot_be_are_refused() -> None:
    both = Claim(finding="nodule", present=True, side="bilateral")
    left = Claim(finding="nodule", present=True, side="left")
    with pytest.raises(LanguageError, match="no sentences say"):
        claim_twins(both, left)
    with pytest.raises(LanguageError, match="twins need plain claims"):
        claim_twins(left, deny(left, "place"))
