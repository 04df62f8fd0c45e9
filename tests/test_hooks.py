"""Hooks: they leave a model as it was, and act in order with hooks of the user's."""

import numpy as np
import pytest
import torch
from small_encoders import ENCODERS, bert, clip
from torch import nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.digests import weights_digest
from negtrace.encoders.hooks import HookSite, captured, edited, evaluating, replayed
from negtrace.errors import NegtraceWarning
from negtrace.pairs.radiology import radiology_pairs
from negtrace.tracing.trace import trace


def hooks_on(model: nn.Module) -> list[object]:
    return [
        (name, module.training, dict(module._forward_hooks), dict(module._forward_pre_hooks))
        for name, module in model.named_modules()
        if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    ]


def state_of(model: nn.Module) -> list[object]:
    """Return the modes, grad flags, attention functions and weights of a model."""
    modes = [(name, module.training) for name, module in model.named_modules()]
    grads = [(name, weight.requires_grad) for name, weight in model.named_parameters()]
    attention = [
        (name, module.config._attn_implementation)
        for name, module in model.named_modules()
        if hasattr(module, "config")
    ]
    return [*modes, *grads, *attention, weights_digest(model)]


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return ENCODERS[request.param](torch.float32)


def test_a_trace_leaves_the_model_as_it_was(encoder: Encoder) -> None:
    # transformers leaves hooks of its own on a tower that was asked for its hidden states.
    before, hooks = state_of(encoder.model), hooks_on(encoder.model)
    assert not hooks or encoder.name in {"llava", "medclip"}
    trace(encoder, radiology_pairs()[:2], progress=False)
    assert hooks_on(encoder.model) == hooks
    assert state_of(encoder.model) == before


def test_a_model_in_training_keeps_its_modes_and_grad_flags() -> None:
    encoder = bert()
    encoder.model.train()
    encoder.blocks[1].eval()
    next(encoder.model.parameters()).requires_grad_(False)
    before = state_of(encoder.model)
    trace(encoder, radiology_pairs()[:2], progress=False)
    assert state_of(encoder.model) == before


def test_scores_do_not_depend_on_dropout() -> None:
    encoder = bert()
    expected = trace(encoder, radiology_pairs()[:2], progress=False)
    encoder.model.train()
    np.testing.assert_array_equal(
        expected.patched, trace(encoder, radiology_pairs()[:2], progress=False).patched
    )


def test_an_exception_leaves_the_model_as_it_was() -> None:
    encoder = clip()
    before = state_of(encoder.model)
    ids = torch.tensor([encoder.tokenize(["no effusion"])[0].ids])

    def fail() -> None:
        with torch.inference_mode(), evaluating(encoder.model):
            with captured(encoder.blocks) as base:
                encoder.encode(ids)
            with replayed(encoder.blocks, base, base.states()[-1]):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not hooks_on(encoder.model)
    assert state_of(encoder.model) == before


def test_an_interrupted_sweep_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = clip()
    before = state_of(encoder.model)
    calls = iter(range(100))

    def interrupted(*_: object) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt

    handle = encoder.blocks[-1].register_forward_hook(interrupted)
    warned = pytest.warns(NegtraceWarning, match="hooks of your own")
    with warned, pytest.raises(KeyboardInterrupt):
        trace(encoder, radiology_pairs()[:2], progress=False)
    handle.remove()
    assert not hooks_on(encoder.model)
    assert state_of(encoder.model) == before


def test_a_forward_that_the_user_replaced_is_put_back() -> None:
    encoder = bert()
    block = encoder.blocks[0]
    forward = block.forward
    block.forward = forward
    trace(encoder, radiology_pairs()[:2], progress=False)
    assert vars(block)["forward"] is forward


