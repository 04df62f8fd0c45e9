"""Selective fine-tuning: its laws, its files, and what it says of bad input."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from claim_sets import NO_EVALUATION, claim_sets, layer_scores_of, ones, quick, same, weights
from golden import results
from small_encoders import bert, clip

import negtrace
from negtrace.bench import Report, ReportRow
from negtrace.cli import main
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError, NegtraceWarning, OutputError, UnknownNameError
from negtrace.experiments import Evaluation, selective_finetune
from negtrace.experiments.before_after import Measurements, measure
from negtrace.phantom import CHECKPOINT
from negtrace.results.cte_json import write_json
from negtrace.training import FinetuneConfig, objective
from negtrace.training.adapters import trainable_weights
from negtrace.training.batches import examples_of
from negtrace.training.data import phantom_training_sets
from negtrace.training.objective import Objective
from negtrace.training.trainer import seeded, train, training_arguments

ADAPTERS = pytest.mark.parametrize("adapter", ["lora", "full"])
MODES = pytest.mark.parametrize("mode", ["lr", "grad"])
QUIETLY = pytest.mark.filterwarnings("ignore:gradients are scaled by block")


def tuned(scales: dict[str, float] | None = None, *, out: Path | None = None, **settings: Any):
    """Return a small CLIP, trained, as a result."""
    encoder = clip()
    return selective_finetune(
        encoder,
        claim_sets(),
        ones(encoder) if scales is None else scales,
        out=out,
        evaluation=NO_EVALUATION,
        config=quick(**settings),
    )


def plainly(config: FinetuneConfig, folder: Path) -> dict[str, torch.Tensor]:
    """Train with the Trainer's own optimizer, nothing scaled, and return the weights."""
    encoder = clip()
    with seeded(config.seed):
        examples = examples_of(encoder, claim_sets(), joint=False, keep=False)
        with trainable_weights(encoder, config) as trained:
            args = training_arguments(config, folder, cpu=True, save=False, progress=False)
            train(
                Objective(encoder, trained.named, config), examples, args, optimizers=(None, None)
            )
            trained.finish()
    return weights(encoder)


@ADAPTERS
@MODES
@QUIETLY
def test_all_ones_are_plain_fine_tuning_bit_for_bit(
    adapter: str, mode: str, tmp_path: Path
) -> None:
    config = quick(adapter=adapter, mode=mode)
    plain = plainly(config, tmp_path)
    assert not same(plain, weights(clip()))
    assert same(plain, weights(tuned(adapter=adapter, mode=mode).encoder))


@ADAPTERS
@MODES
@QUIETLY
def test_a_block_with_multiplier_0_does_not_change(adapter: str, mode: str) -> None:
    encoder, before = clip(), weights(clip())
    still = encoder.block_names[1]
    result = tuned({**ones(encoder), still: 0.0}, adapter=adapter, mode=mode, weight_decay=0.1)
    after = weights(result.encoder)
    moved = {name.split(".")[3] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"0", "2"}
    assert result.change.norms[1] == 0 < result.change.norms[0]


@MODES
@QUIETLY
def test_multipliers_are_matched_by_name_not_by_order(mode: str) -> None:
    names = clip().block_names
    scales = dict(zip(names, (0.25, 1.0, 2.0), strict=True))
    one = tuned(scales, mode=mode)
    other = tuned(dict(reversed(scales.items())), mode=mode)
    assert same(weights(one.encoder), weights(other.encoder))
    swapped = tuned(dict(zip(reversed(names), (0.25, 1.0, 2.0), strict=True)), mode=mode)
    assert not same(weights(one.encoder), weights(swapped.encoder))


def test_under_sgd_scaled_gradients_equal_scaled_rates_with_accumulation_and_clipping() -> None:
    scales = dict(zip(clip().block_names, (0.5, 1.0, 2.0), strict=True))  # exact in binary
    results = [
        selective_finetune(
            clip(),
            claim_sets(),
            scales,
            evaluation=NO_EVALUATION,
            config=quick(mode=mode, optimizer="sgd", clip=0.1, batch=3),
            trainer={"gradient_accumulation_steps": 2},
        )
        for mode in ("lr", "grad")
    ]
    one, other = (weights(result.encoder) for result in results)
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], rtol=1e-6, atol=1e-9)


