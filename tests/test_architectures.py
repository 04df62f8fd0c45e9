"""Architectures of transformers, built tiny: every score is that of a plain forward, or refused."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks" / "architectures"
FIGURES = json.loads((FOLDER.parent / "results" / "architectures.json").read_text("utf-8"))

EXACT = [
    "decoder/bloom",  # attention with linear biases
    "decoder/mpt",  # the same, in float32
    "decoder/falcon",  # attention and MLP side by side
    "decoder/xlnet",  # tokens first
    "decoder/openai-gpt",  # blocks return lists
    "decoder/gemma2",  # caps and windows
    "decoder/gemma3_text",
    "decoder/gpt_oss",  # sinks
    "decoder/doge",  # a mask made from the states
    "decoder/afmoe",  # a mask given by name
    "decoder/mixtral",  # experts
    "decoder/qwen2",
    "decoder/mamba",  # a state space
    "decoder/jamba",  # a state space, attention and experts
    "decoder/olmo_hybrid",  # layers of two classes
    "decoder/rwkv",
    "decoder/ctrl",
    "text/bert",
    "text/deberta-v2",  # biases by distance
    "text/t5",
    "text/convbert",
    "text/nomic_bert",
    "dual/clip",
]
REFUSED = {
    "text/albert": "no blocks found",
    "text/longformer": "pads",
    "dual/videoprism": "neither logit_scale nor temperature",
}


@pytest.fixture(autouse=True)
def harness(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (FOLDER.parent, FOLDER):
        monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def case() -> ModuleType:
    import case

    return case


def entry_of(name: str) -> object:
    from catalogue import entries

    return next(entry for entry in entries() if entry.name == name)


@pytest.mark.parametrize("name", EXACT)
def test_every_score_is_that_of_a_plain_forward(
    name: str, case: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = case.RUNS["short, noising"], ("long", "denoising", ("resid",))
    monkeypatch.setattr(case, "RUNS", {"short, noising": short, "long, denoising": long})
    outcome = case.examine(entry_of(name))
    assert (outcome.verdict, outcome.message) == ("exact", "")
    assert outcome.gap <= outcome.limit
    assert outcome.cells > 100


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_class_that_cannot_be_traced_is_refused_with_the_reason(
    name: str, reason: str, case: ModuleType
) -> None:
    outcome = case.examine(entry_of(name))
    assert outcome.verdict == "refused"
    assert reason in outcome.message


def test_a_wrong_score_is_seen(case: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = case.negtrace.trace

    def off(*args: object, **options: object) -> object:
        cte = trace(*args, **options)
        patched = cte.patched.copy()
        patched[0, 0, 2, -1] += 1e-6 * (cte.clean[0] - cte.corrupt[0])
        return replace(cte, patched=patched)

    monkeypatch.setattr(case.negtrace, "trace", off)
    outcome = case.examine(entry_of("text/bert"))
    assert outcome.verdict == "wrong"
    assert outcome.gap == pytest.approx(1e-6, rel=1e-3)


def test_no_class_of_the_sweep_is_wrong_or_crashes() -> None:
    counts = Counter(row["verdict"] for row in FIGURES["classes"])
    assert {name: count for name, count in FIGURES["verdicts"].items() if count} == counts
    assert FIGURES["verdicts"]["wrong"] == FIGURES["verdicts"]["crash"] == 0
    for row in FIGURES["classes"]:
        if row["verdict"] == "exact":
            assert row["gap"] <= row["limit"], row["name"]


def test_the_page_is_written_from_the_figures() -> None:
    from page import PAGE, page

    assert PAGE.read_text("utf-8") == page(FIGURES)


def test_the_slice_is_of_the_sweep() -> None:
    verdicts = {row["name"]: row["verdict"] for row in FIGURES["classes"]}
    assert {verdicts[name] for name in EXACT} == {"exact"}
    assert {verdicts[name] for name in REFUSED} == {"refused"}
