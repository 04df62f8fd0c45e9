"""The scores of a sweep in arrays, each contrast in its place as soon as it is finished."""

__all__ = ["SweepScores"]

from collections.abc import Iterator, MutableMapping, Sequence

import numpy as np
from typing_extensions import override

from negtrace.tracing.engines.sweep import ContrastScores


class SweepScores(MutableMapping[int, ContrastScores]):
    """The scores of every finished contrast, by its index in the sweep.

    >>> scores = SweepScores(sites=1, layers=2, widths=[3, 2])
    >>> scores[1] = ContrastScores(index=1, clean=2.0, corrupt=0.0, patched=np.ones((1, 2, 2)))
    >>> list(scores), scores.patched.shape, scores[1].patched.shape
    ([1], (2, 1, 2, 3), (1, 2, 2))

    Args:
        sites: number of sites.
        layers: number of layers.
        widths: number of groups of each contrast that are patched.
    """

    def __init__(self, *, sites: int, layers: int, widths: Sequence[int]) -> None:
        self._widths = np.array(widths)
        self._known = np.zeros(len(widths), dtype=bool)
        self.clean = np.full(len(widths), np.nan)
        """Score of the clean run of each contrast."""
        self.corrupt = np.full(len(widths), np.nan)
        """Score of the corrupted run of each contrast."""
        self.patched = np.full((len(widths), sites, layers, self._widths.max()), np.nan)
        """Score with one cell patched, [contrast, site, layer, group]; NaN where there is none."""

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of the patched scores of a contrast."""
        return (*self.patched.shape[1:3], int(self._widths[index]))

    @override
    def __getitem__(self, index: int) -> ContrastScores:
        if index not in self:
            raise KeyError(index)
        return ContrastScores(
            index=index,
            clean=float(self.clean[index]),
            corrupt=float(self.corrupt[index]),
            patched=self.patched[index, :, :, : self._widths[index]],
        )

    @override
    def __setitem__(self, index: int, scores: ContrastScores) -> None:
        """Put the scores of a contrast into their place.

        Raises:
            ValueError: when there is no such contrast, or its cells have another shape.
        """
        if not 0 <= index < len(self._known) or scores.patched.shape != self.shape(index):
            raise ValueError(f"no cells of shape {scores.patched.shape} in contrast {index}")
        self.clean[index], self.corrupt[index] = scores.clean, scores.corrupt
        self.patched[index, :, :, : self._widths[index]] = scores.patched
        self._known[index] = True

    @override
    def __delitem__(self, index: int) -> None:
        self._known[index] = False

    @override
    def __contains__(self, index: object) -> bool:
        known = self._known
        return isinstance(index, int) and 0 <= index < len(known) and bool(known[index])

    @override
    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._known).tolist())

    @override
    def __len__(self) -> int:
        return int(self._known.sum())
