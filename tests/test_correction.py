"""Corrections: their formulas, what they leave alone, and that a corrected model is a model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from language_models import decoder
from torch import Tensor, nn

import negtrace
from negtrace import bench
from negtrace.cli import main
from negtrace.correction import CORRECTIONS, NEUTRAL, Projection, Reflection, corrected
from negtrace.encoders.base import Encoder
from negtrace.errors import EncoderError, UnknownNameError

DENYING = "The heart is enlarged, without effusion."
SILENT = "The heart is enlarged."


@pytest.fixture(scope="module")
def phantom() -> Encoder:
    return negtrace.load("phantom")


def unit(encoder: Encoder, *texts: str) -> Tensor:
    return nn.functional.normalize(encoder.embed_texts(texts), dim=-1)


@torch.no_grad()
@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_reflection_is_its_formula(phantom: Encoder, strength: float) -> None:
    [affirmed, omitted] = unit(phantom, "The heart is enlarged, with effusion.", SILENT)
    target = omitted - strength * (affirmed - omitted)
    [before] = phantom.embed_texts([DENYING])
    [after] = corrected(phantom, "reflection", strength=strength).embed_texts([DENYING])
    torch.testing.assert_close(after, target / target.norm() * before.norm())


@torch.no_grad()
def test_reflection_of_a_bare_denial_starts_from_neutral_texts(phantom: Encoder) -> None:
    neutral = nn.functional.normalize(unit(phantom, *NEUTRAL).mean(dim=0), dim=0)
    [affirmed] = unit(phantom, "Effusion.")
    [after] = unit(corrected(phantom), "No effusion.")
    torch.testing.assert_close(
        after, nn.functional.normalize(neutral - 0.5 * (affirmed - neutral), dim=0)
    )


@torch.no_grad()
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_projection_is_its_formula(phantom: Encoder, strength: float) -> None:
    text = "No effusion. The lungs are free of edema."
    neutral = nn.functional.normalize(unit(phantom, *NEUTRAL).mean(dim=0), dim=0)
    [expected] = phantom.embed_texts([text])
    for span in unit(phantom, "No effusion", "free of edema"):
        along = (expected @ span) * span
        expected = expected - strength * (along - expected.norm() * neutral)
    [after] = corrected(phantom, "projection", strength=strength).embed_texts([text])
    torch.testing.assert_close(after, expected)


@torch.no_grad()
@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_statement_without_a_cue_is_left_bit_for_bit(phantom: Encoder, name: str) -> None:
    texts = [SILENT, "Possible edema.", DENYING, "A chest tube in the left lung."]
    before, after = phantom.embed_texts(texts), corrected(phantom, name).embed_texts(texts)
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [True, True, False, True]


@torch.no_grad()
@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_corrected_embedding_does_not_depend_on_the_texts_beside_it(
    phantom: Encoder, name: str
) -> None:
    alone = corrected(phantom, name).embed_texts([DENYING])
    together = corrected(phantom, name).embed_texts(["No edema.", DENYING, SILENT])
    torch.testing.assert_close(together[1], alone[0])


@torch.no_grad()
def test_a_correction_follows_the_weights() -> None:
    encoder = negtrace.load("phantom")
    mended = corrected(encoder)
    before = mended.embed_texts([DENYING])
    with torch.no_grad():
        next(encoder.model.text_model.encoder.layers[0].parameters()).mul_(1.5)
    after = mended.embed_texts([DENYING])
    torch.testing.assert_close(after, corrected(encoder).embed_texts([DENYING]))
    assert not torch.allclose(after, before)


def test_the_model_is_left_as_it_is(phantom: Encoder) -> None:
    digest = phantom.digest
    mended = corrected(phantom)
    mended.embed_texts([DENYING])
    assert mended.digest == digest
    assert mended.encoder is phantom
    assert not any(module._forward_hooks for module in phantom.model.modules())


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_corrected_model_passes_the_check(phantom: Encoder, name: str) -> None:
    report = negtrace.check(corrected(phantom, name))
    assert report.passed, str(report)
    assert f"by the {name} of what a statement denies" in str(report)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_patch_moves_what_the_tower_gives_and_leaves_the_correction(
    phantom: Encoder, name: str
) -> None:
    mended = corrected(phantom, name)
    pairs = negtrace.sample(negtrace.radiology_pairs(), 8)
    cte = negtrace.trace(mended, pairs, positions="all", progress=False)
    assert cte.provenance.model == f"phantom + {name}"
    settings = cte.provenance.config["reading"]["correction"]
    assert settings["name"] == name
    assert "chest" not in str(settings)  # neutral statements are text
    for index, pair in enumerate(pairs):
        with torch.no_grad():
            anchor = mended.embed_anchors([pair.anchor])
            texts = mended.embed_texts([pair.true, pair.false])
            scores = mended.score(texts, anchor.expand_as(texts))
            [true, false] = mended.tokenize([pair.true, pair.false])
            patched = phantom.embed_texts([pair.true])
            if change := mended._corrections.get(false.ids):
                patched = change(patched)
            whole = phantom.score(patched, anchor).item()
        np.testing.assert_allclose(
            [cte.clean[index], cte.corrupt[index]], scores.numpy(), rtol=1e-4, atol=1e-4
        )
        if len(true) == len(false):  # all of block 0's input is that of the true statement
            assert cte.patched[index, 0, 0, 0] == pytest.approx(whole, abs=1e-3)


def test_a_corrected_model_answers_more_negated_questions(phantom: Encoder) -> None:
    config = bench.BenchConfig(count=80, seed=3, resamples=20)
    reports = bench.run([phantom, corrected(phantom)], config)
    negated, affirmative = (
        [
            report.find(measure="accuracy", scorer="model", series=name, axis="all").estimate
            for report in reports
        ]
        for name in ("negated", "affirmative")
    )
    assert negated[1] > negated[0] + 0.05
    assert affirmative[0] == affirmative[1]


def test_heads_of_a_corrected_model_are_traced(phantom: Encoder) -> None:
    pairs = negtrace.sample(negtrace.radiology_pairs(), 8)
    cte = negtrace.trace(
        corrected(phantom), pairs, sites=("head",), direction="noising", progress=False
    )
    assert np.isfinite(cte.patched[:, :, 1:, 0]).all()


class TestRefusals:
    def test_of_an_unknown_method(self, phantom: Encoder) -> None:
        with pytest.raises(UnknownNameError, match="reflection"):
            corrected(phantom, "reflexion")

    @pytest.mark.parametrize("strength", [-0.1, float("nan")])
    def test_of_a_strength_that_is_none(self, phantom: Encoder, strength: float) -> None:
        with pytest.raises(EncoderError, match="expected 0 or more"):
            corrected(phantom, strength=strength)

    def test_of_a_second_strength(self, phantom: Encoder) -> None:
        with pytest.raises(EncoderError, match="its own strength"):
            corrected(phantom, Reflection(), strength=0.5)

    def test_of_a_corrected_model(self, phantom: Encoder) -> None:
        with pytest.raises(EncoderError, match="corrected already"):
            corrected(corrected(phantom))

    def test_of_no_neutral_text(self) -> None:
        with pytest.raises(EncoderError, match="no neutral statement"):
            Projection(neutral=())

    def test_of_a_model_without_embeddings(self) -> None:
        with pytest.raises(EncoderError, match="no embedding that could be corrected"):
            corrected(decoder("gpt2"))


def run_command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_shows_what_is_denied(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_command(
        capsys, "correct", "phantom", DENYING, SILENT, "--against", "There is an effusion."
    )
    assert code == 0
    assert "denies: without effusion" in out
    assert "affirmed: The heart is enlarged, with effusion." in out
    assert "denies nothing, and is left as it is" in out
    moved, still = (line for line in out.splitlines() if "->" in line)
    before, after = map(float, moved.split(": ")[1].split(" -> "))
    assert after < before - 1
    assert len(set(still.split(": ")[1].split(" -> "))) == 1


def test_commands_take_a_correction(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run_command(
        capsys,
        *("bench", "phantom", "--correct", "reflection", "--count", "8"),
        *("--resamples", "20", "--out", str(tmp_path)),
    )
    assert code == 0
    assert "phantom + reflection: polarity, 8 items" in out
    code, _, err = run_command(capsys, "check", "phantom", "--strength", "1")
    assert code == 1
    assert "name one with --correct" in err
