"""Low-rank adapters on the text tower's blocks (LoRA, arXiv 2106.09685), by peft.

The model object stays the one the encoder knows: peft replaces linear maps inside its blocks, and
puts them back, with or without what was learned. Files are peft's own, for `PeftModel` to read.
"""

__all__ = ["Attached", "attach", "merge_adapter", "target_pattern", "write_adapter"]

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from negtrace._files import write_bytes
from negtrace.encoders.base import Encoder
from negtrace.errors import EncoderError, require

WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."  # how PeftModel names the module it adapts
_ADAPTER = "default"


def _peft() -> Any:
    return require("peft", extra="finetune")


def target_pattern(encoder: Encoder) -> str:
    """Return a regular expression of the linear maps inside the encoder's blocks, by full name.

    A map that a fused attention reads past its forward is none of them: an adapter on it would
    change nothing.

    Raises:
        EncoderError: when no block has one.
    """
    modules = dict(encoder.model.named_modules())
    inner: dict[str, None] = {}
    for name in encoder.block_names:
        for below, module in modules[name].named_modules():
            parent = modules[f"{name}.{below}".rpartition(".")[0]]
            linear = isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
            if linear and not isinstance(parent, nn.MultiheadAttention):
                inner[below] = None
    if not inner:
        raise EncoderError(
            f"{encoder.name}: no linear map in its blocks that LoRA could adapt; train them whole"
        )
    blocks, maps = (
        "|".join(map(re.escape, names)) for names in (encoder.block_names, tuple(inner))
    )
    return rf"(?:{blocks})\.(?:{maps})"


class Attached:
    """Adapters on a model, alone trainable, until they are taken off or merged."""

    def __init__(self, model: nn.Module, config: Any) -> None:
        self.model = model
        self.config = config
        self._flags = {name: weight.requires_grad for name, weight in model.named_parameters()}
        with warnings.catch_warnings():
            # peft looks at attributes that transformers is about to rename.
            warnings.simplefilter("ignore", FutureWarning)
            self._tuner = _peft().LoraModel(model, {_ADAPTER: config}, _ADAPTER)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """The adapters' weights, by their names in the model."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if f".{_ADAPTER}." in name}

    def take_off(self, *, merged: bool) -> None:
        """Put the model's own linear maps back, with what was learned or as they were."""
        if merged:
            self._tuner.merge_and_unload()
        else:
            self._tuner.unload()
        vars(self.model).pop("peft_config", None)
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(self._flags[name])


def attach(encoder: Encoder, *, rank: int, alpha: float) -> Attached:
    """Put an adapter of zero effect on every linear map inside the encoder's blocks.

    Raises:
        ExtraError: when peft is not installed.
        EncoderError: when there is no such map.
    """
    config = _peft().LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=target_pattern(encoder),
        base_model_name_or_path=getattr(encoder.model, "name_or_path", None) or None,
    )
    return Attached(encoder.model, config)


def write_adapter(attached: Attached, folder: Path, base: str | None = None) -> Path:
    """Write peft's two files into `folder`; `base` is what to call the adapted model."""
    if base:
        attached.config.base_model_name_or_path = base
    attached.config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    attached.config.save_pretrained(str(folder))
    tensors = {
        _PREFIX + name.replace(f".{_ADAPTER}", ""): weight.detach().cpu().contiguous()
        for name, weight in attached.weights.items()
    }
    return write_bytes(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))


def merge_adapter(model: nn.Module, folder: Path) -> None:
    """Add a LoRA adapter's weights to the model's own, in place.

    Raises:
        ExtraError: when peft is not installed.
        EncoderError: when the files are missing, of another kind, or of another model.
    """
    try:
        config = _peft().PeftConfig.from_pretrained(str(folder))
        stored = load_file(folder / WEIGHTS)
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(f"{folder.name}: cannot read its adapter: {error}") from error
    if config.peft_type != "LORA":
        raise EncoderError(f"{folder.name}: an adapter of type {config.peft_type}; expected LORA")
    config.inference_mode = True
    attached = Attached(model, config)
    own = attached.weights
    given = {_named(name): value for name, value in stored.items()}
    if set(given) != set(own):
        attached.take_off(merged=False)
        raise EncoderError(
            f"{folder.name}: its adapter is of another model ({len(set(given) ^ set(own))} of "
            f"{len(own)} weights do not match by name)"
        )
    with torch.no_grad():
        for name, value in given.items():
            own[name].copy_(value)
    attached.take_off(merged=True)


def _named(stored: str) -> str:
    """Return the name in the model of a weight in peft's file."""
    head, _, kind = stored.removeprefix(_PREFIX).rpartition(".lora_")
    matrix, _, rest = kind.partition(".")
    return f"{head}.lora_{matrix}.{_ADAPTER}.{rest}" if rest else f"{head}.lora_{kind}.{_ADAPTER}"
