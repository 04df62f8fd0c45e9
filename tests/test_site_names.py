"""A site is what its name says: attention, an MLP, one head; otherwise it is refused by name."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import transformers
from site_models import CASES, IDS, TOWERS, Attention, Case, Mixed, Shift, Sites, Tower
from small_models import build, word_tokenizer
from torch import Tensor, nn
from torch.overrides import _len_torch_function_stack

from negtrace.encoders.block_calls import ATTENDED, SHORTEST, moved_tokens, still_tokens
from negtrace.encoders.check import check_structure
from negtrace.encoders.sites import BlockSites, find_sites
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError, SiteError

ATTENDING = [name for name, case in CASES.items() if any(block.head for block in case.sites)]


def names_of(case: Case) -> list[str]:
    return [case.blocks.format(index) for index in range(len(case.sites))]


def sites_of(model: nn.Module, names: list[str]) -> tuple[BlockSites, ...]:
    return find_sites(model, names, lambda ids: run(model, ids), [IDS])


def run(model: nn.Module, ids: Tensor = IDS) -> Tensor:
    output = model(ids)
    return output if isinstance(output, Tensor) else output.last_hidden_state


def within(block: str, found: BlockSites) -> Sites:
    """Return the sites of a block by names inside the block."""
    inside = {
        site: module and module.removeprefix(f"{block}.")
        for site in ("attn_out", "mlp_out", "head")
        for module in [found.module(site)]
    }
    return Sites(norm=found.norm, **inside)


@pytest.mark.parametrize("name", CASES)
def test_sites_are_those_that_the_modelling_code_shows(name: str) -> None:
    case = CASES[name]
    names = names_of(case)
    found = sites_of(case.make(), names)
    assert [within(*pair) for pair in zip(names, found, strict=True)] == list(case.sites)
    assert [block.heads for block in found] == [4 if block.head else 0 for block in case.sites]
    for block in found:
        lacking = {site for site in ("attn_out", "mlp_out", "head") if not block.module(site)}
        assert set(block.lacking) == lacking


@pytest.mark.parametrize("name", TOWERS)
def test_sites_of_towers_of_plain_torch(name: str) -> None:
    make, expected = TOWERS[name]
    found = sites_of(make(), ["blocks.0", "blocks.1"])
    assert within("blocks.0", found[0]) == within("blocks.1", found[1]) == expected


def test_heads_whose_numbers_are_not_neighbours_are_no_slices() -> None:
    tower = Tower(Mixed(Attention("interleaved")))
    assert sites_of(tower, ["blocks.0"])[0].head is None


@pytest.mark.parametrize("name", ATTENDING)
def test_attention_that_adds_nothing_as_yet_is_attention(name: str) -> None:
    case = CASES[name]
    model, names = case.make(), names_of(case)
    heads = [sites.head for sites in sites_of(model, names) if sites.head]
    for head in heads:
        for weight in model.get_submodule(head).parameters():
            torch.nn.init.zeros_(weight)
    before = {k: (v.data_ptr(), v.clone()) for k, v in model.named_parameters()}
    found = sites_of(model, names)
    assert [within(*pair) for pair in zip(names, found, strict=True)] == list(case.sites)
    for name, value in model.named_parameters():
        pointer, numbers = before[name]
        assert value.data_ptr() == pointer
        assert torch.equal(value, numbers)


@pytest.mark.parametrize("count", range(SHORTEST, 40))
def test_a_still_token_is_at_every_distance_behind_a_moved_one(count: int) -> None:
    moved, still = moved_tokens(count), still_tokens(count)
    assert {*moved, *still, ATTENDED} == {*range(count)}
    distances = {s - m for s in still for m in moved}
    assert distances.issuperset(range(1, count))
    assert distances.issuperset(range(-1, 5 - count, -1))


def test_a_site_is_what_it_is_in_statements_of_two_lengths() -> None:
    """The shorter one has 10 tokens, so it cannot show what is 12 tokens apart."""
    torch.manual_seed(0)
    tower = Tower(Mixed(), Mixed(mlp=Shift(12)))
    encoder = wrap(tower, word_tokenizer(), max_tokens=64)
    assert [block.mlp_out for block in encoder.block_sites] == ["blocks.0.mlp", None]
    assert "Shift mixes tokens" in encoder.block_sites[1].lacking["mlp_out"]
    assert [block.attn_out for block in encoder.block_sites] == [
        "blocks.0.attention",
        "blocks.1.attention",
    ]
    short = wrap(tower, word_tokenizer(), max_tokens=12)
    assert short.block_sites[1].mlp_out == "blocks.1.mlp"


@pytest.mark.parametrize("ask", ["block_sites", "heads", "reads_one_layer"])
def test_what_an_encoder_raises_while_it_is_measured_is_an_error_of_negtrace(
    ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = wrap(Tower(Mixed(), Mixed()), word_tokenizer(), name="moody")

    def encode(_: Tensor) -> Tensor:
        raise KeyError("position 12")

    monkeypatch.setattr(encoder, "encode", encode)
    with pytest.raises(
        EncoderError, match=r"moody: while .* measured, Tower raised KeyError: 'pos"
    ):
        getattr(encoder, ask)
    with pytest.raises(EncoderError, match=r"negtrace\.wrap\(module, tokenizer, encode="):
        getattr(encoder, ask)


@contextmanager
def inputs_of(model: nn.Module, names: list[str]) -> Iterator[list[Tensor]]:
    """Yield the inputs of modules in the forward inside the `with`."""
    inputs: list[Tensor] = []
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, args, kwargs: inputs.append(next(iter((*args, *kwargs.values())))),
            with_kwargs=True,
        )
        for name in names
    ]
    yield inputs
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("name", ATTENDING)
def test_every_head_is_the_output_of_that_head(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each slice against what the attention function returned, or weights times values."""
    case = CASES[name]
    model, names = case.make(), names_of(case)
    found = dict(zip(names, sites_of(model, names), strict=True))
    heads = {block: sites for block, sites in found.items() if sites.head}
    outputs: list[Tensor] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def attend(*args: object, **kwargs: object) -> Tensor:
        outputs.append(plain(*args, **kwargs))
        return outputs[-1]

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attend)
    with torch.no_grad(), inputs_of(model, [sites.head for sites in heads.values()]) as sides:
        if case.values:
            with inputs_of(model, list(heads)) as states:
                weights = model(IDS, output_attentions=True).attentions
            blocks = map(model.get_submodule, heads)
            outputs = [
                w @ case.values(block, state)
                for w, block, state in zip(weights, blocks, states, strict=True)
            ]
        else:
            run(model)
    assert len(outputs) == len(sides) == len(heads)
    for side, output in zip(sides, outputs, strict=True):
        size = side.shape[-1] // 4
        for head in range(4):
            part = side[0, :, head * size : (head + 1) * size]
            torch.testing.assert_close(part, output[0, head], atol=1e-5, rtol=1e-4)


