"""Words in which statements differ apart from the negation, and subjects in either number."""

from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import FAMILIES, Family, aligned, bert_tokens, pair, tokenize

from negtrace.errors import AlignmentError
from negtrace.language.findings import VOCABULARY, plural_of
from negtrace.pairs.alignment import Alignment, align
from negtrace.pairs.differences import Differences, differences, differences_note
from negtrace.pairs.pair import Pair
from negtrace.pairs.phantom import phantom_pairs
from negtrace.pairs.radiology import radiology_pairs
from negtrace.pairs.roles import SUBJECT
from negtrace.pairs.subjects import same_noun
from negtrace.pairs.tokens import Tokens


def by_subject(alignment: Alignment, true: str, false: str, family: Family) -> dict[str, set[str]]:
    """Return the text of each subject token of the true statement, and what corresponds to it."""
    here, there = tokenize(true, family).spans, tokenize(false, family).spans
    return {
        true[slice(*here[i])]: {false[slice(*there[j])] for j in positions}
        for i, positions in enumerate(alignment.true_from_false)
        if alignment.roles_true[i] in SUBJECT
    }


@pytest.mark.parametrize(
    ("true", "false", "expected"),
    [
        ("No nodules are seen.", "There is a nodule.", {"nodu": {"nodu", "le"}}),
        ("No masses are seen.", "There is a mass.", {"mass": {"mass"}, "es": {"mass"}}),
        ("There are no cats.", "There is one cat.", {"cats": {"cat"}}),
        ("There are no feet.", "There is one foot.", {"feet": {"foot"}}),
        ("No opacity seen.", "Some opacities seen.", {"opac": {"opac", "itie", "s"}}),
    ],
)
def test_the_subject_stands_beside_itself_in_either_number(
    true: str, false: str, expected: dict[str, set[str]]
) -> None:
    found = by_subject(aligned(true, false), true, false, "clip")
    assert {word: found[word] for word in expected} == expected
    assert set().union(*found.values()) == set().union(*expected.values())


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("No mass is seen.", "One lump is seen."),
        ("No mass is seen.", "One lump is seen here."),
        ("No mass is seen.", "Lump is seen."),
        ("No mass.", "Massive."),
        ("No left mass.", "A right mass."),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_another_subject_is_refused_at_any_length(true: str, false: str, turned: bool) -> None:
    with pytest.raises(AlignmentError) as caught:
        aligned(*(false, true) if turned else (true, false))
    assert caught.value.code == "subject-changed"


@pytest.mark.parametrize(
    ("true", "false", "cue"),
    [
        ("No mass now.", "No mass here.", (0, 2)),
        ("No mass in a big lung.", "A mass on my tiny knee.", (0, 2)),
    ],
)
def test_statements_of_one_length_must_agree_around_the_cue(
    true: str, false: str, cue: tuple[int, int]
) -> None:
    with pytest.raises(AlignmentError) as caught:
        aligned(true, false, negated="true", cue=cue)
    assert caught.value.code == "unaligned"


