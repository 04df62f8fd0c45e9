"""Complements: the shipped groups, and a file of one's own."""

import json
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import negtrace.language
from negtrace.datasets import read_complements
from negtrace.errors import DatasetError
from negtrace.language import Complement, complements, denials_of, find_cues, parse_claims

PAIRS = complements()

Groups = dict[str, dict[str, list[list[str]]]]


def shipped() -> Groups:
    """Return the groups as they stand in the file."""
    text = files("negtrace.language").joinpath("complements.toml").read_text("utf-8")
    return tomllib.loads(text)


def denies(text: str) -> bool:
    return any(cue.scope[0] < cue.scope[1] for cue in find_cues(text))


def repeated(items: list[Any]) -> list[Any]:
    return [item for item, count in Counter(items).items() if count > 1]


def test_there_are_many_groups_in_many_domains() -> None:
    groups = {pair.group: pair.domain for pair in PAIRS}
    domains = Counter(groups.values())
    assert len(groups) >= 420
    assert len(domains) >= 10
    assert min(domains.values()) >= 35, domains
    assert len(groups) == sum(len(rows) for kinds in shipped().values() for rows in kinds.values())


def test_every_denial_denies_and_nothing_else_does() -> None:
    assert [pair.denial for pair in PAIRS if not denies(pair.denial)] == []
    sentences = {text for p in PAIRS for text in (p.complement, p.affirmed, p.opposite)}
    assert [text for text in sentences if find_cues(text)] == []


def test_no_denial_and_no_two_complements_are_there_twice() -> None:
    assert repeated([pair.denial for pair in PAIRS]) == []
    kinds = shipped().values()
    states = [row for kind in kinds for row in (*kind["states"], *kind["actions"])]
    assert repeated([frozenset(row[2:4]) for row in states]) == []
    things = [row for kind in kinds for row in kind["things"]]
    assert repeated([frozenset(row[2:4]) for row in things]) == []


def test_no_sentence_speaks_of_a_finding() -> None:
    """What is learned from complements is tested on findings, so none may be among them."""
    sentences = {text for p in PAIRS for text in (p.denial, p.complement, p.affirmed, p.opposite)}
    assert [text for text in sorted(sentences) if parse_claims(text)] == []


def test_a_group_has_two_sentences_that_exclude_each_other() -> None:
    for pair in PAIRS:
        assert pair.complement not in (pair.affirmed, pair.opposite), pair
    by_group: dict[str, set[frozenset[str]]] = {}
    for pair in PAIRS:
        by_group.setdefault(pair.group, set()).add(frozenset([pair.complement, pair.opposite]))
    assert [group for group, sentences in by_group.items() if len(sentences) > 1] == []


def test_every_sentence_is_a_sentence() -> None:
    for pair in PAIRS:
        for text in (pair.denial, pair.complement, pair.affirmed, pair.opposite):
            assert text == " ".join(text.split()), text
            assert text[0].isupper(), text
            assert text.count(".") == 1, text
            assert text.endswith("."), text


def test_a_denial_of_a_state_taken_back_is_what_it_denies() -> None:
    """`denials_of` agrees with the shipped sentence wherever no form of a verb changes."""
    states = [p for p in PAIRS if " is not " in p.denial and " or " not in p.denial]
    plain = [pair for pair in states if not pair.denial.startswith("It is not true")]
    assert len(plain) > 400
    for pair in plain:
        denials = denials_of(pair.denial)
        assert denials is not None
        assert denials.affirmed == pair.affirmed


@pytest.mark.parametrize(
    ("denial", "complement", "affirmed"),
    [
        ("The front door isn't closed.", "The front door is open.", "The front door is closed."),
        (
            "It is not true that we missed the last train.",
            "We caught the last train.",
            "We missed the last train.",
        ),
        ("The student didn't fail.", "The student passed.", "The student failed."),
        ("The two friends don't live in the same town.", None, None),
        ("The river won't rise above its banks.", "The river will stay within its banks.", None),
        ("There isn't a lid on the jar.", None, "There is a lid on the jar."),
        ("The jar is without a lid.", "The jar is open at the top.", "The jar has a lid."),
        ("There is no rain today.", "The day is dry.", "There is rain today."),
        ("There isn't any rain today.", "The day is dry.", "There is rain today."),
        ("There aren't any clouds in the sky.", None, "There are some clouds in the sky."),
        ("The tree has no leaves.", "The tree is bare.", "The tree has some leaves."),
        ("The tree is without leaves.", "The tree is bare.", "The tree has some leaves."),
        (
            "It is not true that there is an echo in the gorge.",
            "Calls die away in the gorge.",
            "There is an echo in the gorge.",
        ),
    ],
)
def test_denials_are_in_natural_english(
    denial: str, complement: str | None, affirmed: str | None
) -> None:
    [pair] = [pair for pair in PAIRS if pair.denial == denial]
    assert complement in (None, pair.complement)
    assert affirmed in (None, pair.affirmed)


