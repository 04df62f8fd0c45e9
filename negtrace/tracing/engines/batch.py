"""A batch of contrasts whose runs have the same lengths: both runs recorded, cells chosen.

A cell is run only if its score is not known already. Where both runs have the same state, a patch
changes nothing. In a causal tower, states before the first difference differ by rounding at most,
which is measured. At the last layer, only the read-out matters.
"""

__all__ = ["Batch", "Recording", "batch_of", "record"]

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import Capture, Edit, captured
from negtrace.encoders.key_value_cache import KeyValueCache
from negtrace.errors import EncoderError
from negtrace.pairs.alignment import Correspondence
from negtrace.tracing.corruptions.contrast import Run
from negtrace.tracing.engines.routes import Route
from negtrace.tracing.engines.sweep import Sweep
from negtrace.tracing.plan import Plan, Site
from negtrace.tracing.positions import Group

ROUNDING = 1e3
"""Units of rounding, as a share of a token's largest value, up to which its states are equal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """States and scores of plain runs of equal length."""

    runs: Sequence[Run]
    ids: Int[Tensor, "run token"]
    capture: Capture
    """The states of every layer."""
    cache: KeyValueCache | None
    """Attention of the runs, for rows that run their last tokens only."""
    scores: Float[Tensor, " run"]

    def states(self, kind: str) -> Float[Tensor, "layer run token width"]:
        """Return the states of every layer at one kind of site.

        Any other site than `resid` has no layer `embed`; zeros stand for it.
        """
        if kind == "resid":
            return self.capture.states()
        inner = torch.stack(self.capture.site_states[kind])
        return torch.cat([torch.zeros_like(inner[:1]), inner])


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Contrasts whose runs have the same lengths, with the states to patch and to be patched."""

    base: Recording
    """The runs that are patched."""
    plan: Plan
    stream: Float[Tensor, "layer run token width"]
    """The residual stream of the base runs."""
    base_states: Mapping[str, Float[Tensor, "layer run token width"]]
    """States of the base runs, by kind of site."""
    source_states: Mapping[str, Float[Tensor, "layer run token width"]]
    """States of the source runs, brought to the base's positions, by kind of site."""
    source_embed: Float[Tensor, "run token width"]
    """Input of block 0 in the source runs, brought to the base's positions."""
    has_counterpart: Bool[Tensor, "run token"]
    """Whether the source has a position that corresponds."""
    members: Bool[Tensor, "run group token"]
    """The positions of each group that have a counterpart."""
    needed: Bool[Tensor, "site layer run group"]
    """Cells whose score has to be computed."""
    anchors: Float[Tensor, "run dim"]
    heads: int
    """Heads of a block; 0 when no head is patched."""
    route: Route
    """The way in which the patched rows run."""
    adds_mlp_last: bool
    """Whether the last step of a block is to add what its MLP writes (pre-norm)."""

    def skips_block(self, kind: str) -> bool:
        """Return whether the block's output is known after a patch of this kind without running it.

        In a pre-norm block the MLP output is added last, so patching it only changes that sum.
        """
        return (
            kind == "mlp_out"
            and self.adds_mlp_last
            and self.plan.window == 1
            and self.route.from_layer
        )

    @property
    def exists(self) -> Bool[Tensor, "run group"]:
        """True if a group has a position with a counterpart."""
        return self.members.any(-1)


