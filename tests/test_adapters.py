"""A model with adapters of the user's: it is refused before it is touched, and left bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from claim_sets import NO_EVALUATION, claim_sets, ones, quick, same
from model_states import unchanged
from peft.tuners import lora
from safetensors.torch import load_file, save_file
from small_encoders import bert
from small_models import word_tokenizer
from torch import nn

from negtrace import wrap
from negtrace.encoders.base import Encoder
from negtrace.encoders.lora import attach, merge_adapter
from negtrace.errors import EncoderError, FinetuneError
from negtrace.experiments import Evaluation, finetune, selective_finetune
from negtrace.training import FinetuneConfig

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


def refuse(encoder: Encoder, config: FinetuneConfig, **options: Any) -> None:
    with pytest.raises(FinetuneError, match=r"adapted has adapters attached \(mine.*merge_and_un"):
        selective_finetune(
            encoder,
            claim_sets(images=False),
            ones(encoder),
            config=config,
            **options,
        )


@pytest.mark.parametrize("adapter", ["lora", "full"])
@pytest.mark.parametrize("attach", WAYS)
def test_adapters_of_the_user_are_refused_by_name_and_left(
    attach: Callable[[Any], nn.Module], adapter: str
) -> None:
    model = attach(bert().model)
    encoder: Encoder = wrap(model, word_tokenizer(mask=True), name="adapted")
    with unchanged(model):
        refuse(encoder, quick(adapter=adapter, joint=True))


def test_adapters_are_refused_before_any_work_is_done_or_a_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(*_: Any, **__: Any) -> None:
        pytest.fail("worked on a model with adapters")

    encoder = wrap(peft_model(bert().model), word_tokenizer(mask=True), name="adapted")
    for work in ("material_for", "training_arguments", "measure"):
        monkeypatch.setattr(finetune, work, too_early)
    refuse(encoder, quick(), out=tmp_path / "run", evaluation=Evaluation())
    assert not list(tmp_path.iterdir())


@pytest.fixture
def adapter_files(tmp_path: Path) -> Path:
    """Folder of an adapter on the plain model, which changes what the model says."""
    peft_model(bert().model).save_pretrained(tmp_path, selected_adapters=["mine"])
    return tmp_path / "mine"


@pytest.mark.parametrize("attach", WAYS)
def test_an_adapter_is_not_merged_beside_those_of_the_user(
    attach: Callable[[Any], nn.Module], adapter_files: Path
) -> None:
    model = attach(bert().model)
    message = r"adapters attached \(mine.*mine was not trained on top.*merge_and_unload.*unload\("
    with unchanged(model), pytest.raises(EncoderError, match=message):
        merge_adapter(model, adapter_files)


def test_an_adapter_is_merged_as_peft_merges_it(adapter_files: Path) -> None:
    model = bert().model
    parts = [*model.modules(), *model.parameters()]
    merge_adapter(model, adapter_files)
    expected = peft.PeftModel.from_pretrained(bert().model, adapter_files).merge_and_unload()
    assert {*map(id, (*model.modules(), *model.parameters()))} == {*map(id, parts)}
    assert same(dict(model.named_parameters()), dict(expected.named_parameters()))
    assert not same(dict(model.named_parameters()), dict(bert().model.named_parameters()))


def test_the_weights_of_torch_attention_stay_weights_when_an_adapter_is_merged(
    tmp_path: Path,
) -> None:
    def attention() -> nn.Module:
        torch.manual_seed(0)
        return nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2)})

    config = peft.LoraConfig(target_modules=["attention"], r=2, init_lora_weights=False)
    peft.get_peft_model(attention(), config).save_pretrained(tmp_path)
    model = attention()
    weights = list(model.parameters())
    merge_adapter(model, tmp_path)
    expected = peft.PeftModel.from_pretrained(attention(), tmp_path).merge_and_unload()
    assert {*map(id, model.parameters())} == {*map(id, weights)}
    assert same(dict(model.named_parameters()), dict(expected.named_parameters()))
    assert not same(dict(model.named_parameters()), dict(attention().named_parameters()))


def test_an_adapter_of_another_size_leaves_the_model_as_it_is(adapter_files: Path) -> None:
    file = adapter_files / "adapter_model.safetensors"
    stored = load_file(file)
    stored[max(stored)] = torch.zeros(3, 3)
    save_file(stored, file)
    model = bert().model
    with unchanged(model), pytest.raises(EncoderError, match=r"another model: .*shape \(3, 3\)"):
        merge_adapter(model, adapter_files)


class Stop:
    """Raise an error after a number of calls of some functions, when their work is done."""

    def __init__(self, error: BaseException, after: int) -> None:
        self.error = error
        self.left = after

    def within(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            result = work(*args, **options)
            self.left -= 1
            if self.left == 0:
                raise self.error
            return result

        return counted


INSIDE = {
    "attaching": (lora.LoraLayer, "update_layer"),
    "merging": (lora.Linear, "merge"),
    "setting the weights": (torch.Tensor, "copy_"),
    "putting the maps back": (nn.Module, "__setattr__"),
}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("after", [1, 5, 12])
@pytest.mark.parametrize("at", INSIDE)
def test_an_interruption_leaves_the_model_as_it_was_before_the_adapters(
    at: str, after: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = bert()
    owner, name = INSIDE[at]
    stop = Stop(error, after)

    def patch(at_hand: pytest.MonkeyPatch) -> None:
        at_hand.setattr(owner, name, stop.within(getattr(owner, name)))

    def merge(at_hand: pytest.MonkeyPatch) -> None:
        if at == "attaching":
            patch(at_hand)
        attached = attach(encoder, rank=2, alpha=4.0)
        for weight in attached.weights.values():
            weight.data.normal_()
        patch(at_hand)
        attached.take_off(merged=True)

    with unchanged(encoder.model), monkeypatch.context() as at_hand, pytest.raises(type(error)):
        merge(at_hand)
    assert stop.left <= 0


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