def test_adam_undoes_scaled_gradients_but_not_scaled_rates() -> None:
    scales = dict(zip(clip().block_names, (0.1, 0.1, 2.8), strict=True))
    by_rate = tuned(scales, mode="lr", adapter="full")
    with pytest.warns(NegtraceWarning, match="constant factor cancels"):
        by_gradient = tuned(scales, mode="grad", adapter="full")
    assert by_rate.change.top(1) > 0.8
    assert by_gradient.change.top(1) < 0.5


def test_only_the_text_blocks_move() -> None:
    encoder, before = clip(), weights(clip())
    after = weights(tuned(adapter="full").encoder)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert all(name.startswith(encoder.block_names) for name in moved)
    assert moved


def test_nothing_but_the_weights_is_changed() -> None:
    encoder = clip()
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    selective_finetune(encoder, claim_sets(), ones(encoder), config=quick())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module.training for module in encoder.model.modules())
    assert all(weight.requires_grad for weight in encoder.model.parameters())
    assert not hasattr(encoder.model, "peft_config")
    assert weights(encoder).keys() == weights(clip()).keys()
    assert encoder.digest != clip().digest


def random_states() -> tuple[object, ...]:
    """Return the states of the generators of Python, NumPy and torch."""
    name, keys, *rest = np.random.get_state()
    return random.getstate(), (name, keys.tolist(), *rest), torch.random.get_rng_state().tolist()


def test_weights_that_were_frozen_are_frozen_again() -> None:
    encoder = clip()
    flags = {name: number % 2 == 0 for number, name in enumerate(weights(encoder))}
    for name, weight in encoder.model.named_parameters():
        weight.requires_grad_(flags[name])
    with trainable_weights(encoder, quick(adapter="full")) as trained:
        after = dict(encoder.model.named_parameters())
        assert {name for name in after if after[name].requires_grad} == {*trained.named}
    assert {name: weight.requires_grad for name, weight in after.items()} == flags


def test_every_random_state_is_restored() -> None:
    transformers.set_seed(5)
    before = random_states()
    with seeded(3):
        transformers.set_seed(7)  # as the Trainer does
        inside = random_states()
    # Not around a whole fine-tuning: the checks of types while tests run draw random numbers.
    after = random_states()
    assert after == before
    assert all(one != other for one, other in zip(inside, before, strict=True))


def test_a_text_encoder_is_trained_on_text_anchors() -> None:
    encoder = bert()
    result = selective_finetune(
        encoder,
        claim_sets(images=False),
        ones(encoder),
        config=quick(joint=True),
        evaluation=NO_EVALUATION,
    )
    assert (result.change.norms > 0).all()


def test_the_trainer_can_mix_precisions() -> None:
    encoder, inside = clip(), set[torch.dtype]()
    linear = next(m for m in encoder.blocks[0].modules() if isinstance(m, torch.nn.Linear))

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        if module.training:
            inside.add(output.dtype)

    linear.register_forward_hook(note)
    mixed = selective_finetune(
        encoder, claim_sets(), ones(encoder), config=quick(), trainer={"bf16": True}
    )
    plain = tuned()
    assert {weight.dtype for weight in encoder.model.parameters()} == {torch.float32}
    assert inside == {torch.bfloat16}
    assert mixed.losses[0]["loss"] != plain.losses[0]["loss"]
    assert mixed.losses[0]["loss"] == pytest.approx(plain.losses[0]["loss"], rel=0.05)


def test_clipping_bounds_the_first_step() -> None:
    config = {"adapter": "full", "optimizer": "sgd", "steps": 1, "rate": 1.0}
    clipped, free = tuned(**config, clip=0.01), tuned(**config, clip=0.0)
    # Without momentum, the step of SGD is the rate times the gradient, here of norm 0.01.
    assert np.linalg.norm(clipped.change.norms) == pytest.approx(0.01, rel=1e-3)
    gradient = np.linalg.norm(free.change.norms)
    assert gradient == pytest.approx(free.losses[0]["grad_norm"], rel=1e-3)
    assert gradient > 0.02


def test_the_rate_rises_in_the_warmup_and_then_falls_linearly() -> None:
    rates = [entry["learning_rate"] for entry in tuned(steps=6, rate=0.3, warmup=0.5).losses]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.2, 0.1])
    rates = [entry["learning_rate"] for entry in tuned(steps=4, rate=0.3, warmup=0.0).losses]
    assert rates == pytest.approx([0.3, 0.225, 0.15, 0.075])


