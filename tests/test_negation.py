"""Decisions on a concept in a text: negated, uncertain or affirmed, with a reason."""

import csv
import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linear_time import assert_linear

from negtrace.errors import LanguageError
from negtrace.language.cues import find_cues, read_cues
from negtrace.language.lexicon import load_lexicon
from negtrace.language.negation import is_negated, negation_of
from negtrace.language.words import split, stops

# Each concept is in brackets, after N for negated, U for uncertain or A for affirmed.
SENTENCES = """
No [N pneumothorax] or [N effusion]; [A cardiomegaly] is stable.
No [N effusion] is seen and the [A heart] is enlarged.
There is no [N effusion] and [A heart] is enlarged.
There is a [A mass] and [N effusion] is absent.
The lungs are clear of [N infiltrate], with mild [A cardiomegaly].
No [N pleural effusion], stable [A cardiomegaly].
Patient denies [N fever], [N chills], and [N night sweats] but reports [A cough].
[U Pneumonia] cannot be excluded.
Cannot exclude [U pneumonia].
Possible [U effusion] at the left base.
[U Pneumonia]?
[N Effusion] has resolved.
Resolved [N pneumothorax].
[N Pneumothorax] is no longer seen.
No longer has [N pain].
[N Fever]: none.
[N Chest pain] - no.
[N Hepatitis B] negative.
Urine culture was negative for [N growth].
[N Fracture] was ruled out.
Rule out [U pneumonia].
He was ruled out for [N myocardial infarction].
No change in the [A effusion].
No [N change in size].
No significant interval [N change] in the [A nodule].
Without evidence of [N metastasis].
[A Effusion] without [N pneumothorax].
There is no evidence of [N acute fracture] or [N dislocation].
Neither [N effusion] nor [N edema] is present.
Not only [A effusion] but also [A edema] is present.
[N Effusion] is unlikely.
[N Lymphadenopathy] is not present; a [A nodule] is.
The [A catheter] does not cross the midline.
Absent [N breath sounds].
[N Breath sounds] absent on the left.
No [N edema] secondary to [A heart failure].
[A Mass] in the left lung, not seen before.
No [N consolidation] although [A atelectasis] is present.
The study does not show [N embolism].
There isn't any [N ascites].
[N Effusion], [N edema] and [N pneumothorax] are absent.
No [N residual tumor] and a [A patent artery].
[A Atelectasis] rather than [N pneumonia].
No [N pneumothorax] following [A thoracentesis].
He has no [N cough], he has [A fever].
denies:[N fever]
[A Opacity], likely [U atelectasis].
No [N effusion], likely [U atelectasis].
[N Seizure] did not occur.
The [A effusion] has not significantly increased.
The [A ureter] (not shown) is dilated.
[A Effusion] in patient no. 3.
A voxel resolution of 0.3 [A mm].
Absent [N spleen] with patent [A shunts].
Absent [N flow] and a [A thrombus].
No [N filling defect], and good [A drainage].
No [N mass], [N node], and [N cyst].
He denies [N pain], and [N cough].
A [A cup] is seen, but a [N knife] is not.
The [A left] lung is clear, the [N right] isn't.
Absent from the image is a [N chair].
Noticeably absent is any [N handbag], but a [A child] is there.
A [N chair], absent from this scene.
No [N car] is seen, where a [A woman] sits.
The room is empty of [N people].
A [A tumour] is unchanged (the first [N scan] was not shown).
No [N enhancement], together with [A nodules].
A tumour (no [N necrosis]) with [A calcification] is seen.
No [N trauma] as per Dr. Low or [N fracture].
""".strip().splitlines()


def marked(line: str) -> tuple[str, list[tuple[str, int, int]]]:
    """Return the text of a line without brackets, and mark and characters of each concept."""
    text, concepts, end = "", [], 0
    for hit in re.finditer(r"\[([NAU]) ([^\]]+)\]", line):
        text += line[end : hit.start()]
        concepts.append((hit[1], len(text), len(text) + len(hit[2])))
        text += hit[2]
        end = hit.end()
    return text + line[end:], concepts


