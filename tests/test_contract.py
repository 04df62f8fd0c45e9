"""The contract, in short, over a small model of every family there is."""

import numpy as np
import pytest
import torch
from small_encoders import EVERY_ENCODER, exact_scores, oracle

from negtrace.encoders.base import Encoder
from negtrace.encoders.check import check
from negtrace.pairs.radiology import radiology_pairs
from negtrace.tracing.config import DIRECTIONS
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.trace import trace

PAIRS = [pair for pair in radiology_pairs() if pair.negated == "true"][:3]


@pytest.fixture(scope="module", params=EVERY_ENCODER)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return EVERY_ENCODER[request.param](torch.float64)


def test_it_passes_its_self_check(encoder: Encoder) -> None:
    assert check(encoder).passed, str(check(encoder))


def test_tokens_are_the_statements(encoder: Encoder) -> None:
    """Spans go from left to right within the statement, and cover its every word."""
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


def test_the_laws_of_the_input_and_of_the_read_out(encoder: Encoder) -> None:
    """The cue is the whole difference at embed; one read-out is all of it at the last layer."""
    cte = trace(encoder, PAIRS, progress=False)
    ratio = (cte.patched[:, 0] - cte.corrupt[:, None, None]) / cte.d[:, None, None]
    role = np.array(cte.role_names)[cte.roles]
    assert ratio[:, 0][role == "cue"] == pytest.approx(1, abs=1e-9)
    assert np.nanmax(np.abs(ratio[:, 0][role != "cue"])) == 0
    for pair, row in zip(PAIRS, ratio[:, -1], strict=True):
        [tokens] = encoder.tokenize_against([pair.true], [pair.anchor])
        if tokens.read_out is not None and encoder.reads_one_layer:
            assert row[tokens.read_out] == pytest.approx(1, abs=1e-9)
            assert np.nansum(np.abs(np.delete(row, tokens.read_out))) == 0


def test_any_order_and_company_give_the_same_numbers(encoder: Encoder) -> None:
    together = trace(encoder, PAIRS, progress=False).patched
    backwards = trace(encoder, PAIRS[::-1], progress=False).patched[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-9, equal_nan=True)
