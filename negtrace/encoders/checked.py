"""Check of what a function that embeds rows of tokens returns, at every call."""

__all__ = ["checked", "require_finite", "require_one_pass"]

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor, nn

from negtrace.encoders.hooks import captured
from negtrace.errors import EncoderError

Encode = Callable[[Tensor], Tensor]

ROWS = 32
"""Rows of the probe, to see whether all of them run at once."""

EXPECTED = "expected one embedding for each row of token ids: [row, dim], of floats"


def checked(encode: Encode, name: str) -> Encode:
    """Return a function that does as `encode`, and refuses what is no embedding for each row."""
    return partial(_embedding, encode, name)


def _embedding(encode: Encode, name: str, ids: Int[Tensor, "row token"]) -> Tensor:
    embedding = encode(ids)
    if isinstance(embedding, Tensor):
        shape = list(embedding.shape)
        if embedding.is_floating_point() and len(shape) == 2 and shape[0] == len(ids):
            return embedding
        came = f"{str(embedding.dtype).removeprefix('torch.')} of the shape {shape}"
    else:
        came = f"a {type(embedding).__name__}"
    raise EncoderError(f"{name}: encode gave {came} for {len(ids)} rows; {EXPECTED}")


def require_finite(encode: Encode, ids: Int[Tensor, "1 token"], name: str) -> None:
    """Refuse a model whose embedding of a probe holds NaN or infinity: nothing is measured by it.

    Raises:
        EncoderError: then.
    """
    with torch.inference_mode():
        embedding = encode(ids)
    if not embedding.isfinite().all():
        raise EncoderError(
            f"{name}: the embedding of {ids.shape[1]} tokens holds NaN or infinity, so its "
            "structure cannot be measured; load the model in float32, or look at its weights"
        )


def require_one_pass(
    encode: Encode, blocks: Sequence[nn.Module], ids: Int[Tensor, "1 token"], name: str
) -> None:
    """Refuse a function that hands its rows to the model in several batches.

    Raises:
        EncoderError: when the first block runs once for one row, and more often for several.
    """
    runs = []
    for rows in (1, ROWS):
        with captured(blocks[:1]) as capture, torch.inference_mode():
            encode(ids.repeat(rows, 1))
        runs.append(len(capture.outputs))
    if runs[0] == 1 < runs[1]:
        raise EncoderError(
            f"{name}: encode ran the first block {runs[1]} times for {ROWS} rows, so it cuts them "
            "into batches; hand all rows to the model at once. A trace bounds how many there are "
            "by its row_tokens"
        )
