"""Digests of a model: of its weights, and of what decides its forward besides them."""

__all__ = ["settings_digest", "weight_versions", "weights_digest"]

import hashlib
from collections.abc import Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from negtrace.errors import EncoderError

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_FUNCTIONS = (FunctionType, BuiltinFunctionType)
_CONFIGS = ("config", "cfg", "args", "hparams")
"""Ends of the names of attributes that hold settings in an object of their own."""
_OF_TORCH = frozenset(vars(nn.Module()))
"""Attributes that every module has, such as hooks and `training`, which a trace sets itself."""
_LIBRARIES = ("builtins", "torch", "transformers")
"""Packages whose classes hold no settings of a model's."""


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state: names, types, shapes and bytes, in name order.

    Raises:
        EncoderError: when a part of the state is neither a tensor nor made of tensors.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        for tensor in _plain_tensors(name, value):
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _plain_tensors(name: str, value: object) -> Iterator[Tensor]:
    """Yield the tensors in a part of a state; a quantized one as its integers and its values."""
    if isinstance(value, Tensor) and value.is_quantized:
        yield value.int_repr()
        yield value.dequantize()
    elif isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _plain_tensors(name, part)
    elif isinstance(value, int | float | bool | torch.dtype | None):
        yield torch.frombuffer(bytearray(repr(value).encode()), dtype=torch.uint8)
    else:
        raise EncoderError(
            f"the model's state holds {type(value).__name__} at {name}; expected tensors, so its "
            "weights have no digest. Load the model without that kind of quantization"
        )


def weight_versions(model: nn.Module) -> tuple[tuple[str, int, int], ...]:
    """Return what changes whenever a weight does: name, address and number of changes of each.

    Cheaper than a digest, but without meaning for another model or process. Changes of weights that
    were made in inference mode are not counted.
    """
    return tuple(
        (name, value.data_ptr(), 0 if value.is_inference() else value._version)
        for name, value in model.named_parameters()
    )


def settings_digest(model: nn.Module) -> str:
    """Return the SHA-256 of the classes of a model's modules and of their plain attributes.

    Plain are numbers, strings, functions by name, collections of these, and the configs that
    modules hold. A change of any of them can change what a forward does, and no weight shows it.

    >>> from torch import nn
    >>> model = nn.Sequential(nn.Dropout(0.1))
    >>> before = settings_digest(model)
    >>> model[0].inplace = True
    >>> settings_digest(model) == before
    False
    """
    facts, seen, classes = list[str](), set[int](), dict[type, None]()
    for module in model.modules():
        classes |= dict.fromkeys(type(module).__mro__)
        own = {name: value for name, value in vars(module).items() if name not in _OF_TORCH}
        facts += type(module).__qualname__, *_facts(own, seen)
    for kind in classes:
        if kind.__module__.split(".")[0] not in _LIBRARIES:
            plain = {key: value for key, value in vars(kind).items() if isinstance(value, _PLAIN)}
            facts += _facts(plain, seen)
    return hashlib.sha256("|".join(facts).encode()).hexdigest()


def _facts(attributes: Mapping[str, Any], seen: set[int]) -> Iterator[str]:
    """Yield the name and the value of every plain attribute, and of those of configs.

    Args:
        attributes: values by name.
        seen: configs that were read already, by identity.
    """
    for name, value in attributes.items():
        if (shown := _shown(value)) is not None:
            yield f"{name}={shown}"
        elif name.endswith(_CONFIGS) and hasattr(value, "__dict__") and id(value) not in seen:
            seen.add(id(value))
            yield f"{name}:"
            yield from _facts(vars(value), seen)


def _shown(value: object) -> str | None:
    """Return a plain value as text; None for any other."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, _FUNCTIONS):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, dict):
        value = [part for item in value.items() for part in item]
    if isinstance(value, list | tuple | set | frozenset):
        parts = [_shown(part) for part in value]
        return None if None in parts else f"[{','.join(map(str, parts))}]"
    return None
