"""The engine by transformer_lens: `transformer_lens.patching` runs one whole forward for each cell.

Its numbers are those of the exact engine. It is there to check negtrace by code that is not
negtrace's.
"""

__all__ = ["TransformerLens"]

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import input_edited
from negtrace.errors import TraceError, require
from negtrace.tracing.corruptions.contrast import Run
from negtrace.tracing.engines.base import ENGINES, Engine
from negtrace.tracing.engines.cells import Cell, cells_of, grid_of
from negtrace.tracing.engines.hooked_encoder import HOOK_NAMES, HookedEncoder
from negtrace.tracing.engines.sweep import ContrastScores, Patching, Sweep
from negtrace.tracing.plan import Plan


@ENGINES.register("transformer_lens")
@dataclass(frozen=True, kw_only=True)
class TransformerLens(Engine):
    """Every cell is run by `transformer_lens.patching`, which shows its own progress bars."""

    name = "transformer_lens"

    @override
    def require(self, encoder: Encoder, plan: Plan) -> None:
        if plan.window != 1:
            raise TraceError(
                f"window {plan.window}: transformer_lens.patching patches one layer at a "
                "time; leave the window out, or use another method"
            )

    @override
    def run(self, sweep: Sweep) -> Iterator[ContrastScores]:
        self.require(sweep.encoder, sweep.plan)
        quiet = replace(sweep, progress=False)
        for indices in quiet.batches(lambda length: sweep.row_tokens // length):
            with sweep.encoder.guarded("transformer_lens ran it"):
                scores = list(_batch_scores(sweep.part(indices), indices))
            yield from scores


def _batch_scores(sweep: Sweep, indices: Sequence[int]) -> Iterator[ContrastScores]:
    """Yield the scores of contrasts whose runs have the same lengths."""
    patchings = sweep.patchings()
    hooked = HookedEncoder(sweep.encoder, sweep.anchors)
    source, states = _recorded(hooked, [patching.source for patching in patchings])
    base, _ = _recorded(hooked, [patching.base for patching in patchings])
    clean, corrupt = sweep.clean_first(base, source)
    patched = _patched(hooked, sweep.plan, patchings, states)
    layers = len(sweep.encoder.layers)
    for row, (index, patching) in enumerate(zip(indices, patchings, strict=True)):
        groups = patching.patched_groups
        cells = cells_of(sweep.plan, layers, groups)
        yield ContrastScores(
            index=index,
            clean=clean[row].item(),
            corrupt=corrupt[row].item(),
            patched=grid_of(
                (len(sweep.plan.sites), layers, len(groups)),
                {cell: patched[cell][row] for cell in cells},
            ),
        )


@contextmanager
def _edited(hooked: HookedEncoder, runs: Sequence[Run]) -> Iterator[None]:
    """Apply the corruption's own edits to the input of block 0."""

    def edit(hidden: Tensor) -> Tensor:
        rows = zip(runs, hidden, strict=True)
        return torch.stack([run.edit(row) if run.edit else row for run, row in rows])

    encoder = hooked.encoder
    with input_edited(encoder.blocks[0], edit, row_axis=encoder.row_axis):
        yield


def _ids(hooked: HookedEncoder, runs: Sequence[Run]) -> Int[Tensor, "run token"]:
    return torch.tensor([run.ids for run in runs], device=hooked.encoder.device)


def _recorded(
    hooked: HookedEncoder, runs: Sequence[Run]
) -> tuple[Float[Tensor, " run"], Mapping[str, Tensor]]:
    """Return the scores of plain runs, and the state at every hook point."""
    with _edited(hooked, runs):
        scores, cache = hooked.run_with_cache(_ids(hooked, runs))
    return scores, cache.cache_dict


def _patched(
    hooked: HookedEncoder,
    plan: Plan,
    patchings: Sequence[Patching],
    states: Mapping[str, Tensor],
) -> dict[Cell, list[float]]:
    """Return the scores of all runs in every cell.

    Args:
        hooked: the model.
        plan: the sites to patch.
        patchings: one for each run.
        states: the state of the source runs at every hook point.
    """
    aligned = {
        name: torch.stack([patching.aligned(state[i]) for i, patching in enumerate(patchings)])
        for name, state in states.items()
    }
    cells: dict[Cell, list[float]] = {}
    for index, site in enumerate(plan.sites):
        if site.kind == "resid":
            # Layer `embed` is the input of block 0; every other layer is the output of a block.
            point = _HookPoint(name="hook_resid_pre", head=None)
            first = _patched_at(hooked, point, range(1), patchings, aligned)
            cells |= {(index, 0, group): row for (_, group), row in first.items()}
        point = _HookPoint(name=HOOK_NAMES[site.kind], head=site.head)
        rest = _patched_at(hooked, point, range(hooked.cfg.n_layers), patchings, aligned)
        cells |= {(index, block + 1, group): row for (block, group), row in rest.items()}
    return cells


@dataclass(frozen=True, kw_only=True)
class _HookPoint:
    """A hook point of every block, and the head that is patched there, if only one is."""

    name: str
    head: int | None


def _patched_at(
    hooked: HookedEncoder,
    point: _HookPoint,
    blocks: range,
    patchings: Sequence[Patching],
    aligned: Mapping[str, Tensor],
) -> dict[tuple[int, int], list[float]]:
    """Return the scores of all runs by block and group, one forward for each."""
    lens = require("transformer_lens", extra="interop")
    patching = require("transformer_lens.patching", extra="interop")
    groups = [each.patched_groups for each in patchings]
    runs = [each.base for each in patchings]
    index = patching.make_df_from_ranges([len(blocks), max(map(len, groups))], ["layer", "pos"])
    scores: list[list[float]] = []

    def put(activation: Tensor, cell: Sequence[int], source: Tensor) -> Tensor:
        for row, members in enumerate(groups):
            positions = members[cell[1]] if cell[1] < len(members) else []
            into = (row, positions) if point.head is None else (row, positions, point.head)
            activation[into] = source[into]
        return activation

    def metric(run_scores: Float[Tensor, " run"]) -> Float[Tensor, ""]:
        # Collected here, since transformer_lens stores what a metric returns in single precision.
        scores.append(run_scores.double().tolist())
        return run_scores.sum()

    with _edited(hooked, runs):
        patching.generic_activation_patch(
            hooked,
            _ids(hooked, runs),
            lens.ActivationCache(dict(aligned), hooked),
            metric,
            put,
            point.name.removeprefix("hook_").removeprefix("attn.hook_"),
            index_df=index,
        )
    cells = [(block, group) for block, group in index.to_numpy().tolist()]
    return dict(zip(cells, scores, strict=True))
