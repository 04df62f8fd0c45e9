import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.results import noisy, provenance, published, result
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import negtrace
from negtrace.errors import CTEError, OutputError, UnknownNameError
from negtrace.results.cte import ARRAYS, CTE
from negtrace.results.options import ReduceOptions
from negtrace.results.provenance import Dropped
from negtrace.results.selection import FLOOR, TAU, above_floor
from negtrace.results.statistics import AGGREGATES

AGGREGATE = pytest.mark.parametrize("aggregate", AGGREGATES)
sizes = st.floats(0.25, 50) | st.floats(-50, -0.25)


def same(a: CTE, b: CTE) -> bool:
    arrays = all(
        getattr(a, name).tobytes() == getattr(b, name).tobytes()
        and getattr(a, name).dtype == getattr(b, name).dtype
        for name in ARRAYS
    )
    rest = [f.name for f in dataclasses.fields(a) if f.name not in ARRAYS]
    return arrays and all(getattr(a, name) == getattr(b, name) for name in rest)


# --- the effect ---------------------------------------------------------------------------------


@AGGREGATE
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@settings(max_examples=20, deadline=None)
@given(d=arrays(float, 9, elements=sizes))
def test_aggregates_agree_where_every_pair_has_the_same_ratio(
    aggregate: str, direction: str, d: np.ndarray
) -> None:
    effect = published(d, direction=direction).effect(aggregate=aggregate, resamples=20)
    expected = published(np.ones(1)).effect(resamples=0).values
    for array in (effect.values, effect.low, effect.high):
        np.testing.assert_allclose(array, expected, atol=1e-9)


def test_pairs_of_opposite_sign_do_not_cancel_in_the_denominator() -> None:
    # Plainly, (0.5 * 2 + 1 * -1.9) / (2 - 1.9) is -9; oriented it is a mean weighted by |d|.
    ratios = np.array([0.5, 1.0])[:, None, None] * np.ones((2, 2, 8))
    effect = result(ratios, np.array([2.0, -1.9])).effect()
    np.testing.assert_allclose(effect.values, (0.5 * 2 + 1 * 1.9) / 3.9)


def test_aggregates_by_hand() -> None:
    ratios = np.array([0.0, 0.5, 4.0])[:, None, None] * np.ones((3, 2, 8))
    cte = result(ratios, np.array([4.0, 2.0, 1.0]))
    values = {name: cte.effect(aggregate=name).values.flat[0] for name in AGGREGATES}
    assert values == pytest.approx({"ratio_of_means": 5 / 7, "mean_of_ratios": 1.5, "median": 0.5})


@pytest.mark.parametrize("pairs", [3, 4])
def test_median_is_numpys_where_each_pair_has_one_token(pairs: int) -> None:
    ratios = np.random.default_rng(0).normal(size=(pairs, 2, 8))
    effect = result(ratios, np.ones(pairs)).effect(aggregate="median", axis="token")
    np.testing.assert_allclose(effect.values[0], np.median(ratios, axis=0))


def test_effects_are_not_clipped_and_keep_their_sign() -> None:
    ratios = np.full((3, 2, 8), -0.5)
    ratios[:, :, 3] = 1.75
    effect = result(ratios, np.array([1.0, -2.0, 3.0])).effect()
    assert effect.at(0, "start").value == pytest.approx(-0.5)
    assert effect.at("blocks.0", "cue").value == pytest.approx(1.75)


@AGGREGATE
def test_tokens_of_a_role_are_weighted_by_their_number(aggregate: str) -> None:
    # One pair has two prefix tokens of .2 and .4, the other one of .9 (its second is no token).
    ratios = np.full((2, 2, 3), np.nan)
    ratios[0], ratios[1, :, :2] = [0.2, 0.4, 0.0], [0.9, 0.0]
    roles = np.array([[1, 1, 2], [1, 2, -1]])
    effect = result(ratios, np.ones(2), roles=roles).effect(aggregate=aggregate)
    expected = 0.3 if aggregate == "median" else 0.5
    assert effect.labels == ("prefix", "cue")
    assert effect.at("embed", "prefix").value == pytest.approx(expected)


