"""The exact sweep: every site, layer and position of every contrast, at as little cost as is exact.

Rows are cells, and contrasts of one length share their batches. A row starts at its own layer, and
in a causal tower that allows it, it runs only the tokens a patch can reach (`rows`). Cells whose
effect is known are not computed (`batch`).
"""

__all__ = [
    "DIRECTIONS",
    "ROW_TOKENS",
    "Direction",
    "Only",
    "Sourced",
    "Sweeper",
    "Swept",
    "both_sides",
    "by_length",
    "groups_in",
    "no_effect",
    "progress_bar",
    "runs_of",
    "set_out_sides",
    "sweep",
    "swept_of",
]

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched
from negtrace.tracing.corruptions.contrast import Contrast, Correspondence, Run
from negtrace.tracing.engines.batch import Batch, Side, run_side, set_out
from negtrace.tracing.engines.patched_forward import swept_rows
from negtrace.tracing.plan import Plan
from negtrace.tracing.positions import Group

Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

Sourced = tuple[Run, Correspondence]
"""A run, and the other side's positions that stand for each of its own."""

ROW_TOKENS = 4096
"""Default number of tokens that run at once; bounds memory, and is near the fastest on a CPU."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Swept:
    """The raw scores of one contrast."""

    index: int
    """Which contrast, in the order given."""
    clean: float
    corrupt: float
    patched: Float[np.ndarray, "site layer group"]
    """Score with one cell replaced; NaN where there is no such cell."""


Only = Mapping[int, Bool[np.ndarray, "site layer group"]]
"""Cells to run, by contrast; the others are left at the base run's score."""


@runtime_checkable
class Sweeper(Protocol):
    """What `sweep` is called as: another way to get the same scores may take its place."""

    def __call__(
        self,
        encoder: Encoder,
        contrasts: Sequence[Contrast],
        anchors: Float[Tensor, "contrast dim"],
        *,
        direction: Direction,
        plan: Plan,
        row_tokens: int,
        done: Collection[int],
        progress: bool | None,
    ) -> Iterator[Swept]:
        """Yield the raw scores of every contrast."""
        ...


def sweep(
    encoder: Encoder,
    contrasts: Sequence[Contrast],
    anchors: Float[Tensor, "contrast dim"],
    *,
    direction: Direction,
    plan: Plan = Plan(),  # noqa: B008 -- frozen
    row_tokens: int = ROW_TOKENS,
    done: Collection[int] = (),
    only: Only | None = None,
    progress: bool | None = None,
) -> Iterator[Swept]:
    """Yield the raw scores of every contrast, batch by batch, in no promised order.

    Args:
        encoder: the model; it is left exactly as it came.
        contrasts: clean and corrupted runs.
        anchors: the embedding each contrast is scored against.
        direction: `denoising` restores the clean state in the corrupted run, `noising` injects
            the corrupted state into the clean run.
        plan: which sites, and how many layers at once.
        row_tokens: how many tokens run at once.
        done: indices of contrasts not to run again; a batch is left out when it is done whole, so
            that the others are what they would have been.
        only: cells to run, where not all.
        progress: show a bar; None shows it on a terminal only.
    """
    with progress_bar(len(contrasts), direction, progress) as bar:
        for indices in _batches(contrasts, row_tokens):
            if all(index in done for index in indices):
                bar.update(len(indices))
                continue
            chosen, anchor = [contrasts[i] for i in indices], anchors[list(indices)]
            clean, corrupt = both_sides(encoder, chosen, anchor, direction, plan)
            batch = set_out_sides(encoder, chosen, clean, corrupt, anchor, direction, plan)
            if only is not None:
                _restrict(batch, [only[index] for index in indices])
            patched = _patched(encoder, batch, row_tokens)
            bar.update(len(indices))
            yield from swept_of(indices, chosen, clean, corrupt, patched, direction)


def progress_bar(pairs: int, direction: str, shown: bool | None) -> tqdm:
    """Return a bar over pairs; None shows it on a terminal only."""
    return tqdm(
        total=pairs, unit="pair", disable=None if shown is None else not shown, desc=direction
    )


def by_length(contrasts: Sequence[Contrast]) -> list[tuple[tuple[int, int], list[int]]]:
    """Return the indices of contrasts that share both lengths, with these."""
    found: dict[tuple[int, int], list[int]] = {}
    for index, contrast in enumerate(contrasts):
        lengths = len(contrast.clean.ids), len(contrast.corrupt.ids)
        found.setdefault(lengths, []).append(index)
    return sorted(found.items())


