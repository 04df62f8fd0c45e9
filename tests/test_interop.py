"""Other toolkits give the same numbers, and hand back the model as it came."""

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from small_encoders import TEXT, bert, build, clip, word_tokenizer
from torch import nn

import negtrace
from negtrace.encoders.base import Encoder
from negtrace.encoders.digests import weights_digest
from negtrace.errors import (
    EncoderError,
    NegtraceError,
    NegtraceWarning,
    SiteError,
    TraceError,
    UnknownNameError,
)
from negtrace.pairs.anchor import Anchor
from negtrace.results.cte import CTE
from negtrace.tracing.engines.bridge import from_bridge
from negtrace.tracing.engines.hooked_encoder import HookedEncoder, as_hooked
from negtrace.tracing.engines.nnsight import NNsight

PAIRS = negtrace.radiology_pairs()[:4]
SITES = ("resid", "resid_pre", "attn_out", "mlp_out", "head")

# The counters these tests hang on a model are hooks of their own, and a trace says so.
pytestmark = pytest.mark.filterwarnings("ignore:hooks of your own")


def gpt2_config() -> transformers.GPT2Config:
    return transformers.GPT2Config(
        n_embd=32,
        n_layer=3,
        n_head=4,
        n_positions=24,
        vocab_size=120,
        bos_token_id=2,
        eos_token_id=3,
    )


def gpt2(dtype: torch.dtype = torch.float32) -> Encoder:
    return negtrace.wrap(build(gpt2_config(), dtype), word_tokenizer(), read_out="last")


LAYOUTS: dict[str, Callable[[torch.dtype], Encoder]] = {"gpt2": gpt2, "bert": bert, "clip": clip}
METHODS = ("transformer_lens", "nnsight")
layouts = pytest.mark.parametrize("layout", LAYOUTS)
methods = pytest.mark.parametrize("method", METHODS)


def trace(encoder: Encoder, **options: Any) -> CTE:
    return negtrace.trace(encoder, PAIRS, progress=False, **options)


def hooked_trace(encoder: Encoder, **options: Any) -> CTE:
    """Trace an encoder whose model has a hook of the test's own, which negtrace reports."""
    with pytest.warns(NegtraceWarning, match="hooks of your own"):
        return trace(encoder, **options)


def assert_same(found: CTE, wanted: CTE, *, single: bool = False) -> None:
    """Raw scores to 1e-5 of the logit in single precision, ratios to 1e-9 in double."""
    assert found.ids == wanted.ids
    assert np.array_equal(np.isnan(found.patched), np.isnan(wanted.patched))
    d = np.abs(wanted.clean - wanted.corrupt)
    unit = 1e-5 * np.abs(wanted.clean) if single else 1e-9 * d
    assert np.all(np.abs(found.clean - wanted.clean) <= unit)
    assert np.all(np.abs(found.corrupt - wanted.corrupt) <= unit)
    gaps = np.nan_to_num(np.abs(found.patched - wanted.patched))
    assert np.all(gaps <= unit[:, None, None, None])


def state_of(model: nn.Module) -> object:
    """Everything a toolkit might leave behind on a model."""
    return (
        weights_digest(model),
        [
            (
                name,
                id(module),
                module.training,
                sorted(key for key in vars(module) if key != "_is_full_backward_hook"),
                len(module._forward_hooks),
                len(module._forward_pre_hooks),
                len(module._backward_hooks),
            )
            for name, module in model.named_modules()
        ],
        [
            (name, weight.requires_grad, weight.grad is None)
            for name, weight in model.named_parameters()
        ],
    )


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    before = state_of(model)
    yield
    assert state_of(model) == before


@methods
@layouts
@pytest.mark.parametrize("direction", ["denoising", "noising"])
@pytest.mark.parametrize(
    "options",
    [
        {"sites": SITES},
        {"positions": "role", "sites": ("resid", "attn_out")},
        {"corruption": "noise", "settings": {"samples": 2}},
    ],
    ids=["sites", "roles", "noise"],
)
def test_the_same_effect_in_float64(
    method: str, layout: str, direction: str, options: dict[str, Any]
) -> None:
    encoder = LAYOUTS[layout](torch.float64)
    wanted = trace(encoder, direction=direction, **options)
    with untouched(encoder.model):
        found = trace(encoder, direction=direction, method=method, **options)
    assert_same(found, wanted)