REASONS = {
    "convbert": ("attn_out", "ConvBertSelfAttention mixes tokens by more than attention"),
    "lfm2": ("attn_out", "it mixes tokens with Lfm2ShortConv, not with attention"),
    "bamba": ("head", "it mixes tokens with BambaMixer, not with attention"),
    "recurrent_gemma": ("attn_out", "it mixes tokens with RecurrentGemmaRecurrentBlock, not"),
    "qwen3_next": ("attn_out", "it mixes tokens with Qwen3NextGatedDeltaNet, not with attention"),
    "xlstm": ("attn_out", "it mixes tokens with xLSTMLayer, not with attention"),
    "mamba": ("attn_out", "MambaMixer alone makes up what MambaBlock adds; no attention is seen"),
    "rwkv": ("mlp_out", "RwkvFeedForward mixes tokens, which no MLP does"),
    "bitnet": ("head", "layers.1.self_attn.o_proj is not the outputs of the heads side by side"),
    "diffllama": ("head", "self_attn.o_proj is not the outputs of the heads side by side"),
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_names_what_stands_in_the_place(name: str) -> None:
    case, (site, reason) = CASES[name], REASONS[name]
    found = sites_of(case.make(), names_of(case))
    reasons = [block.lacking[site] for block in found if site in block.lacking]
    assert any(reason in each for each in reasons)


TOWER_REASONS = {
    "open_clip": ("head", "MultiheadAttention runs as one fused operation that calls no output"),
    "linear": ("attn_out", "it mixes tokens with Attention, not with attention"),
    "thrown away": ("attn_out", "what Unused adds does not come from the attention that runs"),
    "two mlps": ("attn_out", "Unused mixes no tokens, as attention does"),
    "router first": ("attn_out", "Router mixes no tokens, as attention does"),
    "shift": ("mlp_out", "Shift mixes tokens, which no MLP does"),
    "mixing twice": ("mlp_out", "Attention mixes tokens, which no MLP does"),
    "leak": ("mlp_out", "Sequential reads attention otherwise than from the stream"),
    "mlp first": ("mlp_out", "Sequential runs before attention, which may read it"),
    "shift by 2": ("mlp_out", "Shift mixes tokens, which no MLP does"),
    "shifted attention": ("attn_out", "ShiftedAttention mixes tokens by more than attention"),
    "features": (
        "attn_out",
        "it mixes tokens with Attention, not with attention (its softmax does",
    ),
    "nine features": ("head", "its softmax does not weigh the values of tokens"),
    "signed": ("head", "it mixes tokens with Attention, not with attention (no softmax over all"),
    "silent convolution": ("attn_out", "it mixes tokens with Convolution, not with attention"),
}


@pytest.mark.parametrize("name", TOWER_REASONS)
def test_the_reason_in_a_tower_of_plain_torch(name: str) -> None:
    site, reason = TOWER_REASONS[name]
    assert reason in sites_of(TOWERS[name][0](), ["blocks.0", "blocks.1"])[0].lacking[site]


def test_a_block_that_lacks_a_site_says_which_blocks_have_it() -> None:
    model = CASES["lfm2"].make()
    encoder = wrap(model, word_tokenizer(), blocks=names_of(CASES["lfm2"]), name="hybrid")
    with pytest.raises(SiteError) as refused:
        encoder.hook_sites(["attn_out"])
    assert str(refused.value) == (
        "hybrid: no attn_out in layers.0: it mixes tokens with Lfm2ShortConv, not with attention "
        "(no softmax over all tokens); attn_out is in layers.1; every block has resid, resid_pre, "
        "mlp_out"
    )
    assert encoder.heads == 0
    assert len(encoder.hook_sites(["mlp_out"])) == 3


def test_the_check_names_the_sites_of_each_kind_of_block() -> None:
    model = CASES["lfm2"].make()
    encoder = wrap(model, word_tokenizer(), blocks=names_of(CASES["lfm2"]), name="hybrid")
    [sites] = [item.detail for item in check_structure(encoder).items if item.name == "sites"]
    convolution, attention = sites.split("; 1 of 3 blocks: ")
    assert convolution.startswith("2 of 3 blocks: no attn_out: it mixes tokens with Lfm2ShortConv")
    assert "resid_pre + attn_out" not in convolution
    assert attention == "resid_pre + attn_out + mlp_out = resid; 4 heads"


def test_attention_that_cannot_be_seen_is_called_so() -> None:
    def flash(_: nn.Module, query: Tensor, key: Tensor, value: Tensor, *__: object, **___: object):
        scores = (query @ key.transpose(-1, -2)).exp()
        weights = scores / scores.sum(-1, keepdim=True)
        return (weights @ value).transpose(1, 2), None

    transformers.AttentionInterface.register("unseen", flash)
    config = transformers.CLIPTextConfig(vocab_size=120, hidden_size=32, num_attention_heads=4)
    config.num_hidden_layers, config.intermediate_size = 1, 64
    model = build(config, torch.float32)
    model.set_attn_implementation("unseen")
    block = next(name for name, _ in model.named_modules() if name.endswith("layers.0"))
    reason = sites_of(model, [block])[0].lacking["attn_out"]
    assert "CLIPAttention runs attention as 'unseen', which cannot be observed; load the" in reason


def test_a_statement_that_is_too_short_is_refused() -> None:
    tower = Tower(Mixed())
    found = find_sites(tower, ["blocks.0"], tower, [IDS[:, :4]])
    assert "the shape (1, 4, 32)" in found[0].lacking["mlp_out"]


def test_a_block_that_runs_twice_is_refused() -> None:
    tower = Tower(Mixed())
    block = tower.blocks[0]
    found = find_sites(tower, ["blocks.0"], lambda ids: block(block(tower.embed(ids))), [IDS])
    assert "it runs 2 times in a forward" in found[0].lacking["attn_out"]


class Halved(Mixed):
    """A block that returns every other token alone."""

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states)[:, ::2]


