import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from golden.results import PUBLISHED, noisy, provenance, published, result
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from negtrace._files import write_csv
from negtrace.bench import Report, ReportRow
from negtrace.cli import main
from negtrace.errors import CTEError, OutputError, UnknownNameError
from negtrace.experiments.gallery import draw_documents, summary
from negtrace.plots.bench import bench_table
from negtrace.plots.heatmaps import both_directions, heatmap
from negtrace.plots.layers import importance_grid, layer_importance
from negtrace.plots.layout import heatmap_size
from negtrace.plots.registry import PLOTS
from negtrace.plots.save import save_figure
from negtrace.plots.tables import bar_table, heatmap_table
from negtrace.plots.training import before_after_figure
from negtrace.results.cte_json import Document, read_json, write_json
from negtrace.results.layer_scores import all_layer_scores, layer_scores
from negtrace.results.options import ReduceOptions
from negtrace.results.provenance import Dropped

D = np.array([1.0, 2.0, 5.0, 1.5])


@pytest.fixture(autouse=True)
def _no_global_style() -> Iterator[None]:
    before = dict(mpl.rcParams)
    yield
    plt.close("all")
    assert dict(mpl.rcParams) == before


def words(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text()]


def row_names(ax: Any) -> list[str]:
    return [t.label1.get_text() for t in ax.yaxis.get_major_ticks() if t.label1.get_visible()]


def outer_texts(figure: Any) -> list[Text]:
    """Return every text outside the cells: titles, axis and tick labels, legends."""
    texts = [
        text for ax in figure.axes for text in (ax._left_title, ax.xaxis.label, ax.yaxis.label)
    ]
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            texts += [t for tick in axis.get_major_ticks() for t in (tick.label1, tick.label2)]
        texts += ax.get_legend().get_texts() if ax.get_legend() else []
    texts += [figure._suptitle] if figure._suptitle else []
    return [text for text in texts if text.get_text() and text.get_visible()]


def assert_legible(figure: Any) -> None:
    """Assert that no text is cut off or overlaps another, at a resolution that makes type wide."""
    figure.set_dpi(80)
    figure.draw_without_rendering()
    texts = outer_texts(figure)
    boxes = [text.get_window_extent() for text in texts]
    for index, (text, box) in enumerate(zip(texts, boxes, strict=True)):
        inside = box.x0 >= 0 and box.y0 >= 0
        inside &= box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        assert inside, f"{text.get_text()!r} is cut off"
        for other in range(index):
            overlap = box.overlaps(boxes[other])
            assert not overlap, f"{text.get_text()!r} overlaps {texts[other].get_text()!r}"
    assert min(ax.bbox.height for ax in figure.axes) / 80 > 0.8


NAMES = ("toy", "/home/someone/checkpoints/laion_CLIP-ViT-bigG-14-laion2B-39B-b160k-negation-07")


@pytest.mark.parametrize("model", NAMES, ids=["short", "long"])
@pytest.mark.parametrize("blocks", [1, 3, 6, 12, 16, 24, 48])
def test_no_text_is_cut_off_or_overlaps(blocks: int, model: str) -> None:
    cte, other = (
        noisy(4, layers=blocks + 1, direction=direction, provenance=provenance(model=model))
        for direction in ("denoising", "noising")
    )
    scores = list(all_layer_scores(cte, resamples=9).values())
    effects = [one.effect(resamples=9) for one in (cte, other)]
    figures = [
        both_directions(*effects),
        importance_grid(scores),
        importance_grid(scores, columns=1),
        heatmap(effects[0]).figure,
        heatmap(effects[0], intervals=True).figure,
        layer_importance(scores).figure,
        layer_importance(scores[0]).figure,
    ]
    for figure in figures:
        assert_legible(figure)


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_the_label_of_the_colour_bar_fits_beside_few_rows(tokens: int) -> None:
    roles = np.tile(np.arange(tokens), (3, 1))
    effects = [
        result(np.full((3, 3, tokens), 0.5), np.ones(3), direction=direction, roles=roles).effect()
        for direction in ("denoising", "noising")
    ]
    assert_legible(heatmap(effects[0]).figure)
    assert_legible(both_directions(*effects))


