"""Ids of a user's own pairs stay out of files, unless they are asked for."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from small_encoders import clip

from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import CTEError
from negtrace.experiments.trace import run_heads, run_trace
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair, public_ids
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json, write_json
from negtrace.tracing.config import TraceConfig
from negtrace.tracing.trace import trace

LONG = Pair(
    id="mrn-dropped", true="No " + "x " * 200, false="Some " + "x " * 200, anchor=Anchor(text="a")
)


def own(count: int = 24) -> list[Pair]:
    """Return pairs whose ids name patients, in another order than their digests."""
    return [
        dataclasses.replace(pair, id=f"mrn-{index:03}", id_is_public=False)
        for index, pair in enumerate(radiology_pairs()[:count])
    ]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("run", [run_trace, run_heads])
@pytest.mark.parametrize("include_ids", [False, True])
def test_no_file_of_a_run_holds_an_id_of_the_users_own(
    run: object, include_ids: bool, tmp_path: Path
) -> None:
    config = TraceConfig(include_ids=include_ids)
    pairs = [*own(), LONG]
    run(clip(), tmp_path, pairs, config, formats=("svg",), progress=False)  # type: ignore[operator]
    holding = {name for name, data in files(tmp_path).items() if b"mrn-0" in data}
    dropping = {name for name, data in files(tmp_path).items() if b"mrn-dropped" in data}
    assert bool(holding) == bool(dropping) == include_ids
    if not include_ids:
        said = b"".join(files(tmp_path).values())
        assert all(pair.digest[:12].encode() in said for pair in pairs)


def test_built_in_pairs_go_by_their_ids(tmp_path: Path) -> None:
    cte = trace(ToyEncoder(), radiology_pairs()[:12], progress=False)
    document = read_json(write_json(cte, tmp_path / "a.json"))
    assert {pair["id"] for pair in document.pairs} == {pair.id for pair in radiology_pairs()[:12]}


def test_a_result_gives_the_same_intervals_before_and_after_it_was_saved(tmp_path: Path) -> None:
    cte = trace(ToyEncoder(), own(), progress=False)
    assert set(cte.ids) == {pair.id for pair in own()}
    loaded = CTE.load(cte.save(tmp_path / "a.safetensors"))
    assert loaded.ids == loaded.names == cte.names
    one, other = cte.effect(), loaded.effect()
    for name in ("values", "low", "high", "p"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    told = trace(ToyEncoder(), own(), include_ids=True, progress=False)
    assert CTE.load(told.save(tmp_path / "b.safetensors")).ids == cte.ids


def test_results_that_were_saved_still_tell_that_they_share_a_pair(tmp_path: Path) -> None:
    first, second = (
        trace(ToyEncoder(), pairs, progress=False) for pairs in (own()[:14], own()[12:])
    )
    loaded = CTE.load(first.save(tmp_path / "a.safetensors"))
    with pytest.raises(CTEError, match="every public id of a pair must occur once"):
        CTE.concat([loaded, second])
    third = trace(ToyEncoder(), own()[14:], progress=False)
    both = CTE.concat([loaded, third])
    assert not any("mrn" in name for name in both.names)
    assert len(both) == len(own())


def test_pairs_of_equal_content_are_numbered() -> None:
    [pair] = own(1)
    twin = dataclasses.replace(pair, id="another")
    assert public_ids([pair, twin]) == (pair.digest[:12], f"{pair.digest[:12]}-2")
    assert len(trace(ToyEncoder(), [*own(), twin], progress=False)) == 1 + len(own())
