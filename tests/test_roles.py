"""Roles of tokens, with a small tokenizer."""

import pytest
from small_tokenizers import PAD, Family, tokenize

from negtrace.errors import AlignmentError
from negtrace.language.cues import find_cues, subject_of
from negtrace.pairs.roles import token_roles
from negtrace.pairs.tokens import Tokens


def roles(text: str, family: Family = "clip") -> str:
    cue = find_cues(text)[0]
    names = token_roles(
        text, tokenize(text, family), cue=(cue.start, cue.end), subject=subject_of(text, cue)
    )
    return " ".join(names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Is no mass now .!", "start prefix cue subject rest punct punct end"),
        ("The mass is absent.", "start prefix subject prefix cue cue punct end"),
        ("No big effusion", "start cue subject subject_rest subject_rest end"),
        ("No clear evidence of mass.", "start " + "cue " * 6 + "subject punct end"),
        ("It does not show a mass.", "start prefix prefix cue prefix prefix subject punct end"),
        ("A mass, no.", "start prefix prefix prefix cue punct end"),
        ("no mass , or", "start cue subject rest rest end"),
    ],
)
def test_roles_of_words(text: str, expected: str) -> None:
    assert roles(text) == expected


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("clip", "start cue subject punct end"),
        ("siglip", "cue subject punct" + " pad" * 12 + " end"),
        ("bert", "start cue subject punct end"),
        ("mean", "start cue subject punct end"),
        ("lm", "cue subject end"),
        ("left", "start " * 13 + "cue subject end"),
    ],
)
def test_roles_of_frames(family: Family, expected: str) -> None:
    assert roles("No mass.", family) == expected


def test_tokens_added_after_the_end_are_padding() -> None:
    tokens = tokenize("No mass.")
    filled = Tokens(
        ids=(*tokens.ids, PAD, PAD),
        spans=(*tokens.spans, (0, 0), (0, 0)),
        padding=(*tokens.padding, True, True),
        read_out=tokens.read_out,
    )
    names = token_roles("No mass.", filled, cue=(0, 2), subject="mass")
    assert names == ("start", "cue", "subject", "punct", "end", "pad", "pad")


def test_a_cue_that_is_read_out_stays_the_cue() -> None:
    assert roles("No mass", "lm") == "cue subject"
    assert roles("mass is not seen", "lm") == "subject prefix cue end"


def test_an_affirmative_statement_has_no_cue() -> None:
    tokens = tokenize("Some mass.")
    assert token_roles("Some mass.", tokens, cue=None, subject="mass") == (
        *("start", "prefix", "subject", "punct", "end"),
    )
    assert token_roles("Some mass.", tokens, cue=None, subject=None)[1:3] == ("rest", "rest")


def test_truncated_statements_are_refused() -> None:
    text = "A chest without mass."
    cut = {
        length: Tokens(
            **{k: v[:length] if k != "read_out" else None for k, v in vars(tokenize(text)).items()}
        )
        for length in (1, 3, 5)
    }
    for tokens in cut.values():
        with pytest.raises(AlignmentError) as caught:
            token_roles(text, tokens, cue=(8, 15), subject="mass")
        assert caught.value.code == "truncated"