@pytest.mark.parametrize("line", SENTENCES)
def test_each_concept_gets_its_status(line: str) -> None:
    text, concepts = marked(line)
    for mark, start, end in concepts:
        decision = negation_of(text, start, end)
        assert decision.status[0].upper() == mark, (text[start:end], decision.reason)
        assert is_negated(text, start, end) == (mark == "N")


@pytest.mark.parametrize(
    ("text", "concept", "reason"),
    [
        ("No mass.", "mass", "negated by before: no"),
        ("No change in the mass.", "change", "denied within pseudo: [no] "),
        ("A possible mass.", "mass", "left open by uncertain_beside: possible"),
        ("A mass.", "mass", "affirmed: no cue"),
        ("No air but a mass.", "mass", "affirmed: the scope of before: no ends at but"),
        ("No mass seen", "No mass", "affirmed: before: no is part of it"),
        ("No change in the mass.", "mass", "affirmed: pseudo: [no] "),
        ("A mass; no air.", "mass", "affirmed: the scope of before: no ends at ."),
    ],
)
def test_every_decision_has_its_reason(text: str, concept: str, reason: str) -> None:
    start = text.index(concept)
    decision = negation_of(text, start, start + len(concept))
    assert decision.reason.startswith(reason), decision.reason
    assert (decision.cue is None) == (
        decision.status == "affirmed" or decision.reason.startswith("denied")
    )


def test_the_nearest_of_several_cues_decides() -> None:
    text = "No mass, node without calcification."
    decision = negation_of(text, 22, 35)
    assert decision.cue is not None
    assert (decision.cue.text, decision.reason) == ("without", "negated by before: without")
    assert [cue.text for cue in find_cues(text)] == ["No", "without"]


def test_the_first_character_of_a_concept_decides_after_a_cue() -> None:
    text = "No chest pain, which radiates."
    assert is_negated(text, 3, 29)
    assert not is_negated(text, 21, 29)


def test_the_last_character_of_a_concept_decides_before_a_cue() -> None:
    text = "Stable edema; effusion is absent."
    [cue] = find_cues(text)
    assert text[slice(*cue.scope)] == "effusion"
    assert is_negated(text, 7, 22)
    assert not is_negated(text, 0, 12)


@pytest.mark.parametrize("span", [(3, 3), (-1, 2), (0, 9), (5, 2)])
def test_characters_outside_the_text_are_refused(span: tuple[int, int]) -> None:
    with pytest.raises(LanguageError, match="no concept at characters"):
        negation_of("No mass.", *span)


def test_cues_give_their_spans_in_words_too() -> None:
    text = "The lung doesn't show a mass; clear."
    [cue] = find_cues(text)
    words = split(text)
    assert words.lower[slice(*cue.words)] == ["n't"]
    assert words.lower[slice(*cue.scope_words)] == ["show", "a", "mass"]
    assert words.span(*cue.scope_words) == cue.scope
    assert cue.bound == ";"


def test_doubts_and_pseudo_negations_are_not_cues() -> None:
    text = "No change. Possible effusion. Pneumonia cannot be ruled out."
    reading = read_cues(text)
    assert find_cues(text) == reading.cues == ()
    assert [cue.text for cue in reading.doubts] == ["Possible", "cannot be ruled out"]
    assert [text[slice(*whole)] for _, whole, _ in reading.pseudo] == ["No change"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("before = [", "not TOML"),
        ('behind = ["no"]', "'behind' is not a list of phrases under a known key"),
        ('before = "no"', "'before' is not a list"),
        ('before = ["is [absent"]', "needs one opening and one closing bracket"),
        ('before = ["no?"]', "may consist of no words"),
    ],
)
def test_a_bad_lexicon_is_refused(source: str, message: str) -> None:
    with pytest.raises(LanguageError, match=message):
        load_lexicon(source)


