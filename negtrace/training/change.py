"""Change of each block by a training: the distance its weights moved, whatever the gradients."""

__all__ = ["Change", "change_of", "snapshot"]

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """Change of the weights of each block, in the order of the blocks."""

    blocks: tuple[str, ...]
    norms: Float[np.ndarray, " block"]
    """Euclidean norm of the difference between the weights after and before."""
    relative: Float[np.ndarray, " block"]
    """That norm divided by the norm of the weights before; 0 for a block of zeros."""

    @property
    def shares(self) -> Float[np.ndarray, " block"]:
        """Norm of each block divided by the sum over blocks; zeros when nothing moved."""
        total = self.norms.sum()
        return np.asarray(self.norms / total if total > 0 else np.zeros_like(self.norms))

    def top(self, k: int) -> float:
        """Share of the k blocks that moved most."""
        return float(np.sort(self.shares)[::-1][:k].sum())


def snapshot(model: nn.Module, blocks: tuple[str, ...]) -> dict[str, Tensor]:
    """Return a copy of every weight in the blocks, by name."""
    starts = tuple(f"{block}." for block in blocks)
    return {
        name: weight.detach().clone()
        for name, weight in model.named_parameters()
        if name.startswith(starts)
    }


def change_of(model: nn.Module, blocks: tuple[str, ...], before: Mapping[str, Tensor]) -> Change:
    """Return the change of the blocks since a snapshot."""
    differences, norms_before = [], []
    now = dict(model.named_parameters())
    for block in blocks:
        names = [name for name in before if name.startswith(f"{block}.")]
        differences.append(_norm([now[name].detach() - before[name] for name in names]))
        norms_before.append(_norm([before[name] for name in names]))
    norms, sizes = np.array(differences), np.array(norms_before)
    relative = np.divide(norms, sizes, out=np.zeros_like(norms), where=sizes > 0)
    return Change(blocks=blocks, norms=norms, relative=relative)


def _norm(tensors: list[Tensor]) -> float:
    squares = [tensor.double().square().sum() for tensor in tensors]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
