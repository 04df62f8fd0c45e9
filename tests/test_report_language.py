"""The language of reports: lists, lines, headings, doubt, change and what is seen elsewhere."""

import csv
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from linear_time import assert_linear

from negtrace.language.claims import Claim
from negtrace.language.cues import find_cues, read_cues
from negtrace.language.negation import negation_of
from negtrace.language.parse import parse_claims, sentence_spans

Concept = tuple[str, int, int]


def marked(line: str) -> tuple[str, list[Concept]]:
    """Return the text of a line without its marks, and mark and characters of each concept."""
    line = line.replace("\\n", "\n").replace("\\r", "\r")
    text, concepts, end = "", [], 0
    for hit in re.finditer(r"\[([NAU]) ([^\]]+)\]", line):
        text += line[end : hit.start()]
        concepts.append((hit[1], len(text), len(text) + len(hit[2])))
        text += hit[2]
        end = hit.end()
    return text + line[end:], concepts


def sentences() -> Iterator[tuple[str, str]]:
    """Yield the kind of each sentence of our own, and the sentence with its marks."""
    path = Path(__file__).with_name("report_sentences.txt")
    kind = ""
    for line in path.read_text("utf-8").splitlines():
        kind = line[2:] if line.startswith("# ") else kind
        if marked(line)[1]:
            yield kind, line


OWN = list(sentences())


@pytest.mark.parametrize(("kind", "line"), OWN, ids=[f"{kind}: {line}" for kind, line in OWN])
def test_each_concept_of_a_sentence_gets_its_status(kind: str, line: str) -> None:
    text, concepts = marked(line)
    for mark, start, end in concepts:
        decision = negation_of(text, start, end)
        assert decision.status[0].upper() == mark, (text[start:end], decision.reason)


def test_every_kind_has_sentences_with_different_answers() -> None:
    """Each kind comes with its opposite, so that no rule can answer all of it."""
    answers: dict[str, set[str]] = {}
    for kind, line in OWN:
        answers.setdefault(kind, set()).update(mark for mark, _, _ in marked(line)[1])
    assert min(Counter(kind for kind, _ in OWN).values()) >= 6
    assert all(len(marks) >= 2 for marks in answers.values()), answers


def test_the_shared_sentences_are_answered(cases_dir: Path) -> None:
    """Sentences that others found hard. The rules are for their kinds, not for them."""
    path = cases_dir / "language.tsv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    wrong = []
    for row in rows:
        text = row["sentence"].replace("\\n", "\n")
        start = text.index(row["concept"])
        status = negation_of(text, start, start + len(row["concept"])).status
        if status != row["gold"]:
            wrong.append((row["class"], text, row["concept"], status))
    assert len(rows) == 74
    assert wrong == []


def effusion(*, present: bool = True, **attributes: Any) -> Claim:
    return Claim(finding="effusion", present=present, **attributes)


def absent(finding: str, **attributes: Any) -> Claim:
    return Claim(finding=finding, present=False, **attributes)


PNEUMOTHORAX = Claim(finding="pneumothorax", present=True)

CONSOLIDATION = Claim(finding="consolidation", present=True, side="right", zone="lower")

