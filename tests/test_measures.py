"""Laws of AUC, of the 2 x 2 squares, of answers and of collapse, on encoders that read by rule."""

import json
from itertools import combinations, product
from pathlib import Path
from random import Random

import numpy as np
import pytest
import text_questions
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from language_models import decoder, reader
from reading_encoders import (
    KEYS,
    ReadingEncoder,
    deaf_reading,
    hashed_taste,
    love_of_denials,
    love_of_findings,
    no_taste,
    reading_of,
)
from scorers import ConstantEncoder, RandomEncoder

from negtrace import bench, load
from negtrace.bench.answers import best_options
from negtrace.bench.auc import auc_items, auc_rows, auc_values
from negtrace.bench.cases import Case, LabelledCases, PhantomCases, TextCases
from negtrace.bench.collapse import radiology_triples, rows_between
from negtrace.bench.polarity import WORDINGS, polarity_items, polarity_questions
from negtrace.bench.result import Intervals
from negtrace.bench.scoring import is_correct, score_items
from negtrace.bench.two_by_two import square_items, square_rows
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.wording import caption_frame
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import draw_patient
from negtrace.phantom.radiograph import render

NEW = ("auc", "two-by-two", "answers")
SERIES = ("pair", "affirmative", "negated")


def asked(encoder: Encoder, suite: str, count: int = 60, **settings_: object) -> bench.Report:
    config = bench.BenchConfig(suite=suite, count=count, data="text", resamples=100, **settings_)
    return bench.run(encoder, config)[0]


def estimates(report: bench.Report, **fields: str) -> dict[tuple[str, str], float]:
    """Estimates of the rows with these fields, by series and level."""
    return {
        (row.series, row.level): row.estimate
        for row in report.rows
        if all(getattr(row, name) == value for name, value in fields.items())
    }


def test_the_rules_read_what_is_said() -> None:
    for question in polarity_questions(TextCases(), 40, seed=0):
        for wording in WORDINGS.values():
            for claims, text in zip(question.options, question.texts(wording), strict=True):
                said = {c.finding: 1.0 if c.present else -1.0 for c in claims}
                assert reading_of(text) == [said.get(key, 0.0) for key in KEYS], text
        truth = dict(zip(KEYS, reading_of(str(question.case.anchor.text)), strict=True))
        assert {k: v > 0 for k, v in truth.items() if v} == question.case.labels


# AUC


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    ranks, present = np.array([p[0] for p in pairs], dtype=float), np.array([p[1] for p in pairs])
    if present.all() or not present.any():
        return
    assert auc_values(ranks, present).mean() == pytest.approx(brute_force(ranks, present))


def brute_force(ranks: np.ndarray, present: np.ndarray) -> float:
    """Share of pairs of an anchor with and one without, in order; a tie is one half."""
    pairs = product(ranks[present], ranks[~present])
    return float(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]))


def test_the_spread_of_auc_values_is_delongs() -> None:
    """The variance by its definition: of the components of each label, each over its count."""
    rng = np.random.default_rng(0)
    present = rng.random(60) < 0.3
    ranks = rng.normal(size=60) + present
    wins = (ranks[present][:, None] > ranks[~present]).astype(float)
    variance = sum(
        components.var(ddof=1) / len(components)
        for components in (wins.mean(axis=1), wins.mean(axis=0))
    )
    values = auc_values(ranks, present)
    assert np.sum((values - values.mean()) ** 2) / 60**2 == pytest.approx(variance)


def test_the_interval_of_an_auc_covers() -> None:
    """100 cases, 12 % of them with the finding, and a true AUC of .8."""
    rng, covered = np.random.default_rng(1), []
    items = [Case(id=str(k), anchor=Anchor(text="a"), labels={}) for k in range(100)]
    for _ in range(300):
        present = np.arange(100) < 12
        ranks = rng.normal(size=100) + 1.1902 * present
        row = of_ranks(items, ranks, present)
        covered.append(row.low <= 0.8 <= row.high)
    assert np.mean(covered) > 0.93


def of_ranks(cases: list[Case], ranks: np.ndarray, present: np.ndarray) -> bench.ReportRow:
    """Row of one finding, by the suite's own function."""
    labelled = [
        Case(id=case.id, anchor=case.anchor, labels={"edema": bool(label)})
        for case, label in zip(cases, present, strict=True)
    ]
    by_series = dict.fromkeys(SERIES, ranks)
    rows = auc_rows(auc_items(labelled, ("edema",)), by_series, Intervals())
    return next(row for row in rows if (row.series, row.axis) == ("pair", "finding"))


