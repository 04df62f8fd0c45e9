"""How nnsight runs a text tower: here, wrapped for a while, or by its name on a remote service."""

__all__ = ["Remote", "Tower", "require_key", "tower_of", "traced"]

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.errors import EncoderError, TraceError, require

Remote = bool | str
"""False runs here, True on nnsight's service, `local` here by way of the service's own format."""

LEFT = ("__nnsight__", "forward")
"""What nnsight leaves in the `__dict__` of every module that it wrapped."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tower:
    """How a trace runs a text tower, and what it reads as the embedding."""

    model: Any
    """An nnsight model."""
    envoys: Mapping[nn.Module, Any]
    """Its envoy of each module of the encoder's model."""
    call: Callable[[Tensor, Tensor], tuple[tuple[Any, ...], dict[str, Any]]]
    """Maps token ids and anchors to the arguments of `model.trace`."""
    root: Any = None
    """The envoy whose output is read; None reads what the traced call returns."""
    reading: tuple[str | None, str | None] = (None, None)
    """An attribute of that output, and which of its positions."""


@contextmanager
def traced(module: nn.Module) -> Iterator[Any]:
    """Wrap a module in `nnsight.NNsight` for the time of a `with`, and unwrap it afterwards.

    nnsight puts its own `forward` on every module and leaves it there; here they go again.
    """
    own = [
        (part, {name: vars(part)[name] for name in LEFT if name in vars(part)})
        for part in module.modules()
    ]
    try:
        with warnings.catch_warnings():
            # BERT's blocks have a module called `output`; only the modules around it are read here.
            warnings.filterwarnings("ignore", message="Module .* has a submodule named")
            wrapped = require("nnsight", extra="interop").NNsight(module)
        yield wrapped
    finally:
        for part, kept in own:
            for name in LEFT:
                vars(part).pop(name, None)
            vars(part).update(kept)


@contextmanager
def tower_of(encoder: Encoder, remote: Remote, model: Any) -> Iterator[Tower]:
    """Give an encoder's text tower as nnsight runs it for the time of a `with`.

    Raises:
        TraceError: when it is to run remotely and the service has no name for it.
        EncoderError: when a remote run could not read its embedding.
    """
    if remote:
        yield _remote_tower(encoder, remote, model)
        return

    def call(ids: Tensor, anchors: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (ids, anchors), {"fn": encoder.encode_against}

    with traced(encoder.model) as wrapped:
        yield Tower(model=wrapped, envoys=_envoys(wrapped), call=call)


def _envoys(model: Any) -> dict[nn.Module, Any]:
    # By module, since nnsight renames what is called as one of its own attributes (`output`).
    return {envoy._module: envoy for envoy in model.modules()}


def _remote_tower(encoder: Encoder, remote: Remote, model: Any) -> Tower:
    """Return how the service runs the model by its own names: no code of negtrace is sent."""
    model = _named(encoder) if model is None else model
    if not hasattr(model, "to_model_key"):
        raise TraceError(
            f"a {type(model).__name__} cannot run remotely; pass a model that nnsight knows by "
            "name, such as nnsight.TransformersModel('owner/name')"
        )
    paths, envoys = dict(model._module.named_modules()), _envoys(model)
    first = encoder.block_names[0]
    found = [path.removesuffix(first) for path in paths if path.endswith(first)]
    prefix = next((p for p in found if all(p + n in paths for n in encoder.block_names)), None)
    if prefix is None:
        raise TraceError(f"the nnsight model has no blocks named {first!r} and so on")
    options: dict[str, Any] = {"remote": remote}
    if not prefix and hasattr(encoder.model, "get_text_features"):
        options["fn"] = "get_text_features"
    return Tower(
        model=model,
        envoys={
            module: envoys[paths[prefix + name]]
            for name, module in encoder.model.named_modules()
            if prefix + name in paths
        },
        call=lambda ids, _: ((ids,), options),
        root=envoys[paths[prefix.removesuffix(".")]] if prefix else None,
        reading=_reading(encoder),
    )


def _named(encoder: Encoder) -> Any:
    name = getattr(encoder.model, "name_or_path", "")
    if not name or Path(name).exists():
        raise TraceError(
            f"{encoder.name} has no name on the Hugging Face hub, by which nnsight's service "
            "knows its models; load it by that name, or pass model=, an nnsight model of that name"
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


def _reading(encoder: Encoder) -> tuple[str | None, str | None]:
    """Return where in the model's own output the embedding is, found on a probe."""
    ids = encoder.probe
    run = getattr(encoder.model, "get_text_features", encoder.model)
    output, wanted = run(ids), encoder.encode(ids)
    for attribute in (None, "pooler_output", "last_hidden_state"):
        states = output if attribute is None else getattr(output, attribute, None)
        if not isinstance(states, Tensor):
            continue
        if states.shape == wanted.shape and torch.equal(states, wanted):
            return attribute, None
        if states.ndim == 3:
            for read, found in _pools(states).items():
                if found.shape == wanted.shape and torch.equal(found, wanted):
                    return attribute, read
    raise EncoderError(
        f"{encoder.name}: the embedding is not what its model returns, nor its first, last or mean "
        "token state, so a remote run cannot read it; run it here"
    )


def _pools(states: Float[Tensor, "row token width"]) -> dict[str, Float[Tensor, "row width"]]:
    return {"first": states[:, 0], "last": states[:, -1], "mean": states.mean(dim=1)}
