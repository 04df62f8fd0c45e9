"""Low-rank adapters (LoRA, arXiv 2106.09685) on the blocks of a text tower, made with peft.

peft replaces the linear maps inside the encoder's own model object; taking an adapter off puts them
back, with or without what was learned. Files are those of peft, which `PeftModel` reads.
"""

__all__ = [
    "AdapterFamily",
    "Attached",
    "attach",
    "attached_adapters",
    "merge_adapter",
    "require_adaptable",
    "write_adapter",
]

import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from typing_extensions import override

from negtrace._files import is_file, write_bytes
from negtrace._json import parse_json
from negtrace._messages import excerpt, listed
from negtrace.encoders.adapter_patterns import require_patterns_end
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


def require_adaptable(encoder: Encoder) -> None:
    """Refuse an encoder that low-rank adapters cannot be put on; the model stays as it is.

    Raises:
        ExtraError: when peft is not installed.
        EncoderError: when no block has a linear map.
    """
    _peft()
    _target_pattern(encoder)


def attached_adapters(model: nn.Module) -> list[str]:
    """Return the names of the adapters of peft's on a model, whoever attached them, and however.

    The list is empty for a model without adapters only.
    """
    peft, utils = sys.modules.get("peft"), sys.modules.get("peft.tuners.tuners_utils")
    if peft is None or utils is None:  # Adapters cannot be attached without peft.
        return []
    kinds = (peft.PeftModel, peft.PeftMixedModel, utils.BaseTuner, utils.BaseTunerLayer)
    modules = list(model.modules())
    # A model that has lost all layers of its adapters may still hold their configs.
    configs = [config for m in modules if isinstance(config := vars(m).get("peft_config"), dict)]
    if configs or any(isinstance(module, kinds) for module in modules):
        return sorted({name for config in configs for name in config}) or ["without a name"]
    return []


class Attached:
    """Adapters on a model; only their weights are trainable until they are taken off or merged.

    The model must have no other adapters. After an error or an interruption, at whatever point, the
    model is as it was before.
    """

    def __init__(self, model: nn.Module, config: Any) -> None:
        self.model = model
        self.config = config
        self._flags = [(weight, weight.requires_grad) for weight in model.parameters()]
        self._parts = [
            (module, {**dict(module.named_children()), **_own_weights(module)})
            for module in model.modules()
        ]
        try:
            with warnings.catch_warnings():
                # peft reads attributes that transformers is about to rename.
                warnings.simplefilter("ignore", FutureWarning)
                _peft().LoraModel(model, {_ADAPTER: config}, _ADAPTER)
        except BaseException:
            self._put_back()
            raise

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """Weights of the adapters, by their names in the model."""
        parameters = self.model.named_parameters()
        return {name: weight for name, weight in parameters if f".{_ADAPTER}." in name}

    def take_off(self, *, merged: bool) -> None:
        """Put the model's own linear maps back: with what was learned, or as they were before.

        Merging is all or nothing. After an error or an interruption, all maps are as before.
        """
        if not merged:
            self._put_back()
            return
        layers = [m for m in self.model.modules() if isinstance(m, _peft().tuners.lora.LoraLayer)]
        adapted = {module for layer in layers for module in layer.get_base_layer().modules()}
        places = [
            (module, name, weight)
            for module, parts in self._parts
            for name, weight in parts.items()
            if module in adapted and isinstance(weight, nn.Parameter)
        ]
        before = [weight.detach().clone() for _, _, weight in places]
        try:
            for layer in layers:
                if not layer.merged:  # nn.MultiheadAttention has merged its own output map.
                    layer.merge()
            with torch.no_grad():
                for module, name, weight in places:
                    weight.copy_(getattr(module, name))  # peft puts new tensors into some modules.
            self._put_back()
        except BaseException:
            with torch.no_grad():
                for (_, _, weight), value in zip(places, before, strict=True):
                    weight.copy_(value)
            self._put_back()
            raise

    def _put_back(self) -> None:
        for module, parts in self._parts:
            for name, part in parts.items():
                if getattr(module, name) is not part:
                    setattr(module, name, part)
        vars(self.model).pop("peft_config", None)
        for weight, flag in self._flags:
            weight.requires_grad_(flag)