def test_the_interval_of_a_perfect_auc_is_that_of_the_rarer_label() -> None:
    cases = [Case(id=str(k), anchor=Anchor(text="a"), labels={}) for k in range(400)]
    ranks = np.arange(400.0)
    few, many = (of_ranks(cases, ranks, ranks >= start) for start in (390, 200))
    assert few.estimate == few.high == many.high == 1
    assert few.low < 0.75 < 0.97 < many.low < 1
    none = of_ranks(cases, ranks, ranks >= 395)
    assert (none.estimate, np.isnan(none.low)) == (1, True)


def test_a_perfect_encoder_ranks_every_anchor_right() -> None:
    report = asked(ReadingEncoder(), "auc", 120)
    for row in report.rows:
        assert row.estimate == (0 if row.measure == "gap" else 1), row
        assert row.chance == (None if row.measure == "gap" else 0.5)
    levels = {row.level for row in report.rows if row.axis == "finding"}
    assert levels == set(KEYS)
    assert report.find(series="pair", axis="all").n == 120


def test_an_encoder_deaf_to_negation_ranks_denials_upside_down() -> None:
    """Score of "no X" = score of "X": its AUC is 1 - AUC of "X", and pairs say nothing."""
    noisy = ReadingEncoder(
        reading=lambda text: noise_on(text) if "radiograph" not in text else deaf_reading(text),
        taste=no_taste,
    )
    report = asked(noisy, "auc", 120)
    for axis in ("all", "finding"):
        found = estimates(report, axis=axis)
        levels = {level for _, level in found}
        for level in levels:
            affirmative, negated = (found[series, level] for series in SERIES[1:])
            assert negated == pytest.approx(1 - affirmative)
            assert found["pair", level] == 0.5
            assert found["affirmative - negated", level] == pytest.approx(affirmative - negated)
    affirmative = report.find(measure="auc", series="affirmative", axis="all").estimate
    assert 0.55 < affirmative < 0.95


def noise_on(text: str) -> list[float]:
    """Reading of an anchor with noise; statements name one finding and are read without."""
    reading = reading_of(text)
    if sum(value != 0 for value in reading) == 1:
        return [abs(value) for value in reading]
    rng = np.random.default_rng(int(hashed_taste(text) * 1e12))
    return [value + 1.5 * rng.normal() for value in reading]


def test_an_encoder_that_ignores_the_anchor_has_no_auc() -> None:
    report = asked(ReadingEncoder(agreement=0), "auc")
    assert {row.estimate for row in report.rows if row.measure == "auc"} == {0.5}
    assert {row.estimate for row in report.rows if row.measure == "gap"} == {0.0}


def test_auc_averages_over_frames_and_findings() -> None:
    """Against brute force, from the scores of every statement one by one."""
    encoder = RandomEncoder()
    report = asked(encoder, "auc", 50)
    cases = TextCases(least=5).sample(50, Random("auc 0"))  # noqa: S311
    items = auc_items(cases, KEYS)
    of_findings: dict[str, list[float]] = {series: [] for series in SERIES}
    for finding in KEYS:
        own = [item for item in items if item.tags["finding"] == (finding,)]
        scores = np.array(score_items(encoder, own))
        present = np.array([item.answer == 0 for item in own])
        odds = np.exp(scores)
        ranks = {
            "pair": (odds[:, :5] / (odds[:, :5] + odds[:, 5:])).mean(axis=1),
            "affirmative": scores[:, :5].mean(axis=1),
            "negated": -scores[:, 5:].mean(axis=1),
        }
        for series, by in ranks.items():
            auc = brute_force(by, present)
            of_findings[series].append(auc)
            row = report.find(measure="auc", series=series, axis="finding", level=finding)
            assert (row.estimate, row.n) == (pytest.approx(auc), len(own))
    for series, values in of_findings.items():
        row = report.find(measure="auc", series=series, axis="all")
        assert row.estimate == pytest.approx(np.mean(values))
        assert row.low < row.estimate < row.high


