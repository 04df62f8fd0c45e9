"""The engine by nnsight: the sweep through nnsight's tracing, on this machine or on its service.

One trace runs a whole forward for a batch of rows. Each row has one state replaced: nnsight allows
a plain module only one invoke a trace, so the cells are rows. States go through nnsight's own
`input` and `output` of the blocks, and the scores are those of the exact engine.

With `remote`, the same forwards run on nnsight's service, by the model's name on the Hugging Face
hub. The encoder stays on this machine: it tokenizes, embeds the anchors and scores.
"""

__all__ = ["NNsight"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched
from negtrace.encoders.hooks import evaluating
from negtrace.errors import TraceError, require
from negtrace.tracing.corruptions.contrast import Run
from negtrace.tracing.engines.base import ENGINES, Engine
from negtrace.tracing.engines.cells import Cell, LayerSite, cells_of, grid_of, layer_sites
from negtrace.tracing.engines.nnsight_tower import NNsightTower, Remote, nnsight_tower, require_key
from negtrace.tracing.engines.sweep import ContrastScores, Patching, Sweep
from negtrace.tracing.plan import Plan

Write = tuple[tuple[Tensor, ...], Tensor]
"""An index into [row token width], and the states to write there."""

Spot = tuple[nn.Module, str]
"""A module of the encoder's model, and whether its `input` or its `output` is meant."""


@ENGINES.register("nnsight")
@dataclass(frozen=True, kw_only=True)
class NNsight(Engine):
    """Every cell is run through nnsight's tracing.

    Raises:
        TraceError: for a remote run without an API key, or of a model that the service does not
            know by name.
        EncoderError: when a remote run could not read the embedding in the model's output.
        ExtraError: when nnsight is not installed.
    """

    name = "nnsight"

    remote: Remote = False
    """Run the forwards on nnsight's service (True), or here in the format of the service ("local"),
    to see what would be sent."""
    model: Any = None
    """The nnsight model that runs remotely. When not given, the encoder's model by its name on the
    hub."""

    @override
    def require(self, encoder: Encoder, plan: Plan) -> None:
        if encoder.row_axis:
            raise TraceError(
                f"{encoder.name} holds its states as [token, row, width], which the nnsight "
                "engine does not read; use method='exact'"
            )

    @override
    def run(self, sweep: Sweep) -> Iterator[ContrastScores]:
        self.require(sweep.encoder, sweep.plan)
        if self.remote:
            require_key(self.remote)
        sites = layer_sites(sweep.encoder, {site.kind for site in sweep.plan.sites})
        encoder, patchings = sweep.encoder, sweep.patchings()
        for [index] in sweep.batches(lambda _: 1):
            # Wrapped anew for each contrast, so that the model is plain between two of them.
            with (
                encoder.guarded("nnsight ran it"),
                evaluating(encoder.model),
                nnsight_tower(encoder, self.remote, self.model) as tower,
            ):
                runner = _Runner(
                    encoder=encoder,
                    tower=tower,
                    sites=sites,
                    patching=patchings[index],
                    anchor=sweep.anchors[index],
                )
                base, source, patched = _scores(runner, sweep.plan, sweep.row_tokens)
            clean, corrupt = sweep.clean_first(base, source)
            yield ContrastScores(index=index, clean=clean, corrupt=corrupt, patched=patched)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runner:
    """Everything that is needed to run one contrast."""

    encoder: Encoder
    tower: NNsightTower
    sites: Sequence[LayerSite]
    patching: Patching
    anchor: Float[Tensor, " dim"]

    @property
    def entry(self) -> Spot:
        """The input of block 0."""
        return self.encoder.blocks[0], "input"

    @property
    def spots(self) -> list[Spot]:
        """All spots in the order of a forward, the input of block 0 first."""
        return list(dict.fromkeys([self.entry, *((s.module, s.at) for s in self.sites)]))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plain:
    """A run that nothing was patched in."""

    score: float
    states: Mapping[Spot, Float[Tensor, "token width"]]
    embed: Float[Tensor, "1 token width"] | None
    """The input of block 0 after the corruption's edit; None without one."""


def _scores(
    runner: _Runner, plan: Plan, row_tokens: int
) -> tuple[float, float, Float[np.ndarray, "site layer group"]]:
    """Return the base's score, the source's, and every cell's."""
    patching = runner.patching
    source, base = _plain(runner, patching.source), _plain(runner, patching.base)
    aligned = {
        (s.site, s.layer): patching.aligned(source.states[s.module, s.at]) for s in runner.sites
    }
    groups, layers, count = (
        patching.patched_groups,
        len(runner.encoder.layers),
        len(patching.base.ids),
    )
    scores: dict[Cell, float] = {}
    for cells in batched(cells_of(plan, layers, groups), max(1, row_tokens // count)):
        writes = _writes(runner, plan, cells, aligned)
        if base.embed is not None:
            writes[runner.entry] = [
                _whole(base.embed.expand(len(cells), -1, -1)),
                *writes.get(runner.entry, ()),
            ]
        ids = torch.tensor([patching.base.ids], device=runner.anchor.device)
        anchors = runner.anchor.expand(len(cells), -1)
        text = _patched_texts(runner, ids.expand(len(cells), -1), anchors, writes)
        scores |= zip(cells, runner.encoder.score(text, anchors).double().tolist(), strict=True)
    shape = len(plan.sites), layers, len(groups)
    return base.score, source.score, grid_of(shape, scores)


def _plain(runner: _Runner, run: Run) -> _Plain:
    """Run a statement; the corruption's edit is applied on this machine, never sent."""
    anchor = runner.anchor[None]
    ids = torch.tensor([run.ids], device=anchor.device)
    text, states = _recorded(runner, ids, anchor, None)
    embed = None
    if run.edit:
        embed = run.edit(states[runner.entry])[None]
        text, states = _recorded(runner, ids, anchor, embed)
    return _Plain(score=runner.encoder.score(text, anchor).item(), states=states, embed=embed)


def _whole(states: Float[Tensor, "row token width"]) -> Write:
    """Return the write that replaces every state."""
    rows, tokens, width = (torch.arange(size, device=states.device) for size in states.shape)
    return (rows[:, None, None], tokens[:, None], width), states


def _writes(
    runner: _Runner,
    plan: Plan,
    cells: Sequence[Cell],
    aligned: Mapping[tuple[str, int], Float[Tensor, "token width"]],
) -> dict[Spot, list[Write]]:
    """Return what a forward with a row for each cell writes at each spot.

    Args:
        runner: the contrast.
        plan: the plan that the cells belong to.
        cells: one for each row.
        aligned: the source's states at the base's positions, by kind of site and layer.
    """
    groups, layers = runner.patching.patched_groups, len(runner.encoder.layers)
    points: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for row, (index, layer, group) in enumerate(cells):
        kind, head = plan.sites[index].kind, plan.sites[index].head or 0
        for at in plan.layers(layer, layers, kind):
            points.setdefault((kind, at), []).extend((row, i, head) for i in groups[group])
    writes: dict[Spot, list[Write]] = {}
    for site in runner.sites:
        if (site.site, site.layer) in points:
            parts = runner.encoder.heads if site.site == "head" else 1
            write = _write(
                points[site.site, site.layer], aligned[site.site, site.layer], parts=parts
            )
            writes.setdefault((site.module, site.at), []).append(write)
    return writes


def _write(
    points: Sequence[tuple[int, int, int]], states: Float[Tensor, "token width"], *, parts: int
) -> Write:
    """Return the write of one part of the width at each point (row, position and part)."""
    at = torch.tensor(points, device=states.device)
    rows, positions, part = at[:, None].unbind(dim=2)
    size = states.shape[-1] // parts
    columns = part * size + torch.arange(size, device=states.device)
    return (rows, positions, columns), states[positions, columns]


def _recorded(
    runner: _Runner,
    ids: Int[Tensor, "1 token"],
    anchors: Float[Tensor, "1 dim"],
    embed: Float[Tensor, "1 token width"] | None,
) -> tuple[Float[Tensor, "1 dim"], dict[Spot, Float[Tensor, "token width"]]]:
    """Run one trace of a single row; return its embedding and its states."""
    nnsight, tower, spots = require("nnsight", extra="interop"), runner.tower, runner.spots
    model, root, reading = tower.model, tower.root, tower.reading
    attribute, index, pooled = reading.attribute, reading.index, reading.pooled
    steps = [(tower.envoys[module], at) for module, at in spots]
    args, options = tower.call(ids, anchors)
    # The body may be sent to a service: it names only locals, torch and nnsight's own objects.
    with model.trace(*args, **options) as tracer:
        recorded: list[Any] = []
        for envoy, at in steps:
            value = envoy.input if at == "input" else envoy.output
            hidden = value[0] if isinstance(value, tuple) else value
            if embed is not None and not recorded:
                hidden = embed.to(hidden)
                envoy.input = hidden
            recorded.append(hidden[0])
        text = tracer.result if root is None else root.output
        text = (text if attribute is None else getattr(text, attribute))[index]
        text = nnsight.save(text.mean(dim=1) if pooled else text)
        recorded = nnsight.save(recorded)
    states = [state.to(anchors.device) for state in recorded]
    return text.to(anchors), dict(zip(spots, states, strict=True))


def _patched_texts(
    runner: _Runner,
    ids: Int[Tensor, "row token"],
    anchors: Float[Tensor, "row dim"],
    writes: Mapping[Spot, Sequence[Write]],
) -> Float[Tensor, "row dim"]:
    """Run one trace in which the rows are patched; return their embeddings."""
    nnsight, tower = require("nnsight", extra="interop"), runner.tower
    model, root, reading = tower.model, tower.root, tower.reading
    attribute, index, pooled = reading.attribute, reading.index, reading.pooled
    steps = [(tower.envoys[s[0]], s[1], list(writes[s])) for s in runner.spots if s in writes]
    args, options = tower.call(ids, anchors)
    # The body may be sent to a service: it names only locals, torch and nnsight's own objects.
    with model.trace(*args, **options) as tracer:
        for envoy, at, states_at in steps:
            value = envoy.input if at == "input" else envoy.output
            hidden = (value[0] if isinstance(value, tuple) else value).clone()
            for where, states in states_at:
                hidden[where] = states.to(hidden)
            if at == "input":
                envoy.input = hidden
            else:
                envoy.output = (hidden, *value[1:]) if isinstance(value, tuple) else hidden
        text = tracer.result if root is None else root.output
        text = (text if attribute is None else getattr(text, attribute))[index]
        text = nnsight.save(text.mean(dim=1) if pooled else text)
    embeddings: Tensor = text.to(anchors)
    return embeddings
