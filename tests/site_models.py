"""Small text models with every kind of token mixer, and the sites that their code shows by hand.

The sites were read in the modelling code of transformers and torch: the module whose output is
added to the residual stream, and the linear map that the heads enter side by side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
import transformers
from small_models import TEXT, build
from torch import Tensor, nn

IDS = torch.tensor([[2, 5, 6, 7, 8, 9, 10, 11, 3]])
SIZES = {k: v for k, v in TEXT.items() if k != "max_position_embeddings"} | {"vocab_size": 120}
ENCODER = {**TEXT, "vocab_size": 120, "pad_token_id": 0}
DECODER = {
    **SIZES,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


@dataclass(frozen=True, kw_only=True)
class Sites:
    """Sites of one kind of block, by names inside the block; None where there is none."""

    norm: str | None
    attn_out: str | None = None
    mlp_out: str | None = None
    head: str | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """A small model, its blocks, and the sites of each of them."""

    make: Callable[[], nn.Module]
    blocks: str
    """Name of a block, with {} for its number."""
    sites: Sequence[Sites]
    values: Callable[[nn.Module, Tensor], Tensor] | None = None
    """Values of a block, [row, head, token, dim], where attention runs in small steps."""


BERT = Sites(
    norm="post",
    attn_out="attention.output.dense",
    mlp_out="output.dense",
    head="attention.output.dense",
)
LLAMA = Sites(norm="pre", attn_out="self_attn", mlp_out="mlp", head="self_attn.o_proj")
CLIP = Sites(norm="pre", attn_out="self_attn", mlp_out="mlp", head="self_attn.out_proj")
NORMED = Sites(
    norm="pre",
    attn_out="post_attention_layernorm",
    mlp_out="post_feedforward_layernorm",
    head="self_attn.o_proj",
)
NO_HEADS = Sites(norm="pre", attn_out="self_attn", mlp_out="mlp")
FEED_FORWARD = Sites(norm="pre", mlp_out="feed_forward")


def of(name: str, kind: type | None = None, **options: object) -> Callable[[], nn.Module]:
    """Return a maker of a model of a configuration's name, of a class or of the base class."""
    auto = SimpleNamespace(from_config=kind) if kind else transformers.AutoModel
    return lambda: build(transformers.CONFIG_MAPPING[name](**options), torch.float32, auto)


def split(states: Tensor) -> Tensor:
    """Return [row, token, width] as [row, head, token, dim] of four heads."""
    return states.unflatten(-1, (4, -1)).transpose(1, 2)