def test_unknown_labels_widen_the_interval_over_all() -> None:
    """A hundred known labels tell as much whether or not there are 300 cases without a label."""
    rng = np.random.default_rng(0)
    present = rng.random(100) < 0.4
    ranks = rng.normal(size=100) + present
    known = [
        Case(id=f"k{n}", anchor=Anchor(text="a"), labels={"edema": bool(label)})
        for n, label in enumerate(present)
    ]
    others = [
        Case(id=f"o{n}", anchor=Anchor(text="a"), labels={"nodule": n < 9}) for n in range(300)
    ]
    rows = []
    for cases in (known, [*known, *others]):
        items = auc_items(cases, ("edema", "nodule"))
        by = {series: np.concatenate([ranks, np.zeros(len(cases) - 100)]) for series in SERIES}
        rows.append(next(row for row in auc_rows(items, by, Intervals()) if row.axis == "all"))
    few, many = rows
    # The second finding has an AUC of .5 without spread, so the mean moves half as far.
    assert many.estimate == pytest.approx((few.estimate + 0.5) / 2)
    assert many.high - many.low == pytest.approx((few.high - few.low) / 2, rel=0.1)


def test_a_finding_that_all_cases_have_is_noted_and_left_out() -> None:
    report = asked(ReadingEncoder(), "auc", 6)
    asked_about = {row.level for row in report.rows if row.axis == "finding"}
    assert 0 < report.counts["one_label"] < len(KEYS)
    assert len(asked_about) + report.counts["one_label"] <= len(KEYS)
    with pytest.raises(BenchError, match="raise count"):
        asked(ReadingEncoder(), "auc", 1)


# The 2 x 2 squares


@given(st.lists(st.lists(st.floats(-9, 9), min_size=4, max_size=4), min_size=1, max_size=20))
def test_the_four_scores_are_made_of_alpha_beta_and_gamma(scores: list[list[float]]) -> None:
    table = np.array(scores).reshape(-1, 2, 2)
    rows = {row.series: row for row in square_rows(table, Intervals(resamples=20))}
    alpha, beta, gamma = (rows[name].estimate for name in ("alpha", "beta", "gamma"))
    signs = np.array([1, -1])
    rebuilt = table.mean() + signs[:, None] * beta + signs * alpha + np.outer(signs, signs) * gamma
    assert table.mean(axis=0) == pytest.approx(rebuilt)
    [one] = {row.estimate for row in square_rows(table[:1], Intervals()) if row.series == "group"}
    a, b, c = (
        row.estimate
        for row in square_rows(table[:1], Intervals())
        if row.series in ("alpha", "beta", "gamma")
    )
    if abs(c - max(abs(a), abs(b))) > 1e-9:
        assert one == (c > max(abs(a), abs(b)))


@given(st.integers(0, 10**6))
@settings(max_examples=5, deadline=None)
def test_the_chance_without_binding_is_that_of_exchanged_anchors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(30, 2, 2)) + 0.5 * np.eye(2)
    drawn: dict[str, list[float]] = {}
    for _ in range(400):
        exchanged = np.where(rng.random((30, 1, 1)) < 0.5, table, table[:, ::-1])
        for row in square_rows(exchanged, Intervals(resamples=1)):
            drawn.setdefault(row.series, []).append(row.estimate)
    for row in square_rows(table, Intervals(resamples=20)):
        if row.measure == "score":
            assert row.chance == pytest.approx(np.mean(drawn[row.series]), abs=0.02)
        elif row.series == "gamma":
            assert np.mean(drawn["gamma"]) == pytest.approx(0, abs=0.05)


def test_a_perfect_encoder_binds() -> None:
    rows = {r.series: r for r in asked(ReadingEncoder(), "two-by-two").rows if r.axis == "all"}
    assert rows["gamma"].estimate > max(abs(rows["alpha"].estimate), abs(rows["beta"].estimate))
    assert rows["gamma"].estimate == pytest.approx(1)
    assert [rows[name].estimate for name in ("text", "image", "group")] == [1, 1, 1]
    assert [rows[name].chance for name in ("text", "image", "group")] == [0.5, 0.5, 0.5]


