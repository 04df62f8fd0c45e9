"""The self-check of a trace, with the engine broken on purpose: it refuses every broken route."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from site_models import Mixed, Tower
from small_models import word_tokenizer

import negtrace
from negtrace.encoders.huggingface import attention
from negtrace.errors import EncoderError, NegtraceWarning
from negtrace.tracing import begun
from negtrace.tracing.engines import agreement
from negtrace.tracing.engines import batch as batches
from negtrace.tracing.engines.batch import Batch
from negtrace.tracing.engines.patch_sites import PatchSites
from negtrace.tracing.trace import trace

PAIRS = negtrace.sample(negtrace.radiology_pairs(), 8)
"""Few, but more than one batch."""


def route(window: int = 1) -> str:
    """Return the route that a trace of the phantom takes."""
    encoder = negtrace.load("phantom", self_check=False)
    compared = trace(encoder, PAIRS, window=window, progress=False).provenance.config["self_check"]
    return str(compared["route"])


def all_keys(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """Let every token see all tokens."""
    return torch.ones(1, 1, queries, keys, dtype=torch.bool, device=device)


def test_a_wrong_mask_of_the_last_tokens_costs_their_route(monkeypatch: pytest.MonkeyPatch) -> None:
    assert route() == "tail, last query"
    monkeypatch.setattr(attention, "_causal", all_keys)
    monkeypatch.setattr(attention, "_for_queries", lambda *_: None)
    assert route() == "from the layer"


def alone(self: PatchSites, layer: int) -> PatchSites | None:
    """Patch the first layer of a window alone."""
    chosen = self.first == layer
    return self._select(chosen) if bool(chosen.any()) else None


def base_state(self: PatchSites, batch: Batch, layer: int) -> torch.Tensor:
    """Write the state of the base run."""
    return batch.base_states[self.kind][layer, self.runs, self.positions]


def one_too_early(self: PatchSites, batch: Batch, layer: int) -> torch.Tensor:
    """Write the source's state of the layer before."""
    return batch.source_states[self.kind][max(0, layer - 1), self.runs, self.positions]


@pytest.mark.parametrize(
    ("window", "name", "broken"),
    [
        (3, "at", alone),
        (1, "states", base_state),
        (1, "states", one_too_early),
    ],
    ids=["dropped window", "state of the base run", "layer before"],
)
def test_wrong_patches_are_refused(
    window: int, name: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert route(window)
    monkeypatch.setattr(PatchSites, name, broken)
    with pytest.raises(EncoderError, match="do not agree with plain forwards"):
        route(window)


def test_source_states_at_the_next_position_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_aligner", lambda _: lambda states: states.roll(1, dims=2))
    with pytest.raises(EncoderError, match="do not agree with plain forwards"):
        route()


def test_the_first_the_middle_and_the_last_layer_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In two batches, the middle one in the first and the others in the last."""
    compared: list[set[int]] = []

    class Noted(agreement._Judged):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            compared.append({layer for _, layer, _ in self.expected})

    monkeypatch.setattr(agreement, "_Judged", Noted)
    encoder = negtrace.load("phantom", self_check=False)
    last = len(encoder.layers) - 1
    trace(encoder, PAIRS, progress=False)
    assert compared == [{(last + 1) // 2}, {0, last}]
    compared.clear()
    trace(encoder, PAIRS[:1], progress=False)
    assert compared == [{0, (last + 1) // 2, last}]


def test_rows_that_run_together_in_another_way_are_compared_anew() -> None:
    encoder = negtrace.load("phantom", self_check=False)
    for row_tokens in (64, 4096, 4096):
        trace(encoder, PAIRS, row_tokens=row_tokens, progress=False)
    assert len(encoder.agreements) == 2 + 1  # and that no statement bypasses the blocks
    handle = encoder.blocks[0].register_forward_hook(lambda *_: None)
    try:
        with pytest.warns(NegtraceWarning, match="hooks of your own"):
            trace(encoder, PAIRS, progress=False)
    finally:
        handle.remove()
    assert len(encoder.agreements) == 3 + 1


def test_a_contrast_that_overflows_is_not_the_one_that_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, asked = agreement._PlainForwards.score, []

    def score(self: Any, cell: Any) -> float:
        if self not in asked:
            asked.append(self)
        return float("nan") if self is asked[0] else real(self, cell)

    monkeypatch.setattr(agreement._PlainForwards, "score", score)
    monkeypatch.setattr(attention, "_causal", all_keys)
    monkeypatch.setattr(attention, "_for_queries", lambda *_: None)
    alike = [replace(PAIRS[0], id=str(number)) for number in range(4)]  # one batch
    compared = trace(negtrace.load("phantom", self_check=False), alike, progress=False)
    # The wrong mask is seen all the same.
    assert compared.provenance.config["self_check"]["route"] == "from the layer"
    assert len(asked) == 2


@pytest.mark.parametrize("shape", [(5, 5), (3, 5, 5), (1, 2, 5, 5), (4, 2, 5, 5)])
def test_a_table_for_all_rows_is_cut_by_queries_and_one_for_each_row_by_rows(
    shape: tuple[int, ...],
) -> None:
    table = torch.arange(float(np.prod(shape))).reshape(shape)
    rows = torch.tensor([3, 1, 1])
    cut = attention._for_queries(table, 2, rows)
    last = table[..., 3:, :]
    assert cut is not None
    # Two and three axes are of queries, keys and heads: they hold for all rows.
    torch.testing.assert_close(cut, last[rows] if shape[0] == 4 else last)


class Bypassed(Tower):
    """A tower that adds its embedded tokens to what its blocks return."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids) + self.embed(ids)


@pytest.mark.parametrize("method", ["exact", "attribution"])
def test_a_tower_whose_input_bypasses_the_blocks_is_refused_before_the_trace(method: str) -> None:
    torch.manual_seed(0)
    encoder = negtrace.wrap(Bypassed(Mixed(), Mixed()), word_tokenizer(), name="two paths")
    with pytest.raises(EncoderError) as refused:
        trace(encoder, PAIRS, progress=False, method=method)
    assert str(refused.value).startswith(
        "two paths cannot be traced through its blocks: the other run's input: leaves the embedding"
    )
    assert "trace(..., self_check=False)" in str(refused.value)
    assert trace(encoder, PAIRS, progress=False, method=method, self_check=False).patched.size


def test_the_path_of_the_input_is_measured_once_for_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(begun, "require_no_bypass", lambda encoder: asked.append(encoder.name))
    encoder = negtrace.load("phantom", self_check=False)
    for direction in ("noising", "denoising"):
        trace(encoder, PAIRS[:1], direction=direction, progress=False)
    assert len(asked) == 1
    with torch.no_grad():
        next(encoder.model.parameters()).mul_(1.01)
    trace(encoder, PAIRS[:1], progress=False)
    assert len(asked) == 2


def test_a_model_that_passed_its_check_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(begun, "require_no_bypass", lambda encoder: asked.append(encoder.name))
    encoder = negtrace.load("phantom")
    trace(encoder, PAIRS[:1], progress=False)
    assert not asked
    hook = encoder.blocks[0].register_forward_hook(lambda *_: None)
    with pytest.warns(NegtraceWarning, match="hooks of your own"):
        trace(encoder, PAIRS[:1], progress=False)
    hook.remove()
    assert len(asked) == 1
