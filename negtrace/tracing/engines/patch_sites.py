"""Single positions to overwrite: what the cells of a forward come down to."""

__all__ = ["Cells", "Points", "points_of"]

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from negtrace.tracing.engines.batch import Batch

Cells = tuple[Tensor, Tensor, Tensor, Tensor]
"""Sites, layers, runs and groups of some cells, each [cell]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """The positions that rows patch at one kind of site."""

    kind: str
    rows: Int[Tensor, " point"]
    runs: Int[Tensor, " point"]
    positions: Int[Tensor, " point"]
    first: Int[Tensor, " point"]
    """First layer that is patched; of the stream, the layer whose state it is."""
    last: Int[Tensor, " point"]
    heads: Int[Tensor, " point"] | None = None
    """Which head each is of; None where the whole width is patched."""
    adds_up: bool = False
    """Whether the state behind the block is known without running it."""
    pre: bool = False
    """Whether the input of a block is patched, and not what the block before gave."""

    @property
    def stream(self) -> bool:
        """Whether the residual stream itself is patched."""
        return self.kind in ("resid", "resid_pre")

    @property
    def at_entry(self) -> bool:
        """Whether rows enter with the patched state."""
        return self.stream or self.adds_up

    def at(self, layer: int, *, after_first: bool = False) -> "Points | None":
        """Return those that patch `layer`; with `after_first`, not as their first one."""
        first = self.first + 1 if after_first else self.first
        chosen = (first <= layer) & (layer <= self.last)
        return self._select(chosen) if bool(chosen.any()) else None

    def _select(self, chosen: Bool[Tensor, " point"]) -> "Points":
        names = ("rows", "runs", "positions", "first", "last")
        return replace(
            self,
            heads=None if self.heads is None else self.heads[chosen],
            **{name: getattr(self, name)[chosen] for name in names},
        )

    def donated(
        self, batch: Batch, layer: int | Int[Tensor, " point"]
    ) -> Float[Tensor, "point width"]:
        """Return what is written at each point at `layer`."""
        cell = layer, self.runs, self.positions
        donor: Tensor = batch.donor[self.kind][cell]
        if self.adds_up:
            return batch.base_states[cell] + donor - batch.own[self.kind][cell]
        if self.heads is None:
            return donor
        split = rearrange(donor, "point (head dim) -> point head dim", head=batch.heads)
        return split[torch.arange(len(split)), self.heads]


def points_of(batch: Batch, cells: Cells) -> Iterator[Points]:
    """Yield the points of some cells, by kind of site: sites, layers, runs, groups, each [row]."""
    sites, layers, runs, groups = cells
    count = len(batch.base_states)
    plan = batch.plan
    for kind in dict.fromkeys(site.kind for site in plan.sites):
        of_kind = [n for n, site in enumerate(plan.sites) if site.kind == kind]
        rows = torch.isin(sites, torch.tensor(of_kind, device=sites.device)).nonzero()[:, 0]
        if not len(rows):
            continue
        place, positions = batch.members[runs[rows], groups[rows]].nonzero().unbind(dim=1)
        rows = rows[place]
        back = int(kind == "resid_pre")  # the input of a block is the state of the layer before
        windows = [plan.layers(layer, count, kind) for layer in range(count)]
        bounds = torch.tensor([(w[0], w[-1]) if w else (0, 0) for w in windows]) - back
        first, last = bounds.to(rows.device)[layers[rows]].unbind(dim=1)
        heads = torch.tensor([site.head or 0 for site in plan.sites], device=rows.device)
        yield Points(
            kind=kind,
            rows=rows,
            runs=runs[rows],
            positions=positions,
            first=first,
            last=last,
            heads=heads[sites[rows]] if kind == "head" else None,
            adds_up=batch.adds_up(kind),
            pre=kind == "resid_pre",
        )