@methods
@layouts
def test_the_same_scores_in_float32(method: str, layout: str) -> None:
    encoder = LAYOUTS[layout](torch.float32)
    found, own = trace(encoder, method=method), trace(encoder)
    assert_same(found, own, single=True)
    assert found.provenance.config["sweeper"] == method
    assert own.provenance.config["sweeper"] is None


@methods
def test_it_aligns_statements_of_unequal_length(method: str) -> None:
    pair = negtrace.Pair(
        true="There is no evidence of pneumothorax.",
        false="There is some pneumothorax.",
        anchor=Anchor(text="The lungs are clear."),
    )
    encoder = gpt2(torch.float64)
    for direction in ("denoising", "noising"):
        options = {"direction": direction, "progress": False}
        wanted = negtrace.trace(encoder, [pair], **options)
        found = negtrace.trace(encoder, [pair], method=method, **options)
        assert_same(found, wanted)


@methods
def test_what_is_done_is_not_run_again(method: str, tmp_path: Path) -> None:
    encoder, progress = clip(), tmp_path / "progress.safetensors"
    whole = trace(encoder, method=method, checkpoint=progress)
    calls: list[int] = []
    handle = encoder.blocks[-1].register_forward_hook(lambda *_: calls.append(1))
    again = hooked_trace(encoder, method=method, checkpoint=progress)
    handle.remove()
    assert np.array_equal(again.patched, whole.patched, equal_nan=True)
    anchors = {pair.anchor for pair in PAIRS}
    lengths = {
        len(row) for row in encoder.tokenize([p.true for p in PAIRS] + [p.false for p in PAIRS])
    }
    # The anchors; where each statement is read: a plain forward and three of its end; both runs of
    # every batch, to see that they still have their scores, and three that learn the blocks' calls.
    # Once for all: an anchor alone, and two forwards to see that nothing bypasses the blocks.
    assert len(calls) <= len(anchors) + (4 + 2 + 3) * len(lengths) + 1 + 2


@methods
def test_the_model_is_untouched_after_an_exception(method: str) -> None:
    encoder = clip()
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        if len(calls) > 12:
            raise RuntimeError("out of memory")

    encoder.model.train()
    handle = encoder.blocks[1].register_forward_hook(fail)
    with untouched(encoder.model), pytest.raises(EncoderError, match="out of memory"):
        hooked_trace(encoder, method=method)
    handle.remove()