def record(
    sweep: Sweep,
    runs: Sequence[Run],
    *,
    cache: bool = False,
    embed: Edit | None = None,
) -> Recording:
    """Run these runs plainly, one for each contrast of the sweep, and record every state.

    Args:
        sweep: names the model, the anchors and the sites.
        runs: runs of equal length.
        cache: record keys and values too, where the encoder can continue from them.
        embed: edit of the input of block 0, applied after the runs' own edits.

    Raises:
        EncoderError: when a block does not run exactly once.
    """
    encoder, anchors = sweep.encoder, sweep.anchors
    ids = torch.tensor([run.ids for run in runs], device=anchors.device)

    def edit(hidden: Float[Tensor, "run token width"]) -> Float[Tensor, "run token width"]:
        if any(run.edit for run in runs):
            rows = zip(runs, hidden, strict=True)
            hidden = torch.stack([run.edit(row) if run.edit else row for run, row in rows])
        return embed(hidden) if embed else hidden

    sites = encoder.hook_sites(sweep.plan.hooked)
    with (
        captured(encoder.blocks, edit, sites, row_axis=encoder.row_axis) as capture,
        _attention(encoder, keep=cache) as attention,
    ):
        text = encoder.run(ids, anchors)
    if len(capture.outputs) != len(encoder.blocks) or len(capture.embed) != 1:
        raise EncoderError(
            f"{encoder.name}: {len(capture.outputs)} block outputs in one forward, expected "
            f"{len(encoder.blocks)}; every named block must run exactly once"
        )
    return Recording(
        runs=runs,
        ids=ids,
        capture=capture,
        cache=_usable(encoder, attention),
        scores=encoder.score(text, anchors),
    )


def _attention(encoder: Encoder, *, keep: bool) -> AbstractContextManager[KeyValueCache | None]:
    """Record the attention of the run inside the `with`, where the encoder can continue from it."""
    prefix = encoder.prefix_attention if keep else None
    return nullcontext() if prefix is None else prefix.recording()


def _usable(encoder: Encoder, cache: KeyValueCache | None) -> KeyValueCache | None:
    """Return recorded attention if it is all that a block carries from token to token.

    It is not in a block without attention (a convolution, a state space), nor where a block hands
    the next one more than hidden states.
    """
    prefix = encoder.prefix_attention
    if not cache or prefix is None or not prefix.covers(encoder.blocks, cache):
        return None
    more = any(encoder.call_layout.returns_more(index) for index in range(len(encoder.blocks)))
    return None if more else cache


def batch_of(sweep: Sweep, base: Recording, source: Recording) -> Batch:
    """Bring the source's states to the base's positions, and choose the cells to run.

    Args:
        sweep: contrasts whose runs have the same lengths.
        base: the runs that are patched.
        source: the runs whose states are put into them.
    """
    encoder, plan, device = sweep.encoder, sweep.plan, sweep.anchors.device
    patchings = sweep.patchings()
    kinds: list[str] = list(dict.fromkeys(site.kind for site in plan.sites))
    correspondences = [patching.correspondence for patching in patchings]
    aligned = _aligner(correspondences)
    base_states = {kind: base.states(kind) for kind in kinds}
    source_states = {kind: aligned(source.states(kind)) for kind in kinds}
    has_counterpart = torch.tensor([[bool(s) for s in row] for row in correspondences])
    members = _members([patching.groups for patching in patchings], len(base.runs[0].ids))
    members = (members & has_counterpart[:, None]).to(device)
    matters = _matters(sweep, base, source).to(device)
    read = _read_at(base.runs).to(device)
    needed = []
    for site in plan.sites:
        differ = _differ(base_states[site.kind], source_states[site.kind], site, encoder) & matters
        if site.kind != "resid_pre":  # the input of the last block is read at every position
            differ[-1] &= read
        needed.append(_windowed(_any_member(differ, members), site, plan))
    return Batch(
        base=base,
        plan=plan,
        stream=base.capture.states(),
        base_states=base_states,
        source_states=source_states,
        source_embed=aligned(torch.stack(source.capture.embed))[0],
        has_counterpart=has_counterpart.to(device),
        members=members,
        needed=torch.stack(needed),
        anchors=sweep.anchors,
        heads=encoder.heads if "head" in kinds else 0,
        route=sweep.route,
        adds_mlp_last="mlp_out" in kinds
        and all(block.norm == "pre" for block in encoder.block_sites),
    )


def _members(groups: Sequence[Sequence[Group]], count: int) -> Bool[Tensor, "run group token"]:
    """Return which of `count` positions are in each group of each run."""
    members = torch.zeros(len(groups), max(map(len, groups)), count, dtype=torch.bool)
    for run, row in enumerate(groups):
        for index, (_, positions) in enumerate(row):
            members[run, index, list(positions)] = True
    return members


