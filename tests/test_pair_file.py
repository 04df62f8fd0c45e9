"""Very many pairs are read again from their file, as they were read first."""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import negtrace
from negtrace.errors import NegtraceWarning, PairError
from negtrace.pairs import pair_file
from negtrace.pairs.jsonl import read_pairs
from negtrace.pairs.pair import Pair, ordered_digest, pairs_digest
from negtrace.pairs.pair_file import PairFile, pairs_of_file

FEW = 5


@pytest.fixture(autouse=True)
def few_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_file, "MOST_HELD", FEW)


def written(folder: Path) -> Path:
    """Return a file of every kind of pair: with and without id, subject, cue, tags and image."""
    for number in range(2):
        Image.fromarray(np.full((2, 3), number, np.uint8)).save(folder / f"{number}.png")
    text = {"anchor": {"text": "Clear lungs, é."}}
    rows = [
        {"true": "No mass.", "false": "A mass.", **text},
        {
            "true": "Some fluid.",
            "false": "No fluid.",
            "id": "own",
            "tags": {"finding": "f"},
            **text,
        },
        {"true": "No opacity.", "false": "An opacity.", "anchor": {"image": "0.png"}},
        {"true": "There is no cyst.", "false": "There is a cyst.", "subject": "cyst", **text},
        {"true": "No is no answer.", "false": "No is an answer.", **text}
        | {"negated": "true", "cue": [6, 8]},
        {"true": "No nodule.", "false": "A nodule.", "anchor": {"image": "1.png"}, "tags": {}},
        {"true": "Nothing.", "false": "Something.", "id": "", **text},
    ]
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    lines[2:2] = [b"", b"  "]
    path = folder / "pairs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    return path


def fields(pair: Pair) -> tuple[object, ...]:
    names = ("true", "false", "id", "subject", "negated", "cue", "digest")
    return *(getattr(pair, name) for name in names), dict(pair.tags), pair.anchor.digest


def test_pairs_are_those_that_were_read_first(tmp_path: Path) -> None:
    path = written(tmp_path)
    expected, pairs = read_pairs(path), pairs_of_file(path)
    assert isinstance(pairs, PairFile)
    assert len(pairs) == len(expected) == 7
    assert [fields(pair) for pair in pairs] == [fields(pair) for pair in expected]
    assert [fields(pair) for pair in pairs[1:6:2]] == [fields(pair) for pair in expected[1:6:2]]
    assert fields(pairs[-1]) == fields(expected[-1])
    assert ordered_digest(pairs) == ordered_digest(expected)
    assert pairs_digest(pairs) == pairs_digest(expected)
    with pytest.raises(IndexError):
        pairs[7]


def test_few_pairs_are_a_list(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    negtrace.write_pairs(negtrace.radiology_pairs()[:FEW], path)
    assert isinstance(pairs_of_file(path), list)
    negtrace.write_pairs(negtrace.radiology_pairs()[: FEW + 1], path)
    assert isinstance(pairs_of_file(path), PairFile)


@pytest.mark.parametrize("change", ["text", "shorter", "gone"])
def test_a_file_that_changes_meanwhile_is_named(tmp_path: Path, change: str) -> None:
    path = written(tmp_path)
    pairs, content = pairs_of_file(path), path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        text = content.replace(b"Nothing", b"Nobody?") if change == "text" else content[:-40]
        path.write_bytes(text)
    reason = "can no longer be read" if change == "gone" else "has changed since"
    with pytest.raises(PairError, match=rf"pairs\.jsonl {reason}"):
        list(pairs)


def test_an_image_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    pairs = pairs_of_file(written(tmp_path))
    Image.fromarray(np.full((2, 3), 9, np.uint8)).save(tmp_path / "0.png")
    pairs[5].anchor.open_image()
    with pytest.raises(PairError, match="changed after the pair was made"):
        pairs[2].anchor.open_image()


def test_bad_lines_are_left_out_with_one_warning(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes() + b"\n" + b"{}\n" * 4)
    with pytest.raises(PairError, match=r"pairs.jsonl, line 10: missing 'true'"):
        pairs_of_file(path)
    with pytest.warns(NegtraceWarning, match="4 of 11 lines skipped") as caught:
        pairs = pairs_of_file(path, "skip")
    assert str(caught[0].message).count("missing") == 3
    assert len(list(pairs)) == 7
    with pytest.warns(NegtraceWarning, match="4 of 11 lines skipped"):
        assert len(read_pairs(path, "skip")) == 7


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    content, pipe = written(tmp_path).read_bytes(), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    pairs: Sequence[Pair] = pairs_of_file(pipe)
    writer.join()
    assert isinstance(pairs, list)
    assert len(pairs) == 7
