"""Properties of every data set, whatever its sources: splits, truth, balance, bytes."""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import source_files
from every_claim import every_claim
from hypothesis import given
from hypothesis import strategies as st

from negtrace import build_dataset, read_pairs
from negtrace.bench.claims import claim_items
from negtrace.datasets import SPLITS, Card, DatasetConfig, read_card
from negtrace.datasets.claim_sets import read_claim_sets, wrongs
from negtrace.datasets.compose import _companions
from negtrace.datasets.pseudonyms import Pseudonyms, key_of
from negtrace.datasets.splits import Splits, _pools, frame, stable_hash
from negtrace.datasets.wording import SeededDraws, _denials, _thinned
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim
from negtrace.language.counterfactuals import counterfactuals
from negtrace.language.findings import VOCABULARY
from negtrace.language.parse import parse_claims
from negtrace.language.twins import claim_twins
from negtrace.language.wording import phrasings

KINDS = ("claims", "captions", "pairs")
MAKERS: dict[str, Callable[..., Path]] = {
    "chexpert.csv": source_files.chexpert,
    "claims.jsonl": source_files.claims,
    "nih.csv": source_files.nih,
    "cad.json": source_files.cad_chest,
    "reports.jsonl": source_files.reports,
}


@pytest.fixture(scope="module", params=["claims.jsonl", "reports.jsonl", "all", "texts"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of claims, of reports, of all layouts together, and with texts for anchors."""
    folder = tmp_path_factory.mktemp("data")
    names = list(MAKERS) if request.param in ("all", "texts") else [request.param]
    sources = [MAKERS[name](folder / name, 80, seed=n) for n, name in enumerate(names)]
    anchors: Any = "text" if request.param == "texts" else "image"
    config = DatasetConfig(seed=3, val=0.2, test=0.2, per_study=2, anchors=anchors)
    build_dataset(sources, folder / "out", config)
    return folder / "out"


def texts(kind: str, row: dict[str, Any]) -> list[str]:
    """Return the statements of a row."""
    if kind == "claims":
        return [row["right"], *(wrong["text"] for wrong in row["wrong"])]
    return [row["caption"]] if kind == "captions" else [row["true"], row["false"]]


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) ", text)


def test_no_statement_and_no_patient_is_in_two_splits(built: Path) -> None:
    statements: dict[str, set[str]] = {split: set() for split in SPLITS}
    patients: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        for kind in KINDS:
            for row in source_files.lines(built, kind, split):
                whole = texts(kind, row)
                statements[split].update(
                    part.casefold() for text in whole for part in sentences(text)
                )
                statements[split].update(text.casefold() for text in whole)
                patients[split].add(row.get("patient") or row["tags"]["patient"])
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        assert statements[first]
        assert statements[second]
        assert not statements[first] & statements[second]
        assert not patients[first] & patients[second]


def test_text_anchors_of_reports_are_in_one_split(tmp_path: Path) -> None:
    source = source_files.reports(tmp_path / "r.jsonl", 150)
    build_dataset(source, tmp_path / "out", DatasetConfig(val=0.2, test=0.2, per_study=0))
    rows = {
        s: [r for k in KINDS for r in source_files.lines(tmp_path / "out", k, s)] for s in SPLITS
    }
    statements = {
        split: {part for row in rows[split] for text in _all_texts(row) for part in sentences(text)}
        for split in SPLITS
    }
    assert all(statements.values())
    assert not statements["train"] & (statements["val"] | statements["test"])
    assert not statements["val"] & statements["test"]
    # Reports are quoted all the same.
    quotes = [r["caption"] for r in rows["train"] if r.get("denied") == "report"]
    assert "No evidence of free air under the diaphragm." in quotes or len(quotes) > 50


def _all_texts(row: dict[str, Any]) -> list[str]:
    kind = "claims" if "right" in row else "captions" if "caption" in row else "pairs"
    anchor = (row["anchor"] or {}).get("text")
    return [*texts(kind, row), *([anchor] if anchor else [])]


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


@pytest.mark.parametrize("seed", range(5))
def test_an_anchor_never_has_the_words_of_its_statement(seed: int, tmp_path: Path) -> None:
    source = source_files.reports(tmp_path / "r.jsonl", 60, seed=seed)
    config = DatasetConfig(val=0.3, test=0.3, per_study=0, seed=seed)
    build_dataset(source, tmp_path / "out", config)
    count = 0
    for kind, split in itertools.product(KINDS, SPLITS):
        for row in source_files.lines(tmp_path / "out", kind, split):
            anchor = (row["anchor"] or {}).get("text", "")
            assert _words(anchor) not in [_words(text) for text in texts(kind, row)]
            count += 1
    assert count > 300


def test_a_row_without_other_words_for_its_anchor_is_left_out_and_counted(tmp_path: Path) -> None:
    splits = Splits(seed=0, val=0.1, test=0.1)
    claim = {"finding": "malignancy", "present": False}
    words = [text for texts in splits.phrasings("train", Claim(**claim)) for text in texts]
    rows = [{"patient": n, "text": text.upper(), "claims": [claim]} for n, text in enumerate(words)]
    source = tmp_path / "c.jsonl"
    source.write_text("\n".join(map(json.dumps, [*rows] * 20)))
    card = build_dataset(source, tmp_path / "out")
    spoken = card.of("claims/train/left_out")["no other words for the anchor"]
    used = card.of("claims")["train"]
    assert spoken
    assert used + spoken == sum(
        splits.of_patient(str(row["patient"])) == "train" for row in rows * 20
    )
    assert "left_out: no other words for the anchor" in (tmp_path / "out/card.md").read_text()


def test_a_wrong_statement_differs_from_the_right_one_in_one_attribute(built: Path) -> None:
    for split in SPLITS:
        for row in source_files.lines(built, "claims", split):
            right = parse_claims(row["right"])
            assert row["wrong"]
            for wrong in row["wrong"]:
                false = parse_claims(wrong["text"])
                [(claim, other)] = [
                    pair for pair in zip(right, false, strict=True) if pair[0] != pair[1]
                ]
                assert claim.finding == other.finding == wrong["finding"]
                assert _changed(claim, other) == wrong["attribute"]


def _changed(claim: Claim, other: Claim) -> str:
    names = [name for name in vars(claim) if getattr(claim, name) != getattr(other, name)]
    [name] = names
    if name == "denied":
        return {"place": "location", "severity": "severity"}[claim.denied or ""]
    return {"present": "existence", "side": "location", "zone": "location"}.get(name, name)


def by_pseudonym(source: Path) -> dict[str, str]:
    """Return the lines of a source by the pseudonyms that rows made of them have."""
    names, lines = Pseudonyms(key_of(None)), source.read_text("utf-8").splitlines()
    return {names.of("study", f"{source.name}:{n}"): line for n, line in enumerate(lines, 1)}


def test_the_right_statement_follows_from_the_source(tmp_path: Path) -> None:
    source = source_files.claims(tmp_path / "c.jsonl", 120)
    build_dataset(source, tmp_path / "out", DatasetConfig(per_study=0))
    known = by_pseudonym(source)
    kinds = Counter[str]()
    for split in SPLITS:
        for row in source_files.lines(tmp_path / "out", "claims", split):
            claims = _claims_of(known[row["id"].rpartition("-")[0]])
            for stated in parse_claims(row["right"]):
                kinds["denied" if stated.denied else str(stated.present)] += 1
                assert any(_follows(stated, claim) for claim in claims)
            for wrong in row["wrong"]:
                assert not all(
                    any(_follows(stated, claim) for claim in claims)
                    for stated in parse_claims(wrong["text"])
                )
        for row in source_files.lines(tmp_path / "out", "captions", split):
            [stated] = parse_claims(row["caption"])
            claims = _claims_of(known[row["id"].rpartition("-")[0]])
            assert any(_follows(stated, claim) for claim in claims)
            kinds[row["denied"]] += 1
        for row in source_files.lines(tmp_path / "out", "pairs", split):
            [stated] = parse_claims(row["true"])
            claims = _claims_of(known[row["id"].rpartition("-")[0]])
            assert any(_follows(stated, claim) for claim in claims)
    assert min(kinds.values()) > 10
    assert set(kinds) == {"denied", "True", "False", "absent", "place denied", "severity denied"}


def _claims_of(line: str) -> list[Claim]:
    rows = json.loads(line)["claims"]
    key = {"Edema": "edema"}
    return [Claim(**{**row, "finding": key.get(row["finding"], row["finding"])}) for row in rows]


def _follows(stated: Claim, known: Claim) -> bool:
    """Tell whether a statement holds where a claim does."""
    if stated == known:
        return True
    if stated.denied and known.present and not known.certainty:
        return stated.negate() in [
            c.claim for c in counterfactuals(known) if c.changed != "presence"
        ]
    return False


def test_every_position_of_the_answer_is_equally_frequent(built: Path) -> None:
    for split in SPLITS:
        rows = source_files.lines(built, "claims", split)
        for options in {1 + len(row["wrong"]) for row in rows}:
            alike = [row for row in rows if 1 + len(row["wrong"]) == options]
            counts = Counter(row["answer"] for row in alike)
            assert set(counts) <= set(range(options))
            low = min(counts[position] for position in range(options))
            assert max(counts.values()) - low <= 1, (split, options, counts)


def test_denials_are_right_about_half_of_the_time(tmp_path: Path) -> None:
    build_dataset(source_files.nih(tmp_path / "n.csv", 500), tmp_path / "out")
    card = read_card(tmp_path / "out")
    counts = card.of("claims/train/polarity")
    # A third of the images shows no finding, so only absence can be stated about them.
    assert 0.25 < counts["present"] / sum(counts.values()) < 0.55


def test_a_statement_about_several_findings_states_and_denies(tmp_path: Path) -> None:
    source = source_files.chexpert(tmp_path / "t.csv", 150)
    build_dataset(source, tmp_path / "out", DatasetConfig(val=0.0, test=0.0))
    known = by_pseudonym(source)
    mixed = alike = 0
    for row in source_files.lines(tmp_path / "out", "claims", "train"):
        polarities = {claim.present for claim in parse_claims(row["right"])}
        cells = known[row["id"].rpartition("-")[0]]
        if {"1.0", "0.0"} <= set(cells.split(",")):
            mixed += len(polarities) == 2
            alike += len(polarities) == 1
    assert mixed > 100
    assert not alike


@pytest.mark.parametrize("seed", range(6))
def test_every_split_has_wordings_of_every_claim(seed: int) -> None:
    splits = Splits(seed=seed, val=0.05, test=0.1)
    for pool in _pools():
        counts = Counter(splits._of_frame(key) for key in pool)
        if len(pool) > 2:
            assert set(counts) == set(SPLITS)
        if len(pool) > 16:
            assert min(counts.values()) > 1
    for key, finding in VOCABULARY.items():
        for claim in (Claim(finding=key, present=True), Claim(finding=key, present=False)):
            for split in SPLITS:
                assert next(splits.phrasings(split, claim), None)
                assert next(splits.twins(split, Claim(finding=key, present=True)), None)
            if "severity" in finding.allowed:
                graded = Claim(finding=key, present=claim.present, severity="moderate")
                assert all(next(splits.phrasings(split, graded), None) for split in SPLITS)


def test_the_split_of_a_patient_depends_on_the_seed_and_the_shares() -> None:
    patients = [f"p{number}" for number in range(400)]
    first, again, other = (
        [Splits(seed=seed, val=0.2, test=0.3).of_patient(patient) for patient in patients]
        for seed in (0, 0, 1)
    )
    assert first == again
    # Two independent draws agree with probability 0.5**2 + 0.2**2 + 0.3**2 = 0.38.
    assert 0.3 < np.mean(np.array(first) == np.array(other)) < 0.46
    shares = {split: first.count(split) / len(first) for split in SPLITS}
    assert shares == pytest.approx({"train": 0.5, "val": 0.2, "test": 0.3}, abs=0.07)


@pytest.mark.parametrize("present", [True, False])
def test_companions_of_a_claim_are_of_alternating_polarity(present: bool) -> None:
    findings = ["edema", "mass", "pneumonia", "fracture", "consolidation", "nodule"]
    others = [Claim(finding=key, present=bool(n % 2)) for n, key in enumerate(findings)]
    claim = Claim(finding="effusion", present=present)
    for seed in range(20):
        companions = _companions([claim, *others], claim, SeededDraws(seed))
        assert [companion.present for companion in companions] == [not present, present]


@pytest.mark.parametrize("key", VOCABULARY)
def test_a_denial_states_what_the_finding_does_not_have(key: str) -> None:
    """A certain claim has a denial of each wrong place and severity, every other claim none."""
    for claim in every_claim(key):
        denials = _denials(claim)
        certain = not (claim.denied or claim.certainty)
        expected = [aspect for aspect, _ in wrongs(claim) if aspect != "existence" and certain]
        assert len(denials) == len(expected)
        for aspect, denial in zip(expected, denials, strict=True):
            assert denial.present
            assert denial.denied == ("severity" if aspect == "severity" else "place")
            place = (denial.side, denial.zone) != (claim.side, claim.zone)
            assert place == (aspect == "location")
            assert (denial.severity != claim.severity) == (aspect == "severity")


@pytest.mark.parametrize("key", VOCABULARY)
def test_wordings_that_differ_in_polarity_or_attribute_share_a_frame(key: str) -> None:
    allowed = VOCABULARY[key].allowed
    stated: dict[str, Any] = {"side": "left", "zone": "lower", "severity": "large"}
    claim = Claim(finding=key, present=True, **{k: v for k, v in stated.items() if k in allowed})
    for together in (*phrasings(claim), *phrasings(claim.negate())):
        assert len({frame(text) for text in together}) == 1
    for affirmative, negated in claim_twins(claim, claim.negate()):
        assert frame(affirmative) == frame(negated)


def test_written_pairs_and_claim_sets_can_be_read(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negtrace.datasets import claim_sets
    from negtrace.pairs import Anchor, Pair

    # The images of these sources are names only.
    monkeypatch.setattr(claim_sets, "image_note", lambda *_, **__: None)
    monkeypatch.setattr(os.path, "isfile", lambda _: True)
    for split in SPLITS:
        pairs = read_pairs(built / f"pairs-{split}.jsonl")
        assert len(pairs) == len(source_files.lines(built, "pairs", split))
        assert all(pair.cue and pair.subject for pair in pairs)
        for pair in pairs[:20]:
            again = Pair(true=pair.true, false=pair.false, anchor=Anchor(text="x"))
            given = (pair.negated, pair.cue, pair.subject)
            assert (again.negated, again.cue, again.subject) == given
        sets, noted = read_claim_sets(built / f"claims-{split}.jsonl")
        assert not noted
        assert len(sets) == len(source_files.lines(built, "claims", split))
        assert claim_items(sets, seed=0)


def test_captions_hold_a_cue_at_the_given_characters(built: Path) -> None:
    from negtrace.language.cues import find_cues

    for split in SPLITS:
        for row in source_files.lines(built, "captions", split):
            spans = [[cue.start, cue.end] for cue in find_cues(row["caption"])]
            assert row["cue"] in spans


def test_the_card_counts_the_rows(built: Path) -> None:
    card = read_card(built)
    for kind in KINDS:
        for split in SPLITS:
            rows = source_files.lines(built, kind, split)
            assert card.counts.get(f"{kind}/{split}", 0) == len(rows)
            assert sum(card.of(f"{kind}/{split}/polarity").values()) == len(rows)
            assert sum(card.of(f"{kind}/{split}/source").values()) == len(rows)
    assert card.counts["records/read"] == card.counts["records/used"] + sum(card.skipped.values())
    text = (built / "card.md").read_text("utf-8")
    assert f"Records read: {card.counts['records/read']}" in text
    sample = source_files.lines(built, "claims", "train")[0]
    for file in ("card.md", "card.json"):
        assert sample["right"] not in (built / file).read_text("utf-8")


def test_the_card_counts_the_findings_the_wrong_statements_and_the_answers(built: Path) -> None:
    card = read_card(built)
    for split in SPLITS:
        rows = source_files.lines(built, "claims", split)
        counted = {
            "finding": Counter(row["finding"] for row in rows),
            "attribute": Counter(wrong["attribute"] for row in rows for wrong in row["wrong"]),
            "options": Counter(str(1 + len(row["wrong"])) for row in rows),
            "answer": Counter(str(row["answer"]) for row in rows),
        }
        for axis, counts in counted.items():
            assert card.of(f"claims/{split}/{axis}") == counts
        denied = Counter(row["denied"] for row in source_files.lines(built, "captions", split))
        assert card.of(f"captions/{split}/polarity") == denied
        pairs = source_files.lines(built, "pairs", split)
        assert card.of(f"pairs/{split}/finding") == Counter(row["tags"]["finding"] for row in pairs)
        absent = sum(row["negated"] == "true" for row in pairs)
        assert card.of(f"pairs/{split}/polarity").get("absent", 0) == absent


def test_the_bytes_depend_on_the_seed_alone(tmp_path: Path) -> None:
    source = source_files.claims(tmp_path / "c.jsonl", 60)
    code = "import sys, negtrace; negtrace.build_dataset(sys.argv[1], sys.argv[2])"
    for hashing in ("1", "2"):
        subprocess.run(  # noqa: S603
            [sys.executable, "-c", code, str(source), str(tmp_path / hashing)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hashing},
        )
    assert source_files.content(tmp_path / "1") == source_files.content(tmp_path / "2")
    build_dataset(source, tmp_path / "3", DatasetConfig(seed=1))
    assert source_files.content(tmp_path / "1") != source_files.content(tmp_path / "3")


@given(st.text(), st.text())
def test_a_frame_is_empty_only_if_the_text_has_no_words(first: str, second: str) -> None:
    splits = Splits(seed=0, val=0.1, test=0.1)
    for text in (first, second, f"{first} no {second}"):
        assert bool(frame(text)) == any(letter.isalnum() for letter in text)
        assert splits.of_statement(text) == splits.of_statement(f" {text}. ".upper().lower())


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"give shares from 0 whose sum is below 1"):
        DatasetConfig(val=0.5, test=0.5)
    with pytest.raises(DatasetError, match="per_study is -1"):
        DatasetConfig(per_study=-1)
    with pytest.raises(DatasetError, match="no source"):
        build_dataset([], tmp_path / "out")
    twice = [source_files.nih(tmp_path / "n.csv", 2)] * 2
    with pytest.raises(DatasetError, match="two sources have one name"):
        build_dataset(twice, tmp_path / "out")
    with pytest.raises(DatasetError, match="no file or folder"):
        build_dataset(tmp_path / "none.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_shares_everything_is_in_train(tmp_path: Path) -> None:
    source = source_files.nih(tmp_path / "n.csv", 40)
    card = build_dataset(source, tmp_path / "out", DatasetConfig(val=0.0, test=0.0))
    assert isinstance(card, Card)
    assert card.of("claims") == {"train": 40}
    assert not source_files.lines(tmp_path / "out", "claims", "val")


def test_the_hash_behind_splits_and_draws_stays_as_it_is() -> None:
    """BLAKE2b of 256 bits of the parts, U+001F between them: splits rest on it."""
    digest = hashlib.blake2b(b"patient\x1f7\x1fp01", digest_size=32).hexdigest()
    assert stable_hash("patient", 7, "p01") == int(digest, 16)
    assert digest.startswith("0adbdfdb17082a63")


def test_too_many_wordings_are_thinned_evenly() -> None:
    assert _thinned(range(10)) == tuple(range(10))
    assert _thinned(range(48)) == tuple(range(0, 48, 2))
    assert _thinned(range(36)) == tuple(int(1.5 * n) for n in range(24))
