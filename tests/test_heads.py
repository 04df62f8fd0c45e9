"""Heads: their effect by hand, their pictures, and a study of them in a folder."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from golden.results import noisy, provenance, result
from matplotlib.figure import Figure
from scipy import stats
from test_plots import NAMES, assert_legible, words
from test_sites import FAMILIES

from negtrace.errors import CTEError, SiteError
from negtrace.experiments.gallery import draw_documents, summary, summary_of_heads
from negtrace.experiments.trace import run_heads, run_trace
from negtrace.pairs.radiology import radiology_pairs
from negtrace.pairs.roles import ROLES
from negtrace.plots.heads import head_heatmap, heads_side_by_side
from negtrace.plots.tables import head_table
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json, write_json
from negtrace.results.heads import HeadEffect, HeadSelectivity, head_effect, selectivity_of
from negtrace.results.layer_scores import all_layer_scores, layer_scores
from negtrace.results.options import Resampling
from negtrace.results.provenance import Dropped
from negtrace.tracing.config import TraceConfig
from negtrace.tracing.selectivity import head_selectivity
from negtrace.tracing.trace import trace

PAIRS = radiology_pairs()[:6]


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def with_heads(
    pairs: int = 8, blocks: int = 3, heads: int = 2, *, positions: str = "token", **changes: Any
) -> CTE:
    """Return random effects of heads, beside those of the residual stream at the first site."""
    if positions == "all":
        changes |= {"roles": np.full((pairs, 1), len(ROLES)), "role_names": (*ROLES, "all")}
    shape = 1 if positions == "all" else 8
    rng = np.random.default_rng(1)
    rest = result(rng.normal(size=(pairs, blocks + 1, shape)), rng.normal(3, 1, pairs), **changes)
    heads_alone = rest.patched + rng.normal(0, 0.1, (pairs, heads, blocks + 1, shape))
    heads_alone[:, :, 0] = np.nan
    return dataclasses.replace(
        rest,
        sites=("resid", *(f"head.{head}" for head in range(heads))),
        patched=np.concatenate([rest.patched, heads_alone], axis=1),
        positions=positions,
    )


def selectivity(
    pairs: int = 8, blocks: int = 3, heads: int = 2, model: str = "toy"
) -> HeadSelectivity:
    drawn = np.random.default_rng(2).normal(0.1, 0.2, (pairs, blocks, heads))
    return selectivity_of(
        drawn,
        [f"p{index}" for index in range(pairs)],
        layers=[f"blocks.{block}" for block in range(blocks)],
        queries="after_cue",
        provenance=provenance(model=model),
    )


def test_an_effect_is_summed_over_positions() -> None:
    cte = with_heads()
    effect = head_effect(cte)
    sums = np.sign(cte.d)[:, None, None] * cte.numerators[:, 1:, 1:].sum(axis=3)
    expected = sums.sum(axis=0) / np.abs(cte.d).sum()
    np.testing.assert_allclose(effect.values, expected.T)
    assert (effect.heads, effect.layers) == ((0, 1), cte.layers[1:])
    assert (effect.low <= effect.values).all()
    assert (effect.values <= effect.high).all()
    assert np.isnan(head_effect(with_heads(1)).low).all()


def test_heads_are_sorted_by_number() -> None:
    cte = with_heads(heads=3)
    turned = dataclasses.replace(
        cte, sites=cte.sites[::-1], patched=np.ascontiguousarray(cte.patched[:, ::-1])
    )
    np.testing.assert_array_equal(head_effect(turned).values, head_effect(cte).values)


def test_an_effect_of_all_positions_needs_no_raw_scores() -> None:
    cte = with_heads(positions="all")
    of_cte, of_effect = head_effect(cte), head_effect(cte.effect())
    for name in ("values", "low", "high"):
        np.testing.assert_allclose(getattr(of_effect, name), getattr(of_cte, name))
    assert of_effect.n == of_cte.n == 8
    with pytest.raises(CTEError, match="cannot be summed over tokens any more; pass the CTE"):
        head_effect(with_heads().effect())
    with pytest.raises(CTEError, match="an effect is reduced already; pass the CTE itself"):
        head_effect(cte.effect(), segment="correct")


def test_a_trace_without_heads_is_refused() -> None:
    with pytest.raises(CTEError, match="no head was traced, only resid"):
        head_effect(noisy())
    with pytest.raises(CTEError, match="no head was traced"):
        head_heatmap(noisy())
    with pytest.raises(CTEError, match="at least one pair"):
        selectivity(pairs=0)


def test_the_top_heads_come_first_with_their_intervals() -> None:
    effect = head_effect(with_heads())
    top = effect.top(4)
    assert [head.value for head in top] == sorted(effect.values.ravel(), reverse=True)[:4]
    first = top[0]
    assert effect.values[first.block - 1, first.head] == first.value
    assert effect.layers[first.block - 1] == first.layer
    assert first.low <= first.value <= first.high


def test_selectivity_is_a_mean_over_pairs_whatever_their_order() -> None:
    drawn = np.random.default_rng(0).normal(size=(8, 3, 2))
    about: dict[str, Any] = {
        "layers": "abc",
        "queries": "after_cue",
        "provenance": provenance(),
        "resampling": Resampling(resamples=50),
    }
    one = selectivity_of(drawn, list("abcdefgh"), **about)
    other = selectivity_of(drawn[::-1], list("hgfedcba"), **about)
    np.testing.assert_allclose(one.values, drawn.mean(axis=0))
    np.testing.assert_array_equal(one.low, other.low)
    assert (one.low < one.values).all()
    assert (one.values < one.high).all()
    few = selectivity_of(drawn[:7], list("abcdefg"), **about)
    assert np.isnan(few.low).all()
    assert few.to_dataframe()["note"].unique().tolist() == ["too few pairs (7 of at least 8)"]


def test_frames_of_both_measures_share_their_columns() -> None:
    frames = [head_effect(with_heads()).to_dataframe(), selectivity().to_dataframe()]
    frame = pd.concat(frames)
    assert list(frame["measure"].unique()) == ["effect", "selectivity"]
    assert list(frame.columns[:9]) == [
        *("layer", "block", "head", "value", "low", "high", "p", "q", "measure")
    ]
    assert len(frame) == 2 * 3 * 2
    assert frame["value"].notna().all()
    json.dumps([head_effect(with_heads(1)).to_json(), selectivity(1).to_json()])


def test_the_table_of_heads() -> None:
    grid = dataclasses.replace(selectivity(), values=np.array([[0.31, -0.02]] * 3))
    table = head_table(grid, intervals=True)
    assert (table.rows, table.columns) == (("head 0", "head 1"), ("1", "2", "3"))
    assert table.text == ((".31",) * 3, ("-.02",) * 3)
    assert table.limit == pytest.approx(0.4)
    assert table.label.startswith("attention to the negator")
    assert table.title == (
        "toy: selectivity for the negator\n"
        "largest difference over tokens after it, n = 8 (0 dropped), mean over pairs"
    )
    mesh = head_heatmap(grid).collections[0]
    assert mesh.get_clim() == pytest.approx((-0.4, 0.4))
    nothing = dataclasses.replace(grid, values=np.full((3, 2), np.nan))
    assert head_table(nothing).limit == 1


def test_the_title_names_window_positions_and_estimator() -> None:
    cte = dataclasses.replace(with_heads(positions="all"), window=3, estimator="attribution")
    title = head_table(cte).title
    for said in (
        "attribution (APPROXIMATION)",
        "window of 3 layers",
        "heads, ",
        "all positions at once",
    ):
        assert said in title
    assert "heads, summed over positions" in head_table(with_heads()).title


@pytest.mark.parametrize("model", NAMES, ids=["short", "long"])
@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (3, 2), (8, 4), (12, 12), (24, 16)])
def test_no_text_is_cut_off_or_overlaps(blocks: int, heads: int, model: str) -> None:
    about = {"provenance": provenance(model=model)}
    effects = [
        head_effect(with_heads(4, blocks, heads, direction=direction, **about), resamples=9)
        for direction in ("denoising", "noising")
    ]
    looks = selectivity(4, blocks, heads, model)
    for figure in (
        head_heatmap(effects[0]).figure,
        head_heatmap(looks, intervals=True).figure,
        heads_side_by_side([effects[0], looks]),
        heads_side_by_side([*effects, looks]),
    ):
        assert_legible(figure)


def test_a_grid_is_drawn_on_the_axes_it_is_given() -> None:
    ax = Figure().subplots()
    assert head_heatmap(selectivity(), ax, annotate=False, colour_bar=False) is ax
    assert words(ax) == []


def test_grids_of_different_blocks_are_not_drawn_side_by_side() -> None:
    with pytest.raises(CTEError, match="all of the same blocks"):
        heads_side_by_side([selectivity(), selectivity(blocks=4)])
    with pytest.raises(CTEError, match="0 grids of heads"):
        heads_side_by_side([])


def test_the_summary_gives_the_correlation_head_by_head() -> None:
    effect, looks = head_effect(with_heads()), selectivity()
    assert effect.values.shape == looks.values.shape == (3, 2)
    expected = stats.spearmanr(effect.values.ravel(), looks.values.ravel()).statistic
    transposed = stats.spearmanr(effect.values.T.ravel(), looks.values.ravel()).statistic
    line = summary_of_heads(effect, looks)[-1]
    assert line.endswith(f"over heads: {expected:.2f}")
    assert abs(expected - transposed) > 0.01


def test_every_site_has_its_heatmap_and_heads_have_one_grid(tmp_path: Path) -> None:
    ctes = [with_heads(direction=direction) for direction in ("noising", "denoising")]
    documents = [read_json(write_json(cte, tmp_path / f"{cte.direction}.json")) for cte in ctes]
    names = {path.name for path in draw_documents(documents, tmp_path, ["png"])}
    assert names == {
        "heatmap_resid.png",
        "head_heatmap.png",
        "layer_importance_noising.png",
        "layer_importance_denoising.png",
    }
    assert "effect of heads, largest: block " in summary(documents[0])[-1]


def test_missing_raw_scores_of_heads_do_not_stop_the_other_figures(tmp_path: Path) -> None:
    document = read_json(write_json(with_heads(), tmp_path / "cte.json"))
    (tmp_path / "cte.safetensors").unlink()
    with pytest.raises(CTEError, match=r"cte\.safetensors"):
        draw_documents([document], tmp_path, ["png"])
    assert (tmp_path / "layer_importance.png").exists()
    whole = read_json(write_json(with_heads(positions="all"), tmp_path / "all.json"))
    (tmp_path / "all.safetensors").unlink()
    assert tmp_path / "head_heatmap.png" in draw_documents([whole], tmp_path, ["png"])


def test_a_score_that_sums_over_positions_needs_single_tokens() -> None:
    cte = dataclasses.replace(noisy(), positions="role")
    assert tuple(all_layer_scores(cte)) == ("cue", "transport")
    with pytest.raises(CTEError, match="positions 'token', not 'role'"):
        layer_scores(cte, "nast")


@pytest.mark.parametrize("positions", ["token", "all"])
def test_an_experiment_of_every_site(tmp_path: Path, positions: str) -> None:
    sites = ("resid", "attn_out", "mlp_out", "head")
    encoder = FAMILIES["clip"](torch.float32)
    run_trace(
        encoder,
        tmp_path,
        PAIRS,
        TraceConfig(sites=sites, positions=positions),
        directions=["noising"],
        formats=["png"],
        progress=False,
    )
    figures = {path.stem for path in tmp_path.glob("*.png")}
    assert figures == {
        *("heatmap_resid", "heatmap_attn_out", "heatmap_mlp_out"),
        *("head_heatmap", "layer_importance"),
    }
    methods = {one.method for one in read_json(tmp_path / "noising.json").scores}
    assert "component" in methods
    assert ("nast" in methods) == (positions == "token")


def test_a_study_of_heads(tmp_path: Path) -> None:
    encoder = FAMILIES["clip"](torch.float32)
    study = run_heads(encoder, tmp_path, PAIRS, formats=["png"], progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("heads_noising.json", "heads_noising.safetensors"),
        *("heads.csv", "heads.json", "head_heatmap.png", "run.json"),
    }
    assert set(study.files) == set(tmp_path.iterdir()) - {tmp_path / "run.json"}
    cte = trace(encoder, PAIRS, direction="noising", sites=["head"], positions="all")
    np.testing.assert_allclose(study.effect.values, head_effect(cte).values, atol=1e-5)
    looks = head_selectivity(encoder, PAIRS)
    table = pd.read_csv(tmp_path / "heads.csv")
    written = table[table["measure"] == "selectivity"]["value"]
    np.testing.assert_allclose(written, looks.values.ravel(), atol=1e-6)
    stored = json.loads((tmp_path / "heads.json").read_text())
    assert [one["measure"] for one in stored["measures"]] == ["effect", "selectivity"]
    assert stored["measures"][1]["ids"] == sorted(pair.id for pair in PAIRS)
    assert stored["no_selectivity"] is None
    text = "".join(path.read_text("utf-8") for path in tmp_path.glob("heads*.[jc]s*"))
    assert not any(pair.true in text or pair.false in text for pair in PAIRS)
    lines = summary_of_heads(study.effect, study.selectivity)
    assert lines[-1].startswith("  Spearman correlation of selectivity with effect over heads: ")


def test_a_study_of_a_model_without_attention_patterns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise SiteError("no patterns here")

    monkeypatch.setattr("negtrace.experiments.trace.head_selectivity", refuse)
    encoder = FAMILIES["clip"](torch.float32)
    study = run_heads(encoder, tmp_path, PAIRS, formats=["png"], progress=False)
    assert (study.selectivity, study.refused) == (None, "no patterns here")
    assert json.loads((tmp_path / "heads.json").read_text())["no_selectivity"] == "no patterns here"
    assert (tmp_path / "head_heatmap.png").exists()
    _, few, largest = summary_of_heads(study.effect, None)
    assert few == f"  too few pairs ({study.effect.n} of at least 8)"
    assert "nan" not in largest


def test_a_study_of_heads_that_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="no head in"):
        run_heads(FAMILIES["fused"](torch.float32), tmp_path, PAIRS, progress=False)


def test_dropped_pairs_are_in_the_title() -> None:
    grid = dataclasses.replace(selectivity(), dropped=(Dropped(id="x", code="c", reason="r"),))
    assert "n = 8 (1 dropped)" in head_table(grid).title
    assert isinstance(head_effect(with_heads()), HeadEffect)