def test_the_names_are_in_the_catalogues() -> None:
    assert {"Complement", "complements"} <= set(negtrace.language.__all__)
    assert "read_complements" in negtrace.datasets.__all__


VALVE = {"denial": "The valve is not open.", "complement": "The valve is shut."}


def written(folder: Path, *lines: object) -> Path:
    """Write a file of these lines: JSON of an object, and a text as it is."""
    path = folder / "mine.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return path


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    pump = {
        "denial": "The pump doesn't run.",
        "complement": "The pump has stopped.",
        "affirmed": "The pump runs.",
        "group": "pump",
    }
    valve, other = read_complements(written(tmp_path, VALVE, "", pump))
    assert valve == Complement(
        **VALVE,
        affirmed="The valve is open.",
        opposite="The valve is open.",
        group="The valve is open.",
    )
    assert other == Complement(**pump, opposite="The pump runs.")


def test_denials_of_one_sentence_are_one_group(tmp_path: Path) -> None:
    other = VALVE | {"denial": "The valve isn't open."}
    assert len({pair.group for pair in read_complements(written(tmp_path, VALVE, other))}) == 1


def test_the_shipped_pairs_can_be_read_back(tmp_path: Path) -> None:
    """A file of all of them passes every check."""
    keys = ("denial", "complement", "affirmed", "group")
    rows = [{key: getattr(pair, key) for key in keys} for pair in PAIRS]
    read = read_complements(written(tmp_path, *rows))
    assert [[getattr(pair, key) for key in keys] for pair in read] == [
        list(row.values()) for row in rows
    ]


BAD = {
    "no cue": ({"denial": "The valve is idle."}, "denies nothing"),
    "a cue without a scope": ({"denial": "No."}, "denies nothing"),
    "only a pseudo-negation": ({"denial": "There is no doubt."}, "denies nothing"),
    "a complement that denies": ({"complement": "No valve is open."}, "'No'"),
    "an affirmed that denies": ({"affirmed": "The valve is not shut."}, "'affirmed'"),
    "equal": ({"complement": "The valve  is not open."}, "equal"),
    "the complement is denied": ({"complement": "The valve is open."}, "is what the denial denies"),
    "blank": ({"complement": " "}, "'complement' is blank; expected a text"),
    "a number": ({"denial": 3}, "'denial' is 3; expected a text"),
    "a blank group": ({"group": ""}, "'group'"),
    "half a character": ({"group": "\ud800"}, "half of a character"),
    "an unknown key": ({"complment": "The valve is shut."}, "did you mean 'complement'"),
    "a strange key": ({"xyz": 1}, "unknown key 'xyz'; known: denial, complement, affirmed, group"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_pair_that_is_none_is_refused_by_name(case: str, tmp_path: Path) -> None:
    change, message = BAD[case]
    with pytest.raises(DatasetError) as error:
        read_complements(written(tmp_path, VALVE, VALVE | change))
    assert str(error.value).startswith("mine.jsonl, line 2: ")
    assert message in str(error.value)


@pytest.mark.parametrize("key", VALVE)
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    row = {name: text for name, text in VALVE.items() if name != key}
    with pytest.raises(DatasetError, match=f"line 1: missing '{key}'"):
        read_complements(written(tmp_path, row))


@pytest.mark.parametrize(("line", "message"), [("[1", "not JSON"), ("3", "a JSON int"), ("{", "")])
def test_a_line_that_is_no_object_is_named(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=rf"mine\.jsonl, line 2: .*{message}"):
        read_complements(written(tmp_path, VALVE, line))


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'{"denial": "\xff"}')
    with pytest.raises(DatasetError, match="line 1: not UTF-8"):
        read_complements(path)


@pytest.mark.parametrize("text", ["", "\n \n", "[]"])
def test_an_empty_file_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"mine\.jsonl holds no complements"):
        read_complements(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.jsonl cannot be read"):
        read_complements(tmp_path / "none.jsonl")
