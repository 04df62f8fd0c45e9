"""Cues are found where a text negates, and nowhere else."""

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negtrace.language.cues import find_cues, subject_of, subject_span
from negtrace.language.findings import FINDINGS
from negtrace.language.lexicon import load_lexicon
from negtrace.language.negation import is_negated
from negtrace.language.twins import finding_twins

# Text, cue, scope, subject.
NEGATED = [
    ("There is no evidence of pneumothorax.", "no evidence of", "pneumothorax", "pneumothorax"),
    ("No effusion is seen.", "No", "effusion is seen", "effusion"),
    ("The effusion is absent.", "absent", "The effusion", "effusion"),
    ("The mass has not been identified.", "not", "The mass", "mass"),
    ("Effusion not seen.", "not", "Effusion", "Effusion"),
    ("not seen", "not", "", None),
    ("The mass isn't visible.", "n't", "The mass", "mass"),
    ("The lung doesn't show an opacity.", "n't", "show an opacity", "opacity"),
    ("The lung doesn’t show it.", "n’t", "show it", "it"),  # noqa: RUF001
    ("He cannot see a nodule", "cannot", "see a nodule", "nodule"),
    ("Pneumonia was ruled out.", "ruled out", "Pneumonia", "Pneumonia"),
    ("The chest is free of lines.", "free of", "lines", "lines"),
    ("The lungs are free from disease.", "free from", "disease", "disease"),
    ("Negative for fracture.", "Negative for", "fracture", "fracture"),
    ("Absence of oedema.", "Absence of", "oedema", "oedema"),
    ("She denies: fever, cough", "denies", "fever, cough", "fever"),
    ("There is a lack of contrast.", "lack of", "contrast", "contrast"),
    ("He never had surgery.", "never", "had surgery", "surgery"),
    ("None of the ribs is broken.", "None of", "the ribs is broken", "ribs"),
    ("Neither effusion nor oedema.", "Neither", "effusion nor oedema", "effusion"),
    ("It fails to show a mass.", "fails to show", "a mass", "mass"),
    ("No  signs\nof failure.", "No  signs\nof", "failure", "failure"),
    ("No new radiographic signs.", "No", "new radiographic signs", "new radiographic signs"),
    ("No focal signs of failure.", "No", "focal signs of failure", "failure"),
    ("No radiographic signs of failure.", "No radiographic signs of", "failure", "failure"),
    ("No effusion, but a mass.", "No", "effusion", "effusion"),
    ("A mass. No effusion. A line.", "No", "effusion", "effusion"),
    ("No 2.5 cm mass.", "No", "2.5 cm mass", "2.5 cm mass"),
    ("Seen by Dr. Low without a mass.", "without", "a mass", "mass"),
    ("The answer is no.", "no", "", None),
    ("This does not include a car.", "not", "include a car", "car"),
    ("No car appears nearby.", "No", "car appears nearby", "car"),
    ("Absent is a backpack, but a dog is there.", "Absent", "a backpack", "backpack"),
    ("A car is visible, but a sink is not.", "not", "a sink", "sink"),
    ("The mass is unchanged (first scan not shown here).", "not", "first scan", "first scan"),
]

AFFIRMATIVE = [
    "",
    "There is some effusion.",
    "There is no significant change.",
    "No increase in size.",
    "Not only the left lung is opaque.",
    "She walked without difficulty.",
    "Pneumonia cannot be ruled out.",
    "A no-show on Monday.",
    "The nose and the knot.",
]


@pytest.mark.parametrize(("text", "cue", "scope", "subject"), NEGATED)
def test_a_cue_its_scope_and_subject(text: str, cue: str, scope: str, subject: str | None) -> None:
    [match] = find_cues(text)
    assert (match.text, text[slice(*match.scope)]) == (cue, scope)
    assert text[match.start : match.end] == match.text
    assert subject_of(text, match) == subject


@pytest.mark.parametrize("text", AFFIRMATIVE)
def test_affirmative_texts_have_no_cue(text: str) -> None:
    assert find_cues(text) == ()


def test_nor_within_a_scope_is_no_cue() -> None:
    text = "There is no effusion, nor is there oedema. Nor a mass."
    assert [cue.text for cue in find_cues(text)] == ["no", "Nor"]


def test_a_cue_has_its_category_and_reason() -> None:
    before, after = find_cues("No mass; the line is absent.")
    assert (before.category, before.reason) == ("before", "before: no")
    assert after.category == "after"
    assert after.reason.endswith("[absent]")


