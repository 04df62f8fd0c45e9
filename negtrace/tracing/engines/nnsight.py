"""nnsight: the sweep through its tracing, here or on its remote service.

A trace runs a whole forward for a batch of rows, each with one state replaced: a plain module takes
no several invokes, so the cells are the rows. The states go through nnsight's own `input` and
`output` of the blocks, and the numbers are those of negtrace's hooks.

With `remote`, the same forwards run on nnsight's service by the name of the model on the Hugging
Face hub. The encoder itself stays here: it tokenizes, embeds the anchors and scores.
"""

__all__ = ["sweep", "sweeper", "traced"]

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched
from negtrace.encoders.hooks import evaluating
from negtrace.errors import require
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.exact import ROW_TOKENS, Direction, Swept
from negtrace.tracing.engines.nnsight_tower import Remote, Tower, require_key, tower_of, traced
from negtrace.tracing.engines.sides import (
    Cell,
    Place,
    Sides,
    cells_of,
    equally_long,
    filled,
    places_of,
)
from negtrace.tracing.plan import Plan

Patch = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""Rows and positions, each [point], states, [point width], and which of the width if not all."""

Spot = tuple[nn.Module, str]
"""A module of the encoder's model, and whether its input or its output is meant."""


def sweeper(*, remote: Remote = False, model: Any = None) -> Callable[..., Iterator[Swept]]:
    """Return `sweep` with its switches set, for `negtrace.trace(..., sweeper=...)`.

    Args:
        remote: run the forwards on nnsight's service.
        model: the nnsight model to run there; by the encoder's own name when not given.
    """
    return partial(sweep, remote=remote, model=model)


def sweep(
    encoder: Encoder,
    contrasts: Sequence[Contrast],
    anchors: Float[Tensor, "contrast dim"],
    *,
    direction: Direction,
    plan: Plan = Plan(),  # noqa: B008 -- frozen
    row_tokens: int = ROW_TOKENS,
    done: Collection[int] = (),
    progress: bool | None = None,
    remote: Remote = False,
    model: Any = None,
) -> Iterator[Swept]:
    """Yield the raw scores of every contrast, swept through nnsight's tracing.

    The arguments are those of `negtrace.tracing.engines.exact.sweep`, and:

    Args:
        encoder: the model; what nnsight leaves on it is taken off again.
        contrasts: clean and corrupted runs.
        anchors: the embedding each contrast is scored against.
        direction: which side is patched.
        plan: which sites, and how many layers at once.
        row_tokens: how many tokens run at once.
        done: indices of contrasts not to run again.
        progress: show a bar; None shows it on a terminal only.
        remote: run the forwards on nnsight's service (True), or here by way of what would be sent
            there ("local").
        model: the nnsight model to run remotely; by the encoder's own name when not given.

    Raises:
        TraceError: for a remote run without an API key, or of a model that has no name there.
        EncoderError: when nnsight is not installed, or the embedding is not to be found in what
            the model returns.
    """
    if remote:
        require_key(remote)
    places = places_of(encoder, {site.kind for site in plan.sites})
    hidden = None if progress is None else not progress
    with tqdm(total=len(contrasts), unit="pair", disable=hidden, desc=direction) as bar:
        bar.update(len(done))
        for [index] in equally_long(contrasts, 1, done):
            side, anchor = Sides.of(contrasts[index], direction), anchors[index]
            # Wrapped anew for each contrast, so that between two of them the model is plain.
            with evaluating(encoder.model), tower_of(encoder, remote, model) as tower:
                one = _One(encoder=encoder, tower=tower, places=places, side=side, anchor=anchor)
                donor, base, patched = _swept(one, plan, row_tokens)
            clean, corrupt = (donor, base) if direction == "denoising" else (base, donor)
            bar.update()
            yield Swept(index=index, clean=clean, corrupt=corrupt, patched=patched)


@dataclass(frozen=True, kw_only=True, eq=False)
class _One:
    """One contrast in the making."""

    encoder: Encoder
    tower: Tower
    places: Sequence[Place]
    side: Sides
    anchor: Float[Tensor, " dim"]

    @property
    def spots(self) -> list[Spot]:
        """All spots in the order of a forward, the input of block 0 first."""
        entry = self.encoder.blocks[0], "input"
        return list(dict.fromkeys([entry, *((p.module, p.at) for p in self.places)]))


