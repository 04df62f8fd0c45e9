"""A model with adapters of the user's: it is refused before it is touched, and left bit for bit."""

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from claim_sets import NO_EVALUATION, claim_sets, ones, quick
from small_encoders import bert
from small_models import word_tokenizer
from torch import nn

from negtrace import wrap
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError
from negtrace.experiments import selective_finetune

# peft reads attributes that transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.*_gradient_checkpointing:FutureWarning")

LORA = {"target_modules": ["query", "value"], "r": 2, "init_lora_weights": False}


def peft_model(model: Any) -> nn.Module:
    return peft.get_peft_model(model, peft.LoraConfig(**LORA), adapter_name="mine")


def of_transformers(model: Any) -> nn.Module:
    model.add_adapter(peft.LoraConfig(**LORA), adapter_name="mine")
    return model


def injected(model: Any) -> nn.Module:
    return peft.inject_adapter_in_model(peft.LoraConfig(**LORA), model, adapter_name="mine")


def one_of_two_is_active(model: Any) -> nn.Module:
    model = peft_model(model)
    model.add_adapter("other", peft.LoraConfig(**LORA))
    model.set_adapter("other")
    return model


def merged(model: Any) -> nn.Module:
    model = peft_model(model)
    model.merge_adapter()
    return model


def switched_off(model: Any) -> nn.Module:
    model = peft_model(model)
    model.base_model.disable_adapter_layers()
    return model


def scaled(model: Any) -> nn.Module:
    config = peft.IA3Config(target_modules=["query", "value"], feedforward_modules=[])
    return peft.get_peft_model(model, config, adapter_name="mine")


def outside_the_blocks(model: Any) -> nn.Module:
    config = peft.LoraConfig(target_modules=["word_embeddings"], r=2)
    return peft.inject_adapter_in_model(config, model, adapter_name="mine")


WAYS = (
    peft_model,
    of_transformers,
    injected,
    one_of_two_is_active,
    merged,
    switched_off,
    scaled,
    outside_the_blocks,
)


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return everything of a model that a training could change."""
    return {
        "modules": [(name, type(m), m.training) for name, m in model.named_modules()],
        "identities": [id(part) for part in (*model.modules(), *model.parameters())],
        "flags": [(name, w.requires_grad, w.grad) for name, w in model.named_parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
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


@pytest.mark.parametrize("adapter", ["lora", "full"])
@pytest.mark.parametrize("attach", WAYS)
def test_adapters_of_the_user_are_refused_by_name_and_left(
    attach: Callable[[Any], nn.Module], adapter: str
) -> None:
    model = attach(bert().model)
    encoder: Encoder = wrap(model, word_tokenizer(mask=True), name="adapted")
    state = state_of(model)
    values = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(FinetuneError, match=r"adapted has adapters attached \(mine.*merge_and_un"):
        selective_finetune(
            encoder,
            claim_sets(images=False),
            ones(encoder),
            config=quick(adapter=adapter, joint=True),
            evaluation=NO_EVALUATION,
        )
    assert state_of(model) == state
    after = model.state_dict()
    assert after.keys() == values.keys()
    assert all(torch.equal(after[name], value) for name, value in values.items())


def test_a_model_whose_adapters_were_merged_and_unloaded_is_trained() -> None:
    model = peft_model(bert().model).merge_and_unload()
    encoder = wrap(model, word_tokenizer(mask=True), name="merged")
    result = selective_finetune(
        encoder,
        claim_sets(images=False),
        ones(encoder),
        config=quick(joint=True, steps=1),
        evaluation=NO_EVALUATION,
    )
    assert (result.change.norms > 0).all()
