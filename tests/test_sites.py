"""Every site, window and group of positions, held to one plain forward with hooks a cell."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import torch
import transformers
from models import ENCODERS, TEXT, build, word_tokenizer
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.wrap import wrap
from negtrace.errors import SiteError, TraceError
from negtrace.pair_sources import radiology_pairs
from negtrace.tracing import rows as engine
from negtrace.tracing.corruption import Contrast, corruption_named
from negtrace.tracing.jobs import prepare
from negtrace.tracing.plan import Plan, Positions, sites_of
from negtrace.tracing.sweep import DIRECTIONS, groups_in, sweep
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


def oracle(
    encoder: Encoder, contrast: Contrast, anchor: Tensor, direction: str, plan: Plan
) -> np.ndarray:
    """Return every cell's score, [site, layer, group], by one plain forward a cell."""
    base, donor = contrast.clean, contrast.corrupt
    if direction == "denoising":
        base, donor = donor, base
    groups = groups_in(base)
    grid = np.full((len(plan.sites), len(encoder.layers), len(groups)), np.nan)
    for s, site in enumerate(plan.sites):
        width = slice(None)
        for layer in range(len(encoder.layers)):
            window = plan.layers(layer, len(encoder.layers), site.kind)
            states = {at: state(encoder, donor.ids, site.kind, at) for at in window}
            if site.head is not None and states:
                size = states[window[0]].shape[-1] // encoder.heads
                width = slice(site.head * size, (site.head + 1) * size)
            for g, (_, positions) in enumerate(groups) if window else ():
                with ExitStack() as stack:
                    for at in window:

                        def write(hidden: Tensor, at: int = at) -> None:
                            hidden[0, list(positions), width] = states[at][list(positions), width]

                        stack.enter_context(written(encoder, site.kind, at, write))
                    text = encoder.encode(torch.tensor([base.ids]))
                grid[s, layer, g] = encoder.score(text, anchor[None]).item()
    return grid


def compare(
    encoder: Encoder, direction: str, plan: Plan, positions: Positions, pairs: list = PAIRS
) -> None:
    jobs, dropped = prepare(encoder, pairs, corruption_named("swap"), positions)
    assert not dropped
    contrasts = [job.contrasts[0] for job in jobs]
    with torch.inference_mode():
        anchors = encoder.embed_anchors([pair.anchor for pair in pairs])
        found = sweep(
            encoder, contrasts, anchors, direction=direction, plan=plan, progress=False
        )
        for swept in found:
            contrast, anchor = contrasts[swept.index], anchors[swept.index]
            expected = oracle(encoder, contrast, anchor, direction, plan)
            d = swept.clean - swept.corrupt
            np.testing.assert_allclose(swept.patched / d, expected / d, atol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("span", [1, 256])
def test_every_site_agrees_with_the_oracle(
    encoder: Encoder, direction: str, span: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "SPAN_TOKENS", span)
    plan = Plan(sites=sites_of(encoder, offered(encoder)))
    compare(encoder, direction, plan, "token", PAIRS if span == 1 else PAIRS[:1])


@pytest.mark.parametrize(
    ("window", "positions"), [(2, "role"), (3, "token"), (1, "all"), (2, ("cue", "end"))]
)
def test_windows_and_groups_agree_with_the_oracle(
    encoder: Encoder, window: int, positions: Positions
) -> None:
    sites = [site for site in offered(encoder) if site != "head"]
    sites += ["head.1"] * bool(encoder.heads)
    plan = Plan(sites=sites_of(encoder, sites), window=window)
    compare(encoder, "denoising", plan, positions, PAIRS[:1])