@methods
def test_a_site_the_model_lacks_is_refused(method: str) -> None:
    class Block(nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden * 2

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(120, 8)
            self.blocks = nn.ModuleList([Block(), Block()])

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.embed(ids)
            for block in self.blocks:
                hidden = block(hidden)
            return hidden

    encoder = negtrace.wrap(Tower(), word_tokenizer())
    found, own = trace(encoder, method=method), trace(encoder)
    assert_same(found, own, single=True)
    assert found.provenance.config["sweeper"] == method
    assert own.provenance.config["sweeper"] is None
    with pytest.raises(SiteError, match="attn_out"):
        trace(encoder, sites=["attn_out"], method=method)


def test_transformer_lens_has_no_windows_and_nnsight_has() -> None:
    encoder = clip(torch.float64)
    with pytest.raises(TraceError, match="one layer at a time"):
        trace(encoder, window=2, method="transformer_lens")
    options = {"window": 2, "sites": ("resid", "mlp_out")}
    assert_same(trace(encoder, method="nnsight", **options), trace(encoder, **options))


# The functions of transformer_lens.patching on an encoder


def hooked_pair(encoder: Encoder) -> tuple[HookedEncoder, torch.Tensor, torch.Tensor]:
    pair = PAIRS[0]
    hooked = as_hooked(encoder, pair.anchor)
    return hooked, hooked.to_tokens(pair.true), hooked.to_tokens(pair.false)


@layouts
def test_transformer_lens_patching_sweeps_an_encoder(layout: str) -> None:
    patching = import_module("transformer_lens.patching")
    encoder = LAYOUTS[layout](torch.float32)
    cte = negtrace.trace(
        encoder, PAIRS[:1], direction="denoising", sites=("resid", *SITES[2:]), progress=False
    )
    with untouched(encoder.model):
        hooked, clean, corrupt = hooked_pair(encoder)
        scores, cache = hooked.run_with_cache(clean)
        sweeps = {
            "resid": (patching.get_act_patch_resid_pre, cte.patched[0, 0, :-1]),
            "attn_out": (patching.get_act_patch_attn_out, cte.patched[0, 1, 1:]),
            "mlp_out": (patching.get_act_patch_mlp_out, cte.patched[0, 2, 1:]),
            "head": (
                patching.get_act_patch_attn_head_out_by_pos,
                cte.patched[0, 3:, 1:].transpose(1, 2, 0),
            ),
        }
        for name, (sweep, wanted) in sweeps.items():
            found = sweep(hooked, corrupt, cache, lambda logits: logits.mean())
            gap = np.abs(found.detach().numpy() - wanted).max()
            assert gap <= 1e-5 * np.abs(wanted).max(), name
    assert scores.item() == pytest.approx(cte.clean[0], rel=1e-5)


def test_its_results_normalise_to_the_effect() -> None:
    patching = import_module("transformer_lens.patching")
    encoder = clip()
    hooked, clean, corrupt = hooked_pair(encoder)
    scores, cache = hooked.run_with_cache(clean)
    with torch.no_grad():
        result = patching.get_act_patch_resid_pre(
            hooked, corrupt, cache, lambda scores: scores, reduce="none", baseline=True
        )
    cte = negtrace.trace(encoder, PAIRS[:1], progress=False)
    wanted = (cte.patched - cte.corrupt[0]) / (cte.clean[0] - cte.corrupt[0])
    found = result.normalized(scores.detach())[:, :, 0].numpy()
    assert result.axis_names == ["layer", "pos"]
    assert np.abs(found - wanted[0, 0, :-1]).max() < 1e-3  # float32 rounding over d


def test_a_batch_of_pairs_has_an_anchor_for_each() -> None:
    encoder = clip(torch.float64)
    hooked = as_hooked(encoder, [pair.anchor for pair in PAIRS])
    rows = hooked.to_tokens(["There is no edema.", "There is no pneumonia."])
    with pytest.raises(EncoderError, match="2 rows of tokens for 4 anchors"):
        hooked(rows)
    two = as_hooked(encoder, [PAIRS[0].anchor, PAIRS[1].anchor])
    alone = [as_hooked(encoder, PAIRS[i].anchor)(rows[i : i + 1]).item() for i in range(2)]
    assert two(rows).tolist() == pytest.approx(alone)


def test_hooks_run_in_order_for_their_with_alone() -> None:
    hooked, clean, _ = hooked_pair(clip())
    plain, seen = hooked(clean), []

    def note(label: str) -> Callable[..., None]:
        return lambda _, hook: seen.append((label, hook.name, hook.layer()))

    name = "blocks.1.hook_resid_post"
    with hooked.hooks([(name, note("outer"))]):
        hooked.run_with_hooks(clean, fwd_hooks=[(name, note("first")), (name, note("second"))])
    assert seen == [(label, name, 1) for label in ("outer", "first", "second")]
    assert torch.equal(hooked(clean), plain)
    assert len(seen) == 3


def test_a_hook_may_write_in_place_without_reaching_any_other_state() -> None:
    hooked, clean, _ = hooked_pair(clip())
    _, before = hooked.run_with_cache(clean)

    def zero(activation: torch.Tensor, hook: object) -> torch.Tensor:
        activation[:] = 0
        return activation

    hooks = [("blocks.2.hook_resid_pre", zero)]
    with hooked.hooks(hooks):
        _, cache = hooked.run_with_cache(clean, lambda name: name.endswith("resid_post"))
    assert set(cache.cache_dict) == {f"blocks.{layer}.hook_resid_post" for layer in range(3)}
    assert torch.equal(cache["resid_post", 1], before["resid_post", 1])
    assert not torch.equal(cache["resid_post", 2], before["resid_post", 2])


def test_hooks_that_would_do_nothing_are_refused() -> None:
    hooked, clean, _ = hooked_pair(clip())
    with untouched(hooked.encoder.model):
        with pytest.raises(UnknownNameError, match=r"no hook point 'blocks\.9\.hook_resid_pre'"):
            hooked.run_with_hooks(clean, fwd_hooks=[("blocks.9.hook_resid_pre", lambda a, hook: a)])
        with pytest.raises(EncoderError, match="backward hooks"):
            hooked.run_with_hooks(clean, bwd_hooks=[("blocks.0.hook_resid_pre", print)])
    with pytest.raises(EncoderError, match="nothing is padded"):
        hooked.to_tokens(["There is no edema.", "No edema."])


def test_gradients_go_through_a_hooked_forward() -> None:
    hooked, clean, _ = hooked_pair(clip())
    scores, cache = hooked.run_with_cache(clean)
    [gradient] = torch.autograd.grad(scores.sum(), cache["resid_pre", 0])
    assert gradient.abs().max() > 0


# A bridge as an encoder


def bridged(model: nn.Module, tmp_path: Path) -> Any:
    """Boot a bridge on a copy, since it alters the model it is given."""
    word_tokenizer().save_pretrained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    boot = import_module("transformer_lens.model_bridge").TransformerBridge.boot_transformers
    return boot("any", hf_model=copy.deepcopy(model), tokenizer=tokenizer)


def language_model(layout: str) -> tuple[Any, nn.Module]:
    """Return a model with a head, and the tower in it."""
    if layout == "gpt2":
        config, kind = gpt2_config(), transformers.GPT2LMHeadModel
    else:
        config, kind = transformers.BertConfig(**TEXT, vocab_size=120), transformers.BertForMaskedLM
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.15)
    return model, model.base_model