CASES: dict[str, Case] = {
    "bert": Case(make=of("bert", **ENCODER), blocks="encoder.layer.{}", sites=[BERT] * 3),
    "roberta": Case(make=of("roberta", **ENCODER), blocks="encoder.layer.{}", sites=[BERT] * 3),
    # Its self-attention joins half of the heads to a convolution of the same input.
    "convbert": Case(
        make=of("convbert", **ENCODER, embedding_size=32),
        blocks="encoder.layer.{}",
        sites=[Sites(norm="post", mlp_out="output.dense")] * 3,
    ),
    "deberta-v2": Case(
        make=of(
            "deberta-v2",
            **ENCODER,
            relative_attention=True,
            position_buckets=8,
            pos_att_type=["c2p", "p2c"],
            share_att_key=True,
            type_vocab_size=0,
            position_biased_input=False,
        ),
        blocks="encoder.layer.{}",
        sites=[BERT] * 3,
        values=lambda block, states: split(block.attention.self.value_proj(states)),
    ),
    "clip": Case(
        make=of("clip_text_model", **ENCODER, eos_token_id=3),
        blocks="encoder.layers.{}",
        sites=[CLIP] * 3,
    ),
    "siglip": Case(
        make=of(
            "siglip_text_model",
            transformers.SiglipTextModel,
            **ENCODER,
            projection_size=32,
            bos_token_id=2,
            eos_token_id=3,
        ),
        blocks="encoder.layers.{}",
        sites=[CLIP] * 3,
    ),
    "gpt2": Case(
        make=of("gpt2", vocab_size=120, n_embd=32, n_layer=3, n_head=4),
        blocks="h.{}",
        sites=[Sites(norm="pre", attn_out="attn", mlp_out="mlp", head="attn.c_proj")] * 3,
    ),
    "llama": Case(make=of("llama", **DECODER), blocks="layers.{}", sites=[LLAMA] * 3),
    "mixtral": Case(
        make=of("mixtral", **DECODER, num_local_experts=4, num_experts_per_tok=2),
        blocks="layers.{}",
        sites=[LLAMA] * 3,
    ),
    # Attention and MLP read one norm, and both are added to the block's input.
    "cohere": Case(make=of("cohere", **DECODER), blocks="layers.{}", sites=[LLAMA] * 3),
    # What is added to the stream has been through a norm: the norm belongs to the write.
    "olmo2": Case(make=of("olmo2", **DECODER), blocks="layers.{}", sites=[NORMED] * 3),
    "gemma2": Case(
        make=of("gemma2", **DECODER, head_dim=8),
        blocks="layers.{}",
        sites=[NORMED] * 3,
        values=lambda block, states: (
            block.self_attn.v_proj(block.input_layernorm(states))
            .unflatten(-1, (2, -1))
            .transpose(1, 2)
            .repeat_interleave(2, dim=1)
        ),
    ),
    # BLOOM and MPT add the residual inside their attention and MLP modules.
    "bloom": Case(
        make=of("bloom", vocab_size=120, hidden_size=32, n_layer=3, n_head=4),
        blocks="h.{}",
        sites=[
            Sites(
                norm="pre",
                attn_out="self_attention.dense",
                mlp_out="mlp.dense_4h_to_h",
                head="self_attention.dense",
            )
        ]
        * 3,
        values=lambda block, states: (
            block.self_attention.query_key_value(block.input_layernorm(states))
            .unflatten(-1, (4, 3, -1))[..., 2, :]
            .transpose(1, 2)
        ),
    ),
    "mpt": Case(
        make=of("mpt", vocab_size=120, d_model=32, n_layers=3, n_heads=4, max_seq_len=64),
        blocks="blocks.{}",
        sites=[Sites(norm="pre", attn_out="attn", mlp_out="ffn.down_proj", head="attn.out_proj")]
        * 3,
        values=lambda block, states: split(block.attn.Wqkv(block.norm_1(states)).chunk(3, -1)[2]),
    ),
    # Parallel; the block writes attention into the output of its MLP in place.
    "falcon": Case(
        make=of(
            "falcon",
            **SIZES,
            alibi=False,
            new_decoder_architecture=True,
            num_kv_heads=2,
            bos_token_id=2,
            eos_token_id=3,
        ),
        blocks="h.{}",
        sites=[
            Sites(norm="pre", attn_out="self_attention", mlp_out="mlp", head="self_attention.dense")
        ]
        * 3,
    ),
    "t5": Case(
        make=of(
            "t5",
            transformers.T5EncoderModel,
            vocab_size=120,
            d_model=32,
            d_kv=6,
            d_ff=64,
            num_layers=3,
            num_heads=4,
        ),
        blocks="encoder.block.{}",
        sites=[
            Sites(
                norm="pre",
                attn_out="layer.0.SelfAttention",
                mlp_out="layer.1.DenseReluDense",
                head="layer.0.SelfAttention.o",
            )
        ]
        * 3,
    ),
    # A norm over all heads, a difference of two attentions, a gate: not the heads' own outputs.
    "bitnet": Case(make=of("bitnet", **DECODER), blocks="layers.{}", sites=[NO_HEADS] * 3),
    "diffllama": Case(make=of("diffllama", **DECODER), blocks="layers.{}", sites=[NO_HEADS] * 3),
    "qwen3_next": Case(
        make=of(
            "qwen3_next",
            **{**DECODER, **EXPERTS, "num_hidden_layers": 2, "head_dim": 8},
            shared_expert_intermediate_size=16,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            layer_types=["linear_attention", "full_attention"],
        ),
        blocks="layers.{}",
        sites=[Sites(norm="pre", mlp_out="mlp"), NO_HEADS],
    ),
    "lfm2": Case(
        make=of(
            "lfm2",
            **DECODER,
            layer_types=["conv", "full_attention", "conv"],
            block_auto_adjust_ff_dim=False,
        ),
        blocks="layers.{}",
        sites=[
            FEED_FORWARD,
            Sites(
                norm="pre",
                attn_out="self_attn",
                mlp_out="feed_forward",
                head="self_attn.out_proj",
            ),
            FEED_FORWARD,
        ],
    ),
    "bamba": Case(
        make=of("bamba", **DECODER, **MAMBA, attn_layer_indices=[1]),
        blocks="layers.{}",
        sites=[
            FEED_FORWARD,
            Sites(
                norm="pre", attn_out="self_attn", mlp_out="feed_forward", head="self_attn.o_proj"
            ),
            FEED_FORWARD,
        ],
    ),
    "recurrent_gemma": Case(
        make=of(
            "recurrent_gemma",
            **{**DECODER, "num_key_value_heads": 1},
            lru_width=32,
            attention_window_size=64,
            block_types=["recurrent", "recurrent", "attention"],
        ),
        blocks="layers.{}",
        sites=[
            Sites(norm="pre", mlp_out="mlp_block"),
            Sites(norm="pre", mlp_out="mlp_block"),
            Sites(
                norm="pre",
                attn_out="temporal_block",
                mlp_out="mlp_block",
                head="temporal_block.o_proj",
            ),
        ],
    ),
    "xlstm": Case(
        make=of("xlstm", vocab_size=120, hidden_size=128, num_blocks=1, num_heads=4),
        blocks="blocks.{}",
        sites=[Sites(norm="pre", mlp_out="ffn")],
    ),
    "mamba": Case(
        make=of("mamba", vocab_size=120, hidden_size=32, num_hidden_layers=2, state_size=8),
        blocks="layers.{}",
        sites=[Sites(norm=None)] * 2,
    ),
    # Its second sublayer shifts tokens: no MLP. The first block has a norm of its own.
    "rwkv": Case(
        make=of(
            "rwkv", vocab_size=120, hidden_size=32, num_hidden_layers=2, attention_hidden_size=32
        ),
        blocks="blocks.{}",
        sites=[Sites(norm=None), Sites(norm="pre")],
    ),
}