def test_titles_fit_into_a_figure_of_the_user() -> None:
    cte = noisy(4, provenance=provenance(model=NAMES[1]))
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    heatmap(cte.effect(resamples=9), left, colour_bar=False)
    layer_importance(layer_scores(cte, "nast", resamples=9), right)
    assert_legible(figure)


def test_heatmap_table_reads_like_the_published_one() -> None:
    table = heatmap_table(published(D))
    assert table.rows == ("start", "prefix", "cue", "subject", "subject rest", "punct", "end")
    assert table.columns == ("embed", *map(str, range(1, 13)))
    np.testing.assert_allclose(table.values[2:], PUBLISHED.T, atol=1e-12)
    assert table.text[2][:5] == ("1.00", ".90", ".86", ".69", ".18")
    assert table.text[2][-1] == "0"
    assert table.over == 0


def test_heatmap_title_says_which_pairs_and_how() -> None:
    dropped = (Dropped(id="x", code="c", reason="r"),)
    cte = result(np.full((5, 3, 8), 0.5), np.array([2.0, 3, 0.01, -2, 9]), dropped=dropped)
    title = heatmap_table(cte.effect(condition="negated", aggregate="median")).title
    assert title == (
        "toy: denoising, swap, all pairs, negated statement true\n"
        "site resid, n = 2 (1 below floor, 1 dropped), median\n"
        "too few pairs (2 of at least 8)"
    )
    assert "correct pairs" in heatmap_table(cte.effect(segment="correct")).title


def test_cells_beyond_the_colours_are_counted() -> None:
    ratios = np.full((3, 3, 8), 0.5)
    ratios[:, :, 3] = [1.004, 1.5, -2.25]
    table = heatmap_table(result(ratios, np.ones(3)))
    assert table.over == 2
    assert table.text[2] == ("1.00", "1.50", "-2.25")
    assert table.title.endswith("2 cell(s) beyond the colour scale")


def test_missing_cells_are_hatched_and_partial_rows_counted() -> None:
    ratios = np.full((4, 3, 8), 0.5)
    ratios[:, 1, 7], ratios[1:, :, 4] = np.nan, np.nan
    cte = result(ratios, np.ones(4))
    table = heatmap_table(cte)
    assert "subject (n=1)" in table.rows
    assert table.text[-1] == (".50", "", ".50")
    assert [patch.get_hatch() for patch in heatmap(cte).patches] == ["////"]


def test_intervals_are_written_below_the_values() -> None:
    cte = noisy(30)
    table = heatmap_table(cte, intervals=True)
    estimate = cte.effect().at("embed", "cue")
    low, high = (f"{end:.2f}".replace("0.", ".") for end in (estimate.low, estimate.high))
    assert table.small_text[2][0] == f"[{low}, {high}]"
    assert f"[{low}, {high}]" in words(heatmap(cte, intervals=True))
    assert not any(map(any, heatmap_table(cte).small_text))


@pytest.mark.parametrize(("layers", "count"), [(13, 91), (16, 112), (17, 0), (49, 0)])
def test_many_layers_stay_legible(layers: int, count: int) -> None:
    ax = heatmap(noisy(4, layers=layers).effect(resamples=0))
    assert len(words(ax)) == count
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels[0] == "embed"
    assert len(labels) <= 17


def test_annotations_can_be_left_out() -> None:
    assert words(heatmap(noisy(), annotate=False)) == []


def test_plots_draw_on_the_axes_they_are_given() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert heatmap(noisy(), left) is left
    assert layer_importance(layer_scores(noisy(), "nast"), right) is right
    assert not plt.get_fignums()


def test_colours_are_symmetric_about_no_effect() -> None:
    mesh = heatmap(noisy()).collections[0]
    assert mesh.get_clim() == (-1, 1)
    assert mesh.get_cmap().name == "vlag"


def test_a_result_with_several_sites_needs_the_name_of_one() -> None:
    cte = noisy()
    two = dataclasses.replace(
        cte, sites=("resid", "mlp_out"), patched=np.repeat(cte.patched, 2, axis=1)
    )
    with pytest.raises(CTEError, match="name the site to draw: one of resid, mlp_out"):
        heatmap(two)
    with pytest.raises(UnknownNameError, match="unknown site 'head'; known: resid, mlp_out"):
        heatmap(two, site="head")
    assert "site mlp_out" in heatmap_table(two, site="mlp_out").title


