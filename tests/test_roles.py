"""Roles and correspondence, on a tokenizer small enough to read, and on CLIP's and BERT's."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from negtrace.errors import PairError
from negtrace.language.cues import find_cues, subject_of
from negtrace.pair_sources import radiology_pairs, valse_pairs
from negtrace.pairs import Anchor, Pair
from negtrace.roles import ROLES, AlignmentError, Layout, lay_out, token_roles
from negtrace.tokens import Tokens

Family = Literal["clip", "siglip", "bert", "mean", "lm", "left"]
FAMILIES: tuple[Family, ...] = ("clip", "siglip", "bert", "mean", "lm", "left")
ADDED = {"clip": (1, 1), "siglip": (0, 1), "bert": (1, 1), "mean": (1, 1)}
START, END, PAD, WIDTH = 1, 2, 0, 16


def tokenize(text: str, family: Family = "clip") -> Tokens:
    """Read words and marks, three letters to a piece at most, as the family frames them."""
    spans = [hit.span() for hit in re.finditer(r"\w{1,4}|[^\w\s]", text)]
    ids = [3 + sum(ord(c) << 8 * i for i, c in enumerate(text[a:b].lower())) for a, b in spans]
    before, after = ADDED.get(family, (0, 0))
    ids, spans = (
        [START] * before + ids + [END] * after,
        [(0, 0)] * before + spans + [(0, 0)] * after,
    )
    fill = max(0, WIDTH - len(ids)) if family in ("siglip", "left") else 0
    padding = [False] * len(ids)
    if family == "left":
        ids, spans, padding = [PAD] * fill + ids, [(0, 0)] * fill + spans, [True] * fill + padding
    else:
        ids, spans, padding = ids + [PAD] * fill, spans + [(0, 0)] * fill, padding + [True] * fill
    read_out = {"bert": 0, "mean": None}.get(family, len(ids) - 1)
    return Tokens(ids=tuple(ids), spans=tuple(spans), padding=tuple(padding), read_out=read_out)


def pair(true: str, false: str, **rest: Any) -> Pair:
    return Pair(true=true, false=false, anchor=Anchor(text="Clear."), **rest)


def laid_out(true: str, false: str, family: Family = "clip", **rest: Any) -> Layout:
    return lay_out(pair(true, false, **rest), tokenize(true, family), tokenize(false, family))


def roles(text: str, family: Family = "clip") -> str:
    cue = find_cues(text)[0]
    found = token_roles(
        text, tokenize(text, family), cue=(cue.start, cue.end), subject=subject_of(text, cue)
    )
    return " ".join(found)


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


def test_what_is_added_behind_the_end_is_padding() -> None:
    tokens = tokenize("No mass.")
    filled = Tokens(
        ids=(*tokens.ids, PAD, PAD),
        spans=(*tokens.spans, (0, 0), (0, 0)),
        padding=(*tokens.padding, True, True),
        read_out=tokens.read_out,
    )
    found = token_roles("No mass.", filled, cue=(0, 2), subject="mass")
    assert found == ("start", "cue", "subject", "punct", "end", "pad", "pad")


def test_a_read_out_that_negates_stays_the_cue() -> None:
    assert roles("No mass", "lm") == "cue subject"
    assert roles("mass is not seen", "lm") == "subject prefix cue end"


def test_an_affirmative_statement_has_no_cue() -> None:
    tokens = tokenize("Some mass.")
    assert token_roles("Some mass.", tokens, cue=None, subject="mass") == (
        *("start", "prefix", "subject", "punct", "end"),
    )
    assert token_roles("Some mass.", tokens, cue=None, subject=None)[1:3] == ("rest", "rest")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("negated", ["true", "false"])
def test_equal_length_is_position_by_position(family: Family, negated: str) -> None:
    one, other = "There is no mass.", "There is some mass."
    layout = laid_out(*((one, other) if negated == "true" else (other, one)), family)
    assert layout.rule == "identity"
    assert layout.roles_true == layout.roles_false
    assert layout.true_from_false == tuple((i,) for i in range(len(layout.roles_true)))
    assert layout.false_from_true == layout.true_from_false
    assert layout.roles_true.index("cue") == layout.first_difference


def test_unequal_length_worked_by_hand() -> None:
    # start no mass . end | start some tiny mass . end: `no` stands for both `some` and `tiny`.
    layout = laid_out("No mass.", "Some tiny mass.")
    assert layout.rule == "roles"
    assert layout.roles_true == ("start", "cue", "subject", "punct", "end")
    assert layout.roles_false == ("start", "cue", "cue", "subject", "punct", "end")
    assert layout.true_from_false == ((0,), (1, 2), (3,), (4,), (5,))
    assert layout.false_from_true == ((0,), (1,), (1,), (2,), (3,), (4,))
    assert layout.first_difference == 1


def test_many_cue_tokens_meet_many() -> None:
    layout = laid_out("It has a mass.", "It is without a mass.", "bert")
    assert layout.roles_false == (
        *("start", "prefix", "prefix", "cue", "cue", "prefix", "subject", "punct", "end"),
    )
    assert layout.true_from_false[2] == (2, 3, 4)
    assert layout.false_from_true[2:5] == ((2,), (2,), (2,))
    assert layout.roles_true[2] == "cue"


def test_padding_goes_as_far_as_it_can_and_the_read_out_meets_its_like() -> None:
    # no mass . END PAD*12 | some tiny mass . END PAD*11; the last PAD is read out.
    layout = laid_out("No mass.", "Some tiny mass.", "siglip")
    assert layout.rule == "roles"
    assert layout.true_from_false[:5] == ((0, 1), (2,), (3,), (4,), (5,))
    assert layout.true_from_false[-1] == (WIDTH - 1,)
    assert layout.false_from_true[-1] == (WIDTH - 1,)
    assert layout.true_from_false[-2] == ()
    assert layout.true_from_false[4:-2] == tuple((i,) for i in range(5, WIDTH - 1))
    assert layout.roles_true[-1] == layout.roles_false[-1] == "end"
    assert set(layout.roles_true[3:-1]) == set(layout.roles_false[4:-1]) == {"pad"}


def test_padding_before_the_text_goes_from_the_text_outwards() -> None:
    layout = laid_out("No mass.", "Some tiny mass.", "left")
    assert layout.true_from_false[0] == ()
    assert layout.true_from_false[1:13] == tuple((i,) for i in range(12))
    assert layout.true_from_false[13:] == ((12, 13), (14,), (15,))


def test_the_read_out_is_never_shared() -> None:
    layout = laid_out("The mass is absent", "The mass is real now", "lm")
    assert layout.true_from_false[-1] == (4,)
    assert layout.roles_true[-1] == "cue"
    assert all(4 not in sources for sources in layout.true_from_false[:-1])


@pytest.mark.parametrize(
    ("true", "false", "code", "reason"),
    [
        ("There are no cars.", "There are cars.", "no-counterpart", "'some' in the place of 'no'"),
        ("No mass is seen.", "mass is here", "subject-changed", "take in the subject"),
        ("The mass is absent.", "There is the mass.", "subject-changed", "word both"),
        ("A mass is absent.", "There is a mass.", "subject-changed", "word both"),
        ("No mass.", "no MASS.", "same-tokens", "reads both statements alike"),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_pairs_that_do_not_align(true: str, false: str, code: str, reason: str, turn: int) -> None:
    explicit = {"negated": "true" if turn == 1 else "false", "cue": find_cues(true)[0]}
    explicit["cue"] = (explicit["cue"].start, explicit["cue"].end)
    with pytest.raises(AlignmentError, match=reason) as caught:
        laid_out(*(true, false)[::turn], **explicit)
    assert caught.value.code == code
    assert isinstance(caught.value, PairError)


def test_a_change_apart_from_the_cue_is_unaligned() -> None:
    with pytest.raises(AlignmentError, match="do not hold the cue") as caught:
        laid_out("No mass now.", "No mass here today.", negated="true", cue=(0, 2))
    assert caught.value.code == "unaligned"


def test_a_repeated_word_is_counted_once() -> None:
    with pytest.raises(AlignmentError) as caught:
        laid_out("no no mass", "no mass", negated="true", cue=(3, 5))
    assert caught.value.code == "no-counterpart"


def test_what_the_tokens_do_not_reach_is_truncated() -> None:
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


WORDS = st.lists(st.sampled_from(["left", "big", "here", "mass", "is", ",", "tiny"]), max_size=4)


@given(WORDS, WORDS, WORDS, st.sampled_from(FAMILIES), st.booleans())
def test_laws_of_every_layout(
    before: list[str], new: list[str], after: list[str], family: Family, turned: bool
) -> None:
    negated, affirmed = (
        " ".join([*before, "no", *after, "."]),
        " ".join([*before, *new, *after, "."]),
    )
    true, false = (affirmed, negated) if turned else (negated, affirmed)
    tokens = tokenize(true, family), tokenize(false, family)
    if len(find_cues(negated)) != 1 or true == false:
        return
    try:
        layout = lay_out(pair(true, false), *tokens)
    except AlignmentError:
        return
    check_laws(layout, *tokens)


@pytest.mark.parametrize("words", [("There is", "mass"), ("She has", "fever")])
def test_reasons_hold_no_statement_text(words: tuple[str, str]) -> None:
    reasons = set()
    for verb, noun in (("There is", "mass"), words):
        with pytest.raises(AlignmentError) as caught:
            laid_out(f"{verb} no {noun}.", f"{verb} {noun}.")
        reasons.add(str(caught.value))
    assert len(reasons) == 1


def check_laws(layout: Layout, true: Tokens, false: Tokens) -> None:
    """Each token has one role; maps agree both ways; the read-out meets its like alone."""
    for found, tokens in ((layout.roles_true, true), (layout.roles_false, false)):
        assert len(found) == len(tokens)
        assert set(found) <= set(ROLES)
        assert "cue" in found
    there = {(i, j) for i, js in enumerate(layout.true_from_false) for j in js}
    back = {(i, j) for j, js in enumerate(layout.false_from_true) for i in js}
    assert there == back
    assert len(layout.true_from_false) == len(true)
    assert len(layout.false_from_true) == len(false)
    if true.read_out is not None:
        assert layout.true_from_false[true.read_out] == (false.read_out,)
        assert layout.false_from_true[false.read_out] == (true.read_out,)
    first = layout.first_difference
    assert true.ids[:first] == false.ids[:first]
    assert true.ids[first : first + 1] != false.ids[first : first + 1]
    for i, sources in enumerate(layout.true_from_false):
        if not true.padding[i]:
            assert sources or true.read_out is not None
    if layout.rule == "identity":
        assert layout.roles_true == layout.roles_false


def clip_tokens(folder: Path) -> Callable[[str], Tokens]:
    """CLIP's byte-pair encoding, from its published vocabulary."""
    lines = gzip.decompress((folder / "clip_bpe/bpe_simple_vocab_16e6.txt.gz").read_bytes())
    merges = [tuple(line.split()) for line in lines.decode().split("\n")[1 : 49152 - 256 - 1]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), *("".join(merge) for merge in merges)]
    ids = {piece: i for i, piece in enumerate(vocabulary, start=3)}
    model = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix="</w>"))
    model.normalizer = normalizers.Lowercase()
    words = Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Split(words, behavior="removed", invert=True)
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    return lambda text: framed(model, text)


