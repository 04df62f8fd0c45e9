"""Attribution patching: the score of every cell, estimated from gradients in a few passes.

To first order, replacing a state h of the base run by the source's state changes the score S by
(h_source - h_base) . dS/dh. One forward and one backward pass give this for every site, layer and
position at once (Nanda 2023; AtP*, arXiv 2403.00745). Integrated gradients (Sundararajan et al.
2017; EAP-IG, Hanna et al., arXiv 2403.17806) average the gradient along the straight line from the
base's input of block 0 to the source's, since the score is not linear in between.

Estimates are for finding candidates: `trace(..., verify=K)` runs some of the cells exactly.
"""

__all__ = ["Attribution", "IntegratedGradients"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import Edit, hidden_of
from negtrace.errors import TraceError
from negtrace.tracing.corruptions.contrast import Run
from negtrace.tracing.engines.base import ENGINES, Engine
from negtrace.tracing.engines.batch import Batch, Recording, batch_of, record
from negtrace.tracing.engines.exact import no_effect, scores_of_batch
from negtrace.tracing.engines.sweep import ContrastScores, Sweep
from negtrace.tracing.plan import Plan

Gradients = dict[str, Float[Tensor, "layer run token width"]]
"""Gradient of the score by the states, by kind of site."""


@ENGINES.register("attribution")
@dataclass(frozen=True, kw_only=True)
class Attribution(Engine):
    """Every cell is estimated from the gradient of the base run."""

    name = "attribution"
    estimator = "attribution"

    @override
    def require(self, encoder: Encoder, plan: Plan) -> None:
        _require_no_window(plan)

    @override
    def run(self, sweep: Sweep) -> Iterator[ContrastScores]:
        return _estimated(sweep, steps=0)


@ENGINES.register("integrated_gradients")
@dataclass(frozen=True, kw_only=True)
class IntegratedGradients(Engine):
    """Every cell is estimated from gradients along the line from the base's input to the source's.

    Raises:
        TraceError: when there is no step.
    """

    name = "integrated_gradients"
    estimator = "integrated_gradients"

    steps: int = 8
    """How many gradients are averaged; each is taken at the middle of its step."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise TraceError(f"steps is {self.steps}; expected 1 or more")

    @override
    def require(self, encoder: Encoder, plan: Plan) -> None:
        _require_no_window(plan)

    @override
    def run(self, sweep: Sweep) -> Iterator[ContrastScores]:
        return _estimated(sweep, steps=self.steps)


def _require_no_window(plan: Plan) -> None:
    if plan.window > 1:
        raise TraceError("windows of layers are traced exactly only: method='exact'")


def _estimated(sweep: Sweep, *, steps: int) -> Iterator[ContrastScores]:
    """Yield estimated scores; with 0 steps, from the gradient of the base run."""
    _require_no_window(sweep.plan)
    for indices in sweep.batches(lambda length: sweep.row_tokens // length):
        part = sweep.part(indices)
        patchings = part.patchings()
        runs = [patching.base for patching in patchings]
        source = record(part, [patching.source for patching in patchings])
        # One forward gives the base run's states and its gradient.
        base, gradients = _differentiated(part, runs, lambda hidden: hidden)
        batch = batch_of(part, base, source)
        if steps:
            gradients = _averaged(part, batch, steps)
        patched = no_effect(batch) + _change(sweep.encoder, batch, gradients)
        yield from scores_of_batch(part, indices, base, source, patched)


def _change(
    encoder: Encoder, batch: Batch, gradients: Gradients
) -> Float[Tensor, "site layer run group"]:
    """Return the estimated change of the score in every cell."""
    changes = []
    for site in batch.plan.sites:
        difference = batch.source_states[site.kind] - batch.base_states[site.kind]
        product = difference * gradients[site.kind]
        if site.head is None:
            change = reduce(product, "layer run token width -> layer run token", "sum")
        else:
            change = rearrange(product, "... (head dim) -> ... head dim", head=batch.heads)
            change = change[..., site.head, :].sum(-1)
        changes.append(change)
    members = batch.members.to(changes[0])
    total = einsum(
        torch.stack(changes),
        members,
        "site layer run token, run group token -> site layer run group",
    )
    return total.cpu().double()


def _averaged(sweep: Sweep, batch: Batch, steps: int) -> Gradients:
    """Return the mean gradient over steps on the line from the base's input to the source's."""
    start = batch.stream[0]
    line = torch.where(batch.has_counterpart[..., None], batch.source_embed - start, 0)
    total: Gradients = {}
    for step in range(steps):
        state = start + (step + 0.5) / steps * line
        _, gradients = _differentiated(sweep, batch.base.runs, _constant(state))
        total = {kind: total.get(kind, 0) + grad / steps for kind, grad in gradients.items()}
    return total


def _constant(state: Tensor) -> Edit:
    """Return the edit that puts `state` in the place of any other."""
    return lambda _: state


def _differentiated(sweep: Sweep, runs: Sequence[Run], embed: Edit) -> tuple[Recording, Gradients]:
    """Record runs, the input of block 0 edited by `embed`, and differentiate their scores."""

    def leaf(hidden: Float[Tensor, "run token width"]) -> Float[Tensor, "run token width"]:
        # A copy, since a tensor made in inference mode cannot be part of a graph.
        return embed(hidden).detach().clone().requires_grad_()

    with torch.inference_mode(mode=False), torch.enable_grad():
        # The anchors too are copied.
        copied = sweep.part(range(len(sweep.contrasts)), sweep.anchors.clone())
        recording = record(copied, runs, embed=leaf)
        capture, axis = recording.capture, sweep.encoder.row_axis
        outputs = [hidden_of(output) for output in capture.outputs]
        states = {"resid": [*capture.embed, *outputs], **capture.site_states}
        flat = [state for by_layer in states.values() for state in by_layer]
        _require_graph(sweep.encoder, recording, flat)
        with sweep.encoder.guarded("its score was differentiated"):
            found = torch.autograd.grad(recording.scores.sum(), flat, allow_unused=True)
    if found[0] is None:
        raise TraceError(_no_gradient(sweep.encoder, "the score does not depend on its input"))
    remaining = iter(
        torch.zeros_like(state) if gradient is None else gradient
        for state, gradient in zip(flat, found, strict=True)
    )
    by_kind = {kind: [next(remaining) for _ in at] for kind, at in states.items()}
    first, *after = by_kind["resid"]
    by_kind["resid"] = [first, *(gradient.transpose(0, axis) for gradient in after)]
    return recording, {kind: _by_layer(kind, torch.stack(at)) for kind, at in by_kind.items()}


def _require_graph(encoder: Encoder, recording: Recording, states: Sequence[Tensor]) -> None:
    """Refuse a model that runs without gradients, in whole or in part."""
    if not recording.scores.requires_grad:
        raise TraceError(_no_gradient(encoder, "its score has no gradient"))
    if not all(state.requires_grad for state in states):
        raise TraceError(_no_gradient(encoder, "some of its states have no gradient"))


def _no_gradient(encoder: Encoder, what: str) -> str:
    return (
        f"{encoder.name}: an estimate needs gradients from the score back to every state, but "
        f"{what}: its forward runs under torch.no_grad(), or detaches its states. Take that out "
        "of the model, or use method='exact'"
    )


def _by_layer(
    kind: str, gradients: Float[Tensor, "block run token width"]
) -> Float[Tensor, "layer run token width"]:
    """Return the gradients with an entry for every layer; `embed` is one of `resid` alone."""
    if kind == "resid":
        return gradients
    return torch.cat([torch.zeros_like(gradients[:1]), gradients])
