"""The weights that are trained: low-rank adapters on the blocks, or the blocks themselves."""

__all__ = ["Adapting", "adapting"]

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from negtrace._files import write_bytes
from negtrace.encoders.base import Encoder
from negtrace.encoders.lora import attach, write_adapter
from negtrace.errors import FinetuneError
from negtrace.phantom.bundled import CHECKPOINT
from negtrace.training.change import snapshot
from negtrace.training.config import FinetuneConfig

WEIGHTS = "blocks.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapting:
    """Weights in training, and what is done with them afterwards."""

    trained: Mapping[str, nn.Parameter]
    """By name; the only ones that take a gradient."""
    write: Callable[[Path], object]
    """Writes what was learned into a folder, as safetensors."""
    finish: Callable[[], None]
    """Makes what was learned the model's own."""


@contextmanager
def adapting(encoder: Encoder, config: FinetuneConfig) -> Iterator[Adapting]:
    """Give the weights to train; unless `finish` is called, the model is as before afterwards.

    Raises:
        FinetuneError: for a model in half precision.
        EncoderError: when no block has a linear map that LoRA could adapt.
    """
    if any(
        weight.dtype in (torch.float16, torch.bfloat16) for weight in encoder.model.parameters()
    ):
        raise FinetuneError(
            f"{encoder.name} is in half precision, where small updates vanish; load it in float32 "
            "and mix precisions by trainer={'bf16': True}"
        )
    modes = [(module, module.training) for module in encoder.model.modules()]
    encoder.model.train()
    try:
        with (_lora if config.adapter == "lora" else _full)(encoder, config) as found:
            yield found
    finally:
        for module, mode in modes:
            module.training = mode
        vars(encoder).pop("digest", None)  # of the weights as they were


@contextmanager
def _lora(encoder: Encoder, config: FinetuneConfig) -> Iterator[Adapting]:
    attached, done = attach(encoder, rank=config.rank, alpha=config.lora_alpha), []
    source = getattr(encoder.model, "name_or_path", "") or encoder.name
    base = "phantom" if source == str(CHECKPOINT) else source

    def finish() -> None:
        attached.take_off(merged=True)
        done.append(True)

    try:
        yield Adapting(
            trained=attached.weights,
            write=lambda folder: write_adapter(attached, folder, base),
            finish=finish,
        )
    finally:
        if not done:
            attached.take_off(merged=False)


@contextmanager
def _full(encoder: Encoder, _: FinetuneConfig) -> Iterator[Adapting]:
    before = snapshot(encoder.model, encoder.block_names)
    flags = [(weight, weight.requires_grad) for weight in encoder.model.parameters()]
    named = dict(encoder.model.named_parameters())
    trained, done = {name: named[name] for name in before}, []
    for weight, _flag in flags:
        weight.requires_grad_(False)
    for weight in trained.values():
        weight.requires_grad_(True)
    try:
        yield Adapting(
            trained=trained,
            write=lambda folder: _write_blocks(encoder, trained, folder),
            finish=lambda: done.append(True),
        )
    finally:
        if not done:
            _put_back(trained, before)
        for weight, flag in flags:
            weight.requires_grad_(flag)
            weight.grad = None


def _put_back(trained: Mapping[str, nn.Parameter], before: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(before[name])


def _write_blocks(encoder: Encoder, trained: Mapping[str, nn.Parameter], folder: Path) -> None:
    """Write the whole model where transformers can, else the weights of the blocks by name."""
    source = getattr(encoder.model, "name_or_path", "")
    if source and hasattr(encoder.model, "save_pretrained"):
        # Imported here, so that a wrapped module needs no transformers.
        from negtrace.encoders.huggingface.files import ModelFiles

        ModelFiles(source=source).write_beside(encoder.model, folder)
        return
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in trained.items()}
    write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
