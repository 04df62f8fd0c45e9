"""Everything of a model that a training could change, and a check that nothing of it does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peft
import torch
from torch import nn

HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
)


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return all of a model but the values of its weights, its gradients and its buffers."""
    parts = (*model.modules(), *model.parameters(), *model.buffers())
    return {
        "modules": [(name, type(m), m.training) for name, m in model.named_modules()],
        "attributes": [sorted(vars(m)) for m in model.modules()],
        "identities": [id(part) for part in parts],
        "weights": [
            (name, w.requires_grad, w.dtype, w.device, id(w.grad))
            for name, w in model.named_parameters()
        ],
        "hooks": [[list(vars(m)[kind].items()) for kind in HOOKS] for m in model.modules()],
        "weight hooks": [dict(w._backward_hooks or {}) for w in model.parameters()],
        "config": model.config.to_dict() if hasattr(model, "config") else None,
        "checkpointing": [
            {name: str(value) for name, value in vars(m).items() if "checkpointing" in name}
            for m in model.modules()
        ],
        "adapters": [
            (m.active_adapters, m.merged, m.disable_adapters)
            for m in model.modules()
            if isinstance(m, peft.tuners.tuners_utils.BaseTunerLayer)
        ],
        "configs": [
            {name: one.to_dict() for name, one in vars(m).get("peft_config", {}).items()}
            for m in model.modules()
        ],
    }


def values_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of all weights, gradients and buffers of a model."""
    named = dict(model.named_parameters())
    gradients = {f"{name}.grad": w.grad for name, w in named.items() if w.grad is not None}
    tensors = {**named, **gradients, **dict(model.named_buffers())}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@contextmanager
def unchanged(model: nn.Module, *, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Check that a model is afterwards what it is now, but for the values of some modules.

    Args:
        model: the model.
        but: names of the modules whose weights may take other values.
    """
    state, values = state_of(model), values_of(model)
    yield
    now = state_of(model)
    for aspect, before in state.items():
        assert now[aspect] == before, aspect
    after = values_of(model)
    assert after.keys() == values.keys()
    changed = {name for name, value in values.items() if not torch.equal(after[name], value)}
    assert {name for name in changed if not name.startswith(but or ("-",))} == set()
