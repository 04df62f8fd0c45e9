"""Low-rank adapters (LoRA, arXiv 2106.09685) on the blocks of a text tower, made with peft.

peft replaces the linear maps inside the encoder's own model object; taking an adapter off puts them
back, with or without what was learned. Files are those of peft, which `PeftModel` reads.
"""

__all__ = [
    "AdapterFamily",
    "Attached",
    "attach",
    "merge_adapter",
    "write_adapter",
]

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from safetensors.torch import load_file, save
from torch import nn
from typing_extensions import override

from negtrace._files import write_bytes
from negtrace.encoders.base import Encoder
from negtrace.encoders.families import FAMILIES, Family, LoadRequest
from negtrace.errors import EncoderError, require

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."  # put by PeftModel before the names of the adapted module
_ADAPTER = "default"


def _peft() -> Any:
    return require("peft", extra="finetune")


def _target_pattern(encoder: Encoder) -> str:
    """Return a regular expression that matches the linear maps in the encoder's blocks by name.

    The maps of `nn.MultiheadAttention` are left out: it reads their weights without calling their
    forward, so an adapter on them would change nothing.

    Raises:
        EncoderError: when no block has such a map.
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
            f"{encoder.name}: its blocks hold no linear map that LoRA can adapt; "
            "train the whole blocks"
        )
    blocks, maps = (
        "|".join(map(re.escape, names)) for names in (encoder.block_names, tuple(inner))
    )
    return rf"(?:{blocks})\.(?:{maps})"


class Attached:
    """Adapters on a model; only their weights are trainable until they are taken off or merged."""

    def __init__(self, model: nn.Module, config: Any) -> None:
        self.model = model
        self.config = config
        self._requires_grad = {
            name: weight.requires_grad for name, weight in model.named_parameters()
        }
        with warnings.catch_warnings():
            # peft reads attributes that transformers is about to rename.
            warnings.simplefilter("ignore", FutureWarning)
            self._tuner = _peft().LoraModel(model, {_ADAPTER: config}, _ADAPTER)

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """Weights of the adapters, by their names in the model."""
        parameters = self.model.named_parameters()
        return {name: weight for name, weight in parameters if f".{_ADAPTER}." in name}

    def take_off(self, *, merged: bool) -> None:
        """Put the model's own linear maps back: with what was learned, or as they were before."""
        if merged:
            self._tuner.merge_and_unload()
        else:
            self._tuner.unload()
        vars(self.model).pop("peft_config", None)
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(self._requires_grad[name])


def attach(encoder: Encoder, *, rank: int, alpha: float) -> Attached:
    """Put an adapter on every linear map in the encoder's blocks; at first it has no effect.

    Args:
        encoder: its model is changed until the adapter is taken off.
        rank: rank of each adapter.
        alpha: factor of the adapter's output, which is scaled by alpha / rank.

    Raises:
        ExtraError: when peft is not installed.
        EncoderError: when there is no such map.
    """
    config = _peft().LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=_target_pattern(encoder),
        base_model_name_or_path=getattr(encoder.model, "name_or_path", None) or None,
    )
    return Attached(encoder.model, config)


def write_adapter(attached: Attached, folder: Path, base: str | None = None) -> Path:
    """Write peft's two files into `folder`, and return the path of the weights.

    Args:
        attached: the adapter.
        folder: made if it does not exist.
        base: name or folder of the adapted model, for `load`.
    """
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
    """Add the weights of a LoRA adapter to the model's own, in place.

    Raises:
        ExtraError: when peft is not installed.
        EncoderError: when the files are missing, or hold an adapter of another kind or of another
            model.
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
    weights = attached.weights
    values = {_name_in_model(name): value for name, value in stored.items()}
    if set(values) != set(weights):
        attached.take_off(merged=False)
        raise EncoderError(
            f"{folder.name}: its adapter belongs to another model: "
            f"{len(set(values) ^ set(weights))} of {len(weights)} weights do not match by name"
        )
    with torch.no_grad():
        for name, value in values.items():
            weights[name].copy_(value)
    attached.take_off(merged=True)


def _name_in_model(stored: str) -> str:
    """Return the name in the model of a weight in peft's file."""
    head, _, kind = stored.removeprefix(_PREFIX).rpartition(".lora_")
    matrix, _, rest = kind.partition(".")
    return f"{head}.lora_{matrix}.{_ADAPTER}.{rest}" if rest else f"{head}.lora_{kind}.{_ADAPTER}"


@final
@FAMILIES.register("LoRA adapter")
class AdapterFamily(Family):
    """A LoRA adapter, merged into the model that it was trained on; options go to that model."""

    accepts: ClassVar[str] = f"a folder with {CONFIG}"
    options: ClassVar[tuple[str, ...]] = ("read_out", "revision", "trust_remote_code", "prompt")

    @override
    def matches(self, request: LoadRequest) -> bool:
        return request.holds(CONFIG)

    @override
    def load(self, request: LoadRequest) -> Encoder:
        # Imported here: `load` is what asks this family, and transformers takes long to import.
        from negtrace.encoders.huggingface.files import holds_whole_weights, two_kinds_of_weights
        from negtrace.encoders.load import load

        folder = Path(request.name_or_path)
        if holds_whole_weights(folder):
            raise EncoderError(two_kinds_of_weights(folder.resolve().name))
        if (folder / "modules.json").is_file():
            raise EncoderError(
                f"{folder.name}: the folder holds an adapter and modules.json: an adapter of a "
                "sentence-transformers model. Merge it with that library, save the whole model, "
                "and load that"
            )
        base = json.loads((folder / CONFIG).read_text("utf-8")).get("base_model_name_or_path")
        if not base:
            raise EncoderError(
                f"{folder.name}: its {CONFIG} does not name the model that was adapted; load that "
                "model and call negtrace.encoders.lora.merge_adapter(encoder.model, folder)"
            )
        encoder = load(base, replace(request.options, name=None, self_check=False))
        merge_adapter(encoder.model, folder)
        encoder.name = request.name
        return encoder