def test_bars_of_one_method_are_its_scores() -> None:
    scores = layer_scores(published(np.tile(D, 2)), "transport")
    table = bar_table(scores)
    np.testing.assert_array_equal(table.heights[0], scores.values)
    assert table.label == "transport score"
    assert table.title.endswith("ranking stable: rank stability 1.00 over 8 pairs")
    assert "NOT stable" in bar_table(layer_scores(noisy(5), "cue")).title


def test_bars_of_several_methods_are_their_alphas() -> None:
    scores = list(all_layer_scores(noisy(30)).values())
    table = bar_table(scores)
    np.testing.assert_allclose(table.heights, [one.alpha for one in scores])
    assert (table.low <= table.high).all()
    legend = layer_importance(scores).get_legend()
    named = [text.get_text() for text in legend.get_texts()]
    assert named[0].startswith("cue")
    assert all(one.stable == ("not stable" not in n) for one, n in zip(scores, named, strict=True))


def test_bars_draw_without_intervals_and_without_spread() -> None:
    flat = layer_scores(result(np.full((1, 3, 8), 0.5), np.ones(1)), "cue")
    layer_importance(flat)
    np.testing.assert_array_equal(bar_table([flat, flat]).heights, 1)


def test_unlike_or_no_scores_are_not_drawn() -> None:
    with pytest.raises(CTEError, match="no layer scores to draw"):
        layer_importance([])
    with pytest.raises(CTEError, match="no layer scores to draw"):
        importance_grid([])
    unlike = [layer_scores(noisy(layers=n), "nast") for n in (3, 4)]
    with pytest.raises(CTEError, match="different blocks"):
        layer_importance(unlike)


def test_both_directions_share_one_colour_bar() -> None:
    figure = both_directions(noisy(), noisy(direction="noising"))
    assert len(figure.axes) == 3
    assert "denoising" in figure.axes[0].get_title(loc="left")
    assert "noising" in figure.axes[1].get_title(loc="left")
    assert figure.get_suptitle() == (
        "toy: swap, all pairs\n"
        "site resid, n = 12 (6 negated, 6 affirmative; 0 below floor, 0 dropped), ratio of means"
    )
    figure.draw_without_rendering()
    assert [bool(row_names(ax)) for ax in figure.axes[:2]] == [True, False]
    with pytest.raises(CTEError, match="expected a denoising result, not one of noising"):
        both_directions(noisy(direction="noising"), noisy())


def test_facts_that_differ_are_in_the_title_of_each_direction() -> None:
    fewer = noisy(direction="noising", provenance=provenance(model="other"))
    partial = fewer.patched.copy()
    partial[0, :, :, 7] = np.nan
    figure = both_directions(noisy(), dataclasses.replace(fewer, patched=partial))
    assert (figure.get_suptitle() or "").startswith("swap, all pairs\nsite resid, n = 12")
    assert [ax.get_title(loc="left").splitlines() for ax in figure.axes[:2]] == [
        ["toy: denoising (sufficiency)", "\N{BULLET} not clear of 0 (q > 0.05)"],
        ["other: noising (necessity)", "\N{BULLET} not clear of 0 (q > 0.05)"],
    ]
    figure.draw_without_rendering()
    assert [row_names(ax)[-1] for ax in figure.axes[:2]] == ["end", "end (n=11)"]


def test_cells_beyond_the_colours_are_counted_for_their_direction() -> None:
    wide = result(np.full((3, 3, 8), 1.5), np.ones(3), direction="noising")
    figure = both_directions(result(np.full((3, 3, 8), 0.5), np.ones(3)), wide)
    assert figure.axes[0].get_title(loc="left") == "denoising (sufficiency)"
    assert figure.axes[1].get_title(loc="left").endswith("21 cell(s) beyond the colour scale")


