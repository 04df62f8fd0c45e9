"""Every site, window and group of positions, held to one plain forward with hooks a cell."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from small_encoders import ENCODERS, TEXT, build, exact_scores, word_tokenizer
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.load import load
from negtrace.encoders.wrap import wrap
from negtrace.errors import NegtraceWarning, SiteError, TraceError
from negtrace.pairs.radiology import radiology_pairs
from negtrace.plots.tables import heatmap_table
from negtrace.results.cte_json import read_json, write_json
from negtrace.results.layer_scores import all_layer_scores
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.check import check
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.corruptions.contrast import Contrast
from negtrace.tracing.engines import patched_forward as engine
from negtrace.tracing.plan import Plan, Site
from negtrace.tracing.positions import Positions
from negtrace.tracing.prepare import prepare
from negtrace.tracing.sites import plan_for
from negtrace.tracing.trace import trace

PAIRS = [pair for pair in radiology_pairs() if pair.negated == "true"][:2]
ALL = ("resid", "resid_pre", "attn_out", "mlp_out", "head")


def gpt2(dtype: torch.dtype) -> Encoder:
    config = transformers.GPT2Config(
        vocab_size=120, n_embd=32, n_layer=3, n_head=4, bos_token_id=2, eos_token_id=3
    )
    return wrap(build(config, dtype), word_tokenizer(), read_out="last", name="gpt2")


def gemma2(dtype: torch.dtype) -> Encoder:
    text = {k: v for k, v in TEXT.items() if k != "max_position_embeddings"}
    config = transformers.Gemma2Config(
        **text, vocab_size=120, num_key_value_heads=2, head_dim=8, bos_token_id=2, eos_token_id=3
    )
    return wrap(build(config, dtype), word_tokenizer(), read_out="last", name="gemma2")


class ReadsSeveral(nn.Module):
    """BERT whose embedding is the mean of three layers' states, as MedCLIP's is."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.bert = build(transformers.BertConfig(**TEXT, vocab_size=120), dtype)

    def forward(self, ids: Tensor) -> Tensor:
        states = self.bert(ids, output_hidden_states=True).hidden_states
        return torch.stack([states[1], states[2], states[-1]]).mean(dim=0)


