"""The contract of encoders, on a small model of every family."""

import numpy as np
import pytest
import torch
from small_encoders import EVERY_ENCODER, SPREAD, exact_scores, oracle

from negtrace.encoders.base import Encoder
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.check import check
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.trace import trace

PAIRS = [pair for pair in radiology_pairs() if pair.negated == "true"][:3]


@pytest.fixture(scope="module", params=EVERY_ENCODER)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return EVERY_ENCODER[request.param](torch.float64)


def test_the_self_check_passes(encoder: Encoder) -> None:
    assert check(encoder).passed, str(check(encoder))


def test_tokens_cover_every_word_of_the_statement(encoder: Encoder) -> None:
    """Spans go from left to right."""
    pair = PAIRS[0]
    for tokens in encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2):
        assert len(tokens.spans) == len(tokens.padding) == len(tokens)
        assert tokens.read_out is None or 0 <= tokens.read_out < len(tokens)
    [tokens] = encoder.tokenize_against([pair.true], [pair.anchor])
    spans = [span for span in tokens.spans if span != (0, 0)]
    assert spans == sorted(spans)
    assert "".join(pair.true[slice(*span)] for span in spans) == pair.true.replace(" ", "")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_cell_agrees_with_the_oracle(encoder: Encoder, direction: str) -> None:
    pair = PAIRS[0]
    true, false = encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
    contrasts = corruption_named("swap").contrasts(pair, true, false, encoder)
    with torch.inference_mode():
        anchor = encoder.embed_anchors([pair.anchor])
        [scores] = exact_scores(encoder, contrasts, anchor, direction=direction)
    expected = oracle(encoder, contrasts[0], anchor[0], direction)
    d = scores.clean - scores.corrupt
    np.testing.assert_allclose(scores.patched[0] / d, expected / d, atol=1e-9)


def effects(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Return the effect [pair, layer, token] of every cell, and the roles of the tokens."""
    cte = trace(encoder, PAIRS, progress=False)
    effect = (cte.patched[:, 0] - cte.corrupt[:, None, None]) / cte.d[:, None, None]
    return effect, np.array(cte.role_names)[cte.roles]


def test_the_effect_at_embed_is_1_at_the_cue_alone(encoder: Encoder) -> None:
    effect, role = effects(encoder)
    assert effect[:, 0][role == "cue"] == pytest.approx(1, abs=1e-9)
    assert np.nanmax(np.abs(effect[:, 0][role != "cue"])) == 0


@pytest.mark.parametrize("encoder", sorted(set(EVERY_ENCODER) - SPREAD), indirect=True)
def test_the_effect_at_the_last_layer_is_1_at_the_read_out_alone(encoder: Encoder) -> None:
    effect, _ = effects(encoder)
    for pair, row in zip(PAIRS, effect[:, -1], strict=True):
        [tokens] = encoder.tokenize_against([pair.true], [pair.anchor])
        assert row[tokens.read_out] == pytest.approx(1, abs=1e-9)
        assert np.nansum(np.abs(np.delete(row, tokens.read_out))) == 0


@pytest.mark.parametrize("encoder", sorted(SPREAD), indirect=True)
def test_an_embedding_of_several_states_has_no_such_law(encoder: Encoder) -> None:
    [tokens] = encoder.tokenize([PAIRS[0].true])
    assert tokens.read_out is None or not encoder.reads_one_layer


def test_the_order_of_pairs_changes_no_number(encoder: Encoder) -> None:
    together = trace(encoder, PAIRS, progress=False).patched
    backwards = trace(encoder, PAIRS[::-1], progress=False).patched[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-9, equal_nan=True)
