"""Estimates by gradients: exact where the model is linear, complete along the path, and checked."""

import numpy as np
import pytest
import torch
from small_encoders import ENCODERS
from test_sites import FAMILIES, offered

from negtrace.encoders.base import Encoder
from negtrace.errors import NegtraceWarning, TraceError, UnknownNameError
from negtrace.experiments.gallery import summary
from negtrace.pairs.radiology import radiology_pairs
from negtrace.plots.tables import bar_table, heatmap_table
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json, write_json
from negtrace.results.layer_scores import layer_scores
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.engines.attribution import IntegratedGradients
from negtrace.tracing.trace import trace

PAIRS = radiology_pairs()[:6]


def estimated(encoder: Encoder, **options: object) -> CTE:
    return trace(encoder, PAIRS, **{"method": "attribution", "progress": False, **options})


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("method", ["attribution", "integrated_gradients"])
def test_a_linear_model_is_estimated_exactly(method: str, direction: str) -> None:
    toy = ENCODERS["toy"](torch.float64)
    found = estimated(toy, method=method, direction=direction)
    exact = trace(toy, PAIRS, direction=direction, progress=False)
    np.testing.assert_allclose(found.patched, exact.patched, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", ["clip", "bert-mean", "phantom"])
def test_integrated_gradients_add_up_to_the_whole_difference(name: str) -> None:
    """Completeness: over all positions of the input the contributions sum to d."""
    found = estimated(FAMILIES[name](torch.float64), method="integrated_gradients", steps=64)
    whole = np.nansum(found.numerators[:, 0, 0], axis=1)
    np.testing.assert_allclose(whole, found.d, rtol=0.02, atol=1e-3 * np.abs(found.d).max())


@pytest.mark.parametrize("name", ["clip", "siglip", "bert-cls", "gpt2", "several", "fused"])
def test_a_small_step_of_a_patch_is_the_gradient(name: str) -> None:
    """Estimates of all sites against the exact change for a source that hardly differs."""
    encoder = FAMILIES[name](torch.float64)
    pairs = [pair for pair in PAIRS if pair.negated == "true"][:1]
    options = {
        "corruption": "noise",
        "settings": {"multiple": 1e-6, "samples": 1},
        "sites": offered(encoder),
        "progress": False,
    }
    exact = trace(encoder, pairs, **options)
    found = trace(encoder, pairs, method="attribution", **options)
    size = np.nanmax(np.abs(exact.numerators))
    np.testing.assert_allclose(
        found.numerators / size, exact.numerators / size, atol=1e-3, equal_nan=True
    )


def test_verified_cells_correlate_as_all_of_them_do() -> None:
    clip = FAMILIES["clip"](torch.float64)
    cells = int(np.isfinite(estimated(clip).patched).sum())
    found = estimated(clip, verify=cells)
    exact = trace(clip, PAIRS, progress=False)
    there = np.isfinite(found.patched)
    expected = np.corrcoef(found.numerators[there], exact.numerators[there])[0, 1]
    about = found.provenance.config["verified"]
    assert (about["top"], about["random"]) == (cells, 0)
    assert about["pearson"] == pytest.approx(expected)
    gap = np.abs(found.numerators - exact.numerators)[there].max()
    assert about["largest_gap"] == pytest.approx(gap)


def test_every_output_says_that_it_is_an_approximation(tmp_path: object) -> None:
    found = estimated(FAMILIES["phantom"](torch.float32), verify=10)
    assert found.estimator == "attribution"
    said = "attribution (APPROXIMATION)"
    assert said in heatmap_table(found).title
    assert said in bar_table(layer_scores(found, "cue")).title
    assert set(found.effect().to_dataframe()["estimator"]) == {"attribution"}
    assert set(layer_scores(found, "cue").to_dataframe()["estimator"]) == {"attribution"}
    document = read_json(write_json(found, tmp_path / "cte.json"))
    assert document.effect().estimator == "attribution"
    lines = "\n".join(summary(document))
    assert "APPROXIMATION by attribution" in lines
    assert "10 largest and 10 random cells run exactly" in lines


def test_what_cannot_be_estimated_or_verified_is_refused() -> None:
    toy = ENCODERS["toy"](torch.float32)
    with pytest.raises(
        UnknownNameError, match="unknown method 'magic'; known: attribution, exact,"
    ):
        estimated(toy, method="magic")
    with pytest.raises(TraceError, match="windows of layers are traced exactly only"):
        estimated(toy, window=2)
    with pytest.raises(TraceError, match="verify=3 with method='exact'"):
        estimated(toy, method="exact", verify=3)
    with pytest.raises(TraceError, match="steps is 0; expected 1 or more"):
        estimated(toy, method="integrated_gradients", steps=0)
    with pytest.raises(TraceError, match="steps is 0; expected 1 or more"):
        IntegratedGradients(steps=0)


def test_no_gradient_is_left_in_the_model() -> None:
    clip = FAMILIES["clip"](torch.float32)
    clip.model.requires_grad_(requires_grad=False)
    first = next(clip.model.parameters())
    first.requires_grad_()
    estimated(clip)
    assert all(weight.grad is None for weight in clip.model.parameters())
    assert [weight.requires_grad for weight in clip.model.parameters()].count(True) == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["clip", "bert-mean"])
def test_half_precision_reports_how_far_it_is_from_float32(name: str, dtype: torch.dtype) -> None:
    encoder = FAMILIES[name](dtype)
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    with pytest.warns(NegtraceWarning, match=r"an effect is up to .* from the one in float32"):
        half = trace(encoder, PAIRS, progress=False)
    about = half.provenance.config["half_precision"]
    assert about["dtype"] == str(dtype).removeprefix("torch.")
    encoder.model.float()
    full = trace(encoder, PAIRS, progress=False)
    gap = np.nanmax(np.abs(half.patched - full.patched))
    gap = max(gap, np.abs(half.clean - full.clean).max(), np.abs(half.corrupt - full.corrupt).max())
    assert about["largest_gap"] == pytest.approx(gap, rel=1e-3, abs=1e-5)
    assert 0 < gap < 0.2 * np.abs(full.clean).max()
    encoder.model.to(dtype)
    after = encoder.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_autocast_is_reported_too() -> None:
    encoder, pairs = FAMILIES["clip"](torch.float32), radiology_pairs()[36:40]
    with (
        torch.autocast("cpu", torch.bfloat16),
        pytest.warns(NegtraceWarning, match="autocast bfloat16"),
    ):
        half = trace(encoder, pairs, progress=False)
    full = trace(encoder, pairs, progress=False)
    # The largest gap is 0.0013 of the score, a sixth of a unit of rounding; d is 0.018 or more.
    unit = torch.finfo(torch.bfloat16).eps
    assert (np.abs(full.d) > 2 * unit * np.abs(full.clean)).all()
    gaps = []
    for name in ("clean", "corrupt", "patched"):
        one, other = getattr(half, name), getattr(full, name)
        np.testing.assert_allclose(one, other, rtol=unit, atol=0, equal_nan=True)
        gaps.append(np.nanmax(np.abs(one - other)))
    about = half.provenance.config["half_precision"]
    assert about["largest_gap"] == pytest.approx(max(gaps), rel=1e-3)
    assert max(gaps) > 0
