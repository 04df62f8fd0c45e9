"""A data set made of a report never contradicts the report, nor gives its findings other names."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import source_files

from negtrace import build_dataset
from negtrace.datasets import SPLITS, DatasetConfig
from negtrace.datasets.names import NamedClaim, every_name, under_name, with_names
from negtrace.datasets.readers.reports import Reports
from negtrace.datasets.splits import Splits
from negtrace.datasets.study import Study
from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY
from negtrace.language.parse import parse_claims


def study_of(text: str, folder: Path) -> Study:
    """Return the study that a report becomes."""
    (folder / "r.txt").write_text(text)
    [study] = Reports().read(folder / "r.txt", DatasetConfig())
    assert isinstance(study, Study)
    return study


def statements(reports: Sequence[str], folder: Path, *, seed: int = 0) -> list[list[str]]:
    """Return for each claim set, caption and pair made of reports its statements."""
    rows = [{"report": text, "patient_id": n} for n, text in enumerate(reports)]
    source = folder / "r.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    config = DatasetConfig(seed=seed, per_study=0, val=0.3, test=0.3)
    build_dataset(source, folder / "out", config, overwrite=True)
    read: list[dict[str, Any]] = [
        row
        for split in SPLITS
        for kind in ("claims", "captions", "pairs")
        for row in source_files.lines(folder / "out", kind, split)
    ]
    return [
        [row[key] for key in ("right", "caption", "true", "false") if key in row]
        + [wrong["text"] for wrong in row.get("wrong", ())]
        for row in read
    ]


@pytest.mark.parametrize(
    ("text", "certain", "uncertain"),
    [
        ("Small left effusion. Possible right effusion. No edema.", ["edema"], 1),
        ("Pneumonia at the left base. Findings may represent pneumonia. No mass.", ["mass"], 1),
        ("No pneumothorax. Question of pneumothorax. Mild cardiomegaly.", ["cardiomegaly"], 1),
        ("Small left effusion. The effusion is small. No edema.", ["effusion"] * 2 + ["edema"], 0),
    ],
)
def test_a_finding_that_is_in_doubt_somewhere_is_stated_nowhere(
    text: str, certain: list[str], uncertain: int, tmp_path: Path
) -> None:
    study = study_of(text, tmp_path)
    assert [claim.finding for claim in study.claims] == certain
    assert study.uncertain == uncertain


def test_what_a_sentence_too_long_to_quote_says_is_not_certain(tmp_path: Path) -> None:
    long = f"There is a pneumothorax, {'as it was before, ' * 50}and nothing else."
    study = study_of(f"No pneumothorax. No edema. {long}", tmp_path)
    assert [claim.finding for claim in study.claims] == ["edema"]
    assert [sentence.text for sentence in study.negated_sentences] == ["No edema."]


def test_a_sentence_about_an_unsettled_finding_is_not_quoted(tmp_path: Path) -> None:
    study = study_of("No pneumothorax. No edema. Tiny left pneumothorax.", tmp_path)
    assert [sentence.text for sentence in study.negated_sentences] == ["No edema."]
    assert study.contradicted == 1


@pytest.mark.parametrize(
    ("report", "name", "others"),
    [
        ("There is a hiatal hernia.", "hiatal hernia", ["diaphragmatic", "hiatus", "a hernia"]),
        ("No diaphragmatic hernia.", "diaphragmatic hernia", ["hiatal", "hiatus"]),
        ("There is no central line.", "central line", ["device", "pacemaker", "tube"]),
        ("A left chest tube is in place.", "chest tube", ["device", "pacemaker", "catheter"]),
        ("No hemothorax.", "hemothorax", ["effusion", "fluid"]),
        ("No focal consolidation.", "focal consolidation", ["airspace"]),
    ],
)
def test_the_name_of_a_finding_is_not_changed(
    report: str, name: str, others: list[str], tmp_path: Path
) -> None:
    rows = statements([report] * 40, tmp_path)
    texts = [text.casefold() for row in rows for text in row]
    assert len({text for text in texts if name in text}) > 10
    assert all(name in text for text in texts)
    assert not [text for text in texts if any(other in text for other in others)]


def test_a_state_has_no_name_to_keep(tmp_path: Path) -> None:
    study = study_of("The heart is mildly enlarged.", tmp_path)
    assert study.claims == (
        NamedClaim(finding="cardiomegaly", present=True, severity="small", name=""),
    )
    assert statements(["The heart is mildly enlarged."] * 10, tmp_path)


def test_a_name_goes_to_the_claim_that_it_is_given() -> None:
    sentence = "Hiatal hernia, no diaphragmatic hernia."
    stated = with_names(parse_claims(sentence), sentence)
    assert [claim.name for claim in stated] == ["hiatal hernia", "diaphragmatic hernia"]
    one = with_names([Claim(finding="hernia", present=True)], sentence)
    assert [claim.name for claim in one] == ["?"]
    splits = Splits(seed=0, val=0.1, test=0.1)
    assert not [texts for split in SPLITS for texts in splits.phrasings(split, one[0])]
    assert one[0].negate() == NamedClaim(finding="hernia", present=False, name="?")


@pytest.mark.parametrize(
    ("finding", "name", "text", "expected"),
    [
        ("device", "chest drain", "There is a support device.", "There is a chest drain."),
        ("device", "icd", "A support device is seen.", "An icd is seen."),
        ("device", "chest drain", "Bilateral support devices.", "Bilateral chest drains."),
        ("device", "chest drain", "Support device.", "Chest drain."),
        ("device", "pacemaker", "No pacemaker.", "No pacemaker."),
        ("device", "pacemaker", "No catheter.", None),
        (
            "nodule",
            "micronodule",
            "A large left nodule is seen.",
            "A large left micronodule is seen.",
        ),
    ],
)
def test_a_statement_takes_another_name(
    finding: str, name: str, text: str, expected: str | None
) -> None:
    assert under_name(finding, name, text) == expected


@pytest.mark.parametrize("key", VOCABULARY)
def test_every_split_words_every_name_and_it_parses_back(key: str) -> None:
    splits = Splits(seed=2, val=0.05, test=0.1)
    for name in every_name(key):
        for present in (True, False):
            claim = NamedClaim(finding=key, present=present, name=name)
            for split in SPLITS:
                texts = [text for texts in splits.phrasings(split, claim) for text in texts]
                assert texts
                for text in texts:
                    assert parse_claims(text) == (Claim(finding=key, present=present),)
                    assert name.casefold() in text.casefold()
        plain = NamedClaim(finding=key, present=True, name=name)
        assert all(next(splits.twins(split, plain), None) for split in SPLITS)


def test_further_views_of_a_study_are_no_duplicates(tmp_path: Path) -> None:
    labels = ",".join(["1.0"] * 13)
    views = ["study1/view1_frontal", "study1/view2_lateral", "study1/view2_lateral"]
    rows = [f"train/patient00001/{view}.jpg,F,61,Frontal,AP,,{labels}" for view in views]
    rows.append(rows[0])
    source = source_files.chexpert(tmp_path / "train.csv", 0, rows=rows)
    card = build_dataset(source, tmp_path / "out")
    assert card.skipped == {"duplicate_study": 2, "further_view": 1}
    assert card.examples == {"duplicate_study": [[1, 4], [1, 5]], "further_view": [[1, 3]]}


def test_numbers_do_not_change_what_a_sentence_says(tmp_path: Path) -> None:
    texts = [
        f"Compared with {number}, no nodule of {number}.5 mm and a mass of {number} cm."
        for number in (3, 47, 90, 1234)
    ]
    read = [study_of(text, tmp_path) for text in texts]
    assert len({study.claims for study in read}) == 1
    assert len(read[0].claims) == 2
    for study, text in zip(read, texts, strict=True):
        [quoted] = study.negated_sentences
        assert quoted.text == text
        assert text[slice(*quoted.cue)] == "no"
