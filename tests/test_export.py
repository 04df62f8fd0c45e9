import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from golden.results import GOLDEN, golden, noisy, result, write_golden

from negtrace._files import canonical, sha256
from negtrace.errors import CTEError, OutputError
from negtrace.plots.tables import heatmap_table
from negtrace.results.cte import CTE
from negtrace.results.cte_json import DECIMALS, OTHER, ROUNDED_UP, read_json, write_json
from negtrace.results.cte_schema import SCHEMA, VERSION, schema
from negtrace.results.layer_scores import layer_scores
from negtrace.results.options import ReduceOptions


def resign(document: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in document.items() if name != "checksum"}
    return {**rest, "checksum": sha256(canonical(rest))}


def rewritten(path: Path, edit: Any, *, sign: bool = True) -> Path:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(resign(document) if sign else document))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_json(noisy(), tmp_path / "a.json", resamples=50, axes=("role", "token"))


def test_golden_is_reproduced_byte_for_byte(tmp_path: Path) -> None:
    path = write_golden(tmp_path / GOLDEN.name)
    assert path.read_text() == GOLDEN.read_text()
    raw = path.with_suffix(".safetensors")
    assert raw.read_bytes() == GOLDEN.with_suffix(".safetensors").read_bytes()


@pytest.mark.parametrize("name", [name for name in DECIMALS if name != "rank_stability"])
def test_numbers_are_rounded_to_what_does_not_depend_on_threads(name: str, plain: Path) -> None:
    content = json.loads(plain.read_text())
    found = [
        entry[name]
        for kind in ("effects", "layer_scores")
        for entry in content[kind]
        if name in entry
    ]
    numbers = np.array([x for entry in found for x in np.ravel(entry) if x is not None], float)
    assert len(numbers)
    np.testing.assert_array_equal(numbers, np.round(numbers, DECIMALS[name]))


def test_golden_is_read() -> None:
    document = read_json(GOLDEN)
    effect = document.effect()
    assert (effect.n, effect.below_floor, effect.dropped) == (5, 1, 1)
    assert effect.at("embed", "cue").value == pytest.approx(8 / 9.5, abs=1e-5)
    assert document.provenance == golden().provenance
    assert document.dropped == golden().dropped
    assert document.cte().ids == golden().ids
    assert [pair["segment"] for pair in document.pairs][2:4] == ["incorrect", "ambiguous"]


def test_schema_is_valid_and_describes_every_field() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert schema()["$id"] == f"urn:negtrace:cte:{VERSION}"
    assert schema()["properties"]["schema"]["const"] == SCHEMA

    def described(node: Any) -> None:
        for name, child in node.get("properties", {}).items():
            if node.get("required") != ["correct", "ambiguous", "incorrect"]:
                assert "description" in child or "$ref" in child, name
            described(child)
            described(child.get("items", {}))

    described(schema())


def test_document_gives_what_the_result_gives(plain: Path) -> None:
    cte, document = noisy(), read_json(plain)
    for ours, theirs in (
        (document.effect(), cte.effect(resamples=50)),
        (document.effect(axis="token"), cte.effect(resamples=50, axis="token")),
        (
            document.effect(segment="correct", condition="negated"),
            cte.effect(resamples=50, segment="correct", condition="negated"),
        ),
        (document.layer_scores("std"), cte_scores(cte, "std")),
        (
            document.layer_scores("nast", condition="affirmative"),
            cte_scores(cte, "nast", condition="affirmative"),
        ),
    ):
        for field in dataclasses.fields(theirs):
            one, other = getattr(ours, field.name), getattr(theirs, field.name)
            if isinstance(other, np.ndarray | float):
                step = 10.0 ** -DECIMALS.get(field.name, OTHER)
                np.testing.assert_allclose(one, other, rtol=0, atol=step + 1e-9)
                if field.name in ROUNDED_UP:
                    assert (np.isnan(other) | (one >= other - 1e-9)).all()
            else:
                assert one == other, field.name
    assert document.segment_counts == cte.segment_counts
    assert (document.layers, document.sites, document.roles) == (
        cte.layers,
        cte.sites,
        cte.role_names,
    )


