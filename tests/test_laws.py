"""The laws of the causal tracing effect, over every encoder, and agreement with the oracle."""

import numpy as np
import pytest
import torch
from small_encoders import ENCODERS, exact_scores, oracle, patched_at

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import captured
from negtrace.pairs.pair import Pair
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.corruptions.base import CORRUPTIONS, corruption_named
from negtrace.tracing.engines import patched_forward as engine
from negtrace.tracing.trace import trace

PREFIXED = {"clip", "phantom", "gpt2", "llama", "llava", "groupvit"}
CAUSAL = PREFIXED | {"toy", "open_clip"}
POOLED = {"bert-mean", "tipsv2", "medclip"}
MASKED = {"bert-mean", "bert-cls", "bert-pooler"}
PAIRS = radiology_pairs()


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return ENCODERS[request.param](torch.float64)


def encoders(names: set[str]) -> pytest.MarkDecorator:
    """Run a test with these encoders only, in the order of ENCODERS."""
    chosen = [name for name in ENCODERS if name in names]
    return pytest.mark.parametrize("encoder", chosen, indirect=True, scope="module")


@pytest.fixture(scope="module", params=DIRECTIONS)
def direction(request: pytest.FixtureRequest) -> str:
    return request.param


def effect(encoder: Encoder, direction: str, pairs: list[Pair] = PAIRS[:6]) -> np.ndarray:
    """Return the ratio of every cell, [pair layer position]."""
    cte = trace(encoder, pairs, direction=direction, progress=False)
    patched = cte.patched[:, 0]
    base, sign = (cte.corrupt, 1) if direction == "denoising" else (cte.clean, -1)
    return sign * (patched - base[:, None, None]) / cte.d[:, None, None]


def roles(encoder: Encoder, pairs: list[Pair] = PAIRS[:6]) -> np.ndarray:
    cte = trace(encoder, pairs, progress=False)
    return np.array(cte.role_names)[cte.roles]


def test_the_cue_is_the_whole_difference_at_embed(encoder: Encoder, direction: str) -> None:
    cells, role = effect(encoder, direction), roles(encoder)
    assert cells[:, 0][role == "cue"] == pytest.approx(1, abs=1e-9)
    assert np.nanmax(np.abs(cells[:, 0][role != "cue"])) == 0


@encoders({*ENCODERS} - POOLED)
def test_the_last_layer_is_the_read_out(encoder: Encoder, direction: str) -> None:
    cells = effect(encoder, direction)
    for pair, row in zip(PAIRS[:6], cells[:, -1], strict=True):
        read_out = encoder.tokenize_against([pair.true], [pair.anchor])[0].read_out
        assert row[read_out] == pytest.approx(1, abs=1e-9)
        others = np.delete(row, read_out)
        assert np.abs(others[np.isfinite(others)]).max() == 0


@encoders(CAUSAL)
def test_nothing_before_the_first_difference_in_a_causal_tower(
    encoder: Encoder, direction: str
) -> None:
    cells, role = effect(encoder, direction), roles(encoder)
    for pair, row in zip(cells, role, strict=True):
        assert np.abs(pair[:, : list(row).index("cue")]).max() == 0


def test_all_positions_at_once_are_the_whole_effect(encoder: Encoder) -> None:
    pair = PAIRS[0]
    ids = [
        torch.tensor([row.ids])
        for row in encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
    ]
    with torch.inference_mode():
        with captured(encoder.blocks, row_axis=encoder.row_axis) as clean:
            whole = encoder.encode(ids[0])
        # A tower that reads several layers keeps a part of the base run, but for the input.
        layers = len(encoder.layers) if encoder.reads_one_layer else 1
        for layer, state in enumerate(clean.states()[:layers]):
            with patched_at(encoder, layer, state):
                assert torch.allclose(encoder.encode(ids[1]), whole, atol=1e-12)


def test_own_states_change_nothing_bit_for_bit(encoder: Encoder) -> None:
    ids = torch.tensor([encoder.tokenize([PAIRS[0].true])[0].ids])
    with torch.inference_mode():
        with captured(encoder.blocks, row_axis=encoder.row_axis) as base:
            plain = encoder.encode(ids)
        for layer, state in enumerate(base.states()):
            with patched_at(encoder, layer, state):
                assert torch.equal(encoder.encode(ids), plain)


