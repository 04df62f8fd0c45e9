"""Selectivity of heads: by hand, and held to the models' own attention outputs."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_encoders import ENCODERS
from small_models import word_tokenizer
from test_sites import FAMILIES
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.toy import ToyEncoder
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError, SiteError, TraceError, UnknownNameError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.pairs.radiology import radiology_pairs
from negtrace.tracing.attention import attention_patterns
from negtrace.tracing.config import QUERIES
from negtrace.tracing.selectivity import head_selectivity

ANCHOR = Anchor(text="The heart size is normal.")
SWAPPED = Pair(true="There is no mass.", false="There is some mass.", anchor=ANCHOR)
WORDS = ("there", "is", "no", "mass", ".")
LONGER = Pair(true="lungs free of mass .", false="lungs with mass .", anchor=ANCHOR, subject="mass")
GONE = Pair(true="No evidence of mass.", false="Mass.", anchor=ANCHOR, subject="mass")
PULL = 3.0


class Rigged(nn.Module):
    """Two causal heads that return their weights: one looks evenly, one is drawn to "no"."""

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        pull = hidden[:, None, :, 0].expand(-1, hidden.shape[1], -1) * PULL
        scores = torch.stack([torch.zeros_like(pull), pull], dim=1)
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        weights = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
        return (weights @ hidden[:, None]).sum(dim=1) * 0.1, weights


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = Rigged()

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.attention(hidden)[0]


class Tower(nn.Module):
    """The first feature is 1 at "no" and 0 elsewhere; the second block sees what the first left."""

    def __init__(self, blocks: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(120, 8)
        with torch.no_grad():
            self.embed.weight[:, 0] = 0
            self.embed.weight[word_tokenizer().convert_tokens_to_ids("no"), 0] = 1
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


def rigged() -> Encoder:
    return wrap(Tower(), word_tokenizer(), blocks=["blocks.0"], read_out="last", name="rigged")


def test_by_hand() -> None:
    found = head_selectivity(rigged(), [SWAPPED])
    cue = 1 + WORDS.index("no")  # behind [BOS]
    after_cue = range(cue + 1, len(WORDS) + 2)
    drawn = [math.exp(PULL) / (math.exp(PULL) + q) - 1 / (q + 1) for q in after_cue]
    np.testing.assert_allclose(found.values, [[0, max(drawn)]], atol=1e-6)
    assert found.top(1)[0][:3] == ("blocks.0", 1, 1)
    assert np.isnan(found.low).all()  # a single pair has no interval
    assert (found.n, found.heads, found.layers) == (1, (0, 1), ("blocks.0",))


def own_patterns(encoder: Encoder, ids: Tensor) -> Tensor:
    """Return what a copy of the model gives when asked for its attention, [block row head q k]."""
    model = copy.deepcopy(encoder.model).eval()
    model.set_attn_implementation("eager")
    tower = getattr(model, "text_model", model)
    with torch.no_grad():
        return torch.stack(tower(input_ids=ids, output_attentions=True).attentions)


OWN = ("clip", "siglip", "bert-mean", "gpt2", "gemma2")


@pytest.mark.parametrize("family", OWN)
def test_patterns_are_the_models_own(family: str) -> None:
    encoder = FAMILIES[family](torch.float32)
    rows = encoder.tokenize([SWAPPED.true, SWAPPED.false])
    ids = torch.tensor([row.ids for row in rows])
    found = attention_patterns(encoder, ids)
    torch.testing.assert_close(found, own_patterns(encoder, ids), rtol=1e-5, atol=1e-6)
    assert found.sum(dim=-1).allclose(torch.ones(()))


@pytest.mark.parametrize("queries", QUERIES)
@pytest.mark.parametrize("family", OWN)
def test_selectivity_from_the_models_own_patterns(family: str, queries: str) -> None:
    encoder = FAMILIES[family](torch.float32)
    pairs = [pair for pair in radiology_pairs() if "There is" in pair.true][:8]
    assert len({pair.negated for pair in pairs}) == 2
    found = head_selectivity(encoder, pairs, queries=queries)
    assert not found.dropped
    differences = {}
    for pair in pairs:
        texts = (pair.true, pair.false) if pair.negated == "true" else (pair.false, pair.true)
        rows = encoder.tokenize(texts)
        negated, affirmative = (own_patterns(encoder, torch.tensor([r.ids]))[:, 0] for r in rows)
        [cue] = [i for i, (a, b) in enumerate(zip(*(r.ids for r in rows), strict=True)) if a != b]
        # Where padding is read out, the end token is but its beginning: neither looks.
        filled = rows[0].read_out is not None and rows[0].padding[rows[0].read_out]
        idle = rows[0].added if filled else rows[0].padding
        last = max(i for i, skipped in enumerate(idle) if not skipped)
        looking = [i for i in range(len(rows[0])) if i <= last or i == rows[0].read_out]
        looking = [i for i in looking if i > cue or (queries == "other" and i != cue)]
        change = (negated - affirmative)[:, :, looking, cue]
        differences[pair.id] = change.max(dim=-1).values.numpy()
    expected = np.stack([differences[id_] for id_ in found.ids])
    np.testing.assert_allclose(found.by_pair, expected, atol=1e-6)
    np.testing.assert_allclose(found.values, expected.mean(axis=0), atol=1e-6)
    known = ~np.isnan(found.low)  # few pairs need not determine an interval
    assert known.mean() > 0.5
    assert (found.low <= found.values)[known].all()
    assert (found.values <= found.high)[known].all()


def test_a_cue_of_several_words_counts_as_a_whole() -> None:
    encoder = FAMILIES["bert-mean"](torch.float32)
    found = head_selectivity(encoder, [LONGER])
    rows = encoder.tokenize([LONGER.true, LONGER.false])
    negated, affirmative = (own_patterns(encoder, torch.tensor([r.ids]))[:, 0] for r in rows)
    # [BOS] lungs free of mass . [EOS]  against  [BOS] lungs with mass . [EOS]
    change = negated[:, :, 4:, 2:4].sum(dim=-1) - affirmative[:, :, 3:, 2]
    np.testing.assert_allclose(found.values, change.max(dim=-1).values.numpy(), atol=1e-6)
    assert found.provenance.config["alignment"] == {"substitution": 1}


def test_a_pair_without_a_slot_is_dropped_by_name() -> None:
    found = head_selectivity(rigged(), [SWAPPED, GONE])
    assert found.n == 1
    assert [(drop.id, drop.code) for drop in found.dropped] == [(GONE.id, "no-slot")]
    with pytest.raises(TraceError, match="no pair is left to trace: 1 no-slot"):
        head_selectivity(rigged(), [GONE])


def test_order_and_batch_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, pairs = FAMILIES["clip"](torch.float32), radiology_pairs()[:10]
    whole = head_selectivity(encoder, pairs)
    monkeypatch.setattr("negtrace.tracing.selectivity.BATCH", 1)
    turned = head_selectivity(encoder, pairs[::-1])
    assert whole.ids == turned.ids
    for name in ("values", "low", "high"):
        np.testing.assert_allclose(getattr(whole, name), getattr(turned, name), atol=1e-6)


def test_each_run_is_read_against_its_own_image() -> None:
    encoder = ENCODERS["llava"](torch.float32)
    pairs = [
        Pair(true=pair.true, false=pair.false, anchor=Anchor(image=image), id=pair.id)
        for pair, image in zip(radiology_pairs()[:3], images(3), strict=True)
    ]
    together = head_selectivity(encoder, pairs)
    by_id = dict(zip(together.ids, together.by_pair, strict=True))
    for index, pair in enumerate(pairs):
        [alone] = head_selectivity(encoder, [pair]).by_pair
        np.testing.assert_allclose(by_id[pair.public_id], alone, atol=1e-6)
        # Another image gives another selectivity, so a mix-up would show.
        other = replace(pair, anchor=pairs[index - 1].anchor)
        assert np.abs(head_selectivity(encoder, [other]).by_pair - alone).max() > 1e-4


def images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (32, 32, 3), np.uint8) for _ in range(count)]


REFUSED: dict[str, Callable[[], Encoder]] = {
    "fused": lambda: FAMILIES["fused"](torch.float32),
    "toy": ToyEncoder,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_patterns_is_refused(name: str) -> None:
    with pytest.raises(SiteError, match=r"returns attention weights .*Trace the heads instead"):
        head_selectivity(REFUSED[name](), [SWAPPED])


def test_plain_attention_that_reads_otherwise_is_refused() -> None:
    encoder = FAMILIES["clip"](torch.float32)
    other = copy.deepcopy(encoder.model.config.text_config)
    for module in (module for block in encoder.blocks for module in block.modules()):
        if hasattr(module, "config"):  # the tower still makes its mask by the first, for sdpa
            module.config = other
    with pytest.raises(SiteError, match="another embedding with plain attention"):
        head_selectivity(encoder, [SWAPPED])


def test_unknown_queries() -> None:
    with pytest.raises(UnknownNameError, match="unknown queries 'all'; known: after_cue, other"):
        head_selectivity(rigged(), [SWAPPED], queries="all")


def left_behind(encoder: Encoder) -> list[object]:
    modules = list(encoder.model.modules())
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)
    names = [m.config._attn_implementation for m in modules if hasattr(m, "config")]
    return [hooks, names, [m.training for m in modules], list(map(sorted, map(vars, modules)))]


def test_the_model_comes_back_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FAMILIES["clip"](torch.float32)
    encoder.model.train()
    before = left_behind(encoder)
    assert "eager" not in before[1]
    head_selectivity(encoder, [SWAPPED])
    assert left_behind(encoder) == before

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(encoder.blocks[1], "forward", broken)
    before = left_behind(encoder)
    with pytest.raises(EncoderError, match="raised RuntimeError: broken"):
        head_selectivity(encoder, [SWAPPED])
    assert left_behind(encoder) == before
