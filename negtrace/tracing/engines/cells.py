"""Cells one by one: for engines that run a whole forward for each of them."""

__all__ = ["INSIDE", "Cell", "LayerSite", "cells_of", "grid_of", "layer_sites"]

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import HookSite
from negtrace.tracing.plan import Plan

INSIDE = ("head", "attn_out", "mlp_out")
"""The sites inside a block, in the order in which a forward reaches them."""

Cell = tuple[int, int, int]
"""Indices of a cell's site, layer and group in the result."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerSite(HookSite):
    """One kind of site at one layer, and the module whose input or output holds its state."""

    layer: int


def layer_sites(encoder: Encoder, kinds: Collection[str]) -> list[LayerSite]:
    """Return the sites of these kinds at every layer, in the order in which a forward reaches them.

    Raises:
        SiteError: when the model does not offer a site.
    """
    inside = {kind: encoder.hook_sites([kind]) for kind in INSIDE if kind in kinds}
    blocks = encoder.blocks
    axis = encoder.row_axis
    sites = [LayerSite(site="resid", layer=0, module=blocks[0], at="input", row_axis=axis)]
    for layer, block in enumerate(blocks, start=1):
        sites.append(
            LayerSite(site="resid_pre", layer=layer, module=block, at="input", row_axis=axis)
        )
        sites += [LayerSite(layer=layer, **vars(at[layer - 1])) for at in inside.values()]
        sites.append(LayerSite(site="resid", layer=layer, module=block, at="output", row_axis=axis))
    return [site for site in sites if site.site in kinds]


def cells_of(plan: Plan, layers: int, groups: Sequence[Sequence[int]]) -> list[Cell]:
    """Return the cells that exist.

    Args:
        plan: sites and window.
        layers: number of layers, `embed` included.
        groups: the positions of each group that have a counterpart.
    """
    return [
        (index, layer, group)
        for index, site in enumerate(plan.sites)
        for layer in range(layers)
        for group, members in enumerate(groups)
        if members and plan.layers(layer, layers, site.kind)
    ]


def grid_of(
    shape: tuple[int, int, int], scores: Mapping[Cell, float]
) -> Float[np.ndarray, "site layer group"]:
    """Return the scores of cells as a grid, NaN where there is no score."""
    grid = np.full(shape, np.nan)
    for cell, score in scores.items():
        grid[cell] = score
    return grid