def test_cells_that_are_not_clear_of_0_are_marked() -> None:
    ratios = np.random.default_rng(0).normal(0.5, 0.1, size=(10, 3, 8))
    ratios[:, 1, 3], ratios[:, 2, 7] = np.tile([0.5, -0.5], 5), 0.0
    cte = result(ratios, np.ones(10))
    table = heatmap_table(cte)
    row, column = table.rows.index("cue"), 1
    assert np.argwhere(table.unclear).tolist() == [[row, column]]  # a cell of zeros is no test
    assert table.title.endswith("\N{BULLET} not clear of 0 (q > 0.05)")
    [dots] = [one for one in heatmap(cte).collections if isinstance(one, PathCollection)]
    [[x, y]] = dots.get_offsets().tolist()
    assert (int(x), int(y)) == (column, row)
    plain = heatmap_table(cte, mark=False)
    assert not plain.unclear.any()
    assert "clear" not in plain.title
    few = heatmap_table(cte.select(np.arange(10) < 7))
    assert not few.unclear.any()
    assert few.title.splitlines()[-1] == "too few pairs (7 of at least 8)"


def test_titles_say_where_pairs_are_too_few() -> None:
    few = layer_scores(noisy(5), "cue")
    assert "too few pairs (5 of at least 8)" in bar_table(few).title
    panels = importance_grid([few, layer_scores(noisy(5), "nast")]).axes
    assert all("too few pairs (5 of at least 8)" in ax.get_title(loc="left") for ax in panels)
    ratios = np.full((9, 3, 8), 0.5)
    ratios[1:, :, 4] = np.nan
    assert "subject (n=1, too few)" in heatmap_table(result(ratios, np.ones(9))).rows


def test_importance_grid_has_a_panel_per_method() -> None:
    figure = importance_grid([layer_scores(noisy(), m) for m in ("cue", "nast", "std")])
    assert [ax.axison for ax in figure.axes] == [True, True, True, False]


def test_the_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    def write(name: str) -> list[bytes]:
        figure = heatmap(noisy(), intervals=True).figure
        paths = save_figure(figure, tmp_path / name / "a.b")
        assert [path.name for path in paths] == ["a.b.png", "a.b.svg", "a.b.pdf"]
        return [path.read_bytes() for path in paths]

    assert write("one") == write("two")


