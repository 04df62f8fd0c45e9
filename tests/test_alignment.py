"""Alignment of two statements, with a small tokenizer and with those of CLIP and BERT."""

import csv
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_tokenizers import (
    FAMILIES,
    WIDTH,
    Family,
    aligned,
    bert_tokens,
    clip_tokens,
    pair,
    tokenize,
)

from negtrace.errors import AlignmentError, PairError
from negtrace.language.cues import Cue, find_cues, subject_of
from negtrace.pairs.alignment import RULES, Alignment, align
from negtrace.pairs.pair import Pair
from negtrace.pairs.radiology import radiology_pairs
from negtrace.pairs.roles import ROLES, SUBJECT
from negtrace.pairs.tokens import Tokens
from negtrace.pairs.valse import valse_pairs


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("negated", ["true", "false"])
def test_equal_length_is_position_by_position(family: Family, negated: str) -> None:
    negative, affirmative = "There is no mass.", "There is some mass."
    alignment = aligned(
        *((negative, affirmative) if negated == "true" else (affirmative, negative)), family
    )
    assert alignment.rule == "identity"
    assert alignment.roles_true == alignment.roles_false
    assert alignment.true_from_false == tuple((i,) for i in range(len(alignment.roles_true)))
    assert alignment.false_from_true == alignment.true_from_false
    assert alignment.roles_true.index("cue") == alignment.first_difference


def test_unequal_lengths_by_hand() -> None:
    # start no mass . end | start some tiny mass . end: `no` stands for both `some` and `tiny`.
    alignment = aligned("No mass.", "Some tiny mass.")
    assert alignment.rule == "substitution"
    assert alignment.roles_true == ("start", "cue", "subject", "punct", "end")
    assert alignment.roles_false == ("start", "cue", "cue", "subject", "punct", "end")
    assert alignment.true_from_false == ((0,), (1, 2), (3,), (4,), (5,))
    assert alignment.false_from_true == ((0,), (1,), (1,), (2,), (3,), (4,))
    assert alignment.first_difference == 1


def test_several_cue_tokens_correspond_to_several_words() -> None:
    alignment = aligned("It has a mass.", "It is without a mass.", "bert")
    assert alignment.roles_false == (
        *("start", "prefix", "prefix", "cue", "cue", "prefix", "subject", "punct", "end"),
    )
    assert alignment.true_from_false[2] == (2, 3, 4)
    assert alignment.false_from_true[2:5] == ((2,), (2,), (2,))
    assert alignment.roles_true[2] == "cue"


def test_padding_after_the_text_corresponds_as_far_as_both_have_it() -> None:
    # no mass . END PAD*12 | some tiny mass . END PAD*11; the last PAD is read out.
    alignment = aligned("No mass.", "Some tiny mass.", "siglip")
    assert alignment.rule == "substitution"
    assert alignment.true_from_false[:5] == ((0, 1), (2,), (3,), (4,), (5,))
    assert alignment.true_from_false[-1] == (WIDTH - 1,)
    assert alignment.false_from_true[-1] == (WIDTH - 1,)
    assert alignment.true_from_false[-2] == ()
    assert alignment.true_from_false[4:-2] == tuple((i,) for i in range(5, WIDTH - 1))
    assert alignment.roles_true[-1] == alignment.roles_false[-1] == "end"
    assert set(alignment.roles_true[3:-1]) == set(alignment.roles_false[4:-1]) == {"pad"}


def test_padding_before_the_text_corresponds_from_the_text_outwards() -> None:
    alignment = aligned("No mass.", "Some tiny mass.", "left")
    assert alignment.true_from_false[0] == ()
    assert alignment.true_from_false[1:13] == tuple((i,) for i in range(12))
    assert alignment.true_from_false[13:] == ((12, 13), (14,), (15,))


def test_the_read_out_corresponds_to_the_read_out_alone() -> None:
    alignment = aligned("The mass is absent", "The mass is real now", "lm")
    assert alignment.true_from_false[-1] == (4,)
    assert alignment.roles_true[-1] == "cue"
    assert all(4 not in sources for sources in alignment.true_from_false[:-1])