class Tower(nn.Module):
    """A text tower of given blocks."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Embedding(120, 32)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embed(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


def tower(make: Callable[[], nn.Module], count: int = 2) -> Callable[[], nn.Module]:
    """Return a maker of a tower of equal blocks with random weights."""

    def build_tower() -> nn.Module:
        torch.manual_seed(0)
        return Tower(*(make() for _ in range(count))).eval()

    return build_tower


class Attention(nn.Module):
    """Four heads of attention in small steps, as `how` says.

    `plain`: the heads go side by side into the projection. `gated`: each is multiplied by a gate.
    `in place`: the same, written over the heads. `talking`: the heads are mixed. `linear`: no
    softmax over tokens. `columns`: a softmax over queries. `interleaved`: the numbers of a head
    are not neighbours. `einsum`: the products are Einstein sums. `features`: linear attention,
    whose softmax is over the 8 features of a query; `nine features` are as many as tokens. `both`:
    that beside plain attention. `signed`: weights of both signs. `sink`: weights that sum to less
    than 1. `memory`: two more keys, which belong to no token. `window`: three tokens alone.
    """

    def __init__(self, how: str = "plain") -> None:
        super().__init__()
        self.how = how
        self.qkv = nn.Linear(32, 96)
        self.gate = nn.Linear(32, 32)
        self.talk = nn.Linear(4, 4)
        self.out = nn.Linear(32, 32)

    def forward(self, states: Tensor) -> Tensor:
        query, key, value = (split(part) for part in self.qkv(states).chunk(3, -1))
        scores = query @ key.transpose(-1, -2) / 8**0.5
        weights = scores.softmax(-2 if self.how == "columns" else -1)
        weights = scores if self.how == "linear" else weights
        if self.how == "sink":
            weights = nn.functional.pad(scores, (0, 1)).softmax(-1)[..., :-1]
        if self.how == "signed":
            weights = weights - 0.5 * scores.square().softmax(-1)
        if self.how == "window":
            token = torch.arange(scores.shape[-1])
            far = (token[:, None] - token).abs() > 1
            weights = scores.masked_fill(far, -torch.inf).softmax(-1)
        if self.how == "memory":
            key, value = (nn.functional.pad(part, (0, 0, 2, 0), value=0.5) for part in (key, value))
            weights = (query @ key.transpose(-1, -2)).softmax(-1)
        if self.how == "einsum":
            heads = torch.einsum("bhqk,bhkd->bqhd", weights, value)
        else:
            heads = (weights @ value).transpose(1, 2)
        if self.how == "talking":
            heads = self.talk(heads.transpose(-1, -2)).transpose(-1, -2)
        if self.how == "interleaved":
            heads = torch.einsum("bhqk,bhkd->bqdh", weights, value)
        if "features" in self.how or self.how == "both":
            plain = heads if self.how == "both" else 0
            if self.how == "nine features":
                query, key = (nn.functional.pad(part, (0, 1), value=0.5) for part in (query, key))
            context = key.softmax(-2).transpose(-1, -2) @ value
            heads = plain + (query.softmax(-1) @ context).transpose(1, 2)
        if self.how == "in place":
            heads *= self.gate(states).sigmoid().unflatten(-1, (4, -1))
        self.side = side = heads.flatten(2)
        return self.out(side * self.gate(states).sigmoid() if self.how == "gated" else side)


class Unused(nn.Module):
    """Attention whose output is thrown away, as `drop` says, or no attention at all."""

    def __init__(self, *, drop: bool) -> None:
        super().__init__()
        self.attend = Attention() if drop else nn.Identity()
        self.inner = nn.Linear(32, 32)

    def forward(self, states: Tensor) -> Tensor:
        self.attend(states)
        return self.inner(states).tanh()


class Router(nn.Module):
    """An MLP of experts, weighted for each token by a softmax, by one product for all."""

    def __init__(self) -> None:
        super().__init__()
        self.route = nn.Linear(32, 12)
        self.experts = nn.Parameter(torch.randn(12, 32))

    def forward(self, states: Tensor) -> Tensor:
        return self.route(states).softmax(-1) @ self.experts


class Shift(nn.Module):
    """An MLP that also reads the token that is `distance` before, or behind if it is negative."""

    def __init__(self, distance: int = 1) -> None:
        super().__init__()
        self.inner = nn.Linear(32, 32)
        self.distance = distance

    def forward(self, states: Tensor) -> Tensor:
        other = torch.zeros_like(states)
        if self.distance > 0:
            other[:, self.distance :] = states[:, : -self.distance]
        else:
            other[:, : self.distance] = states[:, -self.distance :]
        return self.inner(states + other).tanh()


class ShiftedAttention(Attention):
    """Attention that adds the state of the second token before, past its softmax."""

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states) + states.roll(2, dims=1)


class Scale(nn.Module):
    """A factor for every number of a state, 0 before training."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(32))

    def forward(self, states: Tensor) -> Tensor:
        return states * self.factor