def test_missing_cells_are_nan_and_counted() -> None:
    ratios = np.full((3, 2, 8), 0.5)
    ratios[:2, :, 3], ratios[:, :, 7] = np.nan, np.nan
    effect = result(ratios, np.ones(3)).effect()
    assert effect.at("embed", "cue").pairs == 1
    assert effect.at("embed", "cue").value == pytest.approx(0.5)
    assert np.isnan(effect.at("embed", "cue").low)
    assert effect.at("embed", "cue").note == "too few pairs (1 of at least 8)"
    assert np.isnan(effect.at("embed", "end").value)
    assert effect.at("embed", "end").pairs == 0


@AGGREGATE
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), order=st.permutations(range(12)))
def test_the_order_of_pairs_does_not_change_a_bit(
    aggregate: str, seed: int, order: list[int]
) -> None:
    cte = noisy(seed=seed)
    shuffled = CTE(
        **{
            **{field.name: getattr(cte, field.name) for field in dataclasses.fields(cte)},
            **{name: getattr(cte, name)[list(order)] for name in ARRAYS},
            "ids": tuple(cte.ids[index] for index in order),
        }
    )
    ours, theirs = (c.effect(aggregate=aggregate, resamples=30) for c in (cte, shuffled))
    for name in ("values", "low", "high", "counts"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes()


@AGGREGATE
def test_intervals_are_seeded_and_widen_with_confidence(aggregate: str) -> None:
    cte = noisy(40)
    one, again = (cte.effect(aggregate=aggregate, seed=3, resamples=200) for _ in range(2))
    other = cte.effect(aggregate=aggregate, seed=4, resamples=200)
    narrow = cte.effect(aggregate=aggregate, seed=3, resamples=200, confidence=0.5)
    assert np.array_equal(one.low, again.low)
    assert not np.array_equal(one.low, other.low)
    assert (one.low <= narrow.low).all()
    assert (narrow.high <= one.high).all()
    assert ((one.low <= one.values) & (one.values <= one.high)).mean() > 0.95


@AGGREGATE
def test_intervals_cover_the_truth_as_often_as_their_confidence_says(aggregate: str) -> None:
    hits = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        ratios = rng.normal(0.4, 0.3, size=(40, 2, 8))
        effect = result(ratios, rng.uniform(1, 3, size=40)).effect(
            aggregate=aggregate, resamples=200, confidence=0.9
        )
        hits.append((effect.low <= 0.4) & (effect.high >= 0.4))
    assert 0.89 <= np.mean(hits) <= 0.93  # the wider of two intervals covers a little more


def test_segments_and_conditions_partition_the_pairs() -> None:
    cte = result(np.full((6, 2, 8), 0.5), np.array([1.0, 0.99, 0.0, -0.99, -1.0, 5.0]))
    assert cte.segments == ("correct", *["ambiguous"] * 3, "incorrect", "correct")
    assert cte.segment_counts == {"correct": 2, "ambiguous": 3, "incorrect": 1}
    effects = {segment: cte.effect(segment=segment) for segment in cte.segment_counts}
    assert {k: e.n for k, e in effects.items()} == {"correct": 2, "ambiguous": 2, "incorrect": 1}
    assert effects["ambiguous"].below_floor == 1
    assert [cte.effect(condition=c).n for c in ("negated", "affirmative")] == [2, 3]
    assert cte.select(segment="correct").ids == ("p000", "p005")
    assert cte.select(cte.d > 0.9, condition="affirmative").ids == ("p001", "p005")


@pytest.mark.parametrize("unit", TAU)
def test_the_floor_leaves_pairs_out_and_counts_them(unit: str) -> None:
    d = np.array([0.5, 1.0, 2.0, -3.0]) * FLOOR[unit]
    cte = result(
        np.full((4, 2, 8), 0.5), d, unit=unit, dropped=(Dropped(id="x", code="c", reason="r"),)
    )
    effect = cte.effect(floor=float(1.5 * FLOOR[unit]))
    assert (effect.n, effect.below_floor, effect.dropped) == (2, 2, 1)
    assert cte.effect().options.floor == FLOOR[unit]
    assert cte.effect(floor=0.0).n == 4


def test_a_pair_exactly_at_the_floor_counts() -> None:
    cte = result(np.full((4, 2, 8), 0.5), np.array([0.25, 0.5, -0.5, 2.0]))  # exact in binary
    effect = cte.effect(floor=0.5)
    assert (effect.n, effect.below_floor) == (3, 1)
    assert above_floor(cte.d, 0.5).tolist() == [False, True, True, True]


def test_tau_and_floor_are_those_of_the_docs() -> None:
    assert TAU == {"logit": 1.0, "cosine": 0.01}
    assert FLOOR == {"logit": 0.1, "cosine": 0.001}


def test_segments_of_a_cosine_have_a_smaller_tau() -> None:
    d = np.array([0.02, 0.009, -0.009, -0.02, 0.5])
    cte = result(np.full((5, 2, 8), 0.5), d, unit="cosine")
    assert cte.segments == ("correct", "ambiguous", "ambiguous", "incorrect", "correct")
    assert cte.segment_counts == {"correct": 2, "ambiguous": 2, "incorrect": 1}
    assert cte.effect(segment="ambiguous").n == 2


def test_token_axis_gives_the_rows_of_quantmeyer() -> None:
    effect = published(np.array([1.0, 2.0])).effect(axis="token")
    words = "start,prefix 1,prefix 2,cue,subject,subject_rest,punct,end"
    assert effect.labels == tuple(words.split(","))
    assert effect.at(4, "punct").value == pytest.approx(0.364)


def test_token_axis_refuses_unlike_templates() -> None:
    cte = noisy(3)
    roles = cte.roles.copy()
    roles[0, 1] = 5
    mixed = dataclasses.replace(cte, roles=roles)
    with pytest.raises(CTEError, match=r"3 pairs follow 2 different sequences.*axis='role'"):
        mixed.effect(axis="token")
    assert mixed.select(np.array([False, True, True])).effect(axis="token").n == 2


@pytest.mark.parametrize("axis", ["role", "token"])
def test_padding_without_cells_has_no_row(axis: str) -> None:
    ratios = np.full((2, 2, 8), 0.5)
    ratios[0, :, 6:], ratios[1, :, 7:] = np.nan, np.nan
    roles = np.tile([0, 1, 1, 2, 3, 4, 9, 9], (2, 1))
    labels = result(ratios[:1], np.ones(1), roles=roles[:1]).effect(axis=axis).labels
    assert not any(label.startswith("pad") for label in labels)
    touched = result(ratios[1:], np.ones(1), roles=roles[1:]).effect(axis=axis).labels
    assert touched[-1] == "pad"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment": "right"}, "unknown segment 'right'; known: all, correct"),
        ({"condition": "both"}, "unknown condition 'both'; known: None, negated, affirmative"),
        ({"axis": "head"}, "unknown axis 'head'; known: role, token"),
        ({"aggregate": "mean"}, "unknown aggregate 'mean'; known: mean_of_ratios, median"),
    ],
)
def test_unknown_options_list_the_known(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        noisy().effect(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.0}, "confidence must lie between 0 and 1, not 1.0"),
        ({"resamples": -1}, "resamples must be 0 .* not -1"),
        ({"floor": -0.1}, r"floor must be 0 or more, not -0\.1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CTEError, match=message):
        noisy().effect(**options)


def test_options_are_given_whole_by_name_or_both() -> None:
    cte, options = noisy(), ReduceOptions(aggregate="median", resamples=9)
    expected = cte.effect(aggregate="median", resamples=9, segment="correct")
    np.testing.assert_array_equal(cte.effect(options, segment="correct").low, expected.low)
    assert cte.effect(options).options == dataclasses.replace(options, floor=FLOOR["logit"])
    with pytest.raises(UnknownNameError, match=r"unknown reduce option 'agregate'; known: .*floor"):
        cte.effect(agregate="median")


def test_without_resamples_there_are_no_intervals() -> None:
    assert np.isnan(noisy().effect(resamples=0).low).all()


def test_an_empty_selection_is_explained() -> None:
    cte = result(np.zeros((3, 2, 8)), np.array([0.0, 0.01, -0.02]))
    with pytest.raises(CTEError, match=r"all 3 selected pairs .* 0.1 logit \(largest \|d\| 0.02\)"):
        cte.effect()
    with pytest.raises(CTEError, match="correct 0, ambiguous 3, incorrect 0"):
        cte.effect(segment="correct")
    with pytest.raises(CTEError, match="nothing to reduce"):
        cte.select(cte.d == 0).effect(floor=0.0)


def test_a_cell_is_found_by_name_or_number() -> None:
    effect = noisy().effect()
    assert effect.at(1, "cue") == effect.at("blocks.0", "cue", site="resid")
    for wrong in ((9, "cue"), ("blocks.7", "cue"), (0, "verb")):
        with pytest.raises(UnknownNameError, match=r"known: embed, b|known: start|count 0 to 3"):
            effect.at(*wrong)


# --- the result itself --------------------------------------------------------------------------


def test_arrays_cannot_be_changed_through_the_result() -> None:
    clean = np.array([11.0, 12.0])
    cte = result(np.zeros((2, 2, 8)), np.array([1.0, 2.0]), clean=clean)
    with pytest.raises(ValueError, match="read-only"):
        cte.clean[0] = 0
    clean[0] = 11.0  # the caller's own array stays writable


def spoil(cte: CTE, name: str, index: tuple[int, ...], value: float) -> CTE:
    array = getattr(cte, name).copy()
    array[index] = value
    return dataclasses.replace(cte, **{name: array})


@pytest.mark.parametrize(
    ("name", "index", "value", "message"),
    [
        (
            "clean",
            (1,),
            np.nan,
            "1 of 12 pairs have a clean or corrupt score that is not finite: p001",
        ),
        ("corrupt", (2,), np.inf, "clean or corrupt score that is not finite: p002"),
        ("patched", (3, 0, 0, 0), -np.inf, "an infinite patched score: p003"),
        ("patched", (4,), np.nan, "no patched cell at all: p004"),
        ("roles", (5, 7), -1, "a patched score where there is no token: p005"),
        ("roles", (5, 7), 10, r"roles must lie in -1 .. 9"),
    ],
)
def test_pairs_with_invalid_scores_are_refused_by_id(
    name: str, index: tuple[int, ...], value: float, message: str
) -> None:
    with pytest.raises(CTEError, match=message):
        spoil(noisy(), name, index, value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "sideways"}, "unknown direction 'sideways'; known: denoising, noising"),
        ({"unit": "nats"}, "unknown unit 'nats'; known: logit, cosine"),
        ({"layers": ("a", "b", "c", "d")}, "layers must be 'embed'"),
        (
            {"sites": ("resid", "head")},
            r"patched has shape \(12, 1, 4, 8\), expected \(12, 2, 4, 8\)",
        ),
        ({"ids": ("p",) * 12}, "every pair id must occur once; repeated: p"),
        ({"ids": (), "dropped": (Dropped(id="a", code="x", reason=""),)}, "dropped: x 1"),
        ({"texts": (("a", "b"),)}, "texts has 1 entries, expected 12"),
    ],
)
def test_inconsistent_fields_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((CTEError, UnknownNameError), match=message):
        dataclasses.replace(noisy(), **changes)