@pytest.mark.parametrize("finding", FINDINGS.values(), ids=lambda finding: finding.key)
def test_the_negated_twin_has_one_cue_on_its_finding(finding) -> None:
    for affirmed, negated in finding_twins(finding):
        assert find_cues(affirmed) == ()
        [cue] = find_cues(negated)
        assert (subject_of(negated, cue) or "").lower() == finding.term


@given(
    st.text()
    | st.lists(
        st.sampled_from(
            [
                "no",
                "not",
                "isn't",
                "absent",
                "seen",
                ",",
                ".",
                "but",
                "mass",
                "nor",
                ":",
                "resolved",
                "change in",
                "or new",
                "none",
                "\n",
                "removal of",
                "and",
                "tumor-free",
            ]
        )
    )
)
def test_spans_are_inside_the_text_and_scopes_beside_their_cue(text: str | list[str]) -> None:
    text = text if isinstance(text, str) else " ".join(text)
    cues = find_cues(text)
    assert list(cues) == sorted(cues, key=lambda cue: cue.start)
    for cue in cues:
        start, end = cue.scope
        assert 0 <= start <= end <= len(text)
        assert text[cue.start : cue.end] == cue.text != ""
        assert end <= cue.start if cue.category == "after" else start >= cue.end
        subject = subject_of(text, cue)
        assert subject is None or subject in text[start:end]


def test_a_lexicon_in_another_language() -> None:
    lexicon = load_lexicon(
        'before = ["sans|minus any?"]\nterminating = ["mais"]\nlight = ["le"]\nclosing = ["dans"]'
    )
    text = "Sans le nodule dans le poumon mais opaque"
    [cue] = find_cues(text, lexicon)
    assert (cue.text, text[slice(*cue.scope)]) == ("Sans", "le nodule dans le poumon")
    assert subject_of(text, cue, lexicon) == "nodule"
    assert find_cues("minus any doubt", lexicon)[0].text == "minus any"
    assert find_cues("no nodule", lexicon) == ()


def test_the_subject_nearest_to_the_cue_counts() -> None:
    text = "Effusion before; no EFFUSION now."
    assert subject_span(text, "effusion", cue=(17, 19)) == (20, 28)
    assert subject_span(text, "effusion") == (0, 8)
    assert subject_span(text, "fusion") is None
    assert subject_span(text, " ") is None
    assert subject_span("no no", "no", cue=(0, 2)) == (3, 5)


def concept_spans(concept: str, sentence: str) -> list[tuple[int, int]]:
    """Return the characters of the annotated concept: in capitals, or else in any case."""

    def search(words: str, flags: re.RegexFlag) -> list[re.Match[str]]:
        return list(re.finditer(r"\s+".join(map(re.escape, words.split())), sentence, flags))

    hits = search(concept.upper(), re.NOFLAG) or search(concept, re.IGNORECASE)
    return [hit.span() for hit in hits]


def test_precision_and_recall_on_negex(data_dir: Path) -> None:
    """The reference implementation of NegEx has .953 and .959 on the whole kit."""
    with (data_dir / "negex" / "annotations_part.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    answers = [
        any(
            is_negated(row["Sentence"], start, end)
            for start, end in concept_spans(row["Concept"], row["Sentence"])
        )
        for row in rows
    ]
    gold = [row["Negation"] == "Negated" for row in rows]
    hits = sum(a and b for a, b in zip(answers, gold, strict=True))
    assert sum(gold) == 246
    assert hits / sum(answers) >= 0.985
    assert hits / sum(gold) >= 0.98


def test_general_captions_have_a_cue_where_they_negate(data_dir: Path) -> None:
    rows = json.loads((data_dir / "valse" / "existence_part.json").read_text("utf-8"))
    negating = {"something_to_zero": "foil", "zero_to_something": "caption"}
    wrong = [
        row[kind]
        for row in rows.values()
        for kind in ("caption", "foil")
        if bool(find_cues(row[kind])) != (kind == negating[row["provenance_of_foils"]])
    ]
    # The only affirmative statement of the file that negates something else.
    assert wrong == ["There is a person not wearing a dress."]


def test_radiology_captions_have_a_cue_only_where_they_negate(data_dir: Path) -> None:
    with (data_dir / "roco" / "captions_ccby_part.tsv").open(newline="", encoding="utf-8") as file:
        captions = [row["caption"] for row in csv.DictReader(file, delimiter="\t")]
    cued = [caption for caption in captions if find_cues(caption)]
    assert 230 <= len(cued) <= 245
    negating = re.compile(
        r"no|not|without|absen|neither|free|n.t\b|lack|negative|resol|instead|exclu|removal",
        re.IGNORECASE,
    )
    assert all(negating.search(caption) for caption in cued)