def test_batched_is_one_by_one_in_any_order(encoder: Encoder, direction: str) -> None:
    pairs = PAIRS[:6]
    together = effect(encoder, direction, pairs)
    backwards = effect(encoder, direction, pairs[::-1])[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-9)
    for pair, cells in zip(pairs, together, strict=True):
        [alone] = effect(encoder, direction, [pair])
        np.testing.assert_allclose(cells[:, : alone.shape[1]], alone, atol=1e-9)


CASES = [
    (name, corruption)
    for name in ENCODERS
    for corruption in CORRUPTIONS
    if corruption != "mask" or name in MASKED
]


def test_the_encoders_are_listed_by_what_they_are(encoder: Encoder) -> None:
    [tokens] = encoder.tokenize([PAIRS[0].true])
    assert (encoder.name in MASKED) == (encoder.mask_token_id is not None)
    assert (encoder.name in CAUSAL) == encoder.causal
    assert (encoder.name in POOLED) == (tokens.read_out is None)


@pytest.mark.parametrize(("encoder", "corruption"), CASES, indirect=["encoder"], scope="module")
@pytest.mark.parametrize("span", [1, engine.SPAN_TOKENS])
def test_every_cell_agrees_with_the_oracle(
    encoder: Encoder, direction: str, corruption: str, span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SPAN_TOKENS", span)
    pairs = [pair for pair in PAIRS if pair.negated == "true"][:2]
    made = corruption_named(corruption).prepared(pairs, encoder)
    for pair in pairs:
        true, false = encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
        contrasts = made.contrasts(pair, true, false, encoder)[:1]
        with torch.inference_mode():
            anchor = encoder.embed_anchors([pair.anchor])
            [scores] = exact_scores(encoder, contrasts, anchor, direction=direction)
        expected = oracle(encoder, contrasts[0], anchor[0], direction)
        d = scores.clean - scores.corrupt
        np.testing.assert_allclose(scores.patched[0] / d, expected / d, atol=1e-9)


@pytest.mark.parametrize("name", ENCODERS)
def test_float32_scores_agree_with_the_oracle_to_rounding(name: str) -> None:
    encoder = ENCODERS[name](torch.float32)
    pair = PAIRS[0]
    true, false = encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
    contrasts = corruption_named("swap").contrasts(pair, true, false, encoder)
    with torch.inference_mode():
        anchor = encoder.embed_anchors([pair.anchor])
        [scores] = exact_scores(encoder, contrasts, anchor)
    expected = oracle(encoder, contrasts[0], anchor[0], "denoising")
    np.testing.assert_allclose(scores.patched[0], expected, atol=1e-5 * encoder.scale)


def test_causal_towers_run_tails_only_and_others_whole_rows(encoder: Encoder) -> None:
    cte = trace(encoder, PAIRS[:2], progress=False)
    assert ("tail" in cte.provenance.config["self_check"]["route"]) == (encoder.name in PREFIXED)


def test_tails_and_whole_rows_give_the_same_numbers(
    direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SPAN_TOKENS", 1)
    encoder = ENCODERS["clip"](torch.float64)
    tails = trace(encoder, PAIRS[:6], direction=direction, progress=False)
    monkeypatch.setattr(type(encoder), "prefix_attention", None)
    whole = trace(encoder, PAIRS[:6], direction=direction, progress=False)
    np.testing.assert_allclose(tails.patched, whole.patched, atol=1e-10, equal_nan=True)


def test_the_toy_is_as_worked_out_by_hand() -> None:
    """The table in the docstring of `negtrace.encoders.toy`."""
    [cells] = effect(ENCODERS["toy"](torch.float64), "denoising", PAIRS[:1])
    [row] = roles(ENCODERS["toy"](torch.float64), PAIRS[:1])
    cue = list(row).index("cue")
    np.testing.assert_allclose(cells[:, cue], [1, 0.25, 0.25, 0], atol=1e-12)
    np.testing.assert_allclose(cells[:, cue + 1], [0, 0.75, 0, 0], atol=1e-12)
    np.testing.assert_allclose(cells[:, -1], [0, 0, 0.75, 1], atol=1e-12)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("tokens", [1, 64, 100_000])
def test_the_row_budget_changes_no_number(name: str, tokens: int) -> None:
    encoder = ENCODERS[name](torch.float64)
    whole = trace(encoder, PAIRS[:3], progress=False)
    cut = trace(encoder, PAIRS[:3], progress=False, row_tokens=tokens)
    np.testing.assert_allclose(whole.patched, cut.patched, atol=1e-10, equal_nan=True)
