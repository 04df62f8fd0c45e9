"""Names in Markdown and SVG: reports and cards show them as they stand, and no more."""

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from markdown_it import MarkdownIt

import negtrace
from negtrace._markdown import code, escaped, table
from negtrace._messages import one_line
from negtrace.bench import BenchConfig, Report
from negtrace.datasets.card import Card
from negtrace.encoders.toy import ToyEncoder
from negtrace.experiments.before_after import Measurements
from negtrace.experiments.finetune_report import Finetuned
from negtrace.plots import bench_figure, layer_importance, save_figure
from negtrace.plots.layout import plain
from negtrace.training import Change, FinetuneConfig

HOSTILE = [
    "a|b||c",
    "a\\|b",
    "`code` and ``more",
    "`<b>x</b>`",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "![x](https://host/track.png)",
    "<javascript:alert(1)>",
    "https://host/path",
    "www.host.org",
    "a\nb\r\n\n# title\n| c |",
    "*bold* _under_ **both** __two__ ~~gone~~",
    "&lt;b&gt; &#60;",
    "$x$ and $$y$$",
    "a\x1b[31mb\u202ec\x00d",
    "text_model.encoder.layers.0",
    "x" * 5000,
    "\\",
]

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Shown(HTMLParser):
    """The cells of a table, and every element of a page."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.elements: set[str] = set()
        self.feed(MARKDOWN.render(markdown))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.add(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data.rstrip("\n")


TABLE = {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cell_shows_any_name_as_it_stands(name: str) -> None:
    shown = Shown("\n".join(table(["model", name], [[name, "0.5"], ["plain", name]])))
    assert shown.cells == ["model", one_line(name), one_line(name), "0.5", "plain", one_line(name)]
    assert shown.elements == TABLE


@pytest.mark.parametrize("name", HOSTILE)
def test_code_shows_any_name_as_it_stands(name: str) -> None:
    page = MARKDOWN.render(f"Settings: {code(name)}")
    parser = Shown(f"Settings: {code(name)}")
    assert parser.elements == {"p", "code"}
    assert page.count("<code>") == 1


def test_numbers_and_names_of_blocks_need_no_escape() -> None:
    for text in ("0.123", "-1.5", "10 %", "text_model.layers.0", "claims/train: R@5"):
        assert escaped(text) == text


def finetuned(blocks: Sequence[str]) -> Finetuned:
    norms = np.ones(len(blocks))
    return Finetuned(
        encoder=ToyEncoder(),
        config=FinetuneConfig(),
        multipliers=dict.fromkeys(blocks, 1.0),
        scores={},
        change=Change(blocks=tuple(blocks), norms=norms, relative=norms),
        losses=(),
        before=Measurements(reports={}, document=None),
        after=Measurements(reports={}, document=None),
        run={},
        folder=None,
    )


def test_a_report_of_a_fine_tuning_shows_any_name_of_a_block() -> None:
    shown = Shown("\n".join(finetuned(HOSTILE).lines()))
    assert [one_line(name) for name in HOSTILE] == shown.cells[4::4][: len(HOSTILE)]
    assert shown.elements == {*TABLE, "p"}


@pytest.mark.parametrize(("count", "tops"), [(2, ()), (3, ()), (4, ("3",)), (6, ("3", "5"))])
def test_a_report_names_no_more_top_blocks_than_there_are(count: int, tops: Any) -> None:
    result = finetuned([f"layers.{number}" for number in range(count)])
    assert tuple(result.document()["share_of_top"]) == tops
    assert sum("Top" in line for line in result.lines()) == len(tops)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_data_card_shows_any_name_as_it_stands(name: str) -> None:
    level = name.replace("/", " ")  # a slash parts the levels of a count
    card = Card(
        identity={
            "version": name,
            "config": {"seed": 1, "sources": [name]},
            "key": "k",
            "sources": [{"source": 0, "layout": name, "digest": name}],
        },
        counts={
            f"records/skipped/{level}": 3,
            f"findings/{level}": 2,
            "claims/train": 4,
            f"claims/train/finding/{level}": 4,
        },
        examples={level: [[0, name], [1, 7]]},
        files={},
    )
    shown = Shown(card.as_text())
    assert shown.elements == {*TABLE, "h1", "h2", "p", "code"}
    for cell in (
        one_line(name),
        one_line(f"{level} (skipped)"),
        one_line(f"0:{name}, 1:7"),
        one_line(f"findings {level}, left out"),
        one_line(f"finding: {level}"),
    ):
        assert cell in shown.cells


def test_a_table_of_benchmarks_shows_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    from polarity import table as of_reports

    [report] = negtrace.bench.run(ToyEncoder(), BenchConfig(count=8, data="text"))
    reports = [replace(report, model={**report.model, "name": name}) for name in HOSTILE]
    shown = Shown(of_reports(reports))
    assert shown.cells[1 : 1 + len(HOSTILE)] == [one_line(name) for name in HOSTILE]
    assert shown.elements == TABLE


def hostile_report(name: str) -> Report:
    """Return a report whose every text is a hostile name."""
    [report] = negtrace.bench.run(ToyEncoder(), BenchConfig(count=8, data="text"))
    rows = tuple(
        replace(row, measure=name, series=name, axis=name, level=f"{name} {index}")
        for index, row in enumerate(report.rows[:3])
    )
    data = {**report.data, "name": name, "anchors": name}
    return replace(report, suite=name, model={**report.model, "name": name}, data=data, rows=rows)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_svg_shows_any_text_of_a_report(name: str, tmp_path: Path) -> None:
    [path] = save_figure(bench_figure([hostile_report(name)]), tmp_path / "bench", ["svg"])
    require_plain_svg(path)


@pytest.mark.parametrize("name", ["a\x1bb\x00", "$\\frac{a$", "x" * 5000, "<script>"])
def test_an_svg_shows_any_name_of_layer_scores(name: str, tmp_path: Path) -> None:
    cte = negtrace.trace(ToyEncoder(), negtrace.radiology_pairs()[:8], progress=False)
    scores = replace(negtrace.layer_scores(cte, "transport"), method=name)
    others = replace(scores, method=f"{name} 2")
    for index, drawn in enumerate(([scores], [scores, others])):
        figure = layer_importance(drawn).figure
        [path] = save_figure(figure, tmp_path / str(index), ["svg"])
        require_plain_svg(path)


def require_plain_svg(path: Path) -> None:
    root = ElementTree.fromstring(path.read_text("utf-8"))  # noqa: S314 - our own file
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not kinds & {"script", "a", "image", "foreignObject", "img"}
    assert all(
        not key.lower().startswith("on") for element in root.iter() for key in element.attrib
    )


def test_a_long_line_of_a_title_is_cut() -> None:
    from negtrace.plots.layout import wrapped

    assert len(wrapped("word " * 100_000, 4.0)) < 1200
    assert plain("a\x1b$\nb") == "a\N{REPLACEMENT CHARACTER}\\$\nb"
