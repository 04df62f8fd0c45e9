"""A batch of contrasts of one length: both sides run, and which cells are worth a patch.

Cells whose effect is known are left out: a state that is equal on both sides changes nothing; in a
causal tower nothing before the first difference or after the read-out matters; at the last layer
only the read-out does.
"""

__all__ = ["Batch", "Side", "run_side", "set_out"]

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import Capture, Edit, HookSite, captured
from negtrace.encoders.key_value_cache import KeyValueCache
from negtrace.errors import EncoderError
from negtrace.tracing.corruptions.contrast import Correspondence, Run
from negtrace.tracing.plan import Plan, Site
from negtrace.tracing.positions import Group


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """What the clean, or the corrupted, runs of a batch left behind."""

    runs: Sequence[Run]
    sources: Sequence[Correspondence]
    """For each position of these runs, the other side's positions that stand for it."""
    ids: Int[Tensor, "run token"]
    capture: Capture
    cache: KeyValueCache | None
    """Keys and values of the runs, where tails attend to them."""
    scores: Float[Tensor, " run"]

    def states(self, kind: str) -> Float[Tensor, "layer run token width"]:
        """Return the state of every layer at one kind of site; none at `embed` inside a block."""
        if kind in ("resid", "resid_pre"):
            return self.capture.states()
        inner = torch.stack(self.capture.site_states[kind])
        return torch.cat([torch.zeros_like(inner[:1]), inner])


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Contrasts of one length, both sides run, the donor's states at the base's positions."""

    base: Side
    plan: Plan
    base_states: Float[Tensor, "layer run token width"]
    """The residual stream of the base runs."""
    own: Mapping[str, Float[Tensor, "layer run token width"]]
    """The base's states, by kind of site."""
    donor: Mapping[str, Float[Tensor, "layer run token width"]]
    """The donor's states at the base's positions, by kind of site."""
    donor_embed: Float[Tensor, "run token width"]
    """The donor's input of block 0 at the base's positions."""
    exists_token: Bool[Tensor, "run token"]
    """Whether the other side has a position that corresponds."""
    members: Bool[Tensor, "run group token"]
    """Which positions are patched together, as far as the other side has a counterpart."""
    needed: Bool[Tensor, "site layer run group"]
    """Which cells can have an effect that is not known."""
    anchors: Float[Tensor, "run dim"]
    heads: int
    several: bool
    """Whether the embedding is read from several layers."""
    sums: bool
    """Whether the last thing a block does is to add what its MLP writes."""

    def adds_up(self, kind: str) -> bool:
        """Return whether the state behind a block patched there is known without running it."""
        return kind == "mlp_out" and self.sums and self.plan.window == 1

    @property
    def exists(self) -> Bool[Tensor, "run group"]:
        """Whether a group has a position with a counterpart."""
        return self.members.any(-1)


def run_side(
    encoder: Encoder,
    runs: Sequence[tuple[Run, Correspondence]],
    anchors: Float[Tensor, "run dim"],
    plan: Plan,
    *,
    keep: bool,
    embed: Edit | None = None,
    hook_sites: Sequence[HookSite] = (),
) -> Side:
    """Run one side of a batch plainly and keep every layer's state.

    `keep` asks for the keys and values that tails attend to as well, `embed` edits the input of
    block 0 after the runs' own edits, and `hook_sites` are read besides the plan's sites.
    """
    ids = torch.tensor([run.ids for run, _ in runs], device=anchors.device)

    def edit(hidden: Float[Tensor, "run token width"]) -> Float[Tensor, "run token width"]:
        if any(run.edit for run, _ in runs):
            rows = zip(runs, hidden, strict=True)
            hidden = torch.stack([run.edit(row) if run.edit else row for (run, _), row in rows])
        return embed(hidden) if embed else hidden

    prefix = encoder.prefix_attention if keep else None
    with (
        captured(encoder.blocks, edit, [*encoder.hook_sites(plan.inner), *hook_sites]) as capture,
        nullcontext() if prefix is None else prefix.recording() as cache,
    ):
        text = encoder.encode_against(ids, anchors)
    if len(capture.outputs) != len(encoder.blocks) or len(capture.embed) != 1:
        raise EncoderError(
            f"{encoder.name}: {len(capture.outputs)} block outputs in one forward, expected "
            f"{len(encoder.blocks)}; every named block must run exactly once"
        )
    return Side(
        runs=[run for run, _ in runs],
        sources=[sources for _, sources in runs],
        ids=ids,
        capture=capture,
        cache=cache,
        scores=encoder.score(text, anchors),
    )


