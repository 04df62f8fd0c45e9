"""Interpolation: a model between one before a training and one after it."""

__all__ = ["interpolate"]

import copy
from collections.abc import Mapping
from math import isfinite

import torch

from negtrace._messages import listed
from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import captured, evaluating
from negtrace.encoders.lora import attached_adapters
from negtrace.errors import EncoderError, FinetuneError
from negtrace.training.multipliers import require_names

State = dict[str, torch.Tensor]


def interpolate(before: Encoder, after: Encoder, t: float | Mapping[str, float]) -> Encoder:
    """Return a new encoder whose weights are those of `before` + t (`after` - `before`).

    Interpolating the weights of a model with those it had before a training keeps most of what was
    learned, and most of what was known (WiSE-FT, arXiv 2109.01903; PAINT, NeurIPS 2022). Neither of
    the two encoders is changed. Buffers that are no floating-point numbers are those of `before`.

    >>> from negtrace.encoders import load
    >>> before, after = load("toy"), load("toy")
    >>> _ = after.model.polarity.weight.data.add_(2.0)
    >>> between = interpolate(before, after, 0.5)
    >>> (between.model.polarity.weight - before.model.polarity.weight).mean().item()
    1.0

    Args:
        before: the encoder before a training.
        after: the same encoder after it; another instance.
        t: 0 gives `before`, 1 gives `after`. A number for each block by name leaves the weights
            outside the blocks as they are in `before`.

    Raises:
        FinetuneError: for models that are not alike (names are listed), that adapters are attached
            to, a t that is no number from 0 to 1, or numbers for other blocks.
        EncoderError: for an encoder that cannot be copied, such as one that embeds by a function of
            your own.
    """
    first, last = _state(before), _state(after)
    _require_alike(before, after, first, last)
    shares = _shares(before, first, t)
    between = _copied(before)
    with torch.no_grad():
        for name, value in between.model.state_dict().items():
            if share := shares[name]:
                mixed = first[name].double() + share * (last[name].double() - first[name].double())
                value.copy_(mixed if share < 1 else last[name])
    between.name = f"{before.name} to {after.name}" if before.name != after.name else before.name
    return between


def _state(encoder: Encoder) -> State:
    """Return the weights and buffers of a model that no adapter is attached to."""
    if adapters := attached_adapters(encoder.model):
        raise FinetuneError(
            f"{encoder.name} has adapters attached ({listed(adapters)}); merge them into a copy of "
            "the model (merge_and_unload() of a PeftModel), and interpolate that"
        )
    return dict(encoder.model.state_dict())


def _require_alike(before: Encoder, after: Encoder, first: State, last: State) -> None:
    """Raise a FinetuneError for models whose weights have other names or shapes."""
    if before.model is after.model:
        raise FinetuneError(
            "both encoders hold the same model, so there is nothing between them; load the model "
            "from before the training once more"
        )
    unlike = [
        name
        for name in dict.fromkeys((*first, *last))
        if name not in first or name not in last or first[name].shape != last[name].shape
    ]
    if unlike:
        raise FinetuneError(
            f"{before.name} and {after.name} are unlike in {len(unlike)} weights: {listed(unlike)}"
            "; give the same model before and after a training"
        )


def _shares(encoder: Encoder, state: State, t: float | Mapping[str, float]) -> dict[str, float]:
    """Return the share of the weights after the training in each weight by name."""
    numbers = list(t.values()) if isinstance(t, Mapping) else [t]
    for number in numbers:
        if not (isfinite(number) and 0 <= number <= 1):
            raise FinetuneError(f"t is {number}; expected a number from 0 to 1")
    mixed = {name for name, value in state.items() if value.is_floating_point()}
    if not isinstance(t, Mapping):
        return {name: float(t) * (name in mixed) for name in state}
    require_names(tuple(t), encoder.block_names, encoder.name)
    shares = dict.fromkeys(state, 0.0)
    for block, share in t.items():
        shares |= {name: float(share) for name in mixed if name.startswith(f"{block}.")}
    return shares


def _copied(encoder: Encoder) -> Encoder:
    """Return a copy of an encoder with a model of its own.

    Raises:
        EncoderError: when the copy still runs the model of the encoder.
    """
    try:
        copied = copy.deepcopy(encoder)
    except Exception as error:  # whatever a model cannot do
        raise EncoderError(f"{encoder.name} cannot be copied: {error}") from error
    copied.agreements.clear()
    with evaluating(copied.model), torch.inference_mode(), captured(copied.blocks) as capture:
        copied.encode(copied.probe)
    if len(capture.outputs) != len(copied.blocks):
        raise EncoderError(
            f"{encoder.name} embeds by a function that holds the model itself, so a copy would "
            "still run it; give negtrace.wrap a functools.partial of a function that takes the "
            "model, in the place of encode"
        )
    return copied
