"""Very many pairs: each is prepared again where it is run, and the result is the same."""

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_encoders import bert

import negtrace
from negtrace.encoders.base import Encoder
from negtrace.pairs.pair import Pair
from negtrace.tracing import prepare as preparing
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.engines.sweep import ContrastScores
from negtrace.tracing.prepare import PreparedPair, prepare

PAIRS = negtrace.radiology_pairs()[:40]


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "AT_ONCE", 7)


def raw(encoder: Encoder, pairs: list[Pair] = PAIRS, **options: object) -> bytes:
    """Return all that a trace gives but its time."""
    cte = negtrace.trace(encoder, pairs, progress=False, include_text=True, **options)
    object.__setattr__(cte.provenance, "time", "")
    return cte.to_bytes(include_text=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"direction": "noising", "positions": "role"},
        {"corruption": "noise", "settings": {"samples": 3}, "positions": "all"},
        {"corruption": "resample"},
        {"corruption": "mean", "direction": "noising"},
        {"positions": {pair.id: [1, 2] for pair in PAIRS}},
        {"method": "attribution", "verify": 5},
    ],
    ids=["swap", "roles", "noise", "resample", "mean", "given", "attribution"],
)
def test_the_result_is_the_same(
    options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = bert()
    expected = raw(encoder, **options)
    again = []
    real = preparing.PreparedPairs._again
    monkeypatch.setattr(
        preparing.PreparedPairs, "_again", lambda pairs, n: again.append(n) or real(pairs, n)
    )
    assert raw(encoder, **options) == expected
    assert not again
    monkeypatch.setattr(preparing, "AT_ONCE", 7)
    assert raw(encoder, **options) == expected
    assert set(again) == set(range(40 if options.get("corruption", "swap") == "swap" else 20))


@pytest.mark.usefixtures("few_at_once")
def test_pairs_that_are_dropped_leave_no_gap() -> None:
    encoder = negtrace.load("toy")
    long = Pair(true="No mass " + "x " * 80, false="A mass " + "x " * 80, anchor=PAIRS[0].anchor)
    pairs = [*PAIRS[:3], long, *PAIRS[3:20]]
    prepared, [dropped] = prepare(encoder, pairs, corruption_named("swap"), "token")
    assert dropped.id == long.id
    assert [each.pair.id for each in prepared] == [pair.id for pair in PAIRS[:20]]
    assert [pair.id for pair in prepared.pairs()] == [pair.id for pair in PAIRS[:20]]
    assert prepared[-1].pair is PAIRS[19]
    assert [each.pair.id for each in prepared[2:5]] == [pair.id for pair in PAIRS[2:5]]
    with pytest.raises(IndexError):
        prepared[20]


@pytest.mark.usefixtures("few_at_once")
def test_every_contrast_is_that_of_its_pair() -> None:
    noise = corruption_named("noise", {"samples": 3})
    prepared, _ = prepare(bert(), PAIRS, noise, "token")
    assert len(prepared.contrasts) == 3 * len(prepared) > 7
    for index, contrast in enumerate(prepared.contrasts):
        each = prepared[index // 3]
        assert isinstance(each, PreparedPair)
        assert contrast.clean.ids == each.contrasts[index % 3].clean.ids
        assert prepared.of_contrast(index) is each.pair
    lengths = [(len(each.clean.ids), len(each.corrupt.ids)) for each in prepared.contrasts]
    assert list(prepared.contrasts.lengths) == lengths


@pytest.mark.usefixtures("few_at_once")
def test_a_trace_of_many_pairs_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, checkpoint = bert(), tmp_path / "x.partial"
    expected = raw(encoder)
    real, ran = Checkpoint.add, []

    def add(self: Checkpoint, scores: ContrastScores) -> None:
        ran.append(scores.index)
        real(self, scores)
        if len(ran) == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "add", add)
    with pytest.raises(KeyboardInterrupt):
        raw(encoder, checkpoint=checkpoint)
    assert raw(encoder, checkpoint=checkpoint) == expected
    assert len(ran) < 60


def studies(count: int) -> Iterator[Pair]:
    """Yield pairs, each about another study."""
    for number in range(count):
        pair = PAIRS[number % len(PAIRS)]
        yield Pair(true=pair.true, false=pair.false, anchor=pair.anchor, id=f"study-{number}")


def test_memory_holds_the_contrasts_of_few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "AT_ONCE", 100)
    encoder, sizes = negtrace.load("toy"), []
    pairs = list(studies(1100))
    for count in (100, 100, 1100):  # the first one fills caches
        tracemalloc.start()
        prepared, _ = prepare(encoder, pairs[:count], corruption_named("swap"), "token")
        gc.collect()  # what is in cycles is not held
        sizes.append(tracemalloc.get_traced_memory()[0] / len(prepared))
        tracemalloc.stop()
    _, held, many = sizes
    assert many < 400
    assert many < held / 4