class Mixed(nn.Module):
    """Any attention and any MLP, in a pre-norm block whose order `how` says.

    `serial`: attention first. `first`: the MLP first. `beside`: both read one norm, the MLP runs
    first. `in place`: attention and MLP are added to the block's own input. `leak`: the MLP reads
    the heads as well.
    """

    def __init__(
        self, attention: nn.Module | None = None, mlp: nn.Module | None = None, how: str = "serial"
    ) -> None:
        super().__init__()
        self.how = how
        self.norm = nn.LayerNorm(32)
        self.attention = attention or Attention()
        self.mlp = mlp or nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, states: Tensor) -> Tensor:
        if self.how == "beside":
            normed = self.norm(states)
            mlp = self.mlp(normed)
            return states + mlp + self.attention(normed)
        if self.how == "first":
            states = states + self.mlp(states)
            return states + self.attention(self.norm(states))
        if self.how == "in place":
            states += self.attention(self.norm(states))
            states += self.mlp(self.norm(states))
            return states
        states = states + self.attention(self.norm(states))
        leak = self.attention.side if self.how == "leak" else 0
        return states + self.mlp(states + leak)


class Convolution(nn.Module):
    """A convolution over tokens, and an output projection."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.out = nn.Conv1d(32, 32, 3, padding=1), nn.Linear(32, 32)

    def forward(self, states: Tensor) -> Tensor:
        return self.out(self.mix(states.transpose(1, 2)).transpose(1, 2))


def silenced(block: Mixed) -> Mixed:
    """Return a block that adds nothing as yet: its output projections are 0."""
    for layer in (block.attention.out, block.mlp[-1]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return block


def silent() -> Mixed:
    return silenced(Mixed())


def scaled() -> nn.Module:
    """Return a block whose parts are multiplied by 0 as yet."""
    mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32), Scale())
    return Mixed(nn.Sequential(Attention(), Scale()), mlp)


class Adapted(Mixed):
    """A block with an adapter beside its MLP that adds nothing as yet."""

    def __init__(self) -> None:
        super().__init__()
        self.adapter = Scale()

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states) + self.adapter(states)


def shared() -> nn.Module:
    """Return a block that runs one module twice, so that a hook on it would act twice."""
    module = Unused(drop=False)
    return Mixed(module, module)


class OpenClipBlock(nn.Module):
    """The block of open_clip: PyTorch's attention without weights, then an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(32)
        self.attn = nn.MultiheadAttention(32, 4, batch_first=True)
        self.ln_2 = nn.LayerNorm(32)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    def forward(self, states: Tensor) -> Tensor:
        normed = self.ln_1(states)
        states = states + self.attn(normed, normed, normed, need_weights=False)[0]
        return states + self.mlp(self.ln_2(states))