def test_shapes_are_refused_by_name() -> None:
    with pytest.raises(CTEError, match=r"clean has shape \(3,\), expected \(12,\)"):
        dataclasses.replace(noisy(3), ids=noisy(12).ids)


def test_provenance_holds_json_values_only() -> None:
    assert provenance(config={"a": (1, 2)}).config == {"a": [1, 2]}
    with pytest.raises(CTEError, match="JSON values only"):
        provenance(config={"a": object()})


def test_dataframe_has_a_row_per_cell() -> None:
    cte = noisy(3)
    frame = cte.to_dataframe()
    assert len(frame) == 3 * 1 * 4 * 8
    row = frame[(frame.id == "p001") & (frame.layer == "blocks.1") & (frame.position == 3)].iloc[0]
    assert row.role == "cue"
    assert row.effect == pytest.approx((row.patched - row.corrupt) / (row.clean - row.corrupt))
    assert len(cte.effect().to_dataframe()) == 4 * 7


# --- combining ----------------------------------------------------------------------------------


def test_parts_combine_to_the_whole() -> None:
    cte = noisy(12)
    first, second = cte.select(np.arange(12) < 5), cte.select(np.arange(12) >= 5)
    assert same(CTE.concat([first, second]), cte)


def test_shorter_statements_are_padded_when_combined() -> None:
    cte = noisy(4)
    short = dataclasses.replace(
        cte, patched=cte.patched[..., :6], roles=cte.roles[:, :6], ids=("a", "b", "c", "d")
    )
    both = CTE.concat([cte, short])
    assert both.patched.shape == (8, 1, 4, 8)
    assert (both.roles[4:, 6:] == -1).all()
    assert both.select(np.arange(8) >= 4).effect().values[0, 0, 0] == pytest.approx(
        short.effect().values[0, 0, 0]
    )