OPTIONAL = " ".join(f"a{number}?" for number in range(13))


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ([f"no {OPTIONAL} a13? x"], "stands for 16384 sequences of words; expected 10000"),
        (["no " + " ".join(["a?"] * 90)], r"stands for more than 10\*\*12 sequences of words"),
        ([" ".join(["no"] * 101)], "has 101 words; expected 100 or fewer"),
        (["no? " * 1_000_000], "has 1000000 words; expected 100 or fewer"),
        (["no " + "|".join(["a"] * 1_000_000)], "stands for 1000000 sequences of words"),
        (["no " + "_".join(["a"] * 100)], "has 101 words; expected 100 or fewer"),
        ([f"no{k} {OPTIONAL} x" for k in range(9)], "makes 1105920 words of all phrases so far"),
    ],
)
def test_a_lexicon_whose_choices_multiply_is_refused_at_once(
    phrases: list[str], message: str
) -> None:
    start = time.monotonic()
    with pytest.raises(LanguageError, match=message):
        load_lexicon(f"before = {json.dumps(phrases)}")
    assert time.monotonic() - start < 5
    assert load_lexicon(f"before = {json.dumps([f'no {OPTIONAL} x'])}").phrases


SCRIPTS = [
    "\u0644\u0627 \u064a\u0648\u062c\u062f \u0627\u0646\u0635\u0628\u0627\u0628",
    "\u05d0\u05d9\u05df \u05ea\u05e4\u05dc\u05d9\u05d8",
    "\u80f8\u6c34\u306a\u3057\u3002\u6c17\u80f8\u306a\u3057",
    "\u041d\u0435\u0442 \u043e\u0442\u0451\u043a\u0430.",
    "Kein Pleuraerguss, keine Stauung",
    "caf\u00c3\u00a9 \u00e2\u20ac\u2122 n\u00c3\u00b3dulo \ufffd\ufffd",
    '""" ""',
    "\u0130stanbul \U0001fac1 \u00df",
    "\x00\x1f\u200f\u202e",
    " \n\n\t ",
]


@pytest.mark.parametrize("text", SCRIPTS)
def test_texts_in_other_languages_have_no_cue(text: str) -> None:
    assert find_cues(text) == read_cues(text).cues == ()


@pytest.mark.parametrize("closer", ['"', "'", ")", "]", "\u201d", "\u2019"])
def test_a_sentence_may_end_inside_quotes_or_brackets(closer: str) -> None:
    words = split(f"a mass.{closer} it grew")
    assert stops(words, frozenset()) == [words.lower.index(".")]


def test_newlines_and_quotes_do_not_hide_a_cue() -> None:
    assert is_negated('"No pleural\n effusion', 4, 21)
    assert not is_negated("No mass\n\nEffusion", 9, 17)


PIECES = ["no", "not", "mass", ",", ".", "(", ")", "but", "and", "is", "?", "n't", "\n\n", "nor"]


@given(
    st.text(),
    st.lists(st.sampled_from(PIECES)),
)
def test_any_text_can_be_read(text: str, parts: list[str]) -> None:
    for read in (text, " ".join(parts), text + " no " + text):
        reading = read_cues(read)
        assert find_cues(read) == reading.cues
        for cue in (*reading.cues, *reading.doubts):
            assert read[cue.start : cue.end] == cue.text
            assert 0 <= cue.scope[0] <= cue.scope[1] <= len(read)
        if read:
            assert negation_of(read, 0, len(read)).reason


@pytest.mark.parametrize(
    "words",
    [
        "no effusion and mass ",
        "no effusion. ",
        "effusion is not ",
        "(no mass ",
        "x. not seen nor is ",
    ],
)
def test_find_cues_takes_linear_time(words: str) -> None:
    assert_linear(find_cues, words, 100_000)


def test_both_halves_of_the_negex_kit_are_answered_equally_well(data_dir: Path) -> None:
    """Rules that fit one half of the reports only would fall short on the other."""
    with (data_dir / "negex" / "annotations_part.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for half in (0, 1):
        hits = called = gold = 0
        for row in rows:
            if int(row["Report No."]) % 4 // 2 != half:
                continue
            words = r"\s+".join(map(re.escape, row["Concept"].split()))
            spans = list(re.finditer(words.upper(), row["Sentence"]))
            spans = spans or list(re.finditer(words, row["Sentence"], re.IGNORECASE))
            said = any(is_negated(row["Sentence"], *span.span()) for span in spans)
            is_gold = row["Negation"] == "Negated"
            hits, called, gold = hits + (said and is_gold), called + said, gold + is_gold
        assert hits / called >= 0.96
        assert hits / gold >= 0.96
