"""Hostile names: no formula in a spreadsheet or a figure, no text of a patient in a message."""

import warnings
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import negtrace
from negtrace._files import write_csv
from negtrace._messages import excerpt
from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import NegtraceError, PairError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.jsonl import read_pairs
from negtrace.pairs.pair import Pair
from negtrace.pairs.radiology import radiology_pairs
from negtrace.plots.layers import importance_grid
from negtrace.plots.save import save_figure

LONG = "There is no effusion and " + "something " * 10_000 + "SECRET"


@pytest.mark.parametrize("name", [r"$\frac{a$", "$x$", "a\nb", "x" * 5000, "<b>&amp;", "=1+1"])
def test_a_figure_shows_any_name_as_it_stands(name: str, tmp_path: Path) -> None:
    encoder = ToyEncoder()
    encoder.name = name
    cte = negtrace.trace(encoder, radiology_pairs()[:8], progress=False)
    axes = negtrace.heatmap(cte)
    [path] = save_figure(axes.figure, tmp_path / "figure", ["svg"])
    text = path.read_text("utf-8")
    shown = {r"$\frac{a$": r"$\frac{a$", "a\nb": "a b", "<b>&amp;": "&lt;b&gt;&amp;amp;"}
    assert shown.get(name, name[:40]) in text
    grid = importance_grid(list(negtrace.all_layer_scores(cte).values()))
    save_figure(grid, tmp_path / "grid", ["svg"])
    plt.close(axes.figure)


def test_a_name_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    names = ["=1+1", "+x", "-x", "@x", "\tx", "plain", ""]
    rows = [(name, -1.5, -2) for name in names]
    lines = write_csv(tmp_path / "t.csv", ["name", "effect", "count"], rows).read_text()
    assert [line[:1] for line in lines.splitlines()[1:6]] == ["'"] * 5
    assert "plain,-1.5,-2" in lines


def refusals(tmp_path: Path) -> list[str]:
    """Return what is said of texts that cannot be used, by everything that reads pairs."""
    anchor = Anchor(text="The lungs are clear.")
    one = {"true": LONG, "false": LONG.replace(" no ", " an "), "anchor": anchor}
    wrong = [
        {**one, "false": LONG + "."},
        {**one, "true": LONG.replace(" no ", " an "), "false": LONG.replace(" no ", " some ")},
        {**one, "subject": LONG + " mass"},
        {**one, "negated": "true", "cue": (0, 0)},
        {**one, "true": f"There is no mass. {LONG}"},
    ]
    said = []
    for fields in wrong:
        with pytest.raises(PairError) as refused:
            Pair(**fields)
        said.append(str(refused.value))
    path = tmp_path / "pairs.jsonl"
    for line in (f'{{"{LONG}": 1}}', f'{{"true": ["{LONG}"], "false": "a", "anchor": {{}}}}'):
        path.write_text(line)
        with pytest.raises(PairError) as refused:
            read_pairs(path)
        said.append(str(refused.value))
    with pytest.raises(NegtraceError) as unknown:
        negtrace.trace(ToyEncoder(), [Pair(**one)], progress=False, direction=LONG)
    said.append(str(unknown.value))
    with (
        warnings.catch_warnings(record=True, action="always") as caught,
        pytest.raises(NegtraceError) as long,
    ):
        negtrace.trace(ToyEncoder(), [replace(Pair(**one), id="a")], progress=False)
    return [*said, str(long.value), *(str(warning.message) for warning in caught)]


def test_messages_show_a_few_words_of_a_text(tmp_path: Path) -> None:
    said = refusals(tmp_path)
    assert len(said) >= 9
    for message in said:
        assert "SECRET" not in message
        assert len(message) < 800


def test_an_excerpt_is_short_and_says_that_it_is_one() -> None:
    assert excerpt(LONG) == "'There is no effusion and something...'"
    assert len(excerpt("x" * 1000)) < 60
    assert excerpt({"a": LONG}).endswith("...")
    assert excerpt("short") == "'short'"


def test_what_no_model_reads_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(PairError, match="has 2000000 characters; expected 1000000 or fewer"):
        Anchor(text="x " * 1_000_000)
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"true": "' + "x" * 5_000_000 + '"}')
    with pytest.raises(PairError, match="line 1: 5000012 bytes; expected 4000000 or fewer"):
        read_pairs(path)