def _differ(
    base: Float[Tensor, "layer run token width"],
    source: Float[Tensor, "layer run token width"],
    site: Site,
    encoder: Encoder,
) -> Bool[Tensor, "layer run token"]:
    """Return where the states of a site differ between the two runs."""
    differ = base != source
    if site.head is not None:
        differ = rearrange(differ, "... (head dim) -> ... head dim", head=encoder.heads)
        differ = differ[..., site.head, :]
    return differ.any(-1)


def _any_member(
    differ: Bool[Tensor, "layer run token"], members: Bool[Tensor, "run group token"]
) -> Bool[Tensor, "layer run group"]:
    """Return whether the states of any position of a group differ."""
    return (differ[:, :, None] & members).any(-1)


def _windowed(
    alone: Bool[Tensor, "layer run group"], site: Site, plan: Plan
) -> Bool[Tensor, "layer run group"]:
    """Return which cells are needed when each patches its whole window."""
    windows = [plan.layers(layer, len(alone), site.kind) for layer in range(len(alone))]
    none = torch.zeros_like(alone[0])
    return torch.stack([alone[list(w)].any(0) if w else none for w in windows])


def _aligner(correspondences: Sequence[Correspondence]) -> Callable[[Tensor], Tensor]:
    """Return the function that brings the source's states to the base's positions."""
    identity = tuple((i,) for i in range(len(correspondences[0])))
    if all(row == identity for row in correspondences):
        return lambda states: states[:, :, : len(identity)]  # a source may go on behind them

    def aligned(
        states: Float[Tensor, "layer run source width"],
    ) -> Float[Tensor, "layer run token width"]:
        # Each position gets the mean of the states that correspond to it.
        weights = states.new_zeros(len(correspondences), len(identity), states.shape[2])
        for run, row in enumerate(correspondences):
            for position, sources in enumerate(row):
                weights[run, position, list(sources)] = 1 / max(1, len(sources))
        return einsum(
            states, weights, "layer run source width, run token source -> layer run token width"
        )

    return aligned


def _matters(sweep: Sweep, base: Recording, source: Recording) -> Bool[Tensor, "run token"]:
    """Return the positions where a state can differ and can reach the embedding."""
    positions = torch.arange(len(base.runs[0].ids))
    matters = torch.ones(len(base.runs), len(positions), dtype=torch.bool)
    if not sweep.encoder.causal:
        return matters
    first = torch.tensor([contrast.first_difference for contrast in sweep.contrasts])
    before = positions < first[:, None]
    matters &= ~before | _differs_before(before, base, source)[:, None]
    if base.cache is not None:  # rows that start behind the read-out would lack it
        last = torch.tensor(
            [len(positions) if r.read_out is None else r.read_out for r in base.runs]
        )
        matters &= positions <= last[:, None]
    return matters


def _differs_before(
    before: Bool[Tensor, "run token"], base: Recording, source: Recording
) -> Bool[Tensor, " run"]:
    """Return the runs whose states differ by more than rounding before their first difference.

    They do where the input of block 0 depends on later tokens or on the number of tokens, or where
    a causal tower is not causal for every statement.
    """
    count = int(before.sum(-1).max())
    differs = torch.zeros(len(before), dtype=torch.bool)
    if count:
        for one, other in zip(base.capture.stream, source.capture.stream, strict=True):
            gap = (one[:, :count] - other[:, :count]).abs().amax(-1)
            limit = ROUNDING * torch.finfo(one.dtype).eps * one[:, :count].abs().amax(-1)
            beyond = (gap > limit).cpu()
            differs |= (beyond & before[:, :count]).any(-1)
    return differs


def _read_at(runs: Sequence[Run]) -> Bool[Tensor, "run token"]:
    """Return the positions at which the embedding is read; all of them where it is pooled."""
    positions = range(len(runs[0].ids))
    return torch.tensor([[run.read_out in (None, p) for p in positions] for run in runs])
