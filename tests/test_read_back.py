"""The law of every generator: a statement of several claims is read back to exactly those."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import pytest
import source_files
from every_claim import plain_claims, written_claims

from negtrace.bench.cases import PhantomCases, TextCases
from negtrace.bench.claims import phantom_test_sets
from negtrace.bench.polarity import WORDINGS, polarity_questions
from negtrace.datasets import DatasetConfig, build_dataset
from negtrace.datasets.claim_sets import ClaimSet, wrongs
from negtrace.datasets.splits import SPLITS
from negtrace.language.claims import Claim
from negtrace.language.cues import find_cues
from negtrace.language.findings import FINDINGS, VOCABULARY
from negtrace.language.parse import parse_claim, parse_claims
from negtrace.language.wording import caption, list_of_claims, realize
from negtrace.pairs.radiology import radiology_pairs
from negtrace.phantom import reports
from negtrace.phantom.contrasts import draw_contrasts
from negtrace.phantom.patients import draw_patient
from negtrace.training import data
from negtrace.training.data import phantom_training_sets, text_training_sets

STATED = [list(plain_claims(finding.key, finding.attributes)) for finding in FINDINGS.values()]
"""The claims of each built-in finding that captions state."""


def drawn(rng: Random, most: int) -> list[Claim]:
    """Return a claim on each of several findings, in any order."""
    chosen = rng.sample(STATED, rng.randint(1, most))
    return [rng.choice(claims) for claims in chosen]


def assert_says(text: str, claims: Iterable[Claim]) -> None:
    """Fail unless a text makes these claims and no others, in any order."""
    assert Counter(parse_claims(text)) == Counter(claims), text


def assert_says_equivalent(text: str, claims: Iterable[Claim]) -> None:
    """Fail unless a text makes these claims, and says nothing more of what is absent."""
    plain = [c if c.present else Claim(finding=c.finding, present=False) for c in claims]
    assert_says(text, plain)
    # "Device-free" is a denial after all.
    assert {cue.text for cue in find_cues(text)} <= {"-free", "free", "free from"}, text


@pytest.mark.parametrize("make", [caption, realize])
def test_a_statement_of_several_claims_says_them_all(make: Callable[..., str]) -> None:
    rng = Random(13)  # noqa: S311
    for seed in range(500):
        claims = drawn(rng, 6)
        text = make(claims, seed=seed)
        assert_says(text, claims)
        assert bool(find_cues(text)) == any(not claim.present for claim in claims), text
        assert_says_equivalent(make(claims, seed=seed, wording="equivalent"), claims)


def test_a_denial_never_precedes_what_is_there() -> None:
    claims = [
        Claim(finding="device", present=False),
        Claim(finding="edema", present=True, severity="small"),
        Claim(finding="cardiomegaly", present=False),
        Claim(finding="nodule", present=True, side="left"),
    ]
    text = list_of_claims(claims)
    assert text == (
        "mild pulmonary edema, a nodule in the left lung, no support device and no cardiomegaly"
    )
    flipped = list_of_claims([claims[0].negate(), *claims[1:]])
    assert set(text.replace(" and ", ", ").split(", ")) - {"no support device"} == set(
        flipped.replace(" and ", ", ").split(", ")
    ) - {"a support device"}


def test_the_questions_of_the_polarity_suite_say_their_claims() -> None:
    for cases in (PhantomCases(), TextCases()):
        for question in polarity_questions(cases, 80, seed=5):
            negated, affirmative = (
                question.texts(WORDINGS[series]) for series in ("negated", "affirmative")
            )
            for claims, text, mirrored in zip(question.options, negated, affirmative, strict=True):
                assert_says(text, claims)
                assert_says_equivalent(mirrored, claims)
                read = [
                    [claim.finding for claim in parse_claims(words)] for words in (text, mirrored)
                ]
                assert read[0] == read[1]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any], set[Claim]]]:
    """Return the rows of a data set of claims of every kind, and the claims of their studies."""
    folder = tmp_path_factory.mktemp("sets")
    rng = Random(8)  # noqa: S311
    pools = [
        [claim for claim in written_claims(finding) if not (claim.certainty or claim.denied)]
        for finding in VOCABULARY
    ]
    studies = [[rng.choice(pool) for pool in rng.sample(pools, 5)] for _ in range(120)]
    records = [
        {
            "patient": f"p{number}",
            "text": f"study {number}",
            "claims": [{k: v for k, v in vars(claim).items() if v is not None} for claim in claims],
        }
        for number, claims in enumerate(studies)
    ]
    source = folder / "claims.jsonl"
    source.write_text("\n".join(map(json.dumps, records)), "utf-8")
    build_dataset(source, folder / "out", DatasetConfig(val=0.2, test=0.2, per_study=0))
    return [
        (kind, row, set(studies[int(row["anchor"]["text"].split()[1])]))
        for split in SPLITS
        for kind in ("claims", "captions", "pairs")
        for row in source_files.lines(folder / "out", kind, split)
    ]


def true_of(claim: Claim, study: set[Claim]) -> bool:
    """Tell whether a study has a claim, or one that a denied attribute is wrong of."""
    return claim in study or any(
        claim.denied and claim.negate() in [other for _, other in wrongs(fact)] for fact in study
    )


def test_claim_sets_say_one_wrong_claim_each(
    rows: list[tuple[str, dict[str, Any], set[Claim]]],
) -> None:
    sets = [(row, study) for kind, row, study in rows if kind == "claims"]
    assert len(sets) > 400
    for row, study in sets:
        right = parse_claims(row["right"])
        assert all(true_of(claim, study) for claim in right), row["right"]
        for wrong in row["wrong"]:
            read = parse_claims(wrong["text"])
            [(claim, other)] = [p for p in zip(right, read, strict=True) if p[0] != p[1]]
            assert (wrong["attribute"], other) in wrongs(claim), wrong["text"]


def test_captions_and_pairs_say_one_claim_each(
    rows: list[tuple[str, dict[str, Any], set[Claim]]],
) -> None:
    counts = Counter(kind for kind, _, _ in rows)
    assert min(counts["captions"], counts["pairs"]) > 300
    for kind, row, study in rows:
        if kind == "captions":
            claim = parse_claim(row["caption"])
            assert true_of(claim, study), row["caption"]
            assert claim.finding == row["finding"]
            assert find_cues(row["caption"])
        elif kind == "pairs":
            true, false = parse_claim(row["true"]), parse_claim(row["false"])
            assert true in study, row["true"]
            assert false == true.negate(), row["false"]


def test_pairs_and_contrasts_say_one_claim_each() -> None:
    texts = [(pair.tags["finding"], pair.true, pair.false) for pair in radiology_pairs()]
    texts += [(one.claim.finding, one.true, one.false) for one in draw_contrasts(70, seed=1)]
    for finding, *statements in texts:
        read = [parse_claim(text) for text in statements]
        assert {claim.present for claim in read} == {True, False}
        assert {replace_presence(claim) for claim in read} == {Claim(finding=finding, present=True)}


def replace_presence(claim: Claim) -> Claim:
    """Return a claim as if its finding were present."""
    return claim if claim.present else claim.negate()


@pytest.mark.parametrize("make", [phantom_training_sets, text_training_sets, phantom_test_sets])
def test_training_data_say_their_claims(
    make: Callable[..., list[ClaimSet]], monkeypatch: pytest.MonkeyPatch
) -> None:
    worded, realized = data.worded, data.realize
    texts: list[str] = []

    def read_back(claims: Sequence[Claim], seed: int) -> str:
        text = worded(claims, seed)
        assert_says(text, claims)
        texts.append(text)
        return text

    def read_back_equivalent(claims: Sequence[Claim], **options: Any) -> str:
        text = realized(claims, **options)
        assert_says_equivalent(text, claims)
        return text

    monkeypatch.setattr(data, "worded", read_back)
    monkeypatch.setattr(data, "realize", read_back_equivalent)
    sets = make(60, seed=2)
    assert all(one.right in texts or make is phantom_test_sets for one in sets)
    for one in sets:
        right = parse_claims(one.right)
        for attribute, text in one.wrong:
            changed = Counter(parse_claims(text)) - Counter(right)
            [claim] = Counter(right) - Counter(parse_claims(text))
            assert next((attribute, other) for other in changed) in wrongs(claim), text


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_the_reports_of_the_phantom_are_true_of_the_patient(rate: float) -> None:
    denials = 0
    for seed in range(250):
        patient = draw_patient(seed)
        text = reports.report(patient, seed=seed, rate=rate)
        claims = parse_claims(text)
        findings = [claim.finding for claim in claims]
        assert claims, text
        assert len(set(findings)) == len(findings), text
        for claim in claims:
            fact = patient.claim(claim.finding)
            stated = {name: value for name, value in vars(claim).items() if value is not None}
            assert stated.items() <= vars(fact).items(), text
        denials += bool(find_cues(text))
    assert denials > 190 if rate else denials < 60


def test_a_report_says_every_claim_that_it_mentions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PERIPHRASIS_RATE", 0.0)
    rng = Random(3)  # noqa: S311
    for seed in range(250):
        for wording in ("negated", "equivalent"):
            claims = reports._mentioned(draw_patient(seed), wording, rng)
            text = " ".join(reports._sentences(list(claims), wording, rng))
            assert_says(text, claims)
