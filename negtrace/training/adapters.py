"""The weights that are trained: low-rank adapters on the blocks, or the blocks themselves."""

__all__ = [
    "TrainableWeights",
    "require_no_adapters",
    "require_trainable_weights",
    "trainable_weights",
    "write_model",
]

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from negtrace._files import write_bytes
from negtrace._messages import listed
from negtrace.encoders.base import Encoder
from negtrace.encoders.lora import attach, attached_adapters, require_adaptable, write_adapter
from negtrace.errors import FinetuneError
from negtrace.phantom.bundled import CHECKPOINT
from negtrace.training.change import snapshot
from negtrace.training.config import FinetuneConfig

WEIGHTS = "blocks.safetensors"
"""File of the trained blocks, for a model that transformers cannot write."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainableWeights:
    """The weights in training, and what can be done with them afterwards."""

    named: Mapping[str, nn.Parameter]
    """The trainable weights by name; no other weight of the model takes a gradient."""
    write: Callable[[Path], object]
    """Writes the trained weights into a folder, as safetensors."""
    finish: Callable[[], None]
    """Makes the training permanent. Without it, the model gets its old weights back."""


def require_no_adapters(encoder: Encoder) -> None:
    """Refuse a model that peft's adapters are attached to, whoever attached them.

    Training beside them would change or drop them.

    Raises:
        FinetuneError: when there are any; names them.
    """
    if names := attached_adapters(encoder.model):
        raise FinetuneError(
            f"{encoder.name} has adapters attached ({listed(names)}), which the training would "
            "change or drop. Merge them into a copy of the model (merge_and_unload() of a "
            "PeftModel) or load it without them, and train that"
        )


def require_trainable_weights(encoder: Encoder, config: FinetuneConfig) -> None:
    """Refuse a model whose weights cannot be trained as the config says; the model stays as it is.

    Raises:
        ExtraError: when peft is not installed, and low-rank adapters are to be trained.
        FinetuneError: for a model in half precision, or one that adapters are attached to.
        EncoderError: for LoRA, when no block has a linear map.
    """
    require_no_adapters(encoder)
    if encoder.beyond_blocks:
        raise FinetuneError(
            f"{encoder.name} is not its model alone: {encoder.beyond_blocks}; train the model "
            "without it (corrected.encoder)"
        )
    if any(
        weight.dtype in (torch.float16, torch.bfloat16) for weight in encoder.model.parameters()
    ):
        raise FinetuneError(
            f"{encoder.name} is in half precision, where small updates vanish; load it in float32 "
            "and mix precisions by trainer={'bf16': True}"
        )
    if config.adapter == "lora":
        require_adaptable(encoder)


@contextmanager
def trainable_weights(encoder: Encoder, config: FinetuneConfig) -> Iterator[TrainableWeights]:
    """Make weights of the blocks trainable inside the `with`, in training mode.

    Afterwards the modes, the gradients, their flags and the buffers are as before, and so are the
    weights, unless `finish` was called. Batch norms go by their running statistics, which stay.

    Raises:
        FinetuneError: for a model in half precision, or one that adapters are attached to.
        EncoderError: for LoRA, when no block has a linear map.
    """
    require_trainable_weights(encoder, config)
    with _all_but_the_weights_kept(encoder.model):
        encoder.model.train()
        for module in encoder.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        with (_lora if config.adapter == "lora" else _full)(encoder, config) as weights:
            yield weights


@contextmanager
def _all_but_the_weights_kept(model: nn.Module) -> Iterator[None]:
    """Set the gradients of a model aside, and restore all afterwards but the weights' values."""
    modules = list(model.modules())
    modes = [(module, module.training) for module in modules]
    gradients = [(weight, weight.requires_grad, weight.grad) for weight in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in modules
        for name, buffer in module.named_buffers(recurse=False)
    ]
    for weight in model.parameters():
        weight.grad = None
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for weight, flag, gradient in gradients:
            weight.requires_grad_(flag)
            weight.grad = gradient
        for module, name, buffer, value in buffers:
            buffer.copy_(value)
            setattr(module, name, buffer)


@contextmanager
def _lora(encoder: Encoder, config: FinetuneConfig) -> Iterator[TrainableWeights]:
    attached = attach(encoder, rank=config.rank, alpha=config.lora_alpha)
    finished = False
    source = getattr(encoder.model, "name_or_path", "") or encoder.name
    base = "phantom" if source == str(CHECKPOINT) else source

    def finish() -> None:
        nonlocal finished
        attached.take_off(merged=True)
        finished = True

    try:
        yield TrainableWeights(
            named=attached.weights,
            write=lambda folder: write_adapter(attached, folder, base),
            finish=finish,
        )
    finally:
        if not finished:
            attached.take_off(merged=False)


@contextmanager
def _full(encoder: Encoder, _: FinetuneConfig) -> Iterator[TrainableWeights]:
    before = snapshot(encoder.model, encoder.block_names)
    parameters = dict(encoder.model.named_parameters())
    named = {name: parameters[name] for name in before}
    finished = False

    def finish() -> None:
        nonlocal finished
        finished = True

    for weight in parameters.values():
        weight.requires_grad_(False)
    for weight in named.values():
        weight.requires_grad_(True)
    try:
        yield TrainableWeights(
            named=named, write=lambda folder: _write_blocks(encoder, named, folder), finish=finish
        )
    finally:
        if not finished:
            _restore(named, before)


def _restore(named: Mapping[str, nn.Parameter], before: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, weight in named.items():
            weight.copy_(before[name])


def _write_blocks(encoder: Encoder, named: Mapping[str, nn.Parameter], folder: Path) -> None:
    """Write the whole model if transformers can, otherwise the weights of the blocks by name."""
    if not _write_whole(encoder, folder):
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in named.items()}
        write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def _write_whole(encoder: Encoder, folder: Path) -> bool:
    """Write the whole model with its tokenizer and settings, and tell whether transformers can."""
    source = getattr(encoder.model, "name_or_path", "")
    if not (source and hasattr(encoder.model, "save_pretrained")):
        return False
    # Imported here, so that a wrapped module needs no transformers.
    from negtrace.encoders.huggingface.files import ModelFiles

    ModelFiles(source=source).write_beside(encoder.model, folder)
    return True


def write_model(encoder: Encoder, folder: Path) -> None:
    """Write a model as a folder that `negtrace.load` reads.

    Where transformers cannot write it, `model.safetensors` holds its weights and buffers by name.

    Raises:
        OutputError: when it cannot be written.
    """
    if not _write_whole(encoder, folder):
        state = {
            name: value.cpu().contiguous() for name, value in encoder.model.state_dict().items()
        }
        write_bytes(folder / "model.safetensors", save(state, metadata={"format": "pt"}))
