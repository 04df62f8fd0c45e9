"""A text tower as nnsight runs it: wrapped on this machine, or by its name on a service."""

__all__ = ["NNsightTower", "ReadRule", "Remote", "nnsight_tower", "require_key"]

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.token_types import type_inputs
from negtrace.errors import EncoderError, TraceError, require

Remote = bool | str
"""False runs on this machine, True on nnsight's service; "local" runs on this machine, but in the
format of the service."""

LEFT_BEHIND = ("__nnsight__", "forward")
"""Names that nnsight leaves in the `__dict__` of every module that it wrapped."""


@dataclass(frozen=True, kw_only=True)
class ReadRule:
    """Place of the embedding in what a model returns."""

    attribute: str | None = None
    """Attribute of the output; None for the output itself."""
    index: Any = ...
    """Index into it."""
    pooled: bool = False
    """Whether it is averaged over tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class NNsightTower:
    """Way to run a text tower in a trace, and to read its embedding."""

    model: Any
    """An nnsight model."""
    envoys: Mapping[nn.Module, Any]
    """The nnsight model's envoy of each module of the encoder's model."""
    call: Callable[[Tensor, Tensor], tuple[tuple[Any, ...], dict[str, Any]]]
    """A function from token ids and anchors to the arguments of `model.trace`."""
    root: Any = None
    """The envoy whose output is read; None reads what the traced call returns."""
    reading: ReadRule = ReadRule()
    """Where the embedding is in that output."""


@contextmanager
def _wrapped(module: nn.Module) -> Iterator[Any]:
    """Wrap a module in `nnsight.NNsight` inside a `with`, and remove all traces of it afterwards.

    nnsight puts a `forward` of its own on every submodule and leaves it there.
    """
    before = [
        (part, {name: vars(part)[name] for name in LEFT_BEHIND if name in vars(part)})
        for part in module.modules()
    ]
    try:
        with warnings.catch_warnings():
            # BERT's blocks have a module called `output`. Only modules around it are read here.
            warnings.filterwarnings("ignore", message="Module .* has a submodule named")
            wrapped = require("nnsight", extra="interop").NNsight(module)
        yield wrapped
    finally:
        for part, values in before:
            for name in LEFT_BEHIND:
                vars(part).pop(name, None)
            vars(part).update(values)


@contextmanager
def nnsight_tower(encoder: Encoder, remote: Remote, model: Any) -> Iterator[NNsightTower]:
    """Return an encoder's text tower as nnsight runs it, for use inside a `with`.

    Raises:
        TraceError: for a remote run of a model that the service does not know by name.
        EncoderError: when a remote run could not read its embedding.
    """
    if remote:
        yield _remote_tower(encoder, remote, model)
        return

    def call(ids: Tensor, anchors: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (ids, anchors), {"fn": encoder.encode_against}

    with _wrapped(encoder.model) as wrapped:
        yield NNsightTower(model=wrapped, envoys=_envoys(wrapped), call=call)


def _envoys(model: Any) -> dict[nn.Module, Any]:
    # By module, since nnsight renames what is called as one of its own attributes (`output`).
    return {envoy._module: envoy for envoy in model.modules()}


def _remote_tower(encoder: Encoder, remote: Remote, model: Any) -> NNsightTower:
    """Return the tower as the service runs it, by its own names; no code of negtrace is sent."""
    model = _hub_model(encoder) if model is None else model
    if not hasattr(model, "to_model_key"):
        raise TraceError(
            f"a {type(model).__name__} cannot run remotely; pass a model that nnsight knows by "
            "name, such as nnsight.TransformersModel('owner/name')"
        )
    paths, envoys = dict(model._module.named_modules()), _envoys(model)
    first = encoder.block_names[0]
    prefixes = [path.removesuffix(first) for path in paths if path.endswith(first)]
    prefix = next((p for p in prefixes if all(p + n in paths for n in encoder.block_names)), None)
    if prefix is None:
        raise TraceError(f"the nnsight model has no blocks named {first!r} and so on")
    options: dict[str, Any] = {"remote": remote}
    if not prefix and hasattr(encoder.model, "get_text_features"):
        options["fn"] = "get_text_features"
    return NNsightTower(
        model=model,
        envoys={
            module: envoys[paths[prefix + name]]
            for name, module in encoder.model.named_modules()
            if prefix + name in paths
        },
        call=lambda ids, _: ((ids,), options | _types(encoder, ids)),
        root=envoys[paths[prefix.removesuffix(".")]] if prefix else None,
        reading=_reading(encoder),
    )


def _hub_model(encoder: Encoder) -> Any:
    name = getattr(encoder.model, "name_or_path", "")
    if not name or Path(name).exists():
        raise TraceError(
            f"{encoder.name} has no name on the Hugging Face hub, by which nnsight's service "
            "knows its models; load it by that name, or pass NNsight(model=...), an nnsight model "
            "of that name"
        )
    hosted = require("nnsight.modeling.huggingface", extra="interop").HuggingFaceModel
    return hosted(name, revision=encoder.revision)


def require_key(remote: Remote) -> None:
    """Raise a TraceError when nnsight has no API key for a remote run."""
    if remote == "local" or require("nnsight", extra="interop").CONFIG.API.APIKEY:
        return
    raise TraceError(
        "a remote run needs an API key of nnsight's service: get one at https://login.ndif.us, "
        "then set NDIF_API_KEY, or call nnsight.login(); or leave remote out to run it here"
    )


def _reading(encoder: Encoder) -> ReadRule:
    """Return where the embedding is in the model's own output, found by running a probe."""
    ids = encoder.probe
    run = getattr(encoder.model, "get_text_features", encoder.model)
    output, wanted = run(ids, **_types(encoder, ids)), encoder.encode(ids)
    for attribute in (None, "pooler_output", "last_hidden_state"):
        states = output if attribute is None else getattr(output, attribute, None)
        if not isinstance(states, Tensor):
            continue
        for reading in _readings(attribute, states):
            read = states[reading.index]
            read = read.mean(dim=1) if reading.pooled else read
            if read.shape == wanted.shape and torch.equal(read, wanted):
                return reading
    raise EncoderError(
        f"{encoder.name}: the embedding is not what its model returns, nor its first, last or mean "
        "token state, so a remote run cannot read it; run it here"
    )


def _types(encoder: Encoder, ids: Tensor) -> dict[str, Tensor]:
    """Return the token types that the model is given beside token ids, if any."""
    return type_inputs(getattr(encoder, "token_types", None), ids)


def _readings(attribute: str | None, states: Tensor) -> Iterator[ReadRule]:
    """Yield what may be read: the whole tensor, its first or last token state, or their mean."""
    yield ReadRule(attribute=attribute)
    if states.ndim == 3:
        yield ReadRule(attribute=attribute, index=(slice(None), 0))
        yield ReadRule(attribute=attribute, index=(slice(None), -1))
        yield ReadRule(attribute=attribute, pooled=True)
