"""Sources of pairs: radiology, the phantom and VALSE."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from negtrace.errors import NegtraceWarning, PairError, UnknownNameError
from negtrace.language.cues import find_cues
from negtrace.language.findings import FINDINGS
from negtrace.language.twins import FINDING_TWINS
from negtrace.pairs.jsonl import read_pairs, write_pairs
from negtrace.pairs.pair import Pair, pairs_digest
from negtrace.pairs.phantom import phantom_pairs
from negtrace.pairs.radiology import radiology_pairs
from negtrace.pairs.sources import SOURCES, pairs_from
from negtrace.pairs.valse import valse_pairs


def lengths(pair: Pair) -> set[int]:
    return {len(pair.true.split()), len(pair.false.split())}


def test_radiology_covers_every_finding_and_template_in_both_conditions() -> None:
    pairs = radiology_pairs()
    cells = Counter((p.tags["finding"], p.tags["template"], p.tags["condition"]) for p in pairs)
    assert len(cells) == len(pairs) == 2 * len(FINDINGS) * len(FINDING_TWINS)
    assert Counter(pair.negated for pair in pairs) == {"true": 70, "false": 70}
    for pair in pairs:
        assert pair.id == "-".join(pair.tags[key] for key in ("finding", "template", "condition"))
        assert pair.negated == ("true" if pair.tags["condition"] == "normal" else "false")
        assert pair.subject == FINDINGS[pair.tags["finding"]].term
        assert len(lengths(pair)) == 1
        assert pair.subject not in pair.anchor.text


def test_phantom_pairs_are_seeded_and_balanced() -> None:
    pairs = phantom_pairs(28, seed=3, size=16)
    assert pairs_digest(pairs) == pairs_digest(phantom_pairs(28, seed=3, size=16))
    assert pairs_digest(pairs) != pairs_digest(phantom_pairs(28, seed=4, size=16))
    assert Counter(pair.tags["condition"] for pair in pairs) == {"normal": 14, "abnormal": 14}
    assert len({pair.id for pair in pairs}) == 28
    for pair in pairs:
        assert pair.negated == ("true" if pair.tags["condition"] == "normal" else "false")
        assert pair.anchor.image.shape == (16, 16)
        assert pair.anchor.image.dtype == np.uint8


def test_phantom_pairs_can_be_written_and_read(tmp_path: Path) -> None:
    pairs = phantom_pairs(2, size=16)
    write_pairs(pairs, tmp_path / "pairs.jsonl")
    assert read_pairs(tmp_path / "pairs.jsonl") == pairs


def test_sources_have_names(tmp_path: Path) -> None:
    assert list(SOURCES) == ["phantom", "radiology", "valse"]
    assert pairs_from("radiology") == radiology_pairs()
    assert pairs_from("phantom", n=2, seed=5) == phantom_pairs(2, seed=5)
    with pytest.raises(UnknownNameError, match="unknown source of pairs 'coco'; known: phantom,"):
        pairs_from("coco")
    with pytest.raises(PairError, match=r"'valse' reads a file and got none; give VALSE's"):
        pairs_from("valse")
    assert len(pairs_from("valse", file=valse(tmp_path, row()))) == 1


def row(caption: str = "There is a cat.", foil: str = "There is no cat.", **rest: Any) -> Any:
    emptied = "no" in foil.lower().split()
    return {
        "caption": caption,
        "foil": foil,
        "image_file": "a.png",
        "provenance_of_foils": "something_to_zero" if emptied else "zero_to_something",
        "mturk": {"caption": 2},
        **rest,
    }


def valse(folder: Path, *rows: Any) -> Path:
    path = folder / "existence.json"
    path.write_text(json.dumps({f"row{i}": row for i, row in enumerate(rows)}))
    return path


@pytest.mark.parametrize(
    ("affirmed", "negated", "rephrased", "anchor"),
    [
        ("There are cars.", "There are no cars.", "There are some cars.", "A photo of cars."),
        ("There is a cat.", "There is no cat.", "There is some cat.", "A photo of a cat."),
        (
            "You see men.",
            "You see no men.",
            "You see some men.",
            "A photo in which you see men.",
        ),
        ("hats fit.", "No hats fit.", "Some hats fit.", "A photo in which hats fit."),
        ("People sit.", "no people sit.", "some people sit.", "A photo in which people sit."),
        ("It rains.", "There is no sun.", "It rains.", "A photo in which it rains."),
    ],
)
def test_valse_is_rephrased_to_equal_length(
    affirmed: str, negated: str, rephrased: str, anchor: str, tmp_path: Path
) -> None:
    path = valse(tmp_path, row(affirmed, negated))
    [pair] = valse_pairs(path)
    assert (pair.true, pair.false, pair.anchor.text) == (rephrased, negated, anchor)
    assert (pair.id, pair.negated, pair.tags["provenance"]) == (
        "row0",
        "false",
        "something_to_zero",
    )
    [verbatim] = valse_pairs(path, rephrase=False)
    assert (verbatim.true, verbatim.false) == (affirmed, negated)


def test_a_caption_with_a_cue_of_its_own(tmp_path: Path) -> None:
    [pair] = valse_pairs(
        valse(tmp_path, row("There is a man not sitting.", "There is no man not sitting."))
    )
    assert pair.false[slice(*pair.cue)] == "no"


def test_valse_with_images_keeps_negated_captions(tmp_path: Path) -> None:
    path = valse(tmp_path, row(), row("There are no cars.", "There are cars."))
    with pytest.warns(NegtraceWarning, match="1 of 2 rows left out, their captions are negated"):
        assert len(valse_pairs(path)) == 1
    with pytest.raises(PairError, match=r"no image file at .*a.png; give the folder"):
        valse_pairs(path, images=tmp_path)
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    pairs = valse_pairs(path, images=tmp_path)
    assert [pair.negated for pair in pairs] == ["false", "true"]
    assert pairs[1].false == "There are some cars."


def test_rows_with_few_votes_are_left_out(tmp_path: Path) -> None:
    path = valse(tmp_path, row(), row(mturk={"caption": 1}))
    assert [pair.id for pair in valse_pairs(path)] == ["row0"]
    assert len(valse_pairs(path, min_votes=1)) == 2
    with pytest.raises(PairError, match="no row is left with 4 votes; lower min_votes"):
        valse_pairs(path, min_votes=4)


@pytest.mark.parametrize(
    "rows", ["{", "[]", '{"a": 1}', '{"a": {"caption": "There are cars."}}', json.dumps([1])]
)
def test_other_files_are_refused(rows: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(rows)
    with pytest.raises(PairError, match=r"other.json is not VALSE existence.*expected an object"):
        valse_pairs(path)
    with pytest.raises(PairError, match=r"none.json cannot be read \(No such file"):
        valse_pairs(tmp_path / "none.json")


def test_a_row_without_a_no_is_named(tmp_path: Path) -> None:
    path = valse(tmp_path, row(foil="A cat.", provenance_of_foils="something_to_zero"))
    with pytest.raises(PairError, match="row 'row0' has no 'no' in its negated statement"):
        valse_pairs(path)


def test_the_real_file(data_dir: Path) -> None:
    path = data_dir / "valse" / "existence_part.json"
    with pytest.warns(NegtraceWarning, match="126 of 253 rows left out"):
        pairs = valse_pairs(path)
    assert len(pairs) == 127
    assert all(len(lengths(pair)) == 1 for pair in pairs)
    assert all(pair.negated_statement[slice(*pair.cue)].lower() == "no" for pair in pairs)
    # One caption, of a person "not wearing a dress", negates on its own account.
    assert sum(bool(find_cues(pair.anchor.text)) for pair in pairs) <= 1