CLAIMS: list[tuple[str, tuple[Claim, ...]]] = [
    # Ordinary sentences: the state of an organ.
    ("The heart is normal in size.", (absent("cardiomegaly"),)),
    ("Heart size within normal limits.", (absent("cardiomegaly"),)),
    ("Heart normal. Lungs clear.", (absent("cardiomegaly"), absent("opacity"))),
    ("The heart is not enlarged.", (absent("cardiomegaly"),)),
    ("The heart is not significantly enlarged.", (absent("cardiomegaly"),)),
    ("Heart: normal. Bones: intact", (absent("cardiomegaly"), absent("fracture"))),
    (
        "The heart size and mediastinal contours are within normal limits.",
        (absent("cardiomegaly"), absent("mediastinum")),
    ),
    ("The lungs are well expanded and clear.", (absent("opacity"),)),
    ("The left lung is clear.", (absent("opacity", side="left"),)),
    ("Pulmonary vascularity is normal.", (absent("edema"),)),
    ("The costophrenic angles are sharp.", (absent("effusion"),)),
    (
        "The heart is again mildly enlarged.",
        (Claim(finding="cardiomegaly", present=True, severity="small"),),
    ),
    ("Stable enlarged cardiac silhouette.", (Claim(finding="cardiomegaly", present=True),)),
    (
        "The heart may be enlarged.",
        (Claim(finding="cardiomegaly", present=True, certainty="possible"),),
    ),
    ("The heart size is probably normal.", ()),
    ("The lungs are not clear.", (Claim(finding="opacity", present=True),)),
    # Not the state of the organ, or not of all of it.
    ("The lungs are clear of consolidation.", (absent("consolidation"),)),
    (
        "The lungs are clear except for a nodule.",
        (Claim(finding="nodule", present=True),),
    ),
    ("The lungs are otherwise clear.", ()),
    ("The heart is obscured. The abdomen is normal.", ()),
    # A denial has its place and severity from the reach of its cue.
    ("Lungs are clear bilaterally without effusion.", (absent("opacity"), absent("effusion"))),
    ("The left base is clear, without effusion.", (absent("effusion"),)),
    ("In the right lung there is no large effusion.", (absent("effusion", severity="large"),)),
    ("No effusion on the left.", (absent("effusion", side="left"),)),
    ("Effusion is not seen on the left.", (absent("effusion", side="left"),)),
    ("The left effusion has resolved.", (absent("effusion", side="left"),)),
    ("No effusion bilaterally.", (absent("effusion"),)),
    ("No bilateral effusions.", (absent("effusion", side="bilateral"),)),
    # One side affirmed, the other denied.
    ("Effusion on the left but not on the right.", (effusion(side="left"),)),
    ("Effusion in the right chest, not the left.", (effusion(side="right"),)),
    (
        "Consolidation sparing the left upper lobe.",
        (Claim(finding="consolidation", present=True, side="left", zone="upper", denied="place"),),
    ),
    (
        "Left effusion, no right effusion.",
        (effusion(side="left"), absent("effusion", side="right")),
    ),
    ("No more than a trace effusion.", (effusion(severity="small"),)),
    # Lines, headings and sections.
    ("Pneumothorax: no\nEffusion: large", (absent("pneumothorax"), effusion(severity="large"))),
    ("- No mass\n- Large effusion", (absent("mass"), effusion(severity="large"))),
    (
        "Consolidation: left lower lobe",
        (Claim(finding="consolidation", present=True, side="left", zone="lower"),),
    ),
    ("INDICATION: Cough. Left effusion.\n\nFINDINGS: No effusion.", (absent("effusion"),)),
    ("HISTORY: effusion\nSmall effusion.", (effusion(severity="small"),)),
    ("Effusion: none on the left.", (absent("effusion", side="left"),)),
    ("Right lower lobe: consolidation", (CONSOLIDATION,)),
    ("No left or right effusion.", (absent("effusion"),)),
    ("The heart and great vessels are normal.", (absent("cardiomegaly"),)),
    ("The lungs are hypoinflated but clear.", (absent("opacity"),)),
    # Doubt is not stated as a fact.
    (
        "Opacity at the left base, may represent pneumonia.",
        (
            Claim(finding="opacity", present=True, side="left", zone="lower"),
            Claim(finding="pneumonia", present=True, certainty="possible"),
        ),
    ),
    (
        "Small right effusion is suspected.",
        (effusion(side="right", severity="small", certainty="possible"),),
    ),
    # Devices, words for places, and what is not the finding.
    ("ETT in place.", (Claim(finding="device", present=True),)),
    ("The chest tube has been removed.", (absent("device"),)),
    ("No pneumothorax after chest tube removal.", (absent("pneumothorax"), absent("device"))),
    (
        "Bibasilar atelectasis.",
        (Claim(finding="atelectasis", present=True, side="bilateral", zone="lower"),),
    ),
    ("RLL pneumonia.", (Claim(finding="pneumonia", present=True, side="right", zone="lower"),)),
    ("No mass effect on the trachea.", ()),
    ("Cystic fibrosis with old granulomatous disease.", ()),
    ("Small effusions and pneumothoraces.", (effusion(severity="small"), PNEUMOTHORAX)),
]


@pytest.mark.parametrize(("text", "claims"), CLAIMS, ids=[text for text, _ in CLAIMS])
def test_a_sentence_makes_exactly_its_claims(text: str, claims: tuple[Claim, ...]) -> None:
    assert parse_claims(text) == claims


def test_sections_that_assert_nothing_are_no_sentences() -> None:
    text = "INDICATION: Effusion? Rule out mass.\nCOMPARISON: None.\nFINDINGS: A mass. No edema."
    spans = [text[slice(*span)].strip() for span in sentence_spans(text)]
    assert spans == ["COMPARISON: None.", "FINDINGS: A mass.", "No edema."]


def test_an_answer_is_a_cue_behind_its_heading() -> None:
    text = "Effusion: none. Edema: no edema."
    cues = [(cue.text, cue.category, text[slice(*cue.scope)]) for cue in find_cues(text)]
    assert cues == [
        ("none", "after", "Effusion"),
        ("no", "before", "edema"),
        ("no", "after", "Edema"),
    ]


def test_what_a_denial_leaves_out_parts_its_scope() -> None:
    text = "No change in the mass or new edema, but a node."
    cues = find_cues(text)
    assert [(cue.text, text[slice(*cue.scope)]) for cue in cues] == [("No", "new edema")]
    text = "No worsening of the edema or new mass."
    assert [text[slice(*cue.scope)] for cue in find_cues(text)] == ["worsening of", "new mass"]


@pytest.mark.parametrize(
    "words",
    [
        "no effusion, large mass or ",
        "not resolved worsening of the edema or new ",
        "mass versus node ",
        "the heart, and ",
    ],
)
def test_reports_are_read_in_linear_time(words: str) -> None:
    assert_linear(lambda text: (read_cues(text), sentence_spans(text)), words, 40_000)


def test_a_report_of_many_sections_is_read_in_linear_time() -> None:
    start = time.process_time()
    assert len(parse_claims("HISTORY: edema.\nFINDINGS: The heart is enlarged.\n" * 2000)) == 2000
    assert time.process_time() - start < 10
