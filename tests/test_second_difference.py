"""Pairs that differ in more than the negation, from the trace to its JSON and its summary."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.results import GOLDEN
from small_encoders import clip

from negtrace.cli import main
from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import NegtraceWarning
from negtrace.experiments.gallery import summary
from negtrace.experiments.trace import run_trace
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.jsonl import write_pairs
from negtrace.pairs.pair import Pair
from negtrace.pairs.phantom import phantom_pairs
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json, write_json
from negtrace.tracing.selectivity import head_selectivity
from negtrace.tracing.trace import trace

STATEMENTS = (
    ("There is no effusion.", "There is some effusion."),
    ("There is no effusion on the left.", "There is some effusion on the right."),
    ("There is no effusion.", "There is some large new effusion."),
    ("There is some mass.", "There is no mass now."),
)
PAIRS = [
    Pair(true=true, false=false, anchor=Anchor(text="The lungs are clear."), id=f"p{index}")
    for index, (true, false) in enumerate(STATEMENTS)
]
WORDS = (0, 1, 2, 1)  # nothing; left or right; large, new; now
NOTE = r"3 of 4 pairs differ in more than the negation \(side: 1, severity: 1, words: 2\), so "


def traced(**options: Any) -> CTE:
    with pytest.warns(NegtraceWarning, match=NOTE) as caught:
        cte = trace(clip(), PAIRS, progress=False, **options)
    assert len(caught) == 1
    for word in ("effusion", "mass", "left", "large", "new", "now"):
        assert f" {word} " not in str(caught[0].message)
    return cte


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_a_trace_counts_the_words_of_each_pair_and_warns_once(direction: str) -> None:
    assert traced(direction=direction).differing == WORDS


def test_the_built_in_pairs_have_no_second_difference() -> None:
    """A warning would be an error here."""
    assert trace(ToyEncoder(), radiology_pairs(), progress=False).differing == (0,) * 140
    images = phantom_pairs(12, size=40)
    assert trace(clip(), images, progress=False).differing == (0,) * len(images)


@pytest.mark.parametrize("corruption", ["neutral", "noise", "zero"])
def test_a_corruption_of_the_cue_alone_does_not_run_the_second_difference(corruption: str) -> None:
    cte = trace(clip(), PAIRS, corruption=corruption, progress=False)
    assert cte.ids == ("p0", "p1", "p2")
    assert cte.differing == (0, 0, 0)


def test_dropped_pairs_are_not_counted() -> None:
    other = Pair(true="No mass.", false="A lump now.", anchor=PAIRS[0].anchor, id="other")
    cte = trace(ToyEncoder(), [other, PAIRS[0]], progress=False)
    assert (cte.ids, cte.differing) == (("p0",), (0,))
    assert [drop.code for drop in cte.dropped] == ["subject-changed"]


def test_parts_of_a_result_keep_their_counts(tmp_path: Path) -> None:
    cte = traced()
    alike = cte.select(np.array(cte.differing) == 0)
    assert (alike.ids, alike.differing) == (("p0",), (0,))
    rest = cte.select(np.array(cte.differing) > 0)
    assert CTE.concat([rest, alike]).differing == (1, 2, 1, 0)
    assert CTE.load(cte.save(tmp_path / "a.safetensors")).differing == WORDS


def test_the_json_and_the_summary_say_it(tmp_path: Path) -> None:
    cte = traced()
    path = write_json(cte, tmp_path / "a.json", floor=0.0)
    document = read_json(path)
    assert [pair["differing"] for pair in document.pairs] == list(WORDS)
    assert document.cte().differing == WORDS
    assert "  3 of 4 pairs differ in more than the negation" in summary(document)
    alike = write_json(cte.select(np.arange(4) < 1), tmp_path / "b.json", floor=0.0)
    assert "more than the negation" not in "\n".join(summary(read_json(alike)))
    assert "effusion" not in path.read_text()


def test_files_without_the_counts_are_read(tmp_path: Path) -> None:
    """The golden file was written before there were counts, and stays as it was."""
    document = read_json(GOLDEN)
    assert not any("differing" in pair for pair in document.pairs)
    older = document.cte()
    assert older.differing is older.select(np.arange(6) < 2).differing is None
    assert "more than the negation" not in "\n".join(summary(document))
    newer = CTE(**{**vars(older), "ids": tuple("abcdef"), "differing": (0, 1, 0, 0, 0, 2)})
    assert CTE.concat([newer, older]).differing is None
    written = read_json(write_json(newer, tmp_path / "newer.json"))
    assert [pair["differing"] for pair in written.pairs] == [0, 1, 0, 0, 0, 2]


@pytest.mark.filterwarnings("ignore:hooks of your own")  # what interrupts is a hook
@pytest.mark.filterwarnings("ignore:.* in more than the negation")
def test_a_resumed_trace_has_the_same_counts(tmp_path: Path) -> None:
    encoder, saved = clip(), tmp_path / "denoising.partial"
    options: dict[str, Any] = {"progress": False, "row_tokens": 60, "self_check": False}
    whole = trace(encoder, PAIRS, **options)
    forwards: list[int] = []
    handle = encoder.model.text_model.register_forward_hook(lambda *_: forwards.append(1))
    trace(encoder, PAIRS, **options)
    handle.remove()
    last = len(forwards)
    forwards.clear()

    def interrupted(*_: object) -> None:
        forwards.append(1)
        if len(forwards) == last:
            raise KeyboardInterrupt

    handle = encoder.model.text_model.register_forward_hook(interrupted)
    with pytest.raises(KeyboardInterrupt):
        trace(encoder, PAIRS, checkpoint=saved, **options)
    handle.remove()
    forwards.clear()
    handle = encoder.model.text_model.register_forward_hook(lambda *_: forwards.append(1))
    resumed = trace(encoder, PAIRS, checkpoint=saved, **options)
    handle.remove()
    assert len(forwards) < last
    assert resumed.differing == whole.differing == WORDS
    assert resumed.provenance.config == whole.provenance.config
    assert resumed.provenance.composition == whole.provenance.composition
    np.testing.assert_array_equal(resumed.patched, whole.patched)


def test_selectivity_warns_and_counts_the_pairs() -> None:
    with pytest.warns(NegtraceWarning, match=NOTE) as caught:
        measured = head_selectivity(clip(), PAIRS, progress=False)
    assert len(caught) == 1
    assert measured.provenance.config["differing"] == 3
    alike = head_selectivity(clip(), PAIRS[:1], progress=False)
    assert alike.provenance.config["differing"] == 0


def test_the_command_line_warns_once_for_both_directions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(PAIRS, tmp_path / "p.jsonl")
    out = tmp_path / "out"
    args = ["trace", "toy", "--pairs", str(tmp_path / "p.jsonl"), "--out", str(out)]
    assert main([*args, "--formats", "png"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("in more than the negation") == 1
    assert printed.err.startswith("negtrace: warning: 3 of 4 pairs differ")
    assert printed.out.count("3 of 4 pairs differ in more than the negation") == 2
    for direction in ("denoising", "noising"):
        kept = json.loads((out / f"{direction}.json").read_text())["pairs"]["kept"]
        assert [pair["differing"] for pair in kept] == list(WORDS)


def test_every_direction_of_an_experiment_is_counted(tmp_path: Path) -> None:
    with pytest.warns(NegtraceWarning, match=NOTE):
        documents = run_trace(ToyEncoder(), tmp_path, PAIRS, formats=(), progress=False)
    for document in documents:
        assert [pair["differing"] for pair in document.pairs] == list(WORDS)