@pytest.mark.parametrize("at", ["input", "output"])
def test_an_edit_comes_between_the_module_and_the_users_hooks(at: str) -> None:
    """The user's hook on an input runs before the edit, and the one on an output after it."""
    module = nn.Identity()
    module.register_forward_pre_hook(lambda _, args: (args[0] * 10,))
    module.register_forward_hook(lambda _, __, output: output * 100)
    states: list[torch.Tensor] = []

    def edit(hidden: torch.Tensor) -> torch.Tensor:
        states.append(hidden)
        return hidden + 1

    with HookSite(site="mlp_out", module=module, at=at).edited(edit):
        output = module(torch.ones(1, 1, 1))
    assert [state.item() for state in states] == [10]
    assert output.item() == 1100


@pytest.mark.parametrize("site", ["attn_out", "mlp_out"])
def test_a_patch_of_a_site_acts_before_the_users_hook_on_it(site: str) -> None:
    """Recording a site and patching it with what was recorded changes nothing under a hook."""
    encoder = clip()
    hook_sites = encoder.hook_sites([site])
    handle = hook_sites[1].module.register_forward_hook(
        lambda _, __, output: (
            (output[0] * 2, *output[1:]) if isinstance(output, tuple) else output * 2
        )
    )
    ids = torch.tensor([encoder.tokenize(["no effusion"])[0].ids])
    with torch.inference_mode(), evaluating(encoder.model):
        with captured(encoder.blocks, hook_sites=hook_sites) as base:
            plain = encoder.encode(ids)
        with hook_sites[1].edited(lambda _: base.site_states[site][1]):
            patched = encoder.encode(ids)
        handle.remove()
        with hook_sites[1].edited(lambda _: base.site_states[site][1] * 2):
            doubled = encoder.encode(ids)
    assert torch.equal(patched, plain)
    assert torch.equal(doubled, plain)


class InPlaceBlock(nn.Module):
    """A block that adds to its input in place, and returns it."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden += 1
        return hidden


def test_recorded_states_are_copies_of_what_blocks_change_in_place() -> None:
    blocks = [InPlaceBlock(), InPlaceBlock()]
    with captured(blocks) as capture:
        blocks[1](blocks[0](torch.zeros(1, 1, 1)))
    assert capture.states().flatten().tolist() == [0, 1, 2]


class TupleBlock(nn.Module):
    """A block that returns its state, a tensor with a row for each run, and None."""

    def forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        return hidden + 1, hidden.sum(-1), None


def test_a_replayed_block_returns_all_that_was_recorded() -> None:
    block = TupleBlock()
    with captured([block]) as base:
        block(torch.arange(12.0).view(3, 2, 2))
    state = torch.zeros(3, 2, 2)
    with replayed([block], base, state):
        hidden, sums, none = block(torch.ones(3, 2, 2))
    assert torch.equal(hidden, state)
    assert none is None
    assert torch.equal(sums, base.outputs[0][1])


def test_the_global_random_state_is_not_touched() -> None:
    encoder = clip()
    before = torch.get_rng_state()
    trace(encoder, radiology_pairs()[:2], corruption="noise", progress=False)
    assert torch.equal(before, torch.get_rng_state())


def test_hidden_states_are_edited_by_the_name_under_which_they_are_given() -> None:
    states, mask = torch.zeros(1, 2, 3), torch.ones(1, 2)
    given = {"use_cache": False, "hidden_states": states, "mask": mask, "first": states}
    args, kwargs = edited((None,), given, lambda hidden: hidden + 1)
    assert args == (None,)
    assert list(kwargs) == list(given)
    assert torch.equal(kwargs["hidden_states"], states + 1)
    assert (kwargs["use_cache"], kwargs["mask"], kwargs["first"]) == (False, mask, states)


def test_hidden_states_are_edited_in_the_first_place_in_which_they_are_given() -> None:
    states, mask = torch.zeros(1, 2, 3), torch.ones(1, 2)
    args, kwargs = edited(
        (None, states, mask, states), {"again": states}, lambda hidden: hidden + 1
    )
    assert args[0] is None
    assert torch.equal(args[1], states + 1)
    assert args[2] is mask
    assert args[3] is kwargs["again"] is states
