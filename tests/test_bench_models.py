"""The benchmark on random models, and on models that read statement and anchor together."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from language_models import decoder, reader
from scorers import ConstantEncoder, RandomEncoder

from negtrace import bench
from negtrace.bench import retrieval, scoring
from negtrace.bench.candidates import CandidateSet
from negtrace.bench.cases import PhantomCases, TextCases
from negtrace.bench.items import drop_long_items
from negtrace.bench.polarity import WORDINGS, polarity_items, polarity_questions, polarity_rows
from negtrace.bench.report import ReportRow
from negtrace.bench.result import Intervals
from negtrace.bench.retrieval import retrieval_rows
from negtrace.bench.scoring import score_items
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.experiments.benchmark import run_benchmark
from negtrace.pairs.anchor import Anchor

MADE = [
    (suite, data) for suite in ("polarity", "claims", "retrieval") for data in ("phantom", "text")
]
FILES = {
    "choices": "negbench/coco_mcq_part.csv",
    "valse": "valse/existence_part.json",
    "gallery": "negbench/coco_retrieval_negated_part.csv",
}


def asked(folder: Path, kind: str) -> bench.BenchConfig:
    """Settings for a public file, with wide intervals from few draws."""
    return bench.BenchConfig(
        suite="negbench",
        data=folder / FILES[kind],
        anchors=folder / FILES["gallery"],
        resamples=300,
        confidence=0.999,
    )


def model_rows(encoder: Encoder, config: bench.BenchConfig) -> list[ReportRow]:
    rows = [row for row in bench.run(encoder, config)[0].rows if row.scorer == "model"]
    return [row for row in rows if row.measure in ("accuracy", "recall")]


def require_chance(rows: list[ReportRow]) -> None:
    """Accuracy by kind of the right statement may differ from chance, so it is not checked."""
    rows = [row for row in rows if row.axis in ("all", "attribute") or row.level == "R@10"]
    assert rows
    for row in rows:
        assert row.chance is not None
        assert row.low <= row.chance <= row.high, row


@pytest.mark.parametrize(("suite", "data"), MADE)
def test_ties_count_as_wrong(suite: str, data: str) -> None:
    rows = model_rows(
        ConstantEncoder(), bench.BenchConfig(suite=suite, data=data, count=24, resamples=20)
    )
    assert {row.estimate for row in rows} == {0.0}


@pytest.mark.parametrize("kind", FILES)
def test_ties_count_as_wrong_on_files(kind: str, data_dir: Path) -> None:
    assert {row.estimate for row in model_rows(ConstantEncoder(), asked(data_dir, kind))} == {0.0}


@pytest.mark.parametrize(("suite", "data"), MADE)
def test_random_scores_are_at_chance(suite: str, data: str) -> None:
    config = bench.BenchConfig(suite=suite, data=data, count=240, resamples=300, confidence=0.999)
    require_chance(model_rows(RandomEncoder(), config))


@pytest.mark.parametrize("kind", FILES)
def test_random_scores_are_at_chance_on_files(kind: str, data_dir: Path) -> None:
    """In the file, the right caption is first in every row, and affirmative in most."""
    require_chance(model_rows(RandomEncoder(), asked(data_dir, kind)))


def test_equal_embeddings_collapse_completely() -> None:
    report = bench.run(ConstantEncoder(), bench.BenchConfig(suite="collapse", resamples=20))[0]
    assert report.find(series="negation").estimate == pytest.approx(1)
    assert report.find(measure="margin").estimate == 0
    assert report.find(measure="share").estimate == 1


def test_the_gap_is_paired_by_question() -> None:
    """If both wordings fail on the same questions, the gap is 0 and its interval is short."""
    questions = polarity_questions(TextCases(), 80, seed=0)
    hard = np.random.default_rng(0).integers(0, 2, len(questions)).astype(float)
    right = {series: {"model": hard} for series in WORDINGS}
    rows = polarity_rows(questions, right, Intervals())
    [gap] = [row for row in rows if row.measure == "gap"]
    assert -0.1 < gap.low < gap.estimate == 0 < gap.high < 0.1
    [whole] = [row for row in rows if row.axis == "all" and row.series == "negated"]
    assert whole.low + 0.05 < whole.estimate < whole.high - 0.05


def test_the_interval_of_the_gap_takes_quartets_whole() -> None:
    """If the differences cancel within every quartet, the interval of the gap is short."""
    questions = polarity_questions(TextCases(), 80, seed=0)
    half = np.tile([1.0, 1.0, 0.0, 0.0], 20)
    right = {"affirmative": {"model": half}, "negated": {"model": 1 - half}}
    rows = polarity_rows(questions, right, Intervals())
    [gap] = [row for row in rows if row.measure == "gap"]
    assert -0.1 < gap.low < gap.estimate == 0 < gap.high < 0.1


def test_accuracy_is_broken_down_by_denied_findings() -> None:
    questions = polarity_questions(TextCases(), 80, seed=0)
    denied = [sum(not p for p in question.case.labels.values()) for question in questions]
    right = {series: {"model": (np.array(denied) == 1).astype(float)} for series in WORDINGS}
    rows = polarity_rows(questions, right, Intervals())
    by_level = {r.level: r.estimate for r in rows if r.axis == "negated_findings"}
    assert by_level == {level: float(level == "1") for level in by_level}
    assert {"1", "2"} <= set(by_level)
    asked_about = {r.level: r.n for r in rows if r.axis == "finding" and r.series == "negated"}
    for finding, count in asked_about.items():
        assert count == sum(finding in question.case.labels for question in questions)
    assert sum(asked_about.values()) == 3 * len(questions)


def test_retrieval_is_measured_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first anchor prefers the second text; either text prefers its own anchor."""
    scores = np.array([[1.0, 2.0], [0.0, 3.0]])
    monkeypatch.setattr(retrieval, "score_matrix", lambda *_: scores)
    anchors = (Anchor(text="one"), Anchor(text="two"))
    candidates = CandidateSet(anchors=anchors, texts=("a", "b"))
    rows = retrieval_rows(RandomEncoder(), {"affirmative": candidates}, Intervals())
    found = {row.axis: row.estimate for row in rows if row.level == "R@1"}
    assert found == {"anchor to text": 0.5, "text to anchor": 1.0}


