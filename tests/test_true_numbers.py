"""Towers that break an assumption of a fast route: their numbers are those of plain forwards."""

import threading
from typing import NamedTuple

import numpy as np
import pytest
import torch
import transformers
from small_encoders import clip, oracle
from small_models import build, word_tokenizer
from torch import nn

import negtrace
from negtrace.encoders.base import Encoder
from negtrace.encoders.call_layout import measured_layout
from negtrace.encoders.hooks import evaluating
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel
from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.huggingface.text import TextEncoder
from negtrace.encoders.wrap import wrap
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.results.cte import CTE
from negtrace.tracing.begun import begun_trace
from negtrace.tracing.config import TraceConfig
from negtrace.tracing.corruptions.base import corruption_named
from negtrace.tracing.trace import trace

WIDTH = 16
SIDE = ("side", "side in a list", "side by name")
"""Kinds of blocks that hand more than their hidden states to the next one."""
PAIR = Pair(
    true="There is no effusion.",
    false="There is some effusion.",
    anchor=Anchor(text="The lungs are clear."),
)


class Returned(NamedTuple):
    """What a block returns by name."""

    hidden: torch.Tensor
    more: torch.Tensor


class Block(nn.Module):
    """A pre-norm block whose attention takes what the tower hands over."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.norm, self.read = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)
        self.write, self.mlp = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: torch.Tensor, given: object = None) -> object:
        query, key, value = self.read(self.norm(hidden)).chunk(3, dim=-1)
        if self.kind == "table":  # [token, width], as a rotary table
            query, key = query * given, key * given
        mask = given if self.kind == "mask" else None
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        written = self.write(attended)
        if self.kind == "in place":
            hidden += written
            hidden += torch.tanh(self.mlp(hidden))
            return hidden
        hidden = hidden + written
        if self.kind in SIDE and given is not None:
            hidden = hidden + torch.tanh(given)
        more = self.mlp(hidden)
        if self.kind not in SIDE:
            return hidden + more
        returned = Returned(hidden + torch.tanh(more), more)
        kinds = {"side": tuple, "side in a list": list}
        return kinds[self.kind](returned) if self.kind in kinds else returned


class Tower(nn.Module):
    """Three blocks; each kind hands them something that a shape alone does not explain."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embed, self.places = nn.Embedding(120, WIDTH), nn.Embedding(80, WIDTH)
        self.blocks = nn.ModuleList(Block(kind) for _ in range(3))
        self.between = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        count = ids.shape[1]
        place = torch.arange(count)
        hidden = self.embed(ids) + self.places(place)
        given = {
            "mask": torch.ones(count, count, dtype=torch.bool).tril(),
            "table": torch.cos(place[:, None] * torch.linspace(0, 1, WIDTH)).to(hidden),
        }.get(self.kind)
        for number, block in enumerate(self.blocks):
            if self.kind == "between" and number == 1:
                hidden = hidden + self.between(hidden.transpose(1, 2)).transpose(1, 2)
            output = block(hidden, given)
            if self.kind == "side by name":
                hidden, given = output.hidden, output.more
            else:
                hidden, given = output if self.kind in SIDE else (output, given)
        return hidden


def tower(kind: str, read_out: str = "mean") -> Encoder:
    torch.manual_seed(0)
    model = Tower(kind).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    return wrap(model, word_tokenizer(), read_out=read_out, name=kind)


def of_length(tokens: int) -> Pair:
    """Return a pair whose statements have so many tokens: 7, or more."""
    words = "lungs " * (tokens - 7)
    return Pair(
        true=f"There is no {words}effusion.",
        false=f"There is some {words}effusion.",
        anchor=Anchor(text="The lungs are clear."),
    )


def largest_gap(encoder: Encoder, pair: Pair, direction: str, **options: object) -> float:
    """Return the largest gap between a trace and the oracle, as a share of |d|."""
    cte = trace(encoder, [pair], direction=direction, progress=False, **options)
    true, false = encoder.tokenize_against([pair.true, pair.false], [pair.anchor] * 2)
    [contrast] = corruption_named("swap").contrasts(pair, true, false, encoder)
    with torch.inference_mode():
        [anchor] = encoder.embed_anchors([pair.anchor])
    expected = oracle(encoder, contrast, anchor, direction)
    return float(np.nanmax(np.abs(cte.patched[0, 0] - expected)) / abs(cte.d[0]))