def test_pairs_of_several_files_get_one_digest() -> None:
    one, two = noisy(2), noisy(2, ids=("a", "b"), provenance=provenance(pairs_digest="other"))
    digest = CTE.concat([one, two]).provenance.pairs_digest
    assert digest not in ("other", one.provenance.pairs_digest)
    assert digest == CTE.concat([two, one]).provenance.pairs_digest
    by_hand = hashlib.sha256(b"other\nsha256:pairs").hexdigest()
    assert digest == f"sha256:{by_hand}"
    again = noisy(2, ids=("c", "d"))
    assert CTE.concat([one, again]).provenance.pairs_digest == one.provenance.pairs_digest
    assert CTE.concat([one, two, again]).provenance.pairs_digest == digest


def test_padding_is_left_out_only_where_no_layer_has_a_score() -> None:
    cte = noisy(2)
    roles, patched = cte.roles.copy(), cte.patched.copy()
    roles[:, -2:] = cte.role_names.index("pad")
    patched[:, :, 1:, -2] = np.nan  # scored at the first layer
    patched[:, :, :, -1] = np.nan
    padded = dataclasses.replace(cte, roles=roles, patched=patched)
    pad = list(padded.groups("role").labels).index("pad")
    assert padded.groups("role").member[0, :, pad].tolist() == [False] * 6 + [True, False]