def test_intervals_have_the_stated_coverage() -> None:
    """The questions of a quartet are correlated here, and so are the two wordings."""
    rng = np.random.default_rng(0)
    quartets, truth, draws = 60, 0.2, 200
    groups = [str(place // 4) for place in range(4 * quartets)]
    held = {"by quartet": 0, "by question": 0}
    for _ in range(draws):
        ease = np.repeat(rng.uniform(0.25, 0.95, quartets), 4)
        luck = np.repeat(rng.random(quartets), 4)  # The same for all four questions of a quartet.
        gap = (luck < ease).astype(float) - (luck < ease - truth)
        for name, drawn in (("by quartet", groups), ("by question", list(map(str, range(240))))):
            _, low, high = Intervals().share(gap, drawn, lowest=-1.0)
            held[name] += low <= truth <= high
    assert 0.90 * draws <= held["by quartet"] <= 0.99 * draws
    assert held["by question"] < 0.8 * draws


@pytest.mark.parametrize(
    ("make", "name", "source"),
    [
        (decoder, "gpt2", TextCases()),
        (decoder, "llama", TextCases()),
        (reader, "llava", PhantomCases()),
        (reader, "paligemma", PhantomCases()),
        (reader, "llava", TextCases()),
    ],
)
def test_statement_and_anchor_are_scored_in_one_row(
    make: Callable[..., Encoder], name: str, source: PhantomCases | TextCases
) -> None:
    encoder = make(name, torch.float64)
    items = polarity_items(polarity_questions(source, 8, seed=1), "negated")
    items, _ = drop_long_items(encoder, items)
    scores = score_items(encoder, items)
    for item, found in zip(items, scores, strict=True):
        for text, score in zip(item.texts, found, strict=True):
            [tokens] = encoder.tokenize_against([text], [item.anchor])
            with torch.inference_mode():
                anchor = encoder.embed_anchors([item.anchor])
                row = encoder.encode_against(torch.tensor([tokens.ids]), anchor)
                assert encoder.score(row, anchor).item() == pytest.approx(score, abs=1e-9)
    assert len({score for found in scores for score in found.tolist()}) > len(items)


BASELINES = {
    "polarity": [
        ({"scorer": "prior", "series": series, "axis": "all"}, 0.25) for series in WORDINGS
    ],
    "claims": [({"scorer": "prior", "level": "existence"}, 0.5)],
}


@pytest.mark.parametrize(("make", "name"), [(decoder, "llama"), (reader, "llava")])
@pytest.mark.parametrize("suite", BASELINES)
def test_models_that_read_statement_and_anchor_together_run(
    make: Callable[..., Encoder], name: str, suite: str, tmp_path: Path
) -> None:
    encoder = make(name)
    config = bench.BenchConfig(suite=suite, count=16, resamples=50)
    [report] = run_benchmark(encoder, config, tmp_path)
    assert report.data["anchors"] == ("image" if name == "llava" else "text")
    assert (tmp_path / f"{suite}.png").is_file()
    for fields, chance in BASELINES[suite]:
        row = report.find(**fields)
        assert row.estimate == row.chance == chance


@pytest.mark.parametrize("suite", ["retrieval", "collapse"])
def test_suites_on_text_embeddings_refuse_language_models(suite: str) -> None:
    with pytest.raises(BenchError, match="reads a statement together with its anchor"):
        bench.run(decoder("gpt2"), bench.BenchConfig(suite=suite, count=4))


def test_each_image_is_embedded_once_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = reader("llava")
    seen: list[int] = []
    embed = encoder.embed_images

    def counting(anchors: list[Anchor]) -> torch.Tensor:
        seen.append(len(anchors))
        return embed(anchors)

    monkeypatch.setattr(encoder, "embed_images", counting)
    items = polarity_items(polarity_questions(PhantomCases(), 40, seed=0), "negated")
    score_items(encoder, items)
    assert sum(seen) == len({item.anchor.digest for item in items})
    assert max(seen) <= scoring.ANCHOR_BATCH


LONG = "there is no effusion and " * 60


def test_long_statements_are_noted_in_every_suite(tmp_path: Path) -> None:
    short = RandomEncoder(max_tokens=250)
    sentence = {"text": "No cat.", "attribute": "existence"}
    sets = [
        {"anchor": {"text": "A cat."}, "right": text, "wrong": [sentence]}
        for text in ("A cat.", LONG)
    ]
    triples = [
        {"caption": "A cat.", "negation": "No cat.", "paraphrase": text} for text in ("One.", LONG)
    ]
    (tmp_path / "sets.jsonl").write_text("\n".join(map(json.dumps, sets)))
    (tmp_path / "triples.jsonl").write_text("\n".join(map(json.dumps, triples)))
    with (tmp_path / "found.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [
            [f"{k}.jpg", str([text]), f"['thing {k}']"] for k, text in enumerate(["a", "b", LONG])
        ]
        csv.writer(file).writerows([["filepath", "captions", "positive_objects"], *rows])
    for suite, name, left, long in (
        ("claims", "sets.jsonl", 2, 2),
        ("collapse", "triples.jsonl", 1, 1),
        ("retrieval", "found.csv", 2, 1),
        ("negbench", "found.csv", 2, 1),
    ):
        config = bench.BenchConfig(suite=suite, data=tmp_path / name, resamples=20)
        report = bench.run(short, config)[0]
        assert (report.data["items"], report.counts["too_long"]) == (left, long), suite
        line = 4 if name.endswith(".csv") else 2
        assert {(note.file, note.row) for note in report.notes} == {(name, line)}


def test_a_quartet_is_asked_whole_or_not_at_all() -> None:
    lengths: dict[str, int] = {}
    for question in polarity_questions(TextCases(), 80, seed=0):
        texts = [*question.texts("equivalent"), *question.texts("negated")]
        longest = max(map(len, [*texts, str(question.case.anchor.text)]))
        lengths[question.group] = max(longest, lengths.get(question.group, 0))
    short = RandomEncoder(max_tokens=int(np.median(list(lengths.values()))))
    report = bench.run(short, bench.BenchConfig(data="text", count=80, resamples=20))[0]
    assert report.data["items"] % 4 == 0
    assert report.data["items"] == 80 - 4 * report.counts["too_long"]
    assert 0 < report.counts["too_long"] < 20
    for scorer in ("prior", "length"):
        assert report.find(scorer=scorer, series="negated", axis="all").estimate == 0.25
    with pytest.raises(BenchError, match="none of 80 items"):
        bench.run(RandomEncoder(max_tokens=20), bench.BenchConfig(data="text", count=80))