@pytest.mark.parametrize("kind", ["mask", "table", *SIDE, "in place", "between"])
@pytest.mark.parametrize("read_out", ["mean", "last"])
@pytest.mark.parametrize(
    ("tokens", "row_tokens"), [(7, 49), (7, 4096), (64, 4096)], ids=["square", "short", "long"]
)
def test_what_a_shape_does_not_explain_is_measured(
    kind: str, read_out: str, tokens: int, row_tokens: int
) -> None:
    """`square`: as many rows run as there are tokens."""
    encoder = tower(kind, read_out)
    for direction in ("denoising", "noising"):
        assert largest_gap(encoder, of_length(tokens), direction, row_tokens=row_tokens) < 1e-9


def test_the_input_of_a_block_is_not_always_the_output_of_the_block_before() -> None:
    encoder = tower("between")
    cte = trace(encoder, [PAIR], sites=["resid", "resid_pre"], progress=False)
    own, before = cte.patched[0, 1, 2], cte.patched[0, 0, 1]
    assert np.abs(own - before).max() > 1e-3 * abs(cte.d[0])
    assert cte.provenance.config["self_check"]["largest_gap"] < 1e-9


def decoder(config: transformers.PretrainedConfig, dtype: torch.dtype) -> CausalLanguageModel:
    prompt = negtrace.Prompt(
        template="{anchor} Is {statement} true? Answer:", answers=(" yes", " no")
    )
    return CausalLanguageModel(
        build(config, dtype, transformers.AutoModelForCausalLM),
        word_tokenizer(),
        name="lm",
        prompt=prompt,
    )