def test_what_an_encoder_likes_is_told_apart() -> None:
    """A love of denials is alpha, and a finding that lifts both statements is beta."""
    lover = {
        r.series: r.estimate
        for r in asked(ReadingEncoder(agreement=0, taste=love_of_denials), "two-by-two").rows
        if r.axis == "all"
    }
    assert (lover["alpha"], lover["beta"], lover["gamma"]) == (-0.5, 0, 0)
    assert (lover["text"], lover["image"], lover["group"]) == (0, 0, 0)

    def hears_it(text: str) -> list[float]:
        return reading_of(text) if len(text.split(".")) > 2 else deaf_reading(text)

    deaf = {
        r.series: r.estimate
        for r in asked(ReadingEncoder(reading=hears_it, taste=no_taste), "two-by-two").rows
        if r.axis == "all"
    }
    assert (deaf["alpha"], deaf["beta"], deaf["gamma"]) == (0, 1, 0)


def test_random_scores_have_the_known_chances() -> None:
    report = asked(RandomEncoder(), "two-by-two", 600, confidence=0.999)
    for series, chance in (("text", 1 / 4), ("image", 1 / 4), ("group", 1 / 6)):
        row = report.find(measure="score", series=series, axis="all")
        assert row.low < chance < row.high
        assert row.chance == pytest.approx(chance, abs=0.04)
    by_finding = estimates(report, axis="finding", series="group")
    assert {level for _, level in by_finding} == set(KEYS)


def test_a_synthetic_patient_is_rendered_twice_from_one_seed() -> None:
    source, rng = PhantomCases(), Random(0)  # noqa: S311
    for finding in source.findings:
        sick, healthy = source.draw_pair(finding, rng)
        assert sick.labels == {**healthy.labels, finding: True}
        assert healthy.labels[finding] is False
        assert sick.id.split("-")[1] == healthy.id.split("-")[1]
        patient = draw_patient(int(sick.id.split("-")[1]))
        others = [claim for claim in patient.claims if claim.finding != finding]
        for case, claims in ((sick, patient.claims), (healthy, others)):
            assert (case.anchor.image == render(claims, seed=patient.seed)).all()
        assert (sick.anchor.image != healthy.anchor.image).any()


def test_two_texts_differ_in_one_sentence() -> None:
    sick, healthy = TextCases(least=3).draw_pair("edema", Random(0))  # noqa: S311
    first, second = (set(str(case.anchor.text).split(". ")) for case in (sick, healthy))
    assert len(str(sick.anchor.text).split(".")) == 4
    assert len({text.strip(".") for text in first} ^ {text.strip(".") for text in second}) == 2


def test_squares_ask_about_all_findings_in_turn() -> None:
    items = square_items(TextCases(least=3), 28, seed=0)
    assert [item.tags["finding"][0] for item in items[::2]] == [*KEYS, *KEYS]
    for sick, healthy in zip(items[::2], items[1::2], strict=True):
        assert sick.texts == healthy.texts
        assert (sick.answer, healthy.answer) == (0, 1)