def cte_scores(cte: CTE, method: str, **options: Any) -> Any:
    return layer_scores(cte, method, resamples=50, **options)


def test_document_draws_and_scores_without_its_raw_file(plain: Path) -> None:
    plain.with_suffix(".safetensors").unlink()
    document = read_json(plain)
    assert heatmap_table(document.effect()).rows[0] == "start"
    assert document.layer_scores("transport").scale()
    for load in (document.cte, lambda: CTE.load(plain)):
        with pytest.raises(CTEError, match=r"a\.safetensors, which is not beside it; put it there"):
            load()


def test_every_selection_that_keeps_a_pair_is_stored(plain: Path) -> None:
    stored = {(e.options.segment, e.options.condition) for e in read_json(plain).effects}
    assert ("all", None) in stored
    assert ("correct", "negated") in stored
    assert len(stored) == len(read_json(plain).effects) / 2  # role and token


def test_pairs_below_the_floor_are_marked(tmp_path: Path) -> None:
    cte = noisy(4)
    clean = cte.clean.copy()
    clean[0] = cte.corrupt[0]
    flat = dataclasses.replace(cte, clean=clean)
    document = read_json(write_json(flat, tmp_path / "a.json", resamples=5, floor=0.0))
    assert [pair["below_floor"] for pair in document.pairs] == [True, False, False, False]
    assert (document.effect().n, document.effect().below_floor) == (3, 1)


def test_a_pair_exactly_at_the_floor_is_not_marked(tmp_path: Path) -> None:
    cte = result(np.full((3, 2, 8), 0.5), np.array([0.25, 0.5, -0.5]))  # exact in binary
    document = read_json(write_json(cte, tmp_path / "a.json", resamples=5, floor=0.5))
    assert [pair["below_floor"] for pair in document.pairs] == [True, False, False]
    assert document.effect(condition="affirmative").n == 1


def test_without_raw_scores_the_stored_results_are_listed(plain: Path) -> None:
    plain.with_suffix(".safetensors").unlink()
    stored = r"only ratio_of_means/all/None, .*cannot be computed: .*which is not beside it"
    with pytest.raises(CTEError, match=rf"stores no effect by role with .*'median'.*{stored}"):
        read_json(plain).effect(aggregate="median")
    with pytest.raises(CTEError, match=rf"stores no layer score 'component'.*{stored}"):
        read_json(plain).layer_scores("component")


def test_other_results_are_computed_from_the_raw_scores(plain: Path) -> None:
    cte, document = noisy(), read_json(plain)
    options = {"aggregate": "median", "segment": "correct"}
    computed = document.effect(**options)
    assert computed.options.resamples == 50  # the document's own, where nothing else is asked
    np.testing.assert_array_equal(computed.values, cte.effect(**options).values)
    scores = document.all_layer_scores(ReduceOptions(**options))
    assert scores["nast"].options.resamples == 1000
    np.testing.assert_array_equal(
        scores["nast"].values, layer_scores(cte, "nast", **options).values
    )


def test_a_document_holds_every_segment_and_condition(tmp_path: Path) -> None:
    with pytest.raises(CTEError, match="every segment and condition, not only 'correct' and None"):
        write_json(noisy(), tmp_path / "a.json", segment="correct")
    assert not any(tmp_path.iterdir())


