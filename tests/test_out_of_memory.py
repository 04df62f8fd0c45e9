"""An accelerator that runs out of memory: the trace goes on with fewer tokens at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import negtrace
from negtrace.errors import EncoderError, NegtraceWarning
from negtrace.tracing.engines import exact


def failing_above(limit: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let patched rows run out of memory above `limit` tokens at once; return those that ran."""
    ran: list[int] = []
    real: Callable[..., Any] = exact.patched_scores

    def scores(encoder: Any, batch: Any, row_tokens: int) -> Any:
        if row_tokens > limit:
            raise torch.OutOfMemoryError(f"tried to allocate {row_tokens}")
        ran.append(row_tokens)
        return real(encoder, batch, row_tokens)

    monkeypatch.setattr(exact, "patched_scores", scores)
    return ran


def test_the_budget_is_halved_until_it_fits_and_every_score_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, pairs = negtrace.load("toy"), negtrace.radiology_pairs()[:40]
    options: Any = {"row_tokens": 4096, "self_check": False}
    whole = negtrace.trace(encoder, pairs, **options)
    ran = failing_above(1000, monkeypatch)
    with pytest.warns(NegtraceWarning, match="out of memory at row_tokens=") as caught:
        halved = negtrace.trace(encoder, pairs, **options)
    said = [str(each.message) for each in caught]
    # Once each, and not again for every batch.
    assert [text.split(";")[0].split("=")[1] for text in said] == ["4096", "2048", "1024"]
    assert set(ran) == {512}
    assert halved.ids == whole.ids
    np.testing.assert_allclose(halved.patched, whole.patched, atol=1e-5, rtol=0)
    np.testing.assert_allclose(halved.clean, whole.clean, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:out of memory")
def test_an_error_of_the_model_that_is_about_memory_halves_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, pairs = negtrace.load("toy"), negtrace.radiology_pairs()[:40]
    whole = negtrace.trace(encoder, pairs, self_check=False)
    real: Callable[..., Any] = exact.record
    sizes: list[int] = []

    def record(part: Any, runs: Any, **options: Any) -> Any:
        if len(runs) > 3:
            raise EncoderError("the model failed") from torch.OutOfMemoryError("no")
        sizes.append(len(runs))
        return real(part, runs, **options)

    monkeypatch.setattr(exact, "record", record)
    halved = negtrace.trace(encoder, pairs, self_check=False)
    assert max(sizes) > 1
    np.testing.assert_allclose(halved.patched, whole.patched, atol=1e-5, rtol=0)


def test_another_error_of_the_model_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(*_: Any, **__: Any) -> Any:
        raise EncoderError("the model failed")

    monkeypatch.setattr(exact, "record", record)
    with pytest.raises(EncoderError, match=r"^the model failed$"):
        negtrace.trace(negtrace.load("toy"), negtrace.radiology_pairs()[:4], self_check=False)


@pytest.mark.filterwarnings("ignore:out of memory")
def test_a_model_that_does_not_fit_at_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, pairs = negtrace.load("toy"), negtrace.radiology_pairs()[:4]
    failing_above(0, monkeypatch)
    with pytest.raises(EncoderError, match="too little memory for one statement"):
        negtrace.trace(encoder, pairs, self_check=False)
    assert not any(module._forward_hooks for module in encoder.model.modules())