def test_what_was_measured_on_the_pairs_is_combined() -> None:
    def measured(digest: str, rules: dict[str, int], gap: float, route: str, **options: Any) -> CTE:
        check = {"cells": 9, "largest_gap": gap, "route": route}
        config = {"batch": 8, "alignment": rules, "self_check": check}
        return noisy(2, provenance=provenance(pairs_digest=digest, config=config), **options)

    one = measured("one", {"identity": 2}, 1e-7, "tail", ids=("a", "b"))
    two = measured("two", {"identity": 1, "words": 1}, 3e-7, "rows", ids=("c", "d"))
    assert CTE.concat([one, two]).provenance.config == {
        "batch": 8,
        "alignment": {"identity": 3, "words": 1},
        "self_check": {"cells": 18, "largest_gap": 3e-7, "route": "tail; rows"},
    }


def test_traces_of_different_pairs_combine() -> None:
    encoder, pairs = negtrace.load("toy"), negtrace.radiology_pairs()[:12]
    first, second = (
        negtrace.trace(encoder, part, progress=False) for part in (pairs[:4], pairs[4:])
    )
    whole = negtrace.trace(encoder, pairs, progress=False)
    both = CTE.concat([first, second])
    assert both.ids == whole.ids
    assert both.provenance.config["alignment"] == whole.provenance.config["alignment"]
    assert np.allclose(both.clean, whole.clean)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": "noising"}, "direction: 'denoising' / 'noising'"),
        ({"unit": "cosine"}, "unit: 'logit' / 'cosine'"),
        ({"corruption": "mask"}, "corruption: 'swap' / 'mask'"),
        ({"layers": ("embed", "x", "y", "z")}, "layers: .*'blocks.0'.* / .*'x'"),
        ({"provenance": provenance(weights_digest="w")}, "weights_digest: 'sha256:weights' / 'w'"),
        ({"provenance": provenance(config={})}, "config: .*batch.* / {}"),
    ],
)
def test_unlike_results_refuse_to_be_combined(changes: dict[str, Any], message: str) -> None:
    other = dataclasses.replace(noisy(), ids=tuple(f"q{n}" for n in range(12)), **changes)
    with pytest.raises(CTEError, match=f"results 0 and 1 are not alike.*{message}"):
        CTE.concat([noisy(), other])


