"""How far every block moved: the realised change, which is not the gradient's."""

__all__ = ["Change", "change_of", "snapshot"]

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """The change of each block's weights, in the order of the blocks."""

    blocks: tuple[str, ...]
    norms: Float[np.ndarray, " block"]
    """Euclidean norm of what was added to the block's weights; no unit."""
    relative: Float[np.ndarray, " block"]
    """The same over the norm of the weights before."""

    @property
    def shares(self) -> Float[np.ndarray, " block"]:
        """Each block's norm over the sum of all; zeros when nothing moved."""
        total = self.norms.sum()
        return np.asarray(self.norms / total if total > 0 else np.zeros_like(self.norms))

    def top(self, k: int) -> float:
        """The share of the k blocks that moved most."""
        return float(np.sort(self.shares)[::-1][:k].sum())


def snapshot(model: nn.Module, blocks: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a copy of every weight in the blocks, by name."""
    starts = tuple(f"{block}." for block in blocks)
    named = model.named_parameters()
    return {n: w.detach().clone() for n, w in named if n.startswith(starts)}


def change_of(model: nn.Module, blocks: tuple[str, ...], before: Mapping[str, Tensor]) -> Change:
    """Return how far the blocks' weights are from what they were."""
    norms, whole = [], []
    now = dict(model.named_parameters())
    for block in blocks:
        names = [name for name in before if name.startswith(f"{block}.")]
        norms.append(_norm([now[name].detach() - before[name] for name in names]))
        whole.append(_norm([before[name] for name in names]))
    moved, size = np.array(norms), np.array(whole)
    relative = np.divide(moved, size, out=np.zeros_like(moved), where=size > 0)
    return Change(blocks=blocks, norms=moved, relative=relative)


def _norm(tensors: list[Tensor]) -> float:
    squares = [tensor.double().square().sum() for tensor in tensors]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