def set_out(
    encoder: Encoder,
    base: Side,
    donor: Side,
    groups: Sequence[Sequence[Group]],
    first_difference: Sequence[int],
    anchors: Float[Tensor, "run dim"],
    plan: Plan,
) -> Batch:
    """Bring the donor's states to the base's positions, and say which cells need a forward."""
    kinds: list[str] = list(dict.fromkeys(site.kind for site in plan.sites))
    own = {kind: base.states(kind) for kind in kinds}
    aligned = _aligner(base.sources)
    donated = {kind: aligned(donor.states(kind)) for kind in kinds}
    exists = torch.tensor([[bool(found) for found in row] for row in base.sources])
    members = _members(groups, len(base.runs[0].ids)) & exists[:, None]
    matters = _matters(encoder, base.runs, first_difference)
    read = _read_at(base.runs)
    members, matters, read = (mask.to(anchors.device) for mask in (members, matters, read))
    differ = [
        _differ(own[site.kind], donated[site.kind], site, encoder) & matters for site in plan.sites
    ]
    for found in differ:
        found[-1] &= read
    needed = [
        _windowed(_together(found, members), site, plan)
        for found, site in zip(differ, plan.sites, strict=True)
    ]
    return Batch(
        base=base,
        plan=plan,
        base_states=base.capture.states(),
        own=own,
        donor=donated,
        donor_embed=aligned(torch.stack(donor.capture.embed))[0],
        exists_token=exists.to(anchors.device),
        members=members,
        needed=torch.stack(needed),
        anchors=anchors,
        heads=encoder.heads if "head" in kinds else 0,
        several=not encoder.reads_one_layer,
        sums="mlp_out" in kinds and all(block.norm == "pre" for block in encoder.block_sites),
    )


def _members(groups: Sequence[Sequence[Group]], count: int) -> Bool[Tensor, "run group token"]:
    members = torch.zeros(len(groups), max(map(len, groups)), count, dtype=torch.bool)
    for run, row in enumerate(groups):
        for place, (_, positions) in enumerate(row):
            members[run, place, list(positions)] = True
    return members


def _differ(
    own: Float[Tensor, "layer run token width"],
    donor: Float[Tensor, "layer run token width"],
    site: Site,
    encoder: Encoder,
) -> Bool[Tensor, "layer run token"]:
    differ = own != donor
    if site.head is not None:
        differ = rearrange(differ, "... (head dim) -> ... head dim", head=encoder.heads)
        differ = differ[..., site.head, :]
    return differ.any(-1)


def _together(
    differ: Bool[Tensor, "layer run token"], members: Bool[Tensor, "run group token"]
) -> Bool[Tensor, "layer run group"]:
    return (differ[:, :, None] & members).any(-1)


def _windowed(
    alone: Bool[Tensor, "layer run group"], site: Site, plan: Plan
) -> Bool[Tensor, "layer run group"]:
    """Return which cells need a forward when each patches its whole window."""
    layers = [plan.layers(layer, len(alone), site.kind) for layer in range(len(alone))]
    # The input of a block is the state of the layer before.
    back = int(site.kind == "resid_pre")
    none = torch.zeros_like(alone[0])
    return torch.stack([alone[[at - back for at in w]].any(0) if w else none for w in layers])


def _aligner(sources: Sequence[Correspondence]) -> Callable[[Tensor], Tensor]:
    """Return how the donor's states come to the base's positions: the mean of its sources."""
    identity = tuple((i,) for i in range(len(sources[0])))
    if all(row == identity for row in sources):
        return lambda states: states

    def aligned(
        states: Float[Tensor, "layer run donor width"],
    ) -> Float[Tensor, "layer run token width"]:
        weights = states.new_zeros(len(sources), len(sources[0]), states.shape[2])
        for run, row in enumerate(sources):
            for position, found in enumerate(row):
                weights[run, position, list(found)] = 1 / max(1, len(found))
        return einsum(
            states, weights, "layer run donor width, run token donor -> layer run token width"
        )

    return aligned


def _matters(
    encoder: Encoder, runs: Sequence[Run], first_difference: Sequence[int]
) -> Bool[Tensor, "run token"]:
    """Return where a state can differ and be read at all."""
    positions = torch.arange(len(runs[0].ids))
    if not encoder.causal:
        return torch.ones(len(runs), len(positions), dtype=torch.bool)
    last = [len(positions) if run.read_out is None else run.read_out for run in runs]
    return (positions >= torch.tensor(first_difference)[:, None]) & (
        positions <= torch.tensor(last)[:, None]
    )


def _read_at(runs: Sequence[Run]) -> Bool[Tensor, "run token"]:
    """Return where the last layer is read."""
    positions = range(len(runs[0].ids))
    return torch.tensor([[run.read_out in (None, p) for p in positions] for run in runs])
