"""Twins differ in one word, and in one token for the tokenizers of real models."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from every_claim import plain_claims
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from negtrace.errors import LanguageError
from negtrace.language.claims import Claim
from negtrace.language.counterfactuals import counterfactuals, deny
from negtrace.language.findings import FINDINGS, VOCABULARY, Finding
from negtrace.language.parse import parse_claim
from negtrace.language.twins import FINDING_TWINS, claim_twins, finding_twins
from negtrace.language.wording import statements


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=FINDINGS)
def test_finding_twins_differ_in_one_word(finding: Finding) -> None:
    for affirmed, negated in finding_twins(finding):
        pairs = list(zip(affirmed.split(), negated.split(), strict=True))
        assert sum(a != b for a, b in pairs) == 1
    assert len(finding_twins(finding)) == len(FINDING_TWINS)


def clip_model(folder: Path) -> Tokenizer:
    """Return CLIP's byte-pair encoding, made of its published vocabulary."""
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
    """Return BERT's uncased WordPiece tokenizer."""
    lines = (folder / "bert_vocab/vocab.txt").read_text("utf-8").splitlines()
    vocabulary = {piece: i for i, piece in enumerate(lines)}
    model = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    model.normalizer = normalizers.BertNormalizer()
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return model


def written(claim: Claim) -> bool:
    """Tell whether a claim has statements."""
    return next(statements(claim), None) is not None


def sized(claim: Claim) -> bool:
    """Tell whether "moderate" has several tokens: a nodule is "moderate-sized"."""
    return claim.severity == "moderate" and claim.finding in ("nodule", "lesion", "mass")


def in_pleura(claim: Claim) -> bool:
    """Tell whether a finding has an apex and a base, and no lobes."""
    return claim.finding in ("pneumothorax", "thickening")


@pytest.mark.parametrize("make", [clip_model, bert_model])
def test_claim_twins_are_one_token_apart_for_real_tokenizers(
    make: Callable[[Path], Tokenizer], data_dir: Path
) -> None:
    model = make(data_dir)
    rng = Random(3)  # noqa: S311
    every = [claim for finding in VOCABULARY for claim in plain_claims(finding) if written(claim)]
    for claim in rng.sample(every, 25):
        for other in counterfactuals(claim):
            if "bilateral" in (claim.side, other.claim.side) and other.changed == "side":
                continue
            if not written(other.claim):
                continue
            if other.changed == "severity" and (sized(claim) or sized(other.claim)):
                continue
            # "Bilateral mid zone" and "bilateral upper lobe" are two words apart.
            if other.changed == "zone" and claim.side == "bilateral" and not claim.present:
                continue
            # "Apical" and "basilar" are several tokens, "apex" and "base" are one.
            if other.changed == "zone" and claim.side == "bilateral" and in_pleura(claim):
                continue
            pairs = claim_twins(claim, other.claim, length=lambda text: len(model.encode(text).ids))
            if other.changed == "zone":
                pairs = [pair for pair in pairs if not re.search("(?i)apical|basilar", pair[0])]
            assert len(pairs) >= 2
            for one, two in pairs[:6]:
                assert (parse_claim(one), parse_claim(two)) == (claim, other.claim)
                ids = [model.encode(text).ids for text in (one, two)]
                assert sum(a != b for a, b in zip(*ids, strict=True)) == 1, (one, two)


def test_claims_without_twins_are_refused() -> None:
    both = Claim(finding="nodule", present=True, side="bilateral")
    left = Claim(finding="nodule", present=True, side="left")
    with pytest.raises(LanguageError, match="no sentences say"):
        claim_twins(both, left)
    with pytest.raises(LanguageError, match="twins need plain claims"):
        claim_twins(left, deny(left, "place"))


@pytest.mark.parametrize("finding", VOCABULARY)
def test_every_claim_has_twins_with_its_negation(finding: str) -> None:
    for claim in plain_claims(finding):
        if claim.present and written(claim):
            for affirmed, negated in claim_twins(claim, claim.negate()):
                assert parse_claim(affirmed) == claim, affirmed
                assert parse_claim(negated) == claim.negate(), negated
                assert not re.search(r"\bsome (mild|moderate|severe)\b", affirmed), affirmed
                assert not (claim.severity and "some" in affirmed.split()), affirmed