def bert_tokens(folder: Path) -> Callable[[str], Tokens]:
    """BERT's uncased WordPiece."""
    lines = (folder / "bert_vocab/vocab.txt").read_text("utf-8").splitlines()
    vocabulary = {piece: i + 3 for i, piece in enumerate(lines)}
    model = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    model.normalizer = normalizers.BertNormalizer()
    model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return lambda text: framed(model, text)


def framed(model: Tokenizer, text: str) -> Tokens:
    read = model.encode(text)
    return Tokens(
        ids=(START, *read.ids, END),
        spans=((0, 0), *read.offsets, (0, 0)),
        padding=(False,) * (len(read.ids) + 2),
        read_out=len(read.ids) + 1,
    )


@pytest.mark.parametrize("tokenizer", [clip_tokens, bert_tokens])
def test_every_radiology_pair_is_exact_on_real_tokens(
    tokenizer: Callable[[Path], Callable[[str], Tokens]], data_dir: Path
) -> None:
    read = tokenizer(data_dir)
    for pair in radiology_pairs():
        true, false = read(pair.true), read(pair.false)
        layout = lay_out(pair, true, false)
        check_laws(layout, true, false)
        assert layout.rule == "identity"
        assert layout.roles_true.count("cue") == layout.roles_true.count("subject") == 1
        assert layout.roles_true[-2:] == ("punct", "end")
        assert true.ids[layout.first_difference + 1 :] == false.ids[layout.first_difference + 1 :]


@pytest.mark.filterwarnings("ignore:.*rows left out")
@pytest.mark.parametrize(("rephrase", "counts"), [(True, (127, 0)), (False, (40, 87))])
def test_valse_on_real_tokens(rephrase: bool, counts: tuple[int, int], data_dir: Path) -> None:
    read, codes, equal = clip_tokens(data_dir), [], 0
    for pair in valse_pairs(data_dir / "valse/existence_part.json", rephrase=rephrase):
        true, false = read(pair.true), read(pair.false)
        try:
            equal += lay_out(pair, true, false).rule == "identity"
        except AlignmentError as error:
            codes.append(error.code)
    assert (equal, len(codes)) == counts
    assert set(codes) <= {"no-counterpart"}