def test_figures_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown figure format 'bmp'; known: png, svg, pdf"):
        save_figure(Figure(), tmp_path / "a", ("png", "bmp"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_figure(Figure(), tmp_path / "file" / "a")


# --- figures of documents -----------------------------------------------------------------------


@pytest.fixture
def document(tmp_path: Path) -> Document:
    return read_json(write_json(noisy(30), tmp_path / "cte.json", resamples=9))


def test_a_registered_plot_is_drawn_with_the_others(document: Document, tmp_path: Path) -> None:
    def segments(documents: Sequence[Document]) -> dict[str, Figure]:
        figure = Figure()
        figure.subplots().bar(*zip(*documents[0].segment_counts.items(), strict=True))
        return {"segments": figure}

    with PLOTS.restored():
        PLOTS.register("segments")(segments)
        files = draw_documents([document], tmp_path, ["png"])
        assert main(["plot", str(document.path), "--out", str(tmp_path), "--kind", "segments"]) == 0
    assert {path.name for path in files} == {
        *("heatmap.png", "layer_importance.png", "segments.png")
    }
    assert (tmp_path / "segments.pdf").exists()


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_draws_one_direction_or_both(name: str, tmp_path: Path) -> None:
    documents = [
        read_json(write_json(noisy(6, direction=direction), tmp_path / f"{direction}.json"))
        for direction in ("denoising", "noising")
    ]
    for chosen in (documents[:1], documents):
        assert all(isinstance(figure, Figure) for figure in PLOTS[name](chosen).values())


def test_kinds_of_plots_are_chosen_by_name(document: Document, tmp_path: Path) -> None:
    files = draw_documents([document], tmp_path, ["png"], kinds=["heatmap"])
    assert files == [tmp_path / "heatmap.png"]
    with pytest.raises(UnknownNameError, match="unknown plot 'pie'; known: head_heatmap, heatmap"):
        draw_documents([document], tmp_path, kinds=["heatmap", "pie"])
    with pytest.raises(CTEError, match="nothing to draw: head_heatmap"):
        draw_documents([document], tmp_path, kinds=["head_heatmap"])
    with pytest.raises(CTEError, match="3 files; expected one, or two of both directions"):
        draw_documents([document] * 3, tmp_path)


def test_other_options_of_the_reduction_are_drawn_from_the_raw_scores(document: Document) -> None:
    options = ReduceOptions(segment="correct", aggregate="median")
    [figure] = PLOTS["heatmap"]([dataclasses.replace(document, options=options)]).values()
    title = figure.axes[0].get_title(loc="left").replace("\n", " ")
    assert "correct pairs" in title
    assert "median" in title


def test_the_command_prints_scores_of_other_options(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "scores.csv"
    options = ["--segment", "correct", "--aggregate", "median", "--csv", str(table)]
    assert main(["scores", str(document.path), *options]) == 0
    expected = layer_scores(noisy(30), "nast", segment="correct", aggregate="median")
    frame = pd.read_csv(table)
    written = frame[frame["method"] == "nast"]
    np.testing.assert_array_equal(written["score"], expected.values)
    assert set(frame["segment"]) == {"correct"}
    assert f"over {expected.n} pairs" in capsys.readouterr().out
    assert main(["scores", str(document.path), "--method", "sum"]) == 1
    assert "holds no layer scores 'sum'; it holds: cue, nast" in capsys.readouterr().err


def test_a_table_as_csv_is_as_pandas_writes_it(tmp_path: Path) -> None:
    frame = noisy(3).effect(resamples=0).to_dataframe()
    path = write_csv(tmp_path / "a.csv", list(frame.columns), frame.itertuples(index=False))
    assert path.read_text() == frame.to_csv(index=False)


def test_the_summary_counts_pairs_and_names_the_layer_with_the_largest_score(
    tmp_path: Path,
) -> None:
    ratios = np.zeros((9, 4, 8))
    ratios[:, 0] = 1.0
    ratios[:, 2, 3] = 0.5
    drops = [Dropped(id=f"x{n}", code=code, reason="r") for n, code in enumerate("aba")]
    cte = result(ratios, np.array([1.0] * 6 + [-1.0] * 3), dropped=tuple(drops))
    lines = summary(read_json(write_json(cte, tmp_path / "cte.json", resamples=9)))
    assert lines[0] == (
        "denoising: 9 pairs, 5 negated and 4 affirmative (6 correct, 0 ambiguous, 3 incorrect); "
        "dropped: 2 a, 1 b"
    )
    cue = next(line for line in lines if line.startswith("  cue "))
    assert cue.startswith("  cue        peaks at blocks.1 (0.500); ")
    whole = result(ratios, np.ones(9))
    [first, *_] = summary(read_json(write_json(whole, tmp_path / "whole.json", resamples=9)))
    assert first.endswith("; dropped: none")


# --- figures of benchmarks ----------------------------------------------------------------------


def report_of(*rows: tuple[str, str, str]) -> Report:
    """Return a report whose rows have these series, axes and levels."""
    return Report(
        suite="polarity",
        model={"name": "m"},
        data={"name": "d", "anchors": "none", "items": 80},
        config={},
        made={},
        rows=tuple(
            ReportRow(
                measure="accuracy",
                scorer="model",
                series=series,
                axis=axis,
                level=level,
                estimate=0.5,
                low=0.4,
                high=0.6,
                n=80,
            )
            for series, axis, level in rows
        ),
    )


def test_series_are_levels_without_a_breakdown_and_side_by_side_in_one() -> None:
    wordings = ("negated", "affirmative")
    whole = bench_table([report_of(*((wording, "all", "all") for wording in wordings))])
    assert (whole.series, whole.panels[0].levels) == ((), wordings)
    assert whole.panels[0].columns == (("m", ""),)
    by_finding = report_of(
        *((wording, "template", level) for level in ("report", "caption") for wording in wordings)
    )
    broken_down = bench_table([by_finding])
    assert broken_down.series == wordings
    assert broken_down.panels[0].levels == ("report", "caption")
    assert broken_down.panels[0].columns == tuple(("m", wording) for wording in wordings)


def test_maps_before_and_after_a_training_stand_side_by_side_at_their_own_size() -> None:
    effect = noisy().effect(resamples=20)
    figure = before_after_figure(effect, effect)
    width, height = heatmap_size(heatmap_table(effect))
    np.testing.assert_allclose(figure.get_size_inches(), (2 * width, height))
    assert [ax.get_title(loc="left") for ax in figure.axes[:2]] == ["before", "after"]
