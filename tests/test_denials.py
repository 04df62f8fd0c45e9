"""What a text denies: affirmed, left out, and the denying words themselves."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negtrace.language import denials_of, find_cues

REWRITTEN = (
    ("No pneumothorax.", "Pneumothorax.", ""),
    (
        "There is no pleural effusion or pneumothorax.",
        "There is pleural effusion and pneumothorax.",
        "",
    ),
    (
        "Heart size is normal. No focal consolidation, effusion, or pneumothorax is seen. Edema.",
        "Heart size is normal. Focal consolidation, effusion, and pneumothorax is seen. Edema.",
        "Heart size is normal. Edema.",
    ),
    ("The effusion is absent.", "The effusion is present.", ""),
    ("Pneumothorax is not seen.", "Pneumothorax is seen.", ""),
    ("There isn't any nodule.", "There is nodule.", ""),
    ("We can't see a nodule.", "We can see a nodule.", ""),
    ("The drain won't be moved.", "The drain will be moved.", "The drain."),
    ("I can\u2019t see any mass. Edema.", "I can see mass. Edema.", "Edema."),
    ("Effusion has resolved.", "Effusion has persisted.", ""),
    ("Neither effusion nor edema.", "Effusion and edema.", ""),
    ("Edema: none.", "Edema: present.", ""),
    ("The patient denies chest pain.", "The patient reports chest pain.", ""),
    ("The lungs are free of consolidation.", "The lungs are with consolidation.", "The lungs."),
    ("A dog, but no cat, in the park.", "A dog, but cat, in the park.", "A dog, in the park."),
    (
        "Portable film with no support device, and cardiomegaly.",
        "Portable film with support device, and cardiomegaly.",
        "Portable film, and cardiomegaly.",
    ),
    (
        "The dog is running and not jumping on the grass.",
        "The dog is running and jumping on the grass.",
        "The dog is running.",
    ),
    (
        "No evidence of pneumonia; the heart is enlarged.",
        "Evidence of pneumonia; the heart is enlarged.",
        "The heart is enlarged.",
    ),
)


@pytest.mark.parametrize(("text", "affirmed", "omitted"), REWRITTEN)
def test_what_a_text_denies_is_affirmed_or_left_out(text: str, affirmed: str, omitted: str) -> None:
    denials = denials_of(text)
    assert denials is not None
    assert (denials.affirmed, denials.omitted) == (affirmed, omitted)
    assert all(part in text for part in denials.denied)


@pytest.mark.parametrize("text", [text for text, _, _ in REWRITTEN])
def test_nothing_is_denied_in_what_is_left(text: str) -> None:
    denials = denials_of(text)
    assert denials is not None
    assert not find_cues(denials.affirmed)
    assert not find_cues(denials.omitted)


@pytest.mark.parametrize("text", ["The heart is enlarged.", "Possible edema.", "", "No.", "no"])
def test_a_text_that_denies_nothing_has_no_denials(text: str) -> None:
    assert denials_of(text) is None


@given(st.text(alphabet=st.sampled_from("no t.,;:\n'without edema"), max_size=60))
def test_any_text_is_read(text: str) -> None:
    denials = denials_of(text)
    assert denials is None or len(denials.omitted) <= len(text) + 1


def test_sentences_of_reports_deny_nothing_once_they_are_rewritten(data_dir: Path) -> None:
    file = data_dir / "negex" / "annotations_part.tsv"
    sentences = [line.split("\t")[2] for line in file.read_text("utf-8").splitlines()[1:]]
    rewritten = [denials for text in sentences if (denials := denials_of(text)) is not None]
    assert len(rewritten) > 200
    assert not any(find_cues(denials.affirmed) for denials in rewritten)
    assert not any(find_cues(denials.omitted) for denials in rewritten)