def _batches(contrasts: Sequence[Contrast], row_tokens: int) -> Iterator[Sequence[int]]:
    """Yield indices of contrasts of the same lengths, as many as fill one layer's rows."""
    for lengths, indices in by_length(contrasts):
        yield from batched(indices, max(1, row_tokens // max(lengths) ** 2))


def both_sides(
    encoder: Encoder,
    contrasts: Sequence[Contrast],
    anchors: Float[Tensor, "run dim"],
    direction: Direction,
    plan: Plan,
) -> tuple[Side, Side]:
    """Run the clean and the corrupted side of a batch; the patched one keeps keys and values."""
    restoring = direction == "denoising"
    clean, corrupt = runs_of(contrasts)
    return (
        run_side(encoder, clean, anchors, plan, keep=not restoring),
        run_side(encoder, corrupt, anchors, plan, keep=restoring),
    )


def runs_of(contrasts: Sequence[Contrast]) -> tuple[list[Sourced], list[Sourced]]:
    """Return the clean and the corrupted runs, each with where its positions come from."""
    return (
        [(c.clean, c.clean_from_corrupt) for c in contrasts],
        [(c.corrupt, c.corrupt_from_clean) for c in contrasts],
    )


def groups_in(run: Run) -> tuple[Group, ...]:
    """Return the positions of a run that are patched together; each one alone if not said."""
    return run.groups or tuple((role, (i,)) for i, role in enumerate(run.roles))


def set_out_sides(
    encoder: Encoder,
    contrasts: Sequence[Contrast],
    clean: Side,
    corrupt: Side,
    anchors: Float[Tensor, "run dim"],
    direction: Direction,
    plan: Plan,
) -> Batch:
    """Return the batch of two sides that were run; the direction says which one is patched."""
    base, donor = (corrupt, clean) if direction == "denoising" else (clean, corrupt)
    return set_out(
        encoder,
        base,
        donor,
        [groups_in(run) for run in base.runs],
        [contrast.first_difference for contrast in contrasts],
        anchors,
        plan,
    )


def _restrict(batch: Batch, only: Sequence[Bool[np.ndarray, "site layer group"]]) -> None:
    for run, cells in enumerate(only):
        wanted = torch.from_numpy(cells).to(batch.needed.device)
        count = batch.needed.shape[3]
        batch.needed[:, :, run, : wanted.shape[2]] &= wanted[:, :, :count]


def _patched(
    encoder: Encoder, batch: Batch, row_tokens: int
) -> Float[Tensor, "site layer run group"]:
    """Return every cell's score: the base run's own where a patch changes nothing."""
    patched = no_effect(batch)
    for cells, scores in swept_rows(encoder, batch, row_tokens):
        patched[tuple(index.cpu() for index in cells)] = scores.cpu().double()
    return patched


def no_effect(batch: Batch) -> Float[Tensor, "site layer run group"]:
    """Return the base run's score in every cell; NaN where there is no such cell."""
    sites, layers, _, groups = batch.needed.shape
    # Collected on the CPU, since not every device has float64.
    patched = batch.base.scores.cpu().double()[:, None].repeat(sites, layers, 1, groups)
    patched[:, :, ~batch.exists.cpu()] = torch.nan
    for place, site in enumerate(batch.plan.sites):
        empty = [not batch.plan.layers(at, layers, site.kind) for at in range(layers)]
        patched[place, torch.tensor(empty)] = torch.nan
    return patched


def swept_of(
    indices: Sequence[int],
    contrasts: Sequence[Contrast],
    clean: Side,
    corrupt: Side,
    patched: Float[Tensor, "site layer run group"],
    direction: Direction,
) -> Iterator[Swept]:
    """Yield what was found of each contrast of a batch, as many groups as it has."""
    for i, (index, contrast) in enumerate(zip(indices, contrasts, strict=True)):
        base = contrast.corrupt if direction == "denoising" else contrast.clean
        yield Swept(
            index=index,
            clean=clean.scores[i].item(),
            corrupt=corrupt.scores[i].item(),
            patched=patched[:, :, i, : len(groups_in(base))].numpy(),
        )