def test_squares_of_files_have_the_three_scores_too(tmp_path: Path) -> None:
    """`text` is `both right`; the two documents of a square are scored by the two queries."""
    encoder = RandomEncoder()
    text_questions.nevir(tmp_path / "nevir.jsonl")
    config = bench.BenchConfig(suite="nevir", data=tmp_path / "nevir.jsonl")
    [report] = bench.run(encoder, config)
    tables = []
    for line in (tmp_path / "nevir.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        queries = encoder.embed_texts([record["q1"], record["q2"]])
        documents = encoder.embed_texts([record["doc1"], record["doc2"]])
        tables.append(torch.cosine_similarity(queries[:, None], documents[None], dim=-1).numpy())
    (a, b), (c, d) = np.moveaxis(np.array(tables), 0, -1)  # scores of query, document
    right = {"text": (a > b) & (d > c), "image": (a > c) & (d > b)}
    right["group"] = right["text"] & right["image"]
    for series, expected in right.items():
        row = report.find(measure="score", series=series, axis="square")
        assert (row.estimate, row.n) == (pytest.approx(expected.mean()), len(tables))
    both = report.find(scorer="model", measure="accuracy", axis="square", level="both right")
    assert both.estimate == right["text"].mean()


# Answers


def test_a_perfect_encoder_relies_on_the_anchor_alone() -> None:
    report = asked(ReadingEncoder(), "answers", 120)
    for series in WORDINGS:
        of_model = estimates(report, measure="accuracy", scorer="model", series=series)
        assert set(of_model.values()) == {1}
        assert set(estimates(report, measure="flips", series=series).values()) == {0}
        assert set(estimates(report, measure="share", axis="presence").values()) == {0}
        quadrants = estimates(report, measure="reliance", series=series)
        # Without the anchor, one question of each pair or quartet is right.
        assert quadrants[series, "right / right"] == pytest.approx((1 / 2 + 1 / 4 + 1 / 4) / 3)
        assert quadrants[series, "right / wrong"] == pytest.approx(2 / 3)
        assert quadrants[series, "same answer"] == quadrants[series, "right / right"]
        assert quadrants[series, "wrong / right"] == quadrants[series, "wrong / wrong"] == 0
    kinds = [row for row in report.rows if row.axis == "wrong answers"]
    assert {(row.n, np.isnan(row.estimate)) for row in kinds} == {(0, True)}
    assert len(kinds) == 6
    gaps = estimates(report, measure="gap")
    assert {level: gap for (_, level), gap in gaps.items()} == {"1": 0, "2": 0, "3": 0}


@pytest.mark.parametrize(
    ("taste", "presence", "absence", "kind"),
    [(love_of_denials, 1, 0, "denies more"), (love_of_findings, 0, 1, "denies fewer")],
)
def test_an_encoder_that_ignores_the_anchor_answers_by_its_taste(
    taste: object, presence: float, absence: float, kind: str
) -> None:
    def alone(text: str) -> float:  # of statements that deny as many, one is liked best
        return taste(text) + sum(2.0**-k for k, v in enumerate(reading_of(text), 2) if v < 0) / 99

    report = asked(ReadingEncoder(agreement=0, taste=alone), "answers", 240)
    for series in WORDINGS:
        found = {
            (row.measure, row.axis, row.level): row.estimate
            for row in report.rows
            if (row.scorer, row.series) == ("model", series)
        }
        assert found["share", "presence", "denial"] == presence
        assert found["share", "absence", "affirmation"] == absence
        assert found["share", "wrong answers", kind] > 0.6
        other = ({"denies more", "denies fewer"} - {kind}).pop()
        assert found["share", "wrong answers", other] == 0
        assert found["flips", "all", "all"] == 0
        assert found["reliance", "anchor / none", "same answer"] == 1
        assert found["reliance", "anchor / none", "right / wrong"] == 0
        assert found["reliance", "anchor / none", "right / right"] == pytest.approx(1 / 3)
        assert [found["accuracy", "length", level] for level in "123"] == [0.5, 0.25, 0.25]


def test_an_encoder_that_ignores_the_anchor_answers_the_same_without_it_in_each_wording() -> None:
    """Its taste differs from wording to wording, so answers of one are not those of the other."""
    report = asked(ReadingEncoder(agreement=0), "answers", 120)
    same = estimates(report, measure="reliance", level="same answer")
    assert same == {(series, "same answer"): 1 for series in WORDINGS}
    flips = estimates(report, measure="flips", axis="all")
    assert all(0.3 < value < 0.9 for value in flips.values())


def test_random_answers_are_at_chance_in_every_row() -> None:
    report = asked(RandomEncoder(), "answers", 900, confidence=0.9999)
    rows = [row for row in report.rows if row.chance is not None]
    assert len(rows) > 40
    for row in rows:
        assert row.low <= row.chance <= row.high, row
    right = estimates(report, measure="accuracy", scorer="model", axis="length")
    for level in "123":
        gap = report.find(measure="gap", axis="length", level=level)
        difference = right["affirmative", level] - right["negated", level]
        assert (gap.estimate, gap.n) == (pytest.approx(difference), 300)
    for series in WORDINGS:
        quadrants = estimates(report, measure="reliance", series=series)
        quadrants.pop((series, "same answer"))
        assert sum(quadrants.values()) == pytest.approx(1)
        kinds = estimates(report, axis="wrong answers", series=series)
        assert sum(kinds.values()) == pytest.approx(1)


def test_an_encoder_that_likes_frames_flips_and_another_polarity_does_not() -> None:
    """Only the frame decides: the answers to half of the questions or more change."""

    def frame(text: str) -> float:
        words = reading_of(text)
        order = 1 if text.startswith(("Frontal", "Portable")) else -1
        return order * sum(2.0**k * v for k, v in enumerate(words))

    report = asked(ReadingEncoder(agreement=0, taste=frame), "answers", 240)
    flips = estimates(report, measure="flips", axis="all")
    frames = {caption_frame(seed) for seed in range(100)}
    assert len(frames) == 4
    assert all(0.2 < value < 0.8 for value in flips.values())


def test_ties_and_nan_are_no_answer() -> None:
    scores = [np.array(row) for row in ([1.0, 1.0, 0.0], [np.nan, 2.0], [0.0, 2.0, 1.0])]
    assert best_options(scores).tolist() == [-1, -1, 1]
    report = asked(ConstantEncoder(), "answers", 24)
    for row in report.rows:
        if row.measure in ("accuracy", "share", "flips") and row.n:
            assert row.estimate == 0, row
    same = report.find(measure="reliance", series="negated", level="same answer")
    assert same.estimate == 1


def test_questions_on_three_findings_are_those_of_the_polarity_suite() -> None:
    encoder = RandomEncoder()
    length_3 = asked(encoder, "answers", 120)
    again = polarity_questions(TextCases(least=3), 40, seed=0)
    texts = {question.texts("negated") for question in again}
    assert texts == {q.texts("negated") for q in polarity_questions(TextCases(), 40, seed=0)}
    polarity = asked(encoder, "polarity", 40)
    for series in WORDINGS:
        row = length_3.find(measure="accuracy", scorer="model", series=series, level="3")
        known = polarity.find(measure="accuracy", scorer="model", series=series, axis="all")
        assert (row.estimate, row.low, row.n) == (known.estimate, known.low, known.n)


@pytest.mark.parametrize(("findings", "options"), [(1, 2), (2, 4), (3, 4)])
def test_shorter_lists_are_balanced_too(findings: int, options: int) -> None:
    questions = polarity_questions(TextCases(least=3), 24, seed=2, findings=findings)
    assert len(questions) == 24
    for start in range(0, 24, options):
        group = questions[start : start + options]
        assert {question.answer for question in group} == set(range(options))
        assert len({frozenset(question.options) for question in group}) == 1
        assert {len(question.options) for question in group} == {options}
        for question in group:
            assert {len(claims) for claims in question.options} == {findings}
            assert len(str(question.case.anchor.text).split(". ")) == 3


# Collapse between findings


def test_denials_that_are_one_point_have_collapsed() -> None:
    def one_point(text: str) -> list[float]:
        reading = reading_of(text)
        return [1.0] * len(reading) if min(reading) < 0 else [2 * v for v in reading]

    encoder = ReadingEncoder(reading=one_point, taste=no_taste)
    report = asked(encoder, "collapse", 600)
    found = {row.series: row.estimate for row in report.rows if row.axis == "all"}
    assert found["denials"] == pytest.approx(1)
    assert found["affirmations"] == pytest.approx(0)
    assert found["denials - affirmations"] == pytest.approx(1)
    by_finding = estimates(report, axis="finding", measure="similarity")
    assert {level for _, level in by_finding} == set(KEYS)


def test_the_cosine_between_denials_is_that_of_every_two_findings() -> None:
    encoder = RandomEncoder()
    report = asked(encoder, "collapse", 600)
    triples = radiology_triples()
    embedded = encoder.embed_texts([triple.negation for triple in triples])
    cosines = {
        (a, b): float(torch.cosine_similarity(embedded[a], embedded[b], dim=0))
        for a, b in combinations(range(len(triples)), 2)
        if triples[a].frame == triples[b].frame
    }
    assert len(cosines) == 5 * 14 * 13 / 2
    row = report.find(series="denials", axis="all")
    assert row.estimate == pytest.approx(np.mean(list(cosines.values())), abs=1e-6)
    assert row.low < row.estimate < row.high
    of_edema = [
        cosine
        for (a, b), cosine in cosines.items()
        if "edema" in (triples[a].group, triples[b].group)
    ]
    edema = report.find(series="denials", axis="finding", level="edema")
    assert edema.estimate == pytest.approx(np.mean(of_edema), abs=1e-6)


def test_the_interval_between_findings_covers_other_findings() -> None:
    """Cosine a_x a_y with a from 0 to 1: its mean over all findings there could be is 1/4."""
    triples = [triple for triple in radiology_triples() if triple.frame == "0"]
    rng, covered = np.random.default_rng(0), []
    for _ in range(200):
        common = rng.random(len(KEYS))

        def spread(text: str, common: np.ndarray = common) -> list[float]:
            named = int(np.flatnonzero(reading_of(text))[0])
            own = np.eye(len(KEYS))[named] * np.sqrt(1 - common[named] ** 2)
            return [*own.tolist(), float(common[named])]

        encoder = ReadingEncoder(reading=spread, taste=no_taste)
        rows = rows_between(encoder, triples, Intervals(resamples=200))
        [row] = [row for row in rows if (row.series, row.axis) == ("denials", "all")]
        covered.append(row.low <= 0.25 <= row.high)
    assert 0.9 < np.mean(covered) < 0.97


# All of them


@pytest.mark.parametrize("suite", NEW)
def test_reports_hold_no_statement(suite: str, tmp_path: Path) -> None:
    config = bench.BenchConfig(suite=suite, count=24, data="text", resamples=20)
    bench.run(RandomEncoder(), config, out=tmp_path)
    text = (tmp_path / f"{suite}-random.json").read_text("utf-8").lower()
    for words in ("radiograph", "there is", "pleural", "the heart", "no-edema", "text-"):
        assert words not in text, words
    assert bench.read_report(tmp_path / f"{suite}-random.json").suite == suite
    assert json.loads(text)["data"]["anchors"] == "text"


@pytest.mark.parametrize("suite", NEW)
@pytest.mark.parametrize("make", [lambda: decoder("llama"), lambda: reader("llava")])
def test_models_that_read_anchor_and_statement_in_one_row_are_asked(
    suite: str, make: object
) -> None:
    [report] = bench.run(make(), bench.BenchConfig(suite=suite, count=6, resamples=20))
    assert report.rows


@pytest.mark.parametrize("suite", NEW)
def test_two_runs_give_the_same_rows(suite: str) -> None:
    encoder = load("phantom", self_check=False)
    config = bench.BenchConfig(suite=suite, count=12, resamples=20)
    first, again = (bench.run(encoder, config)[0].document() for _ in range(2))
    assert first["rows"] == again["rows"]
    assert first["data"] == again["data"]
    assert first["data"]["anchors"] == "image"


@pytest.mark.parametrize("suite", NEW)
def test_statements_beyond_the_context_are_noted(suite: str) -> None:
    lengths = {"auc": 150, "two-by-two": 85, "answers": 120}
    short = RandomEncoder(max_tokens=lengths[suite])
    report = asked(short, suite, 60)
    assert report.counts["too_long"] > 0
    assert 0 < report.data["items"] < asked(RandomEncoder(), suite, 60).data["items"]
    with pytest.raises(BenchError, match="can be put to random"):
        asked(RandomEncoder(max_tokens=5), suite, 12)


@pytest.mark.parametrize("suite", NEW)
def test_labelled_cases_can_be_asked_about(suite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("edema", "effusion", "nodule")
    cases = []
    for number, pattern in enumerate(product((True, False), repeat=3)):
        for copy in range(8):
            labels = dict(zip(names, pattern, strict=True))
            drawn = TextCases().draw(labels, Random(copy))  # noqa: S311
            unknown = {k: v for k, v in labels.items() if copy or k != "nodule"}
            cases.append(Case(id=f"{number}-{copy}", anchor=drawn.anchor, labels=unknown))
    module = {"two-by-two": "two_by_two"}.get(suite, suite)
    source = LabelledCases(cases)
    monkeypatch.setattr(f"negtrace.bench.{module}.case_source", lambda *_: (source, []))
    report = asked(ReadingEncoder(), suite, 60)
    assert report.rows[0].estimate == 1
    every = source.sample(100, Random(0))  # noqa: S311
    assert {case.id for case in every} == {case.id for case in cases}
    if suite == "auc":
        nodule = report.find(series="pair", axis="finding", level="nodule")
        assert nodule.n < report.find(series="pair", axis="finding", level="edema").n


def test_the_chosen_option_is_the_correct_one() -> None:
    items = polarity_items(polarity_questions(TextCases(), 40, seed=0), "negated")
    scores = score_items(RandomEncoder(), items)
    chosen = best_options(scores)
    assert (chosen == [item.answer for item in items]).tolist() == is_correct(items, scores).astype(
        bool
    ).tolist()