def test_statements_are_written_only_when_asked_for(tmp_path: Path) -> None:
    cte = golden()
    write_json(cte, tmp_path / "a.json", resamples=5)
    for path in tmp_path.iterdir():
        assert b"shadow" not in path.read_bytes()
    path = write_json(cte, tmp_path / "b.json", resamples=5, include_text=True)
    document = read_json(path)
    assert document.pairs[1]["texts"] == {"true": "No shadow 1.", "false": "A shadow 1."}
    assert document.cte().texts == cte.texts


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (3, "version 3, this negtrace reads 2: it is newer than this negtrace; upgrade"),
        (1, r"version 1, this negtrace reads 2: it is older; write it again from its raw file"),
        (0, "version 0, this negtrace reads 2: no such version"),
        (None, "version None, this negtrace reads 2: no such version"),
        (True, "version True, this negtrace reads 2: no such version"),
    ],
)
def test_other_versions_are_refused(plain: Path, version: Any, message: str) -> None:
    with pytest.raises(CTEError, match=message):
        read_json(rewritten(plain, lambda d: d.update(version=version)))


def drop_effect_row(document: dict[str, Any]) -> None:
    document["effects"][0]["values"][0].pop()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(extra=1), r"at \$: .*'extra' was unexpected"),
        (lambda d: d.pop("axes"), r"at \$: 'axes' is a required property"),
        (lambda d: d["trace"].update(unit="nats"), r"at \$\.trace\.unit: 'nats' is not one of"),
        (lambda d: d["effects"][1].update(n="3"), r"at \$\.effects\[1\]\.n: '3' is not of type"),
        (lambda d: d["raw"].update(file="../a.safetensors"), r"at \$\.raw\.file"),
        (drop_effect_row, r"at \$\.effects\[0\]\.values does not have the shape \(1, 4, 7\)"),
        (lambda d: d["effects"][0]["counts"][0][0].__setitem__(0, 10**30), "counts has more than"),
        (lambda d: d["effects"][0].update(n=12.0), r"at \$\.effects\[0\]\.n: 12\.0 is not of"),
        (lambda d: d["layer_scores"][0]["alpha"].pop(), r"\$\.layer_scores\[0\]\.alpha does not"),
    ],
)
def test_documents_against_the_schema_are_refused_with_the_place(
    plain: Path, edit: Any, message: str
) -> None:
    with pytest.raises(CTEError, match=message):
        read_json(rewritten(plain, edit))


def test_a_changed_document_or_raw_file_is_refused(plain: Path) -> None:
    raw = plain.with_suffix(".safetensors")
    noisy(seed=1).save(raw)
    for load in (read_json(plain).cte, lambda: CTE.load(plain)):
        with pytest.raises(CTEError, match=r"the raw file .*a\.safetensors has changed since a\.j"):
            load()
    rewritten(plain, lambda d: d["effects"][0].update(n=7), sign=False)
    with pytest.raises(CTEError, match=r"the document .*a\.json has changed since it was written"):
        read_json(plain)


def test_the_checksum_is_of_the_content_not_of_the_layout(plain: Path) -> None:
    rewritten(plain, lambda d: None, sign=False)  # no indent, one line
    assert read_json(plain).effect().n == 12


def test_other_files_are_refused(tmp_path: Path) -> None:
    for text, message in (
        ("{", "is not JSON"),
        ("[1]", "is no CTE JSON"),
        ('{"schema": "x"}', "is no CTE JSON"),
    ):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(CTEError, match=message):
            read_json(tmp_path / "a.json")
    with pytest.raises(CTEError, match=r"cannot read .*none\.json"):
        read_json(tmp_path / "none.json")


def test_the_raw_scores_are_kept_when_nothing_can_be_reduced(tmp_path: Path) -> None:
    cte = noisy(2)
    flat = dataclasses.replace(cte, clean=cte.corrupt)
    with pytest.raises(CTEError, match=r"nothing to reduce.*the raw scores are safe in .*a\.safet"):
        write_json(flat, tmp_path / "a.json")
    assert len(CTE.load(tmp_path / "a.safetensors")) == 2
    assert not (tmp_path / "a.json").exists()


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CTEError, match=r"must end in \.json, not 'a\.txt'"):
        write_json(noisy(), tmp_path / "a.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_json(noisy(), tmp_path / "file" / "a.json")


def test_the_files_can_be_moved_together(plain: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    for path in (plain, plain.with_suffix(".safetensors")):
        shutil.move(path, other)
    assert len(CTE.load(other / plain.name)) == 12