def test_a_longer_training_lowers_the_loss() -> None:
    losses = [entry["loss"] for entry in tuned(steps=30, seed=1).losses]
    assert losses[-1] < 0.7 * losses[0]


# What is written


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The phantom, trained for a moment and looked at, and what was written of it."""
    out = tmp_path_factory.mktemp("written") / "run"
    encoder = negtrace.load("phantom", self_check=False)
    cte = negtrace.trace(
        encoder, negtrace.sample(negtrace.radiology_pairs(), 40), direction="noising"
    )
    write_json(cte, out.parent / "noising.json", resamples=50)
    result = selective_finetune(
        encoder,
        phantom_training_sets(24),
        out.parent / "noising.json",
        method="transport",
        out=out,
        evaluation=Evaluation(count=8, pairs=4),
        config=quick(steps=3, rate=1e-3),
    )
    return result, out


def test_the_report_holds_both_measurements_and_every_block(written: Any) -> None:
    result, out = written
    report = json.loads((out / "report.json").read_text())
    assert report["figures"].keys() >= {"gap", "claims, existence", "margin of paraphrases"}
    assert {"R@5 anchor to text, affirmative", "R@5 text to anchor, with negation"} <= set(
        report["figures"]
    )
    assert [row["block"] for row in report["blocks"]] == list(result.encoder.block_names)
    assert sum(row["share"] for row in report["blocks"]) == pytest.approx(1)
    for name in ("norm", "relative"):
        column = getattr(result.change, {"norm": "norms"}.get(name, name)).tolist()
        assert [row[name] for row in report["blocks"]] == column
    assert result.change.norms.tolist() != result.change.relative.tolist()
    top = sorted((row["share"] for row in report["blocks"]), reverse=True)
    assert report["share_of_top"]["3"] == pytest.approx(sum(top[:3]))
    assert report["config"]["seed"] == 0
    assert report["scores"]["method"] == "transport"
    for figure in ("change", "trace", "polarity", "claims", "retrieval", "collapse"):
        assert (out / f"{figure}.png").stat().st_size > 5000
    assert [row["scale"] for row in report["blocks"]] == list(result.multipliers.values())
    for row in report["blocks"]:
        cells = (row["block"], f"{row['scale']:.3f}", f"{row['norm']:.4g}", f"{row['share']:.3f}")
        assert f"| {' | '.join(cells)} |" in result.lines()
    before, after = (measured.document.effect() for measured in (result.before, result.after))
    assert before.values.shape == after.values.shape
    assert "| gap |" in (out / "report.md").read_text()


def gap_of(estimate: float) -> Measurements:
    numbers = {"estimate": estimate, "low": estimate, "high": estimate, "n": 8}
    row = ReportRow(measure="gap", scorer="model", series="", axis="all", level="all", **numbers)
    empty = {"model": {}, "data": {}, "config": {}, "made": {}}
    return Measurements(
        reports={"polarity": Report(suite="polarity", rows=(row,), **empty)}, document=None
    )


@pytest.mark.parametrize(
    ("before", "after", "closed", "sentence"),
    [
        (0.25, 0.05, 0.8, "The polarity gap closed by 80 %."),
        (0.20, 0.30, -0.5, "The polarity gap widened by 50 %."),
    ],
)
def test_the_closed_share_of_the_gap_is_relative_to_the_gap_before(
    written: Any, before: float, after: float, closed: float, sentence: str
) -> None:
    result = replace(written[0], before=gap_of(before), after=gap_of(after))
    assert result.gap_closed == pytest.approx(closed)
    assert result.lines()[-1] == sentence


def test_a_gap_of_zero_before_cannot_be_closed(written: Any) -> None:
    result = replace(written[0], before=gap_of(0.0), after=gap_of(0.1))
    assert np.isnan(result.gap_closed)
    assert result.document()["gap_closed"] is None


def test_no_statement_is_written(written: Any) -> None:
    _, out = written
    for path in out.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"There is" not in data, path
            assert b"patient has" not in data, path


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_adapter_loads_here_in_peft_and_in_transformers(written: Any) -> None:
    result, out = written
    statements = ["There is no effusion.", "Clear lungs."]
    expected = result.encoder.embed_texts(statements)
    again = negtrace.load(out / "adapter")
    assert again.name == "adapter"
    torch.testing.assert_close(again.embed_texts(statements), expected)
    base = negtrace.load("phantom", self_check=False)
    assert not torch.allclose(base.embed_texts(statements), expected, atol=1e-4)
    adapted = peft.PeftModel.from_pretrained(base.model, out / "adapter")
    assert adapted.base_model.model is base.model
    torch.testing.assert_close(base.embed_texts(statements), expected, rtol=1e-4, atol=1e-5)


def test_whole_weights_load_here_and_in_transformers(tmp_path: Path) -> None:
    encoder = negtrace.load("phantom", self_check=False)
    sets = phantom_training_sets(12)
    selective_finetune(
        encoder,
        sets,
        ones(encoder),
        out=tmp_path,
        evaluation=NO_EVALUATION,
        config=quick(adapter="full"),
    )
    again = negtrace.load(tmp_path / "model")
    assert again.reads_images
    assert again.digest == encoder.digest
    plain = transformers.AutoModel.from_pretrained(tmp_path / "model")
    assert same(weights(again), {name: w.detach() for name, w in plain.named_parameters()})


def test_the_command_trains_and_prints_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {
            "anchor": {"text": f"Chest {k}."},
            "right": f"There is no nodule {k}.",
            "wrong": [{"text": f"There is a nodule {k}.", "attribute": "existence"}],
        }
        for k in range(6)
    ]
    (tmp_path / "sets.jsonl").write_text("\n".join(map(json.dumps, rows)))
    encoder = negtrace.load("phantom", self_check=False)
    cte = negtrace.trace(
        encoder, negtrace.sample(negtrace.radiology_pairs(), 40), direction="noising"
    )
    write_json(cte, tmp_path / "noising.json", resamples=50)
    given = ["--cte", str(tmp_path / "noising.json"), "--data", str(tmp_path / "sets.jsonl")]
    options = ["--steps", "2", "--batch", "3", "--count", "0", "--out", str(tmp_path / "tuned")]
    more = ["--trainer", "data_seed=3", "lr_scheduler_type=constant"]
    assert main(["finetune", "phantom", *given, *options, *more]) == 0
    printed = capsys.readouterr().out
    assert "| text_model.encoder.layers.7 |" in printed
    assert "Top 3 blocks: 0." in printed
    assert (tmp_path / "tuned" / "adapter" / "adapter_model.safetensors").is_file()
    assert main(["finetune", "phantom", *given, *options, "--trainer", "bf16"]) == 1
    assert "'bf16' has no value" in capsys.readouterr().err
    assert main(["finetune", "phantom", *given, "--weighting", "best"]) == 1
    assert "unknown weighting 'best'; known: front" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["finetune", "phantom", *given, "--weighting", "top", "--k", "0"])
    assert "k is 0; expected 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "data", "asked"),
    [("phantom", None, "phantom"), (CHECKPOINT, None, "phantom"), (CHECKPOINT, "text", "text")],
)
def test_only_the_phantom_is_measured_on_radiographs_by_default(
    model: str | Path, data: str | None, asked: str, tmp_path: Path
) -> None:
    encoder = negtrace.load(model, self_check=False)
    evaluation = Evaluation(suites=("polarity",), data=data, count=4, pairs=4)
    measured = measure(encoder, evaluation, tmp_path)
    assert measured.reports["polarity"].data["name"] == asked
    assert measured.document.pairs[0]["id"].startswith("phantom") == (asked == "phantom")


def test_measurements_that_are_in_the_folder_are_read_and_given_pairs_are_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, pairs = negtrace.load("toy"), negtrace.radiology_pairs()[5:8]
    evaluation = Evaluation(suites=("collapse",), pairs=pairs, count=4)
    first = measure(encoder, evaluation, tmp_path)
    assert {pair["id"] for pair in first.document.pairs} == {pair.id for pair in pairs}
    for step in ("bench.run", "run_trace"):
        monkeypatch.setattr(f"negtrace.experiments.before_after.{step}", None)
    again = measure(encoder, evaluation, tmp_path)
    assert again.headlines() == first.headlines()
    assert again.reports["collapse"].made == first.reports["collapse"].made
    np.testing.assert_array_equal(again.document.effect().values, first.document.effect().values)
    nothing = measure(encoder, NO_EVALUATION, tmp_path)
    assert (nothing.reports, nothing.document) == ({}, None)


# Bad input


def scores_for(encoder: Encoder, **changes: Any) -> Any:
    return layer_scores_of(encoder.block_names, [0.0, 0.5, 1.0], **changes)


def refused(
    message: str,
    *,
    encoder: Encoder | None = None,
    data: Any = None,
    scores: Any = None,
    error: type[Exception] = FinetuneError,
    **settings: Any,
) -> None:
    """Check that a fine-tuning is refused with a message, and that no weight has changed."""
    encoder = encoder or clip()
    data, scores = data or claim_sets(), scores or scores_for(encoder)
    before = weights(encoder)
    settings = {"evaluation": NO_EVALUATION, "config": quick(), **settings}
    with pytest.raises(error, match=message):
        selective_finetune(encoder, data, scores, **settings)
    assert same(before, weights(encoder))


def test_scores_of_another_model_are_listed_and_refused() -> None:
    other = layer_scores_of(("h.0", "h.1"), [0.0, 1.0])
    refused(r"not in the model: h\.0, h\.1; without a score: text_model", scores=other)


def test_a_cte_json_needs_a_method(tmp_path: Path) -> None:
    path = write_json(results.noisy(), tmp_path / "cte.json", resamples=20)
    refused(r"method= \[.*'nast'", scores=path)


def test_a_method_without_a_cte_json_is_refused() -> None:
    refused("method is 'nast', but no CTE JSON was given", method="nast")


def test_a_weighting_of_given_multipliers_is_refused() -> None:
    multipliers = ones(clip())
    refused(
        "weighting, beta would change nothing",
        scores=multipliers,
        weighting="inverted",
        beta=2.0,
    )
    refused("equal_budget would change nothing", scores=multipliers, equal_budget=False)


def test_a_rank_without_low_rank_adapters_is_refused() -> None:
    refused("rank is 4; expected 8, the default: adapter='full'", adapter="full", rank=4)


def test_scores_of_other_weights_give_a_warning(tmp_path: Path) -> None:
    encoder = clip()
    cte = negtrace.trace(encoder, negtrace.radiology_pairs()[:8], direction="noising")
    path = write_json(cte, tmp_path / "noising.json", resamples=20)
    with torch.no_grad():
        next(iter(encoder.blocks[0].parameters())).add_(1.0)
    with pytest.warns(NegtraceWarning) as warned:
        selective_finetune(
            encoder,
            claim_sets(),
            path,
            method="nast",
            evaluation=NO_EVALUATION,
            config=quick(steps=1),
        )
    assert "traced on other weights than those of clip" in str(warned[0].message)


def test_unstable_scores_give_a_warning() -> None:
    encoder = clip()
    unstable = scores_for(encoder, rank_stability=0.4)
    with pytest.warns(NegtraceWarning, match=r"NOT stable: rank stability 0\.40 over 20 pairs"):
        selective_finetune(
            encoder, claim_sets(), unstable, evaluation=NO_EVALUATION, config=quick(steps=1)
        )


def test_data_without_hard_negatives_is_refused_and_some_are_left_out() -> None:
    refused("all 12 claim sets have no wrong claim", data=claim_sets(wrong=()))
    encoder = clip()
    sets = [*claim_sets(6), *claim_sets(2, wrong=())]
    with pytest.warns(NegtraceWarning, match="2 of 8 claim sets have no wrong claim"):
        selective_finetune(
            encoder, sets, ones(encoder), evaluation=NO_EVALUATION, config=quick(steps=1)
        )
    contrastive = quick(steps=1, balance=1.0)
    selective_finetune(clip(), claim_sets(wrong=()), ones(encoder), config=contrastive)


def test_identical_captions_alone_are_refused() -> None:
    refused("all 12 captions are the same", data=claim_sets(caption="Clear lungs."))


def test_statements_too_long_are_left_out() -> None:
    encoder = clip()
    sets = [*claim_sets(6), *claim_sets(1, caption="lungs " * 30)]
    with pytest.warns(NegtraceWarning, match="1 of 7 claim sets are longer than the 24 tokens"):
        selective_finetune(
            encoder, sets, ones(encoder), evaluation=NO_EVALUATION, config=quick(steps=1)
        )


def test_images_for_an_encoder_of_texts_are_refused() -> None:
    encoder = bert()
    refused("bert-mean sees no images", encoder=encoder, scores=ones(encoder))


def test_an_unknown_setting_is_answered_with_the_known_ones() -> None:
    refused("'betta'; known: weighting, beta", betta=1, error=UnknownNameError)


def test_half_precision_is_refused() -> None:
    encoder = clip(torch.bfloat16)
    refused("half precision", encoder=encoder, scores=ones(encoder))


def stopping(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[Any], Any]) -> list[int]:
    """Apply `act` to the contrastive loss of one step; return a list that grows with every step."""
    whole = objective.contrastive_loss
    calls: list[int] = []

    def loss(*args: Any) -> Any:
        calls.append(1)
        value = whole(*args)
        return act(value) if len(calls) == step else value

    monkeypatch.setattr(objective, "contrastive_loss", loss)
    return calls


def test_a_loss_of_nan_stops_the_training_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(monkeypatch, 4, lambda loss: loss * float("nan"))
    refused("loss is nan at step 4; .* last good checkpoint is checkpoint-2", out=tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "checkpoint-2"
    assert (checkpoint / "model.safetensors").is_file()


def test_weights_of_nan_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, loss: torch.Tensor) -> torch.Tensor:
            return loss.clone()

        @staticmethod
        def backward(_: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * float("nan")

    stopping(monkeypatch, 2, Broken.apply)
    refused("a weight is NaN or infinite after step 2; .* no checkpoint", out=tmp_path / "run")


class Killed(BaseException):
    """What ends a run without a chance to tidy up its files."""


@ADAPTERS
def test_a_killed_run_resumes_to_the_same_result(
    adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Any) -> None:
        raise Killed

    whole = tuned(out=tmp_path / "whole", adapter=adapter)
    with monkeypatch.context() as patch:
        stopping(patch, 4, killed)
        with pytest.raises(Killed):
            tuned(out=tmp_path / "run", adapter=adapter)
    # A checkpoint that was being written when the run was killed.
    (tmp_path / "run" / "checkpoints" / "checkpoint-3").mkdir()
    steps = stopping(monkeypatch, 0, killed)
    again = tuned(out=tmp_path / "run", adapter=adapter)
    assert same(weights(again.encoder), weights(whole.encoder))
    assert len(steps) == 2  # the third and the fourth
    finished = tuned(out=tmp_path / "run", adapter=adapter)  # nothing is left to do
    assert same(weights(finished.encoder), weights(whole.encoder))


TRAIN = """
import sys
from pathlib import Path
from claim_sets import NO_EVALUATION, claim_sets, ones, quick
from small_encoders import clip
from negtrace.experiments import selective_finetune
encoder, settings = clip(), quick(steps=80, save_every=10)
chosen = {"out": Path(sys.argv[1]), "evaluation": NO_EVALUATION, "config": settings}
selective_finetune(encoder, claim_sets(), ones(encoder), **chosen)
"""


def test_a_kill_from_outside_loses_no_checkpoint(tmp_path: Path) -> None:
    def run(folder: str) -> "subprocess.Popen[bytes]":
        places = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        path = {**os.environ, "PYTHONPATH": os.pathsep.join(places).rstrip(os.pathsep)}
        return subprocess.Popen([sys.executable, "-c", TRAIN, tmp_path / folder], env=path)  # noqa: S603

    whole, dying = run("whole"), run("run")
    while not (tmp_path / "run" / "checkpoints" / "checkpoint-20" / "trainer_state.json").exists():
        assert dying.poll() is None
        time.sleep(0.01)
    dying.kill()
    assert dying.wait() != 0
    assert not (tmp_path / "run" / "adapter").exists()
    assert (run("run").wait(), whole.wait()) == (0, 0)
    weights = Path("adapter") / "adapter_model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    tuned(out=tmp_path)
    refused(r"another run; .*config\.rate: 0\.01 / 0\.5", out=tmp_path, rate=0.5, error=OutputError)
    (tmp_path / "run.json").unlink()
    refused(r"no run\.json", out=tmp_path, error=OutputError)
    refused("delete them yourself", out=tmp_path, overwrite=True, error=OutputError)


def test_overwriting_a_run_starts_anew(tmp_path: Path) -> None:
    tuned(out=tmp_path)
    other = {"evaluation": NO_EVALUATION, "config": quick(rate=0.5)}
    encoder = clip()
    again = selective_finetune(
        encoder, claim_sets(), ones(encoder), out=tmp_path, overwrite=True, **other
    )
    assert again.losses == tuned(rate=0.5).losses
    assert json.loads((tmp_path / "run.json").read_bytes())["finetune"]["config"]["rate"] == 0.5