def test_a_pair_cannot_be_counted_twice() -> None:
    with pytest.raises(CTEError, match="repeated: p000, p001, p002, p003, p004 and 7 more"):
        CTE.concat([noisy(), noisy()])
    with pytest.raises(CTEError, match="no results to combine"):
        CTE.concat([])


# --- files --------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), dtype=st.sampled_from([np.float32, np.float64]))
def test_save_and_load_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: type
) -> None:
    cte = noisy(seed=seed, texts=tuple((f"Kein Erguß {n}.", "x") for n in range(12)))
    cte = dataclasses.replace(
        cte,
        **{name: getattr(cte, name).astype(dtype) for name in ("clean", "corrupt", "patched")},
        roles=cte.roles.astype(np.int8),
    )
    path = tmp_path_factory.mktemp("raw") / "a.safetensors"
    loaded = CTE.load(cte.save(path, include_text=True))
    assert same(loaded, cte)
    first = path.read_bytes()
    assert loaded.save(path, include_text=True).read_bytes() == first


def test_statements_are_written_only_when_asked_for(tmp_path: Path) -> None:
    cte = noisy(2, texts=(("SECRET", "x"), ("y", "z")))
    path = cte.save(tmp_path / "a.safetensors")
    assert b"SECRET" not in path.read_bytes()
    assert CTE.load(path).texts is None
    with pytest.raises(CTEError, match="holds no statements to include"):
        noisy(2).save(path, include_text=True)


def test_a_failed_write_changes_no_file(tmp_path: Path) -> None:
    kept = noisy(2).save(tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*file/b.safetensors: .*another path"):
        noisy(3).save(tmp_path / "file" / "b.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        noisy(3).save(tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "file", "folder"]
    assert (tmp_path / "a.safetensors").read_bytes() == kept


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    path = noisy(2).save(tmp_path / "a.safetensors")
    before = path.read_bytes()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left on device; choose another path"):
        noisy(3).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_without_a_result_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from negtrace._files import pack

    with pytest.raises(CTEError, match=r"cannot read .*none.safetensors: No such file"):
        CTE.load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("hello, this is text")
    save_file({"a": np.ones(1)}, tmp_path / "other.safetensors")
    for name in ("text", "other"):
        with pytest.raises(CTEError, match="not a safetensors file that negtrace wrote"):
            CTE.load(tmp_path / f"{name}.safetensors")
    newer = pack({}, {"format": "negtrace.cte.raw", "version": 2})
    (tmp_path / "newer.safetensors").write_bytes(newer)
    with pytest.raises(CTEError, match=r"holds 'negtrace.cte.raw' version 2.*upgrade negtrace"):
        CTE.load(tmp_path / "newer.safetensors")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(CTEError, match="names no raw file"):
        CTE.load(tmp_path / "a.json")
