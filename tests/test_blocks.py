"""Blocks of a tower are the list that mixes tokens, whatever else stands in lists beside it."""

from collections.abc import Callable

import pytest
import torch
import transformers
from site_models import DECODER, IDS, Attention, Mixed, Tower, silent
from small_models import build, word_tokenizer
from torch import Tensor, nn

from negtrace.encoders.block_lists import find_blocks
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError


class Other(Mixed):
    """A second kind of block."""


class Beside(Tower):
    """A tower of blocks with a list of further modules: where they run, `how` says."""

    def __init__(self, blocks: list[nn.Module], more: list[nn.Module], how: str) -> None:
        super().__init__(*blocks)
        self.more, self.how = nn.ModuleList(more), how

    def forward(self, ids: Tensor) -> Tensor:
        hidden, more = self.embed(ids), list(self.more)
        if self.how == "before":
            for module in more:
                hidden = module(hidden)
        for block in self.blocks:
            hidden = block(hidden)
            if self.how == "between":
                hidden = hidden + more.pop(0)(hidden) + more.pop(0)(hidden)
        if self.how == "behind":
            for module in more:
                hidden = module(hidden)
        if self.how == "branches":
            hidden = sum(module(hidden) for module in more)
        return hidden


class Around(nn.Module):
    """A tower in a `Sequential` of itself, a norm and a linear map."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Embedding(120, 32)
        self.layers = nn.Sequential(nn.Sequential(*blocks), nn.LayerNorm(32), nn.Linear(32, 32))

    def forward(self, ids: Tensor) -> Tensor:
        return self.layers(self.embed(ids))


class Branch(nn.Module):
    """Attention behind a norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(32), Attention()

    def forward(self, states: Tensor) -> Tensor:
        return self.attention(self.norm(states))


class Branching(nn.Module):
    """A block whose attention is a sum of several, each in a list."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(Branch() for _ in range(count))
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, states: Tensor) -> Tensor:
        states = states + sum(branch(states) for branch in self.branches)
        return states + self.mlp(states)


class Backwards(Tower):
    """A tower that runs the last block of its list first."""

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in reversed(self.blocks):
            hidden = block(hidden)
        return hidden


def linear(count: int) -> list[nn.Module]:
    return [nn.Linear(32, 32) for _ in range(count)]


def norms(count: int) -> list[nn.Module]:
    return [nn.LayerNorm(32) for _ in range(count)]


def named(*numbers: int, of: str = "blocks") -> list[str]:
    return [f"{of}.{number}" for number in numbers]


TOWERS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "one kind": (lambda: Tower(Mixed(), Mixed()), named(0, 1)),
    "a longer head of linear maps behind two kinds of blocks": (
        lambda: Beside([Mixed(), Other()], linear(8), "behind"),
        named(0, 1),
    ),
    "a longer stem of linear maps": (
        lambda: Beside([Mixed(), Mixed()], linear(8), "before"),
        named(0, 1),
    ),
    "a pruned block": (
        lambda: Beside([Mixed(), nn.Identity(), Mixed()], linear(2), "behind"),
        named(0, 1, 2),
    ),
    "all blocks but one pruned": (
        lambda: Tower(nn.Identity(), Mixed(), nn.Identity()),
        named(0, 1, 2),
    ),
    "eight norms beside four blocks": (
        lambda: Beside([Mixed(), Other(), Mixed(), Other()], norms(8), "between"),
        named(0, 1, 2, 3),
    ),
    "adapters in a list": (
        lambda: Beside(
            [Mixed(), Other()],
            [nn.Sequential(nn.Linear(32, 4), nn.GELU(), nn.Linear(4, 32)) for _ in range(4)],
            "between",
        ),
        named(0, 1),
    ),
    "blocks that add nothing as yet": (
        lambda: Beside([silent(), silent()], linear(3), "behind"),
        named(0, 1),
    ),
    "a list around the list": (lambda: Around(Mixed(), Other()), named(0, 1, of="layers.0")),
    "a list around one block": (lambda: Around(Mixed()), named(0, of="layers.0")),
    "branches inside": (lambda: Tower(Branching(4), Branching(4)), named(0, 1)),
    "the last block first": (lambda: Backwards(Mixed(), Mixed()), named(1, 0)),
    "nothing that mixes tokens": (lambda: Tower(*linear(3)), named(0, 1, 2)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", TOWERS)
def test_the_blocks_are_the_list_that_mixes_tokens(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    make, expected = TOWERS[name]
    model = make().to(dtype)
    assert find_blocks(model, model, IDS) == expected


def test_the_blocks_of_a_model_with_layers_of_two_kinds_and_lists_of_adapters() -> None:
    config = transformers.Zamba2Config(
        **DECODER | {"num_hidden_layers": 4, "num_key_value_heads": 4},
        layers_block_type=["mamba", "hybrid"] * 2,
        mamba_d_state=8,
        n_mamba_heads=2,
        mamba_expand=2,
        num_mem_blocks=1,
        use_shared_attention_adapter=True,
        adapter_rank=4,
    )
    model = build(config, torch.float32)
    found = find_blocks(model, lambda ids: model(ids).last_hidden_state, IDS)
    assert found == named(0, 1, 2, 3, of="layers")


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "two lists with as many": (
        lambda: Beside([Mixed(), Mixed()], [Other(), Other()], "behind"),
        "they may be blocks (2 x Mixed), of which 2 mix tokens; or more (2 x Other), of which 2",
    ),
    "nothing that mixes tokens": (
        lambda: Beside(linear(2), linear(8), "behind"),
        "they may be blocks (2 x Linear), of which 0 mix tokens; or more (8 x Linear), of which 0",
    ),
    "a block that runs twice": (
        lambda: Tower(*[Mixed()] * 2),
        "in blocks (1 x Mixed), blocks.0 runs 2 times",
    ),
    "branches alone": (
        lambda: Beside([nn.Embedding(2, 2)], [Branch() for _ in range(3)], "branches"),
        "they may be more (3 x Branch), of which 3 mix tokens",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tower_whose_blocks_are_in_doubt_is_refused_with_the_candidates(name: str) -> None:
    torch.manual_seed(0)
    make, reason = REFUSED[name]
    model = make()
    if name == "branches alone":
        model.blocks = nn.ModuleList()
    with pytest.raises(EncoderError) as refused:
        find_blocks(model, model, IDS)
    assert reason in str(refused.value)
    assert "negtrace.wrap(module, tokenizer, blocks=[...])" in str(refused.value)


def test_the_search_leaves_no_hook_and_no_mode_behind() -> None:
    model = Beside([Mixed(), Other()], linear(8), "behind").train()
    before = model(IDS)
    find_blocks(model, model, IDS)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(model(IDS), before, rtol=0, atol=0)


def test_blocks_that_are_named_are_taken_as_they_are_named() -> None:
    model = Beside([Mixed(), Mixed()], [Other(), Other()], "behind")
    with pytest.raises(EncoderError, match="they may be"):
        wrap(model, word_tokenizer())
    assert wrap(model, word_tokenizer(), blocks=named(0, 1)).layers == ("embed", *named(0, 1))