@pytest.mark.parametrize(
    ("true", "false", "rule", "sources"),
    [
        # start no mass . end | start mass . end
        ("No mass.", "Mass.", "deletion", [[0], [], [1], [2], [3]]),
        # start no evid ence of mass end | start mass end
        ("No evidence of mass", "mass", "deletion", [[0], [], [], [], [], [1], [2]]),
        # of the cue, `evid ence of` stands in both.
        ("No evidence of mass", "Evidence of mass", "deletion", [[0], [], [1], [2], [3], [4], [5]]),
        ("Mass is not seen", "Mass is seen", "deletion", [[0], [1], [2], [], [3], [4]]),
        # with out meets with, and its other piece nothing.
        ("It is without mass", "It is with mass", "deletion", [[0], [1], [2], [3], [], [4], [5]]),
        # abse nt meets real.
        ("A mass is absent", "A mass is real", "substitution", [[0], [1], [2], [3], [4], [4], [5]]),
        # Two changed stretches: no, some tiny; is seen, was here.
        (
            "No mass is seen now",
            "Some tiny mass was now",
            "substitution",
            [[0], [1, 2], [3], [4], [4], [5], [6]],
        ),
        # As long as each other, but shifted.
        ("Here no mass is", "Here mass is big", "deletion", [[0], [1], [], [2], [3], [5]]),
        ("Mass not so here", "Mass so now here", "deletion", [[0], [1], [], [2], [4], [5]]),
        ("No mass is seen.", "mass is here", "deletion", [[0], [], [1], [2], [3], [3], [4]]),
        # start a mass is abse nt . end | start ther e is a mass . end
        ("A mass is absent.", "There is a mass.", "moved", [[0], [4], [5], [3], [], [], [6], [7]]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_rules_by_hand(
    true: str, false: str, rule: str, sources: list[list[int]], turned: bool
) -> None:
    cue = find_cues(true)[0]
    given = {"cue": (cue.start, cue.end), "subject": "mass"}
    if turned:
        alignment = aligned(false, true, negated="false", **given)
        assert [list(positions) for positions in alignment.false_from_true] == sources
    else:
        alignment = aligned(true, false, negated="true", **given)
        assert [list(positions) for positions in alignment.true_from_false] == sources
    assert alignment.rule == rule


def test_roles_of_a_statement_without_the_cue() -> None:
    assert aligned("No mass.", "Mass.").roles_false == ("start", "subject", "punct", "end")
    alignment = aligned("The mass is absent.", "There is the mass.")
    assert alignment.roles_true == (
        *("start", "prefix", "subject", "prefix", "cue", "cue", "punct", "end"),
    )
    assert alignment.roles_false == (
        *("start", "prefix", "prefix", "prefix", "prefix", "subject", "punct", "end"),
    )


def test_a_text_token_that_is_read_out_takes_one_role() -> None:
    given = {"negated": "true", "cue": (12, 16), "subject": "mass"}
    alignment = aligned("The mass is gone", "The mass is", "lm", **given)
    assert alignment.rule == "deletion"
    assert alignment.true_from_false == ((0,), (1,), (), (2,))
    assert alignment.roles_false == ("prefix", "subject", "cue")
    alignment = aligned("No mass is here", "Mass is here now", "lm")
    assert alignment.true_from_false == ((), (0,), (1,), (3,))
    assert alignment.roles_false == ("subject", "rest", "rest", "end")


def test_the_subject_corresponds_when_it_is_tokenized_differently() -> None:
    # A tokenizer that knows case: `Pleu ra` at the start of a sentence, `pl eu ra` within.
    contrast_pair = pair("No pleura.", "Pleura.", subject="pleura")
    true, false = tokenize(contrast_pair.true), tokenize(contrast_pair.false)
    pieces = Tokens(
        ids=(1, 90, 91, 92, 93, true.ids[-2], 2),
        spans=((0, 0), (0, 2), (3, 5), (5, 7), (7, 9), (9, 10), (0, 0)),
        padding=(False,) * 7,
        read_out=6,
    )
    alignment = align(contrast_pair, pieces, false)
    assert alignment.rule == "deletion"
    assert alignment.true_from_false == ((0,), (), (1, 2), (1, 2), (1, 2), (3,), (4,))
    assert alignment.roles_false == ("start", "subject", "subject_rest", "punct", "end")


def test_words_that_differ_by_case_correspond() -> None:
    contrast_pair = pair("No Mass.", "Mass.", subject="Mass")
    true, false = tokenize(contrast_pair.true), tokenize(contrast_pair.false)
    cased = Tokens(**{**vars(false), "ids": (1, 999, *false.ids[2:])})
    assert align(contrast_pair, true, cased).true_from_false == ((0,), (), (1,), (2,), (3,))


def test_of_several_subjects_the_one_in_the_same_context_counts() -> None:
    alignment = aligned("A mass, but no mass", "A mass, but mass", subject="mass")
    assert alignment.true_from_false == ((0,), (1,), (2,), (3,), (4,), (), (5,), (6,))
    alignment = aligned("No mass but a mass", "Mass but a mass", subject="mass")
    assert alignment.true_from_false == ((0,), (), (1,), (2,), (3,), (4,), (5,))


def test_a_cue_is_not_taken_for_the_start_of_its_subject() -> None:
    # no no dule, as CLIP reads "no nodule".
    contrast_pair = pair("It has no nodule", "It has nodule")
    ids = {"it": 10, "has": 11, "no": 12, "dule": 13}
    spans = ((0, 2), (3, 6), (7, 9), (10, 12), (12, 16))
    true = Tokens(ids=(10, 11, 12, 12, 13), spans=spans, padding=(False,) * 5, read_out=None)
    false = Tokens(
        ids=(*ids.values(),),
        spans=(*spans[:3], (9, 13)),
        padding=(False,) * 4,
        read_out=None,
    )
    assert align(contrast_pair, true, false).true_from_false == ((0,), (1,), (), (2,), (3,))


@pytest.mark.parametrize(
    ("true", "false", "code", "reason"),
    [
        ("No mass is seen.", "One lump is seen here.", "subject-changed", "take in the subject"),
        (
            "No mass is seen in the left lung.",
            "The mass grew.",
            "unaligned",
            "fewer than half of the tokens around the cue",
        ),
        ("No mass.", "no MASS.", "same-tokens", "reads both statements alike"),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_pairs_that_do_not_align_are_refused(
    true: str, false: str, code: str, reason: str, turn: int
) -> None:
    explicit = {"negated": "true" if turn == 1 else "false", "cue": find_cues(true)[0]}
    explicit["cue"] = (explicit["cue"].start, explicit["cue"].end)
    with pytest.raises(AlignmentError, match=reason) as caught:
        aligned(*(true, false)[::turn], **explicit)
    assert caught.value.code == code
    assert isinstance(caught.value, PairError)


def test_a_change_apart_from_the_cue_is_unaligned() -> None:
    with pytest.raises(AlignmentError, match="do not hold the cue") as caught:
        aligned("No mass now.", "No mass here today.", negated="true", cue=(0, 2))
    assert caught.value.code == "unaligned"


def test_a_repeated_word_is_counted_once() -> None:
    alignment = aligned("no no mass", "no mass", negated="true", cue=(3, 5))
    assert alignment.true_from_false == ((0,), (1,), (), (2,), (3,))


WORDS = ["left", "big", "here", "mass", "is", ",", "tiny"]
CODES = {"aligned", "same-tokens", "truncated", "subject-changed", "unaligned"}
Parts = tuple[list[str], list[str], list[str], str]


def contrast(parts: Parts) -> tuple[str, str]:
    """Return a negated statement and an affirmative one with other words in the cue's place."""
    before, new, after, stop = parts
    return " ".join([*before, "no", *after, stop]), " ".join([*before, *new, *after, stop])


def is_contrast(parts: Parts) -> bool:
    negated, affirmative = contrast(parts)
    return len(find_cues(negated)) == 1 and negated != affirmative and bool(affirmative.strip())


def words() -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(WORDS), max_size=4)


@settings(deadline=None)
@given(
    st.tuples(words(), words(), words(), st.sampled_from(["", "."])),
    st.sampled_from(FAMILIES),
    st.booleans(),
)
def test_laws_of_every_alignment(parts: Parts, family: Family, swapped: bool) -> None:
    assume(is_contrast(parts))
    true, false = contrast(parts)[:: -1 if swapped else 1]
    tokens = tokenize(true, family), tokenize(false, family)
    code = "aligned"
    try:
        check_laws(align(pair(true, false), *tokens), *tokens, "false" if swapped else "true")
    except AlignmentError as error:
        code = error.code
    assert code in CODES


def test_most_contrasts_can_be_aligned() -> None:
    """The test above accepts statements that cannot be aligned; most can."""
    rng = random.Random(0)  # noqa: S311
    codes = Counter[str]()
    while codes.total() < 500:
        before, new, after = (rng.choices(WORDS, k=rng.randrange(5)) for _ in range(3))
        if is_contrast((before, new, after, ".")):
            try:
                codes[aligned(*contrast((before, new, after, "."))).rule] += 1
            except AlignmentError as error:
                codes[error.code] += 1
    assert sum(codes[rule] for rule in RULES) > 0.6 * codes.total(), codes


@pytest.mark.parametrize("words", [("mass", "lung"), ("fever", "knee")])
def test_reasons_hold_no_statement_text(words: tuple[str, str]) -> None:
    noun, organ = words
    for false in (
        f"A {organ} is seen here and now.",
        f"The {noun} grew.",
        f"no {noun} IN the {organ}",
    ):
        with pytest.raises(AlignmentError) as caught:
            aligned(f"No {noun} in the {organ}", false, negated="true", cue=(0, 2), subject=noun)
        assert not {*words} & {*str(caught.value).split()}


def subjects(roles: tuple[str, ...]) -> set[int]:
    return {i for i, role in enumerate(roles) if role in SUBJECT}


def check_laws(alignment: Alignment, true: Tokens, false: Tokens, negated: str = "true") -> None:
    """Each token has a known role, and correspondence is symmetric and keeps its order."""
    for roles, tokens in ((alignment.roles_true, true), (alignment.roles_false, false)):
        assert len(roles) == len(tokens)
        assert set(roles) <= set(ROLES)
    edges = {(i, j) for i, js in enumerate(alignment.true_from_false) for j in js}
    back = {(i, j) for j, js in enumerate(alignment.false_from_true) for i in js}
    assert edges == back
    assert len(alignment.true_from_false) == len(true)
    assert len(alignment.false_from_true) == len(false)
    if true.read_out is not None:
        assert alignment.true_from_false[true.read_out] == (false.read_out,)
        assert alignment.false_from_true[false.read_out] == (true.read_out,)
    first = alignment.first_difference
    assert true.ids[:first] == false.ids[:first]
    same = tuple((i,) for i in range(first))
    assert alignment.true_from_false[:first] == alignment.false_from_true[:first] == same
    for i, j in edges - {(true.read_out, false.read_out)}:
        assert (i in subjects(alignment.roles_true)) == (j in subjects(alignment.roles_false))
    if alignment.rule != "moved":
        ends = (true.read_out, false.read_out)
        lowest = [js[0] for i, js in enumerate(alignment.true_from_false) if js and i != ends[0]]
        assert lowest == sorted(lowest)
    check_cue(alignment, true, false, negated)
    if alignment.rule == "identity":
        assert alignment.roles_true == alignment.roles_false


def check_cue(alignment: Alignment, true: Tokens, false: Tokens, negated: str) -> None:
    """What corresponds to the cue is the cue of the other statement, as the rule says."""
    roles, others, sources = alignment.roles_true, alignment.roles_false, alignment.true_from_false
    ids, other_ids, read_out = true.ids, false.ids, true.read_out
    if negated == "false":
        roles, others, sources = others, roles, alignment.false_from_true
        ids, other_ids, read_out = other_ids, ids, false.read_out
    cue = [i for i, role in enumerate(roles) if role == "cue"]
    assert cue
    assert {j for i in cue for j in sources[i]} == {
        j for j, role in enumerate(others) if role == "cue"
    }
    new = [i for i in cue if i != read_out and ids[i] not in [other_ids[j] for j in sources[i]]]
    if alignment.rule == "deletion":
        assert all(not sources[i] for i in new)
    if alignment.rule == "substitution" and read_out not in cue:
        assert any(sources[i] for i in new)


@pytest.mark.parametrize("tokenizer", [clip_tokens, bert_tokens])
def test_every_radiology_pair_is_exact_on_real_tokens(
    tokenizer: Callable[[Path], Callable[[str], Tokens]], data_dir: Path
) -> None:
    read = tokenizer(data_dir)
    for example in radiology_pairs():
        true, false = read(example.true), read(example.false)
        alignment = align(example, true, false)
        check_laws(alignment, true, false, example.negated)
        assert alignment.rule == "identity"
        assert alignment.roles_true.count("cue") == alignment.roles_true.count("subject") == 1
        assert alignment.roles_true[-2:] == ("punct", "end")
        after = alignment.first_difference + 1
        assert true.ids[after:] == false.ids[after:]


@pytest.mark.filterwarnings("ignore:.*rows left out")
@pytest.mark.parametrize(
    ("rephrase", "counts"),
    [(True, {"identity": 127}), (False, {"identity": 40, "deletion": 87})],
)
def test_valse_on_real_tokens(rephrase: bool, counts: dict[str, int], data_dir: Path) -> None:
    read, rules = clip_tokens(data_dir), Counter()
    for example in valse_pairs(data_dir / "valse/existence_part.json", rephrase=rephrase):
        true, false = read(example.true), read(example.false)
        alignment = align(example, true, false)
        check_laws(alignment, true, false, example.negated)
        rules[alignment.rule] += 1
    assert rules == counts


AFFIRMED = {
    "no": "some",
    "without": "with",
    "absent": "present",
    "not": "clearly",
    "negative": "positive",
    "no evidence of": "evidence of",
    "without evidence of": "with evidence of",
    "denies": "has",
}


def affirmed(text: str, cue: Cue, change: str) -> str:
    """Return `text` without its cue, with other words for the cue, or as another sentence."""
    if change == "reworded":
        return f"There is {subject_of(text, cue)}."
    start, end = cue.start, cue.end
    words = AFFIRMED.get(cue.text.lower(), "definite") if change == "replaced" else ""
    if not words and not text[:start].strip()[-1:].isalnum():
        end += len(text[end:]) - len(text[end:].lstrip())
        return text[:start] + text[end : end + 1].upper() + text[end + 1 :]
    return text[:start] + words + text[end:]


def negated_sentences(source: str, folder: Path) -> list[str]:
    if source == "negex":
        path, column, keep = "negex/annotations_part.tsv", "Sentence", "Negated"
    else:
        path, column, keep = "roco/captions_ccby_part.tsv", "caption", None
    with (folder / path).open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    texts = (row[column].strip().strip('"') for row in rows if keep in (None, row.get("Negation")))
    return [text for text in dict.fromkeys(texts) if find_cues(text)]


def real_pairs(source: str, change: str, folder: Path) -> Iterator[Pair]:
    for text in negated_sentences(source, folder):
        cue = find_cues(text)[0]
        if change == "reworded" and not subject_of(text, cue):
            continue
        yield pair(
            text,
            affirmed(text, cue, change),
            negated="true",
            cue=(cue.start, cue.end),
            subject=subject_of(text, cue),
        )


@pytest.mark.parametrize("tokenizer", [clip_tokens, bert_tokens])
@pytest.mark.parametrize("source", ["negex", "roco"])
@pytest.mark.parametrize("change", ["deleted", "replaced", "reworded"])
def test_real_sentences_are_aligned_or_dropped_by_name(
    tokenizer: Callable[[Path], Callable[[str], Tokens]], source: str, change: str, data_dir: Path
) -> None:
    read, counts = tokenizer(data_dir), Counter()
    for example in real_pairs(source, change, data_dir):
        true, false = read(example.true), read(example.false)
        try:
            alignment = align(example, true, false)
        except AlignmentError as error:
            counts[error.code] += 1
            continue
        check_laws(alignment, true, false)
        counts[alignment.rule] += 1
    held = {rule for rule in RULES if counts[rule]}
    if change == "deleted":
        # But for "didn't", whose pieces are "didn", "'" and "t".
        assert counts["deletion"] > 0.99 * counts.total() > 200
        assert held == {*counts}
    elif change == "replaced":
        assert held == {*counts} == {"identity", "substitution", "deletion"}
        assert counts["substitution"] > 10
    else:
        # Most of a long sentence is in no way in four words.
        assert held >= {"substitution"}
        assert {*counts} - held == {"unaligned"}
