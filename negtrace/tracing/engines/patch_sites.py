"""The single positions that the cells of one forward overwrite."""

__all__ = ["CellIndex", "PatchSites", "patch_sites_of"]

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from negtrace.tracing.engines.batch import Batch

CellIndex = tuple[Tensor, Tensor, Tensor, Tensor]
"""Site, layer, run and group of some cells, each [cell]. Cells are the rows of a forward."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchSites:
    """Everything that the rows of one forward overwrite at one kind of site."""

    kind: str
    """Kind of site."""
    rows: Int[Tensor, " point"]
    """Row of the forward."""
    runs: Int[Tensor, " point"]
    """Run of the batch that the row patches."""
    positions: Int[Tensor, " point"]
    """Position of the token."""
    first: Int[Tensor, " point"]
    """First layer that is patched."""
    last: Int[Tensor, " point"]
    """Last layer that is patched."""
    heads: Int[Tensor, " point"] | None
    """Head that is patched; None where the whole width is."""
    skips_block: bool
    """Whether the state after the patched block is known without running the block."""

    @property
    def after_block(self) -> bool:
        """True if what a block returns is overwritten; otherwise a hook writes the patch."""
        return self.kind == "resid" or self.skips_block

    def at(self, layer: int) -> "PatchSites | None":
        """Return the points that patch `layer`; None when there are none."""
        chosen = (self.first <= layer) & (layer <= self.last)
        return self._select(chosen) if bool(chosen.any()) else None

    def _select(self, chosen: Bool[Tensor, " point"]) -> "PatchSites":
        return replace(
            self,
            rows=self.rows[chosen],
            runs=self.runs[chosen],
            positions=self.positions[chosen],
            first=self.first[chosen],
            last=self.last[chosen],
            heads=None if self.heads is None else self.heads[chosen],
        )

    def states(self, batch: Batch, layer: int) -> Float[Tensor, "point width"]:
        """Return the states to write at a layer."""
        index = layer, self.runs, self.positions
        source: Tensor = batch.source_states[self.kind][index]
        if self.skips_block:
            return batch.stream[index] + source - batch.base_states[self.kind][index]
        if self.heads is None:
            return source
        split = rearrange(source, "point (head dim) -> point head dim", head=batch.heads)
        return split[torch.arange(len(split)), self.heads]


def patch_sites_of(batch: Batch, cells: CellIndex) -> Iterator[PatchSites]:
    """Yield what these cells overwrite, one item for each kind of site; row i is cell i."""
    sites, layers, runs, groups = cells
    plan, count = batch.plan, len(batch.stream)
    for kind in dict.fromkeys(site.kind for site in plan.sites):
        of_kind = [n for n, site in enumerate(plan.sites) if site.kind == kind]
        rows = torch.isin(sites, torch.tensor(of_kind, device=sites.device)).nonzero()[:, 0]
        if not len(rows):
            continue
        index, positions = batch.members[runs[rows], groups[rows]].nonzero().unbind(dim=1)
        rows = rows[index]
        windows = [plan.layers(layer, count, kind) for layer in range(count)]
        bounds = torch.tensor([(w[0], w[-1]) if w else (0, 0) for w in windows])
        first, last = bounds.to(rows.device)[layers[rows]].unbind(dim=1)
        heads = torch.tensor([site.head or 0 for site in plan.sites], device=rows.device)
        yield PatchSites(
            kind=kind,
            rows=rows,
            runs=runs[rows],
            positions=positions,
            first=first,
            last=last,
            heads=heads[sites[rows]] if kind == "head" else None,
            skips_block=batch.skips_block(kind),
        )