class FusedTower(nn.Module):
    """PyTorch's own encoder layers, whose attention is one fused operation."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(120, 32, dtype=dtype)
        layers = (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True) for _ in range(3))
        self.blocks = nn.ModuleList(layer.to(dtype) for layer in layers)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


FAMILIES: dict[str, Callable[[torch.dtype], Encoder]] = {
    **{name: ENCODERS[name] for name in ("clip", "siglip", "bert-mean", "bert-cls", "phantom")},
    "gpt2": gpt2,
    "gemma2": gemma2,
    "several": lambda dtype: wrap(ReadsSeveral(dtype), word_tokenizer(), name="several"),
    "fused": lambda dtype: wrap(FusedTower(dtype).eval(), word_tokenizer(), name="fused"),
}


PRE_NORM = ("clip", "siglip", "phantom", "gpt2", "gemma2")
POST_NORM = ("bert-mean", "bert-cls", "several", "fused")


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return FAMILIES[request.param](torch.float64)


def offered(encoder: Encoder) -> tuple[str, ...]:
    return ALL if encoder.heads else ALL[:-1]


@contextmanager
def written(encoder: Encoder, kind: str, layer: int, write: Callable[[Tensor], None]) -> Iterator:
    """Let `write` change what a site holds, in place, in the plain forward inside the `with`."""

    def first(values: tuple) -> Tensor:
        return next(v for v in values if isinstance(v, Tensor))

    def before(_: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        hidden = first((*args, *kwargs.values()))
        changed = hidden.clone()
        write(changed)
        swap = lambda v: changed if v is hidden else v  # noqa: E731
        return tuple(map(swap, args)), {k: swap(v) for k, v in kwargs.items()}

    def after(_: nn.Module, __: tuple, output: object) -> object:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        write(hidden)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    modules = dict(encoder.model.named_modules())
    if kind == "resid_pre" or (kind == "resid" and layer == 0):
        module, at = encoder.blocks[max(0, layer - 1)], "input"
    elif kind == "resid":
        module, at = encoder.blocks[layer - 1], "output"
    else:
        site = encoder.block_sites[layer - 1].module(kind)
        module, at = modules[site], "input" if kind == "head" else "output"
    handle = (
        module.register_forward_pre_hook(before, with_kwargs=True)
        if at == "input"
        # First of all hooks: transformers records hidden states by hooks of its own.
        else module.register_forward_hook(after, prepend=True)
    )
    yield
    handle.remove()


def state(encoder: Encoder, ids: tuple[int, ...], kind: str, layer: int) -> Tensor:
    kept: list[Tensor] = []
    with written(encoder, kind, layer, lambda hidden: kept.append(hidden.clone())):
        encoder.encode(torch.tensor([ids]))
    return kept[0][0]


def layers_of(kind: str, layer: int, count: int, window: int) -> list[int]:
    """Return the layers that a cell patches, written without the code under test."""
    there = [at for at in range(count) if at > 0 or kind == "resid"]
    near = [at for at in there if -(window // 2) <= at - layer <= (window - 1) // 2]
    return near if layer in there else []


def oracle(
    encoder: Encoder, contrast: Contrast, anchor: Tensor, direction: str, plan: Plan
) -> np.ndarray:
    """Return every cell's score, [site, layer, group], by one plain forward a cell."""
    base, source = contrast.clean, contrast.corrupt
    if direction == "denoising":
        base, source = source, base
    groups = base.groups
    grid = np.full((len(plan.sites), len(encoder.layers), len(groups)), np.nan)
    for s, site in enumerate(plan.sites):
        for layer in range(len(encoder.layers)):
            window = layers_of(site.kind, layer, len(encoder.layers), plan.window)
            states = {at: state(encoder, source.ids, site.kind, at) for at in window}
            for g, (_, positions) in enumerate(groups) if window else ():
                text = patched(encoder, base.ids, site, states, positions)
                grid[s, layer, g] = encoder.score(text, anchor[None]).item()
    return grid


def patched(
    encoder: Encoder,
    ids: tuple[int, ...],
    site: Site,
    states: dict[int, Tensor],
    positions: tuple[int, ...],
) -> Tensor:
    """Return the embedding of a plain forward in which each layer's state is written in place."""
    places, width = list(positions), slice(None)
    if site.head is not None:
        size = next(iter(states.values())).shape[-1] // encoder.heads
        width = slice(site.head * size, (site.head + 1) * size)

    def write(hidden: Tensor, values: Tensor) -> None:
        hidden[0, places, width] = values[places, width]

    with ExitStack() as stack:
        for layer, values in states.items():
            stack.enter_context(written(encoder, site.kind, layer, partial(write, values=values)))
        return encoder.encode(torch.tensor([ids]))


