"""Curves of an interpolation: what is chosen, on which questions, and what is written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from claim_sets import same, weights
from small_encoders import clip

import negtrace
from negtrace.cli import main
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError, OutputError
from negtrace.experiments import Evaluation, curve, interpolation_curve
from negtrace.experiments.before_after import Measurements
from negtrace.training import interpolate

NAMES = (curve.MENDED, *curve.KEPT)


def moved(encoder: Encoder) -> Encoder:
    """Return an encoder whose blocks have other weights."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in (w for block in encoder.blocks for w in block.parameters()):
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return encoder


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Let the figures of a model be made up: by its share of the training, noted with the seed."""
    asked: list[tuple[float, int]] = []
    first, last = (encoder.blocks[0].mlp.fc1.weight for encoder in (clip(), moved(clip())))

    def figures(encoder: Encoder, evaluation: Evaluation, folder: Path) -> Measurements:
        now = encoder.blocks[0].mlp.fc1.weight
        share = ((now - first).norm() / (last - first).norm()).item()
        asked.append((round(share, 3), evaluation.seed))
        values = dict.fromkeys(NAMES, 0.9 - 0.05 * share**2)
        values[curve.MENDED] = 0.5 + 0.4 * share
        return type("Figures", (), {"headlines": lambda _: values})()

    monkeypatch.setattr(curve, "measure", figures)
    return asked


@pytest.mark.parametrize(
    ("within", "expected"), [(0.01, 0.4), (0.05, 1.0), (0.0, 0.0), (0.0351, 0.8)]
)
def test_the_best_share_that_keeps_the_rest_is_chosen(
    within: float, expected: float, measured: list[tuple[float, int]]
) -> None:
    before, after = clip(), moved(clip())
    shares = tuple(k / 5 for k in range(6))
    found = interpolation_curve(before, after, shares, within=within)
    assert found.chosen == pytest.approx(expected)
    assert found.after[curve.MENDED] == pytest.approx(0.5 + 0.4 * expected, abs=1e-3)
    assert same(weights(found.encoder), weights(interpolate(before, after, found.chosen)))
    assert [asked for asked in measured if asked[1] == 0] == [(0.0, 0), (round(expected, 3), 0)]
    assert {share for share, seed in measured if seed == 11} == set(shares)


def test_nothing_is_chosen_where_every_share_costs_too_much(
    measured: list[tuple[float, int]],
) -> None:
    found = interpolation_curve(clip(), moved(clip()), (0.5, 1.0), within=0.0)
    assert found.chosen == 0
    assert measured


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": ()}, "no share to measure"),
        ({"shares": (0.5, 1.5)}, "t is 1.5; expected a number from 0 to 1"),
        ({"choice_seed": 0}, "the questions of the choice and of the report are the same"),
        (
            {"evaluation": Evaluation(suites=("polarity",), count=8, pairs=0)},
            "needs the suites polarity and retrieval",
        ),
    ],
)
def test_a_curve_that_cannot_be_meant_is_refused(
    changes: dict[str, Any], message: str, measured: list[tuple[float, int]]
) -> None:
    with pytest.raises(FinetuneError, match=message):
        interpolation_curve(clip(), moved(clip()), **{"shares": (0.5,)} | changes)
    assert not measured


def test_the_command_chooses_and_writes_a_model_that_loads(tmp_path: Path) -> None:
    tuned, out = tmp_path / "tuned", tmp_path / "curve"
    teach = ["--objective", "reflection", "--steps", "2", "--batch", "4", "--count", "0"]
    assert main(["finetune", "phantom", *teach, "--out", str(tuned)]) == 0
    options = ["--after", str(tuned / "adapter"), "--count", "8", "--out", str(out)]
    assert main(["interpolate", "phantom", *options]) == 0
    document = json.loads((out / "curve.json").read_text())
    assert len(document["choice"]) == 11
    assert (out / "curve.png").stat().st_size > 5000
    mended = negtrace.load(str(out / "model"))
    between = interpolate(
        negtrace.load("phantom"), negtrace.load(str(tuned / "adapter")), document["chosen"]
    )
    assert same(weights(mended), weights(between))
    again = ["--after", str(tuned / "adapter"), "--count", "12", "--out", str(out)]
    assert main(["interpolate", "phantom", *again]) == 1


def test_the_command_writes_a_model_at_a_given_share(tmp_path: Path) -> None:
    tuned, out = tmp_path / "tuned", tmp_path / "half"
    teach = ["--objective", "reflection", "--steps", "2", "--batch", "4", "--count", "0"]
    assert main(["finetune", "phantom", *teach, "--out", str(tuned)]) == 0
    options = ["--after", str(tuned / "adapter"), "--out", str(out)]
    assert main(["interpolate", "phantom", *options, "--t", "0.5"]) == 0
    between = interpolate(negtrace.load("phantom"), negtrace.load(str(tuned / "adapter")), 0.5)
    assert same(weights(negtrace.load(str(out / "model"))), weights(between))
    assert main(["interpolate", "phantom", *options, "--t", "0.7"]) == 1
    assert main(["interpolate", "phantom", *options, "--t", "0.7", "--overwrite"]) == 0


def test_a_folder_of_another_curve_is_refused(
    tmp_path: Path, measured: list[tuple[float, int]]
) -> None:
    (tmp_path / "curve.json").write_text("{}")
    with pytest.raises(OutputError, match=r"no run\.json says of which run"):
        interpolation_curve(clip(), moved(clip()), (0.5,), out=tmp_path)
    assert not measured
