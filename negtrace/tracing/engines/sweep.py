"""A sweep, which is all that an engine is given, and the scores that it gives back."""

__all__ = ["Cells", "ContrastScores", "Contrasts", "Patching", "Sweep"]

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from negtrace._lazy import LazySequence
from negtrace._messages import one_of
from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched
from negtrace.pairs.alignment import Correspondence
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.routes import FASTEST, Route
from negtrace.tracing.plan import ROW_TOKENS, Plan
from negtrace.tracing.positions import Group
from negtrace.tracing.shard import Shard

T = TypeVar("T")

Cells = Mapping[int, Bool[np.ndarray, "site layer group"]]
"""Some cells, by the index of their contrast."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ContrastScores:
    """The raw scores of one contrast."""

    index: int
    """Index of the contrast in the sweep."""
    clean: float
    """Score of the clean run."""
    corrupt: float
    """Score of the corrupted run."""
    patched: Float[np.ndarray, "site layer group"]
    """Score with one cell patched; NaN where there is no such cell."""


class Contrasts(LazySequence[Contrast]):
    """Contrasts that are made where they are run; only their lengths are known beforehand."""

    @property
    @abstractmethod
    def lengths(self) -> Iterable[tuple[int, int]]:
        """Number of tokens of the clean and of the corrupted run of every contrast."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """SHA-256 of tokens, groups and correspondence of every contrast."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Patching:
    """Patched run, source run and their correspondence, for one contrast."""

    base: Run
    """The run that is patched."""
    source: Run
    """The run whose states are put into the base."""
    correspondence: Correspondence
    """For each position of the base, the positions of the source whose mean state replaces its
    own; none where the source has no counterpart."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """Positions of the base that are patched together, each group with its label."""
        alone = ((role, (i,)) for i, role in enumerate(self.base.roles))
        return self.base.groups or tuple(alone)

    @property
    def patched_groups(self) -> list[list[int]]:
        """The positions of each group that have a counterpart."""
        return [[i for i in members if self.correspondence[i]] for _, members in self.groups]

    def aligned(self, states: Tensor) -> Tensor:
        """Bring the source's states, [source token, ...], to the base's positions, [token, ...].

        Where the source has no counterpart its first state stands in; no cell uses it.
        """
        rows = [states[list(sources or (0,))].mean(dim=0) for sources in self.correspondence]
        return torch.stack(rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sweep:
    """Contrasts, and the cells to patch in each of them."""

    encoder: Encoder
    """The model."""
    contrasts: Sequence[Contrast]
    """The clean and the corrupted runs."""
    anchors: Float[Tensor, "contrast dim"]
    """The embedding that each contrast is scored against."""
    direction: str = "denoising"
    """`denoising` patches the corrupted run, `noising` the clean one."""
    plan: Plan = field(default_factory=Plan)
    """Which sites are patched, and how many layers at once."""
    row_tokens: int = ROW_TOKENS
    """Tokens that run at once, at most."""
    done: Collection[int] = frozenset()
    """Indices of contrasts whose scores are known already."""
    shard: Shard | None = None
    """The part of the batches to run; None runs all."""
    progress: bool | None = None
    """Whether to show a progress bar; None shows it on a terminal only."""
    route: Route = FASTEST
    """Route of the patched rows. A faster one than the model allows is left for the next one."""
    only: Cells | None = None
    """Cells to run, by contrast; the others keep the score of the run that is patched. None runs
    every cell."""

    def __post_init__(self) -> None:
        one_of("direction", self.direction, DIRECTIONS)

    @property
    def lengths(self) -> Iterable[tuple[int, int]]:
        """Number of tokens of the clean and of the corrupted run of every contrast."""
        if isinstance(self.contrasts, Contrasts):
            return self.contrasts.lengths
        return ((len(each.clean.ids), len(each.corrupt.ids)) for each in self.contrasts)

    def patchings(self) -> list[Patching]:
        """Return what is patched in each contrast, and with what."""
        if self.direction == "denoising":
            return [
                Patching(base=c.corrupt, source=c.clean, correspondence=c.corrupt_from_clean)
                for c in self.contrasts
            ]
        return [
            Patching(base=c.clean, source=c.corrupt, correspondence=c.clean_from_corrupt)
            for c in self.contrasts
        ]

    def clean_first(self, base: T, source: T) -> tuple[T, T]:
        """Return what belongs to the clean run, then what belongs to the corrupted run."""
        return (source, base) if self.direction == "denoising" else (base, source)

    def base_score(self, scores: ContrastScores) -> float:
        """Return the score of the run that is patched."""
        return scores.corrupt if self.direction == "denoising" else scores.clean

    def part(self, indices: Sequence[int], anchors: Tensor | None = None) -> "Sweep":
        """Return the sweep of some contrasts, numbered anew and without a progress bar.

        Args:
            indices: the contrasts, in their new order.
            anchors: embedded anchors of these contrasts; this sweep's own when not given.
        """
        cells = self.only
        return replace(
            self,
            contrasts=[self.contrasts[index] for index in indices],
            anchors=self.anchors[list(indices)] if anchors is None else anchors,
            done=frozenset(),
            shard=None,
            progress=False,
            only=None if cells is None else {n: cells[index] for n, index in enumerate(indices)},
        )

    def batches(self, size: Callable[[int], int]) -> Iterator[list[int]]:
        """Yield indices of contrasts whose runs have the same two lengths, so they batch.

        A batch is left out only if all of it is done: a resumed sweep then repeats the batches of
        the first one, and its scores are identical.

        Args:
            size: how many contrasts make a batch, from the length of the longer run.
        """
        by_lengths: dict[tuple[int, int], list[int]] = {}
        for index, lengths in enumerate(self.lengths):
            by_lengths.setdefault(lengths, []).append(index)
        batches, costs = list[list[int]](), list[int]()
        for lengths, indices in sorted(by_lengths.items()):
            for batch in batched(indices, max(1, size(max(lengths)))):
                batches.append(list(batch))
                # A run has a row for each of its tokens, of that many tokens.
                costs.append(len(batch) * max(lengths) ** 2)
        if self.shard:
            batches = self.shard.of(batches, costs)
        with self._progress_bar(sum(map(len, batches))) as bar:
            for batch in batches:
                if not all(index in self.done for index in batch):
                    yield batch
                bar.update(len(batch))

    def _progress_bar(self, total: int) -> tqdm:
        disable = None if self.progress is None else not self.progress
        return tqdm(total=total, unit="pair", disable=disable, desc=self.direction)