def _swept(
    one: _One, plan: Plan, row_tokens: int
) -> tuple[float, float, Float[np.ndarray, "site layer group"]]:
    """Return the donor's score, the base's, and every cell's."""
    donor, states, _ = _plain(one, one.side.donor)
    base, _, embed = _plain(one, one.side.base)
    given = {(p.kind, p.layer): one.side.aligned(states[p.module, p.at]) for p in one.places}
    groups, layers, count = one.side.groups, len(one.encoder.layers), len(one.side.base.ids)
    scores: dict[Cell, float] = {}
    for cells in batched(cells_of(plan, layers, groups), max(1, row_tokens // count)):
        patches = _patches(one, plan, cells, groups, given)
        ids = torch.tensor([one.side.base.ids], device=one.anchor.device).expand(len(cells), -1)
        anchors = one.anchor.expand(len(cells), -1)
        start = None if embed is None else embed.expand(len(cells), -1, -1)
        text, _ = _forward(one, ids, anchors, start, patches)
        scores |= zip(cells, one.encoder.score(text, anchors).double().tolist(), strict=True)
    return donor, base, filled(plan, layers, len(groups), scores)


def _plain(
    one: _One, run: Run
) -> tuple[float, Mapping[Spot, Tensor], Float[Tensor, "1 token width"] | None]:
    """Return a run's score, its states, and the edited input of block 0 where it has one."""
    anchor = one.anchor[None]
    ids = torch.tensor([run.ids], device=anchor.device)
    text, states = _forward(one, ids, anchor, None, {})
    embed = None
    if run.edit:
        # Edited here: a corruption's code is nothing to send to a remote service.
        embed = run.edit(states[one.spots[0]])[None]
        text, states = _forward(one, ids, anchor, embed, {})
    return one.encoder.score(text, anchor).item(), states, embed


def _patches(
    one: _One,
    plan: Plan,
    cells: Sequence[Cell],
    groups: Sequence[Sequence[int]],
    given: Mapping[tuple[str, int], Tensor],
) -> dict[Spot, list[Patch]]:
    """Return what a forward with a row for each cell writes, and where."""
    points: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for row, (site, layer, group) in enumerate(cells):
        kind, head = plan.sites[site].kind, plan.sites[site].head
        for at in plan.layers(layer, len(one.encoder.layers), kind):
            points.setdefault((kind, at), []).extend((row, i, head or 0) for i in groups[group])
    found: dict[Spot, list[Patch]] = {}
    for place in one.places:
        if (place.kind, place.layer) not in points:
            continue
        states = given[place.kind, place.layer]
        places = torch.tensor(points[place.kind, place.layer], device=states.device)
        rows, positions, heads = places.unbind(dim=1)
        mask = None
        if place.kind == "head":
            columns = torch.arange(states.shape[-1], device=states.device)
            mask = columns // (states.shape[-1] // one.encoder.heads) == heads[:, None]
        patch = rows, positions, states[positions], mask
        found.setdefault((place.module, place.at), []).append(patch)
    return found


def _forward(
    one: _One,
    ids: Int[Tensor, "row token"],
    anchors: Float[Tensor, "row dim"],
    embed: Float[Tensor, "row token width"] | None,
    patches: Mapping[Spot, Sequence[Patch]],
) -> tuple[Float[Tensor, "row dim"], dict[Spot, Tensor]]:
    """Run one trace; return the embeddings and, where nothing is patched, row 0's states."""
    nnsight, tower, spots = require("nnsight", extra="interop"), one.tower, one.spots
    model, root, (attribute, read) = tower.model, tower.root, tower.reading
    steps = [(tower.envoys[spot[0]], spot[1], list(patches.get(spot, ()))) for spot in spots]
    args, options = tower.call(ids, anchors)
    # The body may be sent away: it names locals, torch and nnsight's own objects only.
    with model.trace(*args, **options) as tracer:
        kept = []
        for envoy, at, writes in steps:
            value = envoy.input if at == "input" else envoy.output
            hidden = value[0] if isinstance(value, tuple) else value
            if embed is not None:
                hidden = embed.to(hidden)
            if not patches:
                kept.append(hidden[0])
            if writes:
                hidden = hidden.clone()
            for rows, positions, states, mask in writes:
                new = states.to(hidden)
                if mask is not None:
                    new = torch.where(mask.to(hidden.device), new, hidden[rows, positions])
                hidden[rows, positions] = new
            if writes or embed is not None:
                if at == "input":
                    envoy.input = hidden
                else:
                    envoy.output = (hidden, *value[1:]) if isinstance(value, tuple) else hidden
            embed = None
        text = tracer.result if root is None else root.output
        text = text if attribute is None else getattr(text, attribute)
        if read == "first":
            text = text[:, 0]
        elif read == "last":
            text = text[:, -1]
        elif read == "mean":
            text = text.mean(dim=1)
        text = nnsight.save(text)
        kept = nnsight.save(kept)
    states_of = {spot: state.to(anchors.device) for spot, state in zip(spots, kept, strict=False)}
    return text.to(anchors), states_of
