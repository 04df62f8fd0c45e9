"""A contrast as another toolkit patches it: base and donor, what corresponds, and the cells."""

__all__ = ["REACHED", "Cell", "Place", "Sides", "cells_of", "equally_long", "filled", "places_of"]

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched
from negtrace.tracing.corruptions.contrast import Contrast, Correspondence, Run
from negtrace.tracing.engines.exact import Direction, by_length, groups_in
from negtrace.tracing.plan import Plan

REACHED = ("head", "attn_out", "mlp_out")
"""The sites inside a block, in the order in which a forward reaches them."""

Cell = tuple[int, int, int]
"""Site, layer and group, each by its place in the result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """One kind of site at one layer, by the module whose input or output it is."""

    kind: str
    layer: int
    module: nn.Module
    at: Literal["input", "output"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sides:
    """The run that is patched, the run whose states are put into it, and where they come from."""

    base: Run
    donor: Run
    sources: Correspondence
    """For each position of the base, the donor's positions whose mean state stands for it."""

    @classmethod
    def of(cls, contrast: Contrast, direction: Direction) -> "Sides":
        """Return the sides: denoising patches the corrupted run, noising the clean one."""
        if direction == "denoising":
            base, donor, sources = contrast.corrupt, contrast.clean, contrast.corrupt_from_clean
        else:
            base, donor, sources = contrast.clean, contrast.corrupt, contrast.clean_from_corrupt
        return cls(base=base, donor=donor, sources=sources)

    @property
    def groups(self) -> list[list[int]]:
        """Positions that are patched together, as far as the donor has a counterpart."""
        return [[i for i in members if self.sources[i]] for _, members in groups_in(self.base)]

    def aligned(self, states: Tensor) -> Tensor:
        """Bring the donor's states, [donor token, ...], to the base's positions, [token, ...].

        Where the donor has no counterpart, its first state stands in; no cell reads it.
        """
        return torch.stack([states[list(found or (0,))].mean(dim=0) for found in self.sources])


def places_of(encoder: Encoder, kinds: Collection[str]) -> list[Place]:
    """Return every place of these kinds, in the order in which a forward reaches them.

    Raises:
        SiteError: when the model does not offer a site.
    """
    hook_sites = {kind: encoder.hook_sites([kind]) for kind in REACHED if kind in kinds}
    blocks = encoder.blocks
    found = [Place(kind="resid", layer=0, module=blocks[0], at="input")]
    for layer, block in enumerate(blocks, start=1):
        found.append(Place(kind="resid_pre", layer=layer, module=block, at="input"))
        for kind, by_layer in hook_sites.items():
            hook_site = by_layer[layer - 1]
            found.append(Place(kind=kind, layer=layer, module=hook_site.module, at=hook_site.at))
        found.append(Place(kind="resid", layer=layer, module=block, at="output"))
    return [place for place in found if place.kind in kinds]


def cells_of(plan: Plan, layers: int, groups: Sequence[Sequence[int]]) -> list[Cell]:
    """Return the cells there are: those with a layer to patch and a counterpart in the donor."""
    return [
        (place, layer, group)
        for place, site in enumerate(plan.sites)
        for layer in range(layers)
        for group, members in enumerate(groups)
        if members and plan.layers(layer, layers, site.kind)
    ]


def filled(
    plan: Plan, layers: int, groups: int, scores: Mapping[Cell, float]
) -> Float[np.ndarray, "site layer group"]:
    """Return the scores of cells as a grid, NaN where there is no such cell."""
    grid = np.full((len(plan.sites), layers, groups), np.nan)
    for cell, score in scores.items():
        grid[cell] = score
    return grid


def equally_long(
    contrasts: Sequence[Contrast], size: int, done: Collection[int]
) -> Iterator[Sequence[int]]:
    """Yield indices of contrasts of one length on both sides, at most `size`, without `done`."""
    for _, indices in by_length(contrasts):
        yield from batched([index for index in indices if index not in done], size)