def _own_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the weights of a module itself by name, not those of the modules inside it."""
    return dict(module.named_parameters(recurse=False))


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

    After an error the model is as it was before.

    Raises:
        ExtraError: when peft is not installed.
        EncoderError: when the model has adapters attached, or when the files are missing, or hold
            an adapter of another kind or of another model, or a pattern that never ends.
    """
    if names := attached_adapters(model):
        raise EncoderError(
            f"the model has adapters attached ({listed(names)}), and {folder.name} was not trained "
            "on top of them. Make them part of the weights (merge_and_unload() of a PeftModel) or "
            "take them off (unload()), and give the model that this returns; or put the adapter of "
            "the folder beside them with load_adapter() of the PeftModel"
        )
    config, stored = _configuration(folder), _stored_weights(folder)
    if config.peft_type != "LORA":
        raise EncoderError(
            f"{folder.name}: its {CONFIG} says an adapter of type {config.peft_type}; expected LORA"
        )
    config.inference_mode = True
    names = [name for name, _ in model.named_modules()]
    require_patterns_end(config, names, f"{folder.name}: its {CONFIG}")
    try:
        attached = Attached(model, config)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unreadable(folder, CONFIG, error) from error
    try:
        _fill(attached, {_name_in_model(name): value for name, value in stored.items()}, folder)
    except BaseException:
        attached.take_off(merged=False)
        raise
    attached.take_off(merged=True)


def _configuration(folder: Path) -> Any:
    try:
        parse_json((folder / CONFIG).read_bytes(), foreign=True)  # peft takes any depth
        return _peft().PeftConfig.from_pretrained(str(folder))
    # peft takes whatever its configuration holds, so errors of many kinds can come.
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unreadable(folder, CONFIG, error) from error


def _stored_weights(folder: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(folder / WEIGHTS))
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise _unreadable(folder, WEIGHTS, error) from error


def _unreadable(folder: Path, file: str, error: Exception) -> EncoderError:
    return EncoderError(
        f"{folder.name}: cannot use its {file} ({str(error)[:200]}); save or download the adapter "
        "again"
    )


def _fill(attached: Attached, values: Mapping[str, Tensor], folder: Path) -> None:
    """Set the weights of the adapters.

    Raises:
        EncoderError: when the names or the shapes are not those of the adapters.
    """
    weights = attached.weights
    if unmatched := set(values) ^ set(weights):
        raise EncoderError(
            f"{folder.name}: its adapter belongs to another model: "
            f"{len(unmatched)} of {len(weights)} weights do not match by name"
        )
    for name, value in values.items():
        if value.shape != weights[name].shape:
            raise EncoderError(
                f"{folder.name}: its adapter belongs to another model: {name} has the shape "
                f"{tuple(value.shape)}; expected {tuple(weights[name].shape)}"
            )
    with torch.no_grad():
        for name, value in values.items():
            weights[name].copy_(value)


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
        base = _base_of(folder)
        if not base:
            raise EncoderError(
                f"{folder.name}: its {CONFIG} does not name the model that was adapted; load that "
                "model and call negtrace.encoders.lora.merge_adapter(encoder.model, folder)"
            )
        if is_file(Path(base) / CONFIG):
            raise EncoderError(
                f"{folder.resolve().name}: the model that its {CONFIG} names is an adapter too; "
                "merge that one into its model first, and save the whole model"
            )
        encoder = load(base, replace(request.options, name=None, self_check=False))
        merge_adapter(encoder.model, folder)
        encoder.name = request.name
        return encoder


def _base_of(folder: Path) -> str | None:
    """Return the name of the model that an adapter was trained on, if its configuration has one."""
    try:
        config = parse_json((folder / CONFIG).read_bytes())
        base = config.get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise _unreadable(folder, CONFIG, error) from error
    if not isinstance(base, str | None):
        raise EncoderError(
            f"{folder.name}: base_model_name_or_path in its {CONFIG} is {excerpt(base)}; expected "
            "the name of a model"
        )
    return base