@pytest.mark.parametrize(("layout", "read_out"), [("gpt2", "last"), ("bert", "mean")])
def test_a_bridge_is_an_encoder_with_the_same_effect(
    layout: str, read_out: str, tmp_path: Path
) -> None:
    model, tower = language_model(layout)
    bridge = bridged(model, tmp_path)
    bridge(torch.tensor([[2, 5, 6, 3]]))  # a bridge keeps notes of its own forwards
    with untouched(bridge.original_model):
        encoder = from_bridge(bridge, word_tokenizer(), read_out=read_out)
        found = trace(encoder)
        checked = negtrace.check(encoder)
    plain = negtrace.wrap(tower, word_tokenizer(), read_out=read_out)
    assert_same(found, trace(plain), single=True)
    assert checked.passed, str(checked)
    assert encoder.causal == (layout == "gpt2")
    assert [name.split(".")[-1] for name in encoder.block_names] == ["0", "1", "2"]
    assert encoder.blocks[0] is bridge.blocks[0]


def test_a_bridge_sweeps_through_its_own_blocks_and_keeps_the_users_hooks(tmp_path: Path) -> None:
    bridge = bridged(language_model("gpt2")[0], tmp_path)
    seen: list[int] = []
    bridge.add_hook("blocks.2.hook_out", lambda activation, hook: seen.append(len(activation)))
    trace(from_bridge(bridge, read_out="last"))
    assert seen
    assert bridge.blocks[2].hook_out.has_hooks()


def test_what_is_no_bridge_is_refused() -> None:
    with pytest.raises(EncoderError, match="expected a TransformerBridge"):
        from_bridge(nn.Linear(2, 2))


# nnsight


def test_a_model_the_user_has_wrapped_stays_wrapped() -> None:
    encoder, nnsight = clip(), import_module("nnsight")
    ids = torch.tensor([encoder.tokenize([PAIRS[0].true])[0].ids])
    theirs = nnsight.NNsight(encoder.model)
    with untouched(encoder.model):
        trace(encoder, method="nnsight")
    with theirs.trace(ids, fn="get_text_features"):
        state = nnsight.save(theirs.text_model.encoder.layers[1].output)
    assert state.shape == (1, ids.shape[1], 32)


