"""Claim sets: JSONL files of right and wrong statements, and the claims that are wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from negtrace.datasets import NOWHERE, ClaimSet, read_claim_sets, write_claim_sets, wrongs
from negtrace.errors import DatasetError, OutputError
from negtrace.language.claims import Claim
from negtrace.pairs.anchor import Anchor

ROW: dict[str, Any] = {
    "anchor": {"text": "The lungs are clear."},
    "right": "There is no edema.",
    "wrong": [{"text": "There is edema.", "attribute": "existence"}],
}


def claim_set(**changes: Any) -> ClaimSet:
    fields = {
        "id": "a",
        "anchor": Anchor(text="The lungs are clear."),
        "right": "There is no edema.",
        "wrong": (("existence", "There is edema."),),
        "group": "a",
        **changes,
    }
    return ClaimSet(**fields)


def test_claim_sets_are_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    image = Anchor(image=np.full((3, 4), 7, np.uint8))
    sets = [claim_set(), claim_set(id="b", group="b", anchor=image, caption="Clear lungs.")]
    path = tmp_path / "sets.jsonl"
    write_claim_sets(sets, path)
    again, notes = read_claim_sets(path)
    assert not notes
    assert [claim_set.source for claim_set in again] == [("sets.jsonl", 1), ("sets.jsonl", 2)]
    for read, written in zip(again, sets, strict=True):
        assert replace(read, source=NOWHERE) == written


def test_a_set_without_an_id_is_named_after_its_line(tmp_path: Path) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_text("\n" + json.dumps(ROW))
    [read] = read_claim_sets(path)[0]
    assert (read.id, read.group, read.caption) == ("sets.jsonl:2", "sets.jsonl:2", "")


@pytest.mark.parametrize(
    ("row", "code", "detail"),
    [
        ([], "json", "a JSON list; expected an object"),
        ({**ROW, "anchor": "x"}, "claim_set", "`anchor` must be"),
        ({**ROW, "anchor": {"text": " "}}, "claim_set", "the anchor text is blank"),
        ({**ROW, "right": None}, "claim_set", "must be texts that are not blank"),
        ({**ROW, "wrong": []}, "claim_set", "`wrong` must be a list of one or more"),
        ({**ROW, "wrong": [{"text": "x"}]}, "claim_set", "`wrong` must be a list"),
        ({**ROW, "right": "There is edema."}, "claim_set", "two statements are equal"),
        ({**ROW, "id": "good"}, "claim_set", "the id 'good' occurs before"),
        ({**ROW, "anchor": {"image": "none.png"}}, "missing_image", "none.png: no such file"),
    ],
)
def test_a_line_that_cannot_be_used_is_noted(
    row: Any, code: str, detail: str, tmp_path: Path
) -> None:
    path = tmp_path / "sets.jsonl"
    path.write_text("\n".join(map(json.dumps, [{**ROW, "id": "good"}, row])))
    sets, [note] = read_claim_sets(path)
    assert [claim_set.id for claim_set in sets] == ["good"]
    assert (note.file, note.row, note.code, note.skipped) == ("sets.jsonl", 2, code, True)
    assert detail in note.detail


def test_files_and_sets_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sets.jsonl"
    with pytest.raises(DatasetError, match=r"sets.jsonl cannot be read \(No such file"):
        read_claim_sets(path)
    path.write_text("{}\n")
    with pytest.raises(DatasetError, match=r"no claim set in sets.jsonl; expected objects"):
        read_claim_sets(path)
    with pytest.raises(DatasetError, match="0 claim sets cannot be written: there is none"):
        write_claim_sets([], path)
    with pytest.raises(DatasetError, match="2 claim sets cannot be written: an id occurs twice"):
        write_claim_sets([claim_set(), claim_set()], path)
    with pytest.raises(OutputError, match="cannot write"):
        write_claim_sets([claim_set()], path / "in" / "a" / "file")


def test_a_denied_attribute_can_be_wrong_in_that_attribute_alone() -> None:
    claim = Claim(finding="effusion", present=True, side="left", severity="small")
    assert [name for name, _ in wrongs(claim)] == ["existence", "location", "severity"]
    denial = Claim(finding="effusion", present=True, side="right", denied="place")
    assert wrongs(denial) == (("location", denial.negate()),)