def test_a_block_whose_states_change_their_shape_is_refused() -> None:
    tower = Tower(Halved())
    found = find_sites(tower, ["blocks.0"], lambda ids: tower.blocks[0](tower.embed(ids)), [IDS])
    assert "Halved returns no states of the shape (1, 9, 32)" in found[0].lacking["attn_out"]


def test_a_compiled_model_has_the_sites_of_the_plain_one() -> None:
    """And nothing is compiled for the search."""
    compilations: list[object] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        compilations.append(graph)
        return graph.forward

    model = CASES["gpt2"].make()
    plain = sites_of(model, ["h.0", "h.1", "h.2"])
    compiled = torch.compile(model, backend=backend)
    compiled(IDS)
    before = len(compilations)
    found = sites_of(compiled, [f"_orig_mod.h.{i}" for i in range(3)])
    assert [block.head for block in found] == [f"_orig_mod.{block.head}" for block in plain]
    assert len(compilations) == before > 0


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_nothing_is_left_behind(fails: int) -> None:
    """At most two forwards run, and no hook or mode stays, whichever of them fails."""
    model = Tower(Mixed(), Mixed()).train()
    before, hidden = {k: v.clone() for k, v in model.state_dict().items()}, run(model)
    forwards = 0

    def encode(ids: Tensor) -> Tensor:
        nonlocal forwards
        forwards += 1
        output = run(model, ids)
        if forwards == fails:
            raise RuntimeError("out of memory")
        return output

    if fails:
        with pytest.raises(RuntimeError, match="out of memory"):
            find_sites(model, ["blocks.0", "blocks.1"], encode, [IDS])
    else:
        find_sites(model, ["blocks.0", "blocks.1"], encode, [IDS])
    assert forwards == (fails or 2)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert _len_torch_function_stack() == 0
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(run(model), hidden, rtol=0, atol=0)