def test_rows_are_cut_to_the_tokens_that_may_run_at_once() -> None:
    encoder = clip(torch.float64)
    rows: list[int] = []
    handle = encoder.blocks[0].register_forward_hook(lambda _, args, __: rows.append(len(args[0])))
    large = hooked_trace(encoder, method="nnsight")
    before = max(rows)
    rows.clear()
    small = hooked_trace(encoder, method="nnsight", row_tokens=40)
    handle.remove()
    assert max(rows) < before
    assert max(rows) <= len(PAIRS) * 2  # statements that are read at once, of any length
    assert_same(small, large)
    assert_same(small, trace(encoder))


def hosted(model: nn.Module) -> Any:
    """Return a copy of a model as nnsight knows it by name."""
    model = copy.deepcopy(model)
    model.name_or_path = "owner/model"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Module .* has a submodule named")
        return import_module("nnsight.modeling.huggingface").HuggingFaceModel(model)


@layouts
@pytest.mark.parametrize("corruption", ["swap", "noise"])
def test_what_would_be_sent_away_gives_the_same_effect(layout: str, corruption: str) -> None:
    encoder = LAYOUTS[layout](torch.float64)
    engine = NNsight(remote="local", model=hosted(encoder.model))
    options: dict[str, Any] = {"corruption": corruption, "sites": SITES}
    with untouched(encoder.model):
        found = trace(encoder, method=engine, **options)
    assert_same(found, trace(encoder, **options))


@pytest.mark.parametrize(("layout", "read_out"), [("gpt2", "last"), ("bert", "mean")])
def test_the_service_may_know_the_tower_within_a_larger_model(layout: str, read_out: str) -> None:
    model, tower = language_model(layout)
    encoder = negtrace.wrap(tower, word_tokenizer(), read_out=read_out)
    engine = NNsight(remote="local", model=hosted(model))
    assert_same(trace(encoder, method=engine), trace(encoder), single=True)


def test_remote_reaches_the_service_by_name_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is played by nnsight's own simulation of it."""
    encoder = bert(torch.float64)
    model = hosted(encoder.model)
    local = import_module("nnsight.intervention.backends.local").LocalSimulationBackend
    asked: list[tuple[str, dict[str, Any]]] = []

    def service(model_key: str, **options: Any) -> Any:
        asked.append((model_key, options))
        return local(model)

    remote, huggingface = "nnsight.intervention.backends.remote", "nnsight.modeling.huggingface"
    monkeypatch.setattr(import_module(remote), "RemoteBackend", service)
    monkeypatch.setitem(import_module(huggingface)._ID_CACHE, "owner/model", "owner/model")
    monkeypatch.setattr(import_module("nnsight").CONFIG.API, "APIKEY", "a key")
    found = trace(encoder, method=NNsight(remote=True, model=model))
    assert_same(found, trace(encoder))
    assert asked
    assert all("owner/model" in key and options["blocking"] for key, options in asked)


def test_remote_without_a_key_or_a_name_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, config = clip(), import_module("nnsight").CONFIG.API
    monkeypatch.setattr(config, "APIKEY", None)
    with pytest.raises(TraceError, match="set NDIF_API_KEY"):
        trace(encoder, method=NNsight(remote=True))
    monkeypatch.setattr(config, "APIKEY", "a key")
    with pytest.raises(TraceError, match="no name on the Hugging Face hub"):
        trace(encoder, method=NNsight(remote=True))
    plain = NNsight(remote=True, model=import_module("nnsight").NNsight(nn.Linear(2, 2)))
    with pytest.raises(TraceError, match="cannot run remotely"):
        trace(encoder, method=plain)
    with pytest.raises(TraceError, match="no blocks named"):
        trace(encoder, method=NNsight(remote=True, model=hosted(gpt2().model)))


def test_a_remote_run_whose_embedding_is_not_in_the_output_is_refused() -> None:
    plain = gpt2()
    encoder = negtrace.wrap(
        plain.model,
        word_tokenizer(),
        encode=lambda ids: plain.model(ids).last_hidden_state[:, -1].tanh(),
    )
    with pytest.raises(EncoderError, match="a remote run cannot read it"):
        trace(encoder, method=NNsight(remote="local", model=hosted(encoder.model)))


# The packages


@pytest.mark.parametrize("name", ["transformer_lens", "nnsight"])
def test_a_missing_package_is_named_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(NegtraceError, match=rf"{name} is not installed.*negtrace\[interop\]"):
        trace(clip(), method=name)