def layer(*, norm_first: bool) -> Callable[[], nn.Module]:
    return lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=norm_first)


WHOLE = Sites(norm="pre", attn_out="attention", mlp_out="mlp", head="attention.out")
BEHIND = Sites(norm="pre", attn_out="attention", head="attention.out")
HEADLESS = Sites(norm="pre", attn_out="attention", mlp_out="mlp")
ALONE = Sites(norm="pre", mlp_out="mlp")

TOWERS: dict[str, tuple[Callable[[], nn.Module], Sites]] = {
    "fast path": (
        tower(layer(norm_first=False)),
        Sites(norm="post", attn_out="self_attn", mlp_out="linear2"),
    ),
    "fast path, norm first": (
        tower(layer(norm_first=True)),
        Sites(norm="pre", attn_out="self_attn", mlp_out="linear2"),
    ),
    "open_clip": (tower(OpenClipBlock), Sites(norm="pre", attn_out="attn", mlp_out="mlp")),
    "plain": (tower(Mixed), WHOLE),
    "mlp first": (tower(lambda: Mixed(how="first")), BEHIND),
    "mlp beside": (tower(lambda: Mixed(how="beside")), BEHIND),
    "leak": (tower(lambda: Mixed(how="leak")), BEHIND),
    "mixing twice": (tower(lambda: Mixed(mlp=Attention())), BEHIND),
    "in place": (tower(lambda: Mixed(how="in place")), WHOLE),
    "einsum": (tower(lambda: Mixed(Attention("einsum"))), WHOLE),
    "gated": (tower(lambda: Mixed(Attention("gated"))), HEADLESS),
    "gated in place": (tower(lambda: Mixed(Attention("in place"))), HEADLESS),
    "talking": (tower(lambda: Mixed(Attention("talking"))), HEADLESS),
    "linear": (tower(lambda: Mixed(Attention("linear"))), Sites(norm="pre", mlp_out="mlp")),
    "shared": (tower(shared), Sites(norm=None)),
    "columns": (tower(lambda: Mixed(Attention("columns"))), Sites(norm="pre", mlp_out="mlp")),
    "thrown away": (
        tower(lambda: Mixed(Unused(drop=True))),
        Sites(norm="pre", mlp_out="mlp"),
    ),
    "two mlps": (tower(lambda: Mixed(Unused(drop=False))), Sites(norm="pre", mlp_out="mlp")),
    "router": (tower(lambda: Mixed(mlp=Router())), WHOLE),
    "router first": (tower(lambda: Mixed(Router())), Sites(norm="pre", mlp_out="mlp")),
    "shift": (tower(lambda: Mixed(mlp=Shift())), BEHIND),
    **{
        f"shift by {distance}": (tower(lambda d=distance: Mixed(mlp=Shift(d))), BEHIND)
        for distance in (2, 3, 4, 5, 6, 7, 8, -1, -2, -3)
    },
    "shifted attention": (tower(lambda: Mixed(ShiftedAttention())), ALONE),
    "features": (tower(lambda: Mixed(Attention("features"))), ALONE),
    "nine features": (tower(lambda: Mixed(Attention("nine features"))), ALONE),
    "both": (tower(lambda: Mixed(Attention("both"))), ALONE),
    "signed": (tower(lambda: Mixed(Attention("signed"))), ALONE),
    "sink": (tower(lambda: Mixed(Attention("sink"))), WHOLE),
    "memory": (tower(lambda: Mixed(Attention("memory"))), WHOLE),
    "window": (tower(lambda: Mixed(Attention("window"))), WHOLE),
    "silent": (tower(silent), WHOLE),
    "scaled": (
        tower(scaled),
        Sites(norm="pre", attn_out="attention", mlp_out="mlp", head="attention.0.out"),
    ),
    "silent linear attention": (tower(lambda: silenced(Mixed(Attention("features")))), ALONE),
    "silent convolution": (tower(lambda: silenced(Mixed(Convolution()))), ALONE),
    "silent adapter": (tower(Adapted), WHOLE),
}
"""Towers of equal blocks, and the sites of each block."""
