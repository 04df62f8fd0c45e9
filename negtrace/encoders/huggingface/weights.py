"""Weights of a model as transformers loaded them, and those that its files lack.

transformers fills a weight that the files lack with random numbers. A score that uses such a weight
shows nothing about the model, so `require_weights` refuses it.
"""

__all__ = ["LoadedModel", "require_weights"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from negtrace.encoders.base import PROBE, Encoder
from negtrace.encoders.hooks import evaluating
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor

NAMED = 3
"""Weights that a message names; the rest are counted."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model, and the differences between its weights and those in its files."""

    model: Any
    missing: tuple[str, ...] = ()
    """Names of weights that the files lack; tied weights are not among them."""
    unexpected: tuple[str, ...] = ()
    """Names of weights in the files that the model does not have."""


def require_weights(encoder: Encoder, loaded: LoadedModel, *, measured: bool = True) -> None:
    """Refuse an encoder whose score uses a weight that its files lack.

    Missing weights that it does not use become zero, so that the digest of the weights is the same
    each time that the model is loaded.

    Args:
        encoder: made of the loaded model.
        loaded: the model, with what its files lack.
        measured: leave out weights that the embeddings of a statement and of an image do not
            depend on, such as a pooler where the embedding is the mean. Otherwise every missing
            weight counts as used.

    Raises:
        EncoderError: when there is such a weight; it names the first few.
    """
    missing = [name for name in loaded.missing if not _is_counting(loaded.model, name)]
    used = _used(encoder, missing) if measured and missing else missing
    if used:
        raise EncoderError(
            f"{encoder.name}: its files lack {_count(used)} that the score uses ({_some(used)}), "
            f"and random numbers would take their place. {_way_out(used, loaded.unexpected)}"
        )
    weights = dict(loaded.model.named_parameters())
    with torch.no_grad():
        for name in missing:
            weights[name].zero_()


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} weight" + ("s" if len(names) > 1 else "")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _way_out(used: Sequence[str], unexpected: Sequence[str]) -> str:
    if all("pooler" in name for name in used):
        return "The model was saved without a pooler; use read_out 'mean' or 'cls'"
    if unexpected:
        return (
            f"They hold {_count(unexpected)} under names that the model does not have "
            f"({_some(unexpected)}). If these are the same weights, rename them in the file; "
            "otherwise save the model again, with the class that is named in config.json"
        )
    return "Save the model again, with all its weights"


def _is_counting(model: nn.Module, name: str) -> bool:
    """Return whether a name is that of a buffer of positions 0, 1, 2, ..., which need no file."""
    buffer = dict(model.named_buffers()).get(name)
    if buffer is None or not name.endswith("position_ids"):
        return False
    counted = torch.arange(buffer.numel(), device=buffer.device)
    return torch.equal(buffer.flatten(), counted.to(buffer.dtype))


def _used(encoder: Encoder, names: Sequence[str]) -> list[str]:
    """Return the weights that an embedding depends on, by a gradient.

    Weights in the blocks always count, since another statement may use what the probe does not
    (the experts of a mixture). So do numbers of the model itself, such as its logit scale.
    """
    parameters = dict(encoder.model.named_parameters())
    blocks = tuple(f"{block}." for block in encoder.block_names)
    measurable = [
        name
        for name in names
        if "." in name
        and not name.startswith(blocks)
        and name in parameters
        and parameters[name].requires_grad
    ]
    unused = set(measurable)
    with evaluating(encoder.model), torch.enable_grad():
        for embedding in _embeddings(encoder):
            unused &= _without_gradient(embedding, {name: parameters[name] for name in measurable})
    return [name for name in names if name not in unused]


def _embeddings(encoder: Encoder) -> Iterator[Tensor]:
    """Yield the embedding of a statement, and that of an image where the model reads images."""
    [tokens] = encoder.tokenize([PROBE])
    yield encoder.encode(torch.tensor([tokens.ids], device=encoder.device))
    if encoder.reads_images:
        yield encoder.embed_images([Anchor(image=Image.new("RGB", (64, 64), (90, 120, 150)))])


def _without_gradient(embedding: Tensor, weights: dict[str, nn.Parameter]) -> set[str]:
    """Return the names of the weights that an embedding does not depend on."""
    if not weights or not embedding.requires_grad:  # made without a graph: nothing is known
        return set()
    gradients = torch.autograd.grad(
        embedding.float().sum(), list(weights.values()), allow_unused=True
    )
    return {name for name, grad in zip(weights, gradients, strict=True) if grad is None}