@pytest.mark.parametrize(
    ("true", "false", "words", "kinds"),
    [
        ("There is no mass.", "There is some mass.", 0, ()),
        ("No masses are seen.", "A mass is seen.", 0, ()),
        ("There are no people.", "There is a person.", 0, ()),
        ("No evidence of mass.", "Mass.", 0, ()),
        ("The mass is absent.", "There is the mass.", 0, ()),
        ("The film is free of mass.", "The film is with mass.", 0, ()),
        ("It does not show a mass.", "It shows a mass.", 0, ()),
        ("It did not show a mass.", "It showed a mass.", 0, ()),
        ("No left-sided mass.", "A LEFT sided mass", 0, ()),
        ("No mass seen on the left.", "On the left, a mass seen.", 0, ()),
        ("No mass on the left.", "A mass on the right.", 1, ("side",)),
        ("No mass, left as right.", "A mass, right as left.", 1, ("side",)),
        ("No mass.", "A mass on the right.", 2, ("side", "words")),
        ("No mass.", "A small mass.", 1, ("severity",)),
        ("No mass.", "Small mass.", 1, ("severity",)),
        ("It is without mass.", "It is with a small mass.", 1, ("severity",)),
        ("No small mass.", "A large mass.", 1, ("severity",)),
        ("No mass in the upper lung.", "A mass in the lower lung.", 1, ("zone",)),
        ("There is no mass.", "There is a new mass.", 1, ("words",)),
        ("No mass or node.", "A mass or lump.", 1, ("words",)),
        ("No mass is seen in the lung.", "A mass in the lung.", 1, ("words",)),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_words_that_differ_by_hand(
    true: str, false: str, words: int, kinds: tuple[str, ...], turned: bool
) -> None:
    found = differences(pair(*(false, true) if turned else (true, false)))
    assert (found.words, found.kinds) == (words, kinds)
    assert bool(found) is (words > 0)


def test_accents_differ_only_in_encoding() -> None:
    example = pair("No \u00e9panchement seen.", normalize("NFD", "Some \u00e9panchement seen."))
    assert differences(example) == Differences()
    true, false = tokenize(example.true), tokenize(example.false)
    assert align(example, true, false).roles_true.count("subject") == 1


def test_a_word_with_an_accent_corresponds_to_itself_in_the_other_encoding(data_dir: Path) -> None:
    read = bert_tokens(data_dir)
    example = pair(
        "No mass \u00e0 \u00e9t\u00e9 l\u00e0.",
        normalize("NFD", "Mass \u00e0 \u00e9t\u00e9 l\u00e0."),
        subject="mass",
    )
    alignment = align(example, read(example.true), read(example.false))
    count = len(alignment.true_from_false)
    # The one token more is the cue; all others correspond one to one, in their order.
    assert alignment.true_from_false == ((0,), (), *((i,) for i in range(1, count - 1)))


def test_a_subject_given_without_the_end_of_its_word_stands_beside_the_same_letters() -> None:
    # no | mass es | . and some | mass es | . with four letters to a token.
    alignment = aligned("There are no masses.", "There are masses.", subject="mass")
    assert alignment.roles_true.count("subject") == alignment.roles_false.count("subject") == 1
    assert "subject_rest" not in alignment.roles_true + alignment.roles_false


def test_an_alignment_counts_other_words() -> None:
    assert aligned("No mass here.", "Some mass now.").differing.words == 1
    assert aligned("No mass here.", "Some mass here.").differing == Differences()


def test_no_built_in_pair_differs_in_other_words() -> None:
    assert not any(map(differences, [*radiology_pairs(), *phantom_pairs(24)]))


def test_the_note_counts_pairs_and_kinds_and_holds_no_text() -> None:
    rows = [
        Differences(words=3, kinds=("side", "words")),
        Differences(words=1, kinds=("side",)),
        Differences(),
    ]
    assert differences_note(rows).startswith(
        "2 of 3 pairs differ in more than the negation (side: 2, words: 1), so"
    )
    assert differences_note(iter(rows[1:])).startswith("1 of 2 pairs differs in more")
    assert differences_note(rows[2:]) == differences_note([]) == ""


def test_one_rule_for_plurals() -> None:
    plurals = {
        "metastasis": "metastases",
        "opacity": "opacities",
        "day": "days",
        "box": "boxes",
        "bus": "buses",
        "woman": "women",
        "human": "humans",
        "bulla": "bullae",
        "pneumothorax": "pneumothoraces",
    }
    assert {noun: plural_of(noun) for noun in plurals} == plurals
    names = [name for finding in VOCABULARY.values() for name in finding.names]
    assert all(same_noun(name.words, name.plural) for name in names)
    assert not same_noun("mass", "massive")


NOUNS = ["mass", "masses", "node", "nodes", "people", "person"]
OTHERS = ["left", "right", "big", "is", "node", "mass", "here", ","]
Statements = tuple[str, str, str]


@st.composite
def contrasts(draw: st.DrawFn) -> Statements:
    """Return a negated statement, its subject, and an affirmative one of words at random."""
    some = st.lists(st.sampled_from(OTHERS), max_size=3)
    subject, other = draw(st.sampled_from(NOUNS)), draw(st.sampled_from(NOUNS))
    before, after = draw(some), draw(some)
    negated = " ".join([*before, "no", subject, *after, "."])
    same = draw(st.booleans())
    left, right = (before, after) if same else (draw(some), draw(some))
    return negated, subject, " ".join([*left, *draw(some), other, *right, "."])


def aligned_or_none(example: Pair, true: Tokens, false: Tokens) -> Alignment | None:
    try:
        return align(example, true, false)
    except AlignmentError:
        return None


def check_subjects(negated: str, subject: str, other: str, family: Family) -> bool:
    """Check the laws of a contrast, and return whether its statements can be aligned."""
    begin = negated.index("no ")
    cue: dict[str, Any] = {"cue": (begin, begin + 2), "subject": subject}
    assert negated[begin:].startswith(f"no {subject}")
    here, there = tokenize(negated, family), tokenize(other, family)
    straight = aligned_or_none(pair(negated, other, negated="true", **cue), here, there)
    turned = aligned_or_none(pair(other, negated, negated="false", **cue), there, here)
    if straight is None or turned is None:
        assert straight is turned
        return False
    # Turned round, a pair has the same alignment turned round.
    assert straight.true_from_false == turned.false_from_true
    assert straight.false_from_true == turned.true_from_false
    assert (straight.roles_true, straight.roles_false) == (turned.roles_false, turned.roles_true)
    assert straight.differing == turned.differing
    # The subject stands beside itself.
    for word, sources in by_subject(straight, negated, other, family).items():
        assert any(word in form for form in (subject, plural_of(subject)))
        for source in sources:
            assert any(source in form and same_noun(form, subject) for form in NOUNS)
    # Tokens correspond one to one, or a group as a whole to a group.
    rows = [set(row) for row in straight.true_from_false]
    assert all(a == b or not a & b for a in rows for b in rows)
    return True


def test_laws_of_subjects() -> None:
    """Two of three contrasts can be aligned; those are the ones that are checked."""
    checked: list[bool] = []

    @settings(deadline=None, max_examples=300)
    @given(contrasts(), st.sampled_from(FAMILIES))
    def check(statements: Statements, family: Family) -> None:
        checked.append(check_subjects(*statements, family))

    check()
    assert sum(checked) >= 100