def compare(
    encoder: Encoder, direction: str, plan: Plan, positions: Positions, pairs: list = PAIRS
) -> None:
    prepared, dropped = prepare(encoder, pairs, corruption_named("swap"), positions)
    assert not dropped
    contrasts = [each.contrasts[0] for each in prepared]
    with torch.inference_mode():
        anchors = encoder.embed_anchors([pair.anchor for pair in pairs])
        for scores in exact_scores(encoder, contrasts, anchors, direction=direction, plan=plan):
            contrast, anchor = contrasts[scores.index], anchors[scores.index]
            expected = oracle(encoder, contrast, anchor, direction, plan)
            d = scores.clean - scores.corrupt
            np.testing.assert_allclose(scores.patched / d, expected / d, atol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("span", [1, 256])
def test_every_site_agrees_with_the_oracle(
    encoder: Encoder, direction: str, span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SPAN_TOKENS", span)
    plan = plan_for(encoder, offered(encoder))
    compare(encoder, direction, plan, "token", PAIRS if span == 1 else PAIRS[:1])


@pytest.mark.parametrize(
    ("window", "positions"), [(2, "role"), (3, "token"), (1, "all"), (2, ("cue", "end"))]
)
def test_windows_and_groups_agree_with_the_oracle(
    encoder: Encoder, window: int, positions: Positions
) -> None:
    sites = [site for site in offered(encoder) if site != "head"]
    sites += ["head.1"] * bool(encoder.heads)
    plan = plan_for(encoder, sites, window)
    compare(encoder, "denoising", plan, positions, PAIRS[:1])


def test_the_residual_identity_is_measured() -> None:
    norms = {name: make(torch.float32).block_sites[0].norm for name, make in FAMILIES.items()}
    assert norms == {**dict.fromkeys(PRE_NORM, "pre"), **dict.fromkeys(POST_NORM, "post")}


@pytest.mark.parametrize("name", PRE_NORM)
def test_what_a_block_adds_is_what_its_sites_hold(name: str) -> None:
    """In pre-norm blocks only: elsewhere norms act on what is added."""
    encoder = FAMILIES[name](torch.float64)
    ids = encoder.tokenize([PAIRS[0].true])[0].ids
    for layer in range(1, len(encoder.layers)):
        before, after, *added = (
            state(encoder, ids, kind, layer)
            for kind in ("resid_pre", "resid", "attn_out", "mlp_out")
        )
        torch.testing.assert_close(before + sum(added), after)


def test_sites_that_are_not_there_are_refused_with_the_reason() -> None:
    fused, toy = FAMILIES["fused"](torch.float32), ENCODERS["toy"](torch.float32)
    with pytest.raises(SiteError, match="MultiheadAttention runs as one fused operation"):
        trace(fused, PAIRS, sites=["head"], progress=False)
    with pytest.raises(SiteError, match="no two modules inside _Hear add up to what it adds"):
        trace(toy, PAIRS, sites=["attn_out"], progress=False)
    with pytest.raises(SiteError, match="unknown site 'mlp'; known: resid, resid_pre, attn_out"):
        trace(toy, PAIRS, sites=["mlp"], progress=False)
    with pytest.raises(SiteError, match="name each once"):
        trace(toy, PAIRS, sites=["resid", "resid"], progress=False)
    with pytest.raises(SiteError, match="no head 9; clip has heads 0 to 3"):
        trace(FAMILIES["clip"](torch.float32), PAIRS, sites=["head.9"], progress=False)


def test_a_window_that_does_not_fit_the_model_is_refused() -> None:
    toy = ENCODERS["toy"](torch.float32)
    with pytest.raises(SiteError, match="a window of 0 layers; expected 1 or more"):
        trace(toy, PAIRS, window=0, progress=False)
    with pytest.raises(SiteError, match="a window of 4 layers; toy has 3 blocks, so expected 1 to"):
        trace(toy, PAIRS, window=4, progress=False)


# Layers that the cells at layers 0 to 4 patch: `embed` and four blocks.
WINDOWS: dict[tuple[str, int], list[list[int]]] = {
    ("resid", 1): [[0], [1], [2], [3], [4]],
    ("resid", 2): [[0], [0, 1], [1, 2], [2, 3], [3, 4]],
    ("resid", 3): [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4]],
    ("resid", 4): [[0, 1], [0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4]],
    ("mlp_out", 1): [[], [1], [2], [3], [4]],
    ("mlp_out", 2): [[], [1], [1, 2], [2, 3], [3, 4]],
    ("mlp_out", 3): [[], [1, 2], [1, 2, 3], [2, 3, 4], [3, 4]],
}


@pytest.mark.parametrize(("kind", "window"), WINDOWS)
def test_the_layers_of_a_window(kind: str, window: int) -> None:
    plan = Plan(window=window)
    found = [list(plan.layers(layer, 5, kind)) for layer in range(5)]
    assert found == WINDOWS[kind, window]
    assert found == [layers_of(kind, layer, 5, window) for layer in range(5)]


def test_positions_that_make_no_sense_are_refused() -> None:
    toy = ENCODERS["toy"](torch.float32)
    with pytest.raises(TraceError, match="expected 'token', 'role', 'all', roles out of start"):
        trace(toy, PAIRS, positions="verb", progress=False)
    with pytest.raises(TraceError, match=r"is given the positions \[99\]; expected at least one"):
        trace(toy, PAIRS, positions={pair.id: [99] for pair in PAIRS}, progress=False)


def test_positions_of_each_pair_are_those_of_the_whole_trace() -> None:
    clip = FAMILIES["clip"](torch.float64)
    whole = trace(clip, PAIRS, progress=False)
    places = {PAIRS[0].id: [3, 1], PAIRS[1].id: [2]}
    chosen = trace(clip, PAIRS, positions=places, progress=False)
    for pair, own, cells in zip(PAIRS, chosen.patched[:, 0], whole.patched[:, 0], strict=True):
        expected = cells[:, places[pair.id]]
        np.testing.assert_allclose(own[:, : expected.shape[1]], expected, atol=1e-10)


@pytest.mark.parametrize("name", ["clip", "bert-mean", "gpt2"])
def test_all_positions_at_once_are_the_whole_effect_at_every_layer(name: str) -> None:
    cte = trace(FAMILIES[name](torch.float64), PAIRS, positions="all", progress=False)
    assert cte.role_names[-1] == "all"
    np.testing.assert_allclose(cte.numerators[:, 0, :, 0] / cte.d[:, None], 1, atol=1e-9)


def test_a_trace_says_what_it_patched(tmp_path: Path) -> None:
    cte = trace(
        FAMILIES["clip"](torch.float32),
        PAIRS,
        sites=["attn_out", "head.2"],
        window=2,
        positions="role",
        progress=False,
    )
    assert cte.sites == ("attn_out", "head.2")
    assert np.isnan(cte.patched[:, :, 0]).all()  # a block's inside has no layer `embed`
    title = heatmap_table(cte, site="attn_out").title
    assert "window of 2 layers" in title
    assert "all tokens of a role at once" in title
    document = read_json(write_json(cte, tmp_path / "cte.json"))
    assert (document.effect().window, document.effect().positions) == (2, "role")
    assert document.provenance.config["sites"] == ["attn_out", "head.2"]


def test_components_are_scored_from_what_a_block_writes() -> None:
    cte = trace(
        FAMILIES["clip"](torch.float32),
        radiology_pairs()[:6],
        sites=["resid", "attn_out", "mlp_out"],
        progress=False,
    )
    assert "component" in all_layer_scores(cte)


@pytest.mark.parametrize("name", ["clip", "bert-mean", "gpt2", "fused"])
def test_hooks_of_the_users_own_act_in_every_run_and_stay(name: str) -> None:
    encoder = FAMILIES[name](torch.float64)

    def louder(_: nn.Module, __: tuple, output: object) -> object:
        return (1.5 * output[0], *output[1:]) if isinstance(output, tuple) else 1.5 * output

    handle = encoder.blocks[1].register_forward_hook(louder)
    with pytest.warns(NegtraceWarning, match=f"hooks of your own on {encoder.block_names[1]} act"):
        hooked = trace(encoder, PAIRS, progress=False)
    assert "hooks of your own" in {item.name for item in check(encoder).items}
    plan = plan_for(encoder, ("resid", "attn_out", "mlp_out"))
    compare(encoder, "denoising", plan, "token", PAIRS[:1])
    assert list(encoder.blocks[1]._forward_hooks.values()) == [louder]
    handle.remove()
    plain = trace(encoder, PAIRS, progress=False)
    assert not np.allclose(hooked.clean, plain.clean)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sites_of_a_model_in_half_precision_are_those_of_it_in_float32(dtype: str) -> None:
    wanted = load("phantom").block_sites
    half = load("phantom", dtype=dtype)
    assert half.block_sites == wanted
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert load("phantom").block_sites == wanted
    assert {weight.dtype for weight in half.model.parameters()} == {getattr(torch, dtype)}