SIZES = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
KEYS = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0}
DECODERS = {
    "soft cap and window": lambda: transformers.Gemma2Config(
        **KEYS, head_dim=8, sliding_window=8, attn_logit_softcapping=2.0
    ),
    "convolution": lambda: transformers.Lfm2Config(
        **KEYS, layer_types=["conv", "full_attention", "conv"]
    ),
    "linear bias by head": lambda: transformers.BloomConfig(
        vocab_size=120, hidden_size=32, n_layer=3, n_head=4
    ),
    "bias table": lambda: transformers.MptConfig(
        d_model=32, n_heads=4, n_layers=3, vocab_size=120, max_seq_len=64
    ),
    "parallel": lambda: transformers.FalconConfig(
        **SIZES, new_decoder_architecture=True, num_kv_heads=2
    ),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("tokens", [7, 30])
def test_a_decoder_with_its_own_attention_gives_the_numbers_of_plain_forwards(
    name: str, tokens: int
) -> None:
    encoder = decoder(DECODERS[name](), torch.float64)
    assert encoder.causal
    assert largest_gap(encoder, of_length(tokens), "denoising") < 1e-9


def test_a_mixture_of_experts_is_causal_up_to_rounding() -> None:
    encoder = decoder(transformers.MixtralConfig(**KEYS, num_local_experts=4), torch.float32)
    assert encoder.causal
    assert negtrace.check(encoder).passed


@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_a_tower_that_holds_tokens_first_is_traced(direction: str) -> None:
    config = transformers.XLNetConfig(vocab_size=120, d_model=32, n_layer=3, n_head=4, d_inner=64)
    model = build(config, torch.float64)
    encoder = wrap(model, word_tokenizer(), name="xlnet")
    assert encoder.row_axis == 1
    assert largest_gap(encoder, of_length(12), direction) < 1e-9


def test_the_read_out_is_that_of_each_statement() -> None:
    """CLIP with `eos_token_id` 2 reads at the largest id, which need not be the last token."""
    encoder = clip(torch.float64)
    encoder.model.config.text_config.eos_token_id = 2
    encoder.model.text_model.eos_token_id = 2
    words = word_tokenizer()
    largest = 119

    def with_largest(statement: str, **options: object) -> object:
        output = words(statement, **options)
        wanted = words.convert_tokens_to_ids("effusion")
        output["input_ids"] = [
            largest if i == wanted else 100 if i == 3 else i for i in output["input_ids"]
        ]
        return output

    with_largest.is_fast = True
    read_anywhere = DualEncoder(encoder.model, with_largest, None, name="clip")
    [tokens] = read_anywhere.located(read_anywhere.tokenize([PAIR.true]))
    assert tokens.read_out == tokens.ids.index(largest) < len(tokens) - 1
    assert largest_gap_located(read_anywhere, tokens.read_out) < 1e-9

    rows: list[int] = []
    with read_anywhere.blocks[0].register_forward_hook(lambda *call: rows.append(len(call[-1]))):
        ran = []
        for statements in ([PAIR.true], [PAIR.true] * 5):
            located = read_anywhere.located(read_anywhere.tokenize(statements))
            assert located == [tokens] * len(statements)
            ran.append(sum(rows))
            rows.clear()
    assert ran[0] == ran[1]  # equal statements are measured once


def test_what_runs_beside_attention_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state space beside attention carries more than keys and values from token to token."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 120}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    states = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}
    ends = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = transformers.FalconH1Config(**sizes, **heads, **states, **ends, mamba_d_ssm=64)
    encoder = CausalLanguageModel(
        build(config, torch.float64, transformers.AutoModelForCausalLM),
        word_tokenizer(),
        name="hybrid",
    )
    clause = "The heart is of normal size, and the lungs are clear. " * 4
    pair = Pair(true=f"{PAIR.true} {clause}", false=f"{PAIR.false} {clause}", anchor=PAIR.anchor)
    with torch.inference_mode():
        agreement = begun_trace(encoder, [pair], TraceConfig(), progress=False).agreement
    assert not agreement.route.tail
    assert "by more than keys and values" in agreement.rejected["tail"]
    traced = trace(encoder, [pair], progress=False)
    monkeypatch.setattr(type(encoder), "prefix_attention", None)
    expected = trace(encoder, [pair], progress=False)
    np.testing.assert_allclose(traced.patched, expected.patched, rtol=1e-9, atol=1e-9)


def largest_gap_located(encoder: Encoder, read_out: int) -> float:
    cte = trace(encoder, [PAIR], progress=False)
    effect = (cte.patched[0, 0] - cte.corrupt[0]) / cte.d[0]
    return float(abs(effect[-1, read_out] - 1) + np.abs(np.delete(effect[-1], read_out)).max())


def test_weights_that_changed_give_another_digest_and_other_scores(
    tmp_path: pytest.TempPathFactory,
) -> None:
    encoder = clip()
    saved = tmp_path / "progress"
    first = trace(encoder, [PAIR], checkpoint=saved, progress=False)
    with torch.no_grad():
        encoder.model.logit_scale.add_(1)
        encoder.model.text_model.encoder.layers[0].mlp.fc1.weight.data.mul_(1.5)
    with pytest.raises(negtrace.errors.OutputError, match="weights_digest: "):
        trace(encoder, [PAIR], checkpoint=saved, progress=False)
    second = trace(encoder, [PAIR], progress=False)
    assert first.provenance.weights_digest != second.provenance.weights_digest
    assert second.clean[0] == trace(encoder, [PAIR], progress=False).clean[0]
    assert encoder.scale == pytest.approx(encoder.model.logit_scale.exp().item())


def test_threads_wait_for_each_other() -> None:
    encoder = TextEncoder(
        build(transformers.BertConfig(**SIZES, max_position_embeddings=64), torch.float64),
        word_tokenizer(),
        name="bert",
    )
    alone = trace(encoder, [PAIR], progress=False).patched
    results: list[CTE] = []

    def run() -> None:
        results.append(trace(encoder, [PAIR], progress=False))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for result in results:
        np.testing.assert_array_equal(result.patched, alone)


def test_encoders_over_parts_of_one_model_share_a_lock() -> None:
    whole = clip().model
    entered = threading.Event()

    def enter() -> None:
        with evaluating(whole.text_model):
            entered.set()

    with evaluating(whole):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


class Leaking(Tower):
    """A causal tower but for one thing that lets a token depend on those behind it."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        place = torch.arange(ids.shape[1])
        visible = place[:, None] >= place
        hidden = self.embed(ids) + self.places(place)
        if self.kind == "input":
            hidden = hidden + torch.tanh(hidden.mean(1, keepdim=True))
        if self.kind == "prefix":
            visible = visible | (place < 4)
        if self.kind == "short":
            visible = visible | (len(place) < 9)
        for block in self.blocks:
            block.kind = "mask"
            hidden = block(hidden, visible)
        return hidden


@pytest.mark.parametrize("kind", ["input", "prefix", "short"])
def test_a_token_before_the_first_difference_may_depend_on_it(kind: str) -> None:
    torch.manual_seed(0)
    model = Leaking(kind).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    encoder = wrap(model, word_tokenizer(), read_out="last", name=kind)
    assert encoder.causal == (kind != "prefix")
    for pair in (PAIR, of_length(12)):
        assert largest_gap(encoder, pair, "denoising") < 1e-9


class Failing(Tower):
    """A tower that fails for long statements."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if ids.shape[1] > 20:
            raise IndexError("too long for the table")
        return super().forward(ids)


def test_what_a_model_raises_becomes_an_error_that_names_the_module_and_the_way_out() -> None:
    encoder = wrap(Failing("plain").double().eval(), word_tokenizer(), name="mine")
    with pytest.raises(EncoderError, match=r"mine: while .*, Failing raised IndexError") as error:
        trace(encoder, [of_length(30)], progress=False)
    assert "encode=" in str(error.value)


class Noisy(Tower):
    """A tower that adds noise in eval mode."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = super().forward(ids)
        return hidden + 0.1 * torch.rand_like(hidden)


def test_a_model_that_gives_two_scores_for_one_input_is_refused() -> None:
    encoder = wrap(Noisy("plain").double().eval(), word_tokenizer(), name="noisy", read_out="last")
    with pytest.raises(EncoderError, match="do not agree with plain forwards"):
        trace(encoder, [PAIR], progress=False)
    cte = trace(encoder, [PAIR], progress=False, self_check=False)
    assert "self_check" not in cte.provenance.config


def test_threads_leave_the_setting_of_the_compiler_as_it_was() -> None:
    """Two threads are inside at once, and the first to enter is the first to leave."""
    compilations: list[object] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        compilations.append(graph)
        return graph.forward

    models = [nn.Linear(2, 2), nn.Linear(2, 2)]
    compiled = torch.compile(nn.Linear(2, 2), backend=backend)
    entered = threading.Event()

    def second() -> None:
        with evaluating(models[1]):
            entered.set()
            left.wait(10)

    left = threading.Event()
    thread = threading.Thread(target=second)
    with evaluating(models[0]):
        thread.start()
        assert entered.wait(10)
    compiled(torch.ones(1, 2))
    assert not compilations  # the second thread is still inside
    left.set()
    thread.join()
    compiled(torch.ones(1, 2))
    assert compilations


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_model_is_traced_as_its_own_code() -> None:
    config = transformers.BertConfig(**SIZES, max_position_embeddings=64)
    model = build(config, torch.float64)
    plain = trace(TextEncoder(model, word_tokenizer(), name="bert"), [PAIR], progress=False)
    compiled = TextEncoder(torch.compile(model), word_tokenizer(), name="bert")
    result = trace(compiled, [PAIR], progress=False)
    np.testing.assert_allclose(result.patched, plain.patched, atol=1e-12)


def test_rows_run_whole_where_the_calls_of_the_blocks_cannot_be_measured() -> None:
    """A block that is given [row, row] follows the rows on two axes."""

    class Paired(Tower):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.embed(ids)
            for block in self.blocks:
                hidden = block(hidden, torch.ones(len(ids), len(ids)))
            return hidden

    torch.manual_seed(0)
    encoder = wrap(Paired("plain").double().eval(), word_tokenizer(), name="paired")
    cte = trace(encoder, [PAIR], progress=False)
    compared = cte.provenance.config["self_check"]
    assert compared["route"] == "whole rows"
    assert compared["largest_gap"] < 1e-9


def test_calls_for_short_and_for_long_statements_are_known_side_by_side() -> None:
    """A block that is given a tensor for a long statement, and a list of it for a short one."""

    class Lengthwise(Tower):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden, given = self.embed(ids), torch.ones(len(ids), 1)
            for block in self.blocks:
                hidden = block(hidden, given if ids.shape[1] > 10 else [given])
            return hidden

    torch.manual_seed(0)
    encoder = wrap(Lengthwise("plain").double().eval(), word_tokenizer(), name="lengthwise")
    for tokens in (7, 12, 7):
        assert largest_gap(encoder, of_length(tokens), "denoising") < 1e-9
    assert {path for _, path, _ in encoder.call_layout.axes} >= {(0, 1), (0, 1, 0)}


class Last(nn.Module):
    """A block that returns its states alone, whatever it is given."""

    def forward(self, hidden: torch.Tensor, _: object) -> torch.Tensor:
        return hidden * 2


@pytest.mark.parametrize("kind", ["plain", *SIDE])
def test_a_block_that_returns_more_than_its_hidden_states_is_seen(kind: str) -> None:
    model = Tower(kind).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    layout = measured_layout([*model.blocks], model, ids)
    assert [layout.returns_more(block) for block in range(3)] == [kind in SIDE] * 3


def test_what_a_block_returns_is_told_from_what_others_return() -> None:
    model = Tower("plain").eval()
    more, alone = Block("side"), Last()

    def encode(ids: torch.Tensor) -> torch.Tensor:
        return alone(more(model.embed(ids))[0], [torch.ones(len(ids), 1)] * 2)

    layout = measured_layout([more, alone], encode, torch.tensor([[5, 6, 7, 8]]))
    assert (layout.returns_more(0), layout.returns_more(1)) == (True, False)
