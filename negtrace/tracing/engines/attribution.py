"""Attribution patching: a gradient's estimate of every cell's score, in a few passes.

To first order, replacing a state h of the base run by the donor's changes the score by
(h_donor - h_base) . dS/dh. One forward and one backward give this for every site, layer and
position at once (Nanda 2023; AtP*, arXiv 2403.00745). Where the score bends on the way, the
gradient is averaged along the straight path from the base's input of block 0 to the donor's:
integrated gradients (Sundararajan et al. 2017; EAP-IG, Hanna et al., arXiv 2403.17806).

An estimate is a prefilter: let `trace(..., verify=K)` run some of its cells exactly.
"""

__all__ = ["ESTIMATORS", "estimator_named"]

from collections.abc import Collection, Iterator, Sequence
from functools import partial

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from negtrace.encoders.base import Encoder
from negtrace.encoders.batching import batched
from negtrace.encoders.hooks import Edit, HookSite
from negtrace.errors import TraceError, UnknownNameError
from negtrace.tracing.corruptions.contrast import Contrast
from negtrace.tracing.engines.batch import Batch, Side, run_side
from negtrace.tracing.engines.exact import (
    Direction,
    Sourced,
    Sweeper,
    Swept,
    by_length,
    no_effect,
    progress_bar,
    runs_of,
    set_out_sides,
    sweep,
    swept_of,
)
from negtrace.tracing.plan import Plan

Grads = dict[str, Float[Tensor, "layer run token width"]]

ESTIMATORS = ("exact", "attribution", "integrated_gradients")
"""How a trace gets its scores; all but the first are approximations."""


def estimator_named(name: str, steps: int) -> Sweeper:
    """Return the sweep called `name`; `steps` counts the passes of integrated gradients.

    Raises:
        UnknownNameError: for an unknown name.
        TraceError: when `steps` is not positive.
    """
    if name not in ESTIMATORS:
        raise UnknownNameError(f"unknown method {name!r}; known: {', '.join(ESTIMATORS)}")
    if steps < 1:
        raise TraceError(f"integrated gradients in {steps} steps; expected at least one")
    if name == "exact":
        return sweep
    return partial(_estimated, steps=steps if name == "integrated_gradients" else 0)


def _estimated(
    encoder: Encoder,
    contrasts: Sequence[Contrast],
    anchors: Float[Tensor, "contrast dim"],
    *,
    direction: Direction,
    plan: Plan,
    row_tokens: int,
    done: Collection[int],
    progress: bool | None,
    steps: int,
) -> Iterator[Swept]:
    """Yield every contrast's estimated scores; `steps` of 0 takes the gradient of the base run."""
    if plan.window > 1:
        raise TraceError("windows of layers are traced exactly only: method='exact'")
    with progress_bar(len(contrasts), direction, progress) as bar:
        for lengths, same in by_length(contrasts):
            for indices in batched(same, max(1, row_tokens // max(lengths))):
                bar.update(len(indices))
                if all(index in done for index in indices):
                    continue
                chosen, anchor = [contrasts[i] for i in indices], anchors[list(indices)]
                sides, batch, grads = _run(encoder, chosen, anchor, direction, plan, steps)
                patched = no_effect(batch) + _change(encoder, batch, grads)
                yield from swept_of(indices, chosen, *sides, patched, direction)


def _run(
    encoder: Encoder,
    contrasts: Sequence[Contrast],
    anchors: Float[Tensor, "run dim"],
    direction: Direction,
    plan: Plan,
    steps: int,
) -> tuple[tuple[Side, Side], Batch, Grads]:
    """Run both sides of a batch, and return them with the gradient at the one that is patched."""
    clean, corrupt = runs_of(contrasts)
    restoring = direction == "denoising"
    patched, other = (corrupt, clean) if restoring else (clean, corrupt)
    donor = run_side(encoder, other, anchors, plan, keep=False)
    # One forward gives the base run's states and its gradient.
    base, grads = _differentiated(encoder, patched, anchors, plan, lambda hidden: hidden)
    sides = (donor, base) if restoring else (base, donor)
    batch = set_out_sides(encoder, contrasts, *sides, anchors, direction, plan)
    return sides, batch, _averaged(encoder, batch, patched, steps) if steps else grads


def _change(encoder: Encoder, batch: Batch, grads: Grads) -> Float[Tensor, "site layer run group"]:
    """Return the estimated change of every cell's score."""
    layers = torch.arange(len(encoder.layers), device=batch.needed.device)
    changes = []
    for site in batch.plan.sites:
        product = (batch.donor[site.kind] - batch.own[site.kind]) * grads[site.kind]
        if site.head is None:
            change = reduce(product, "layer run token width -> layer run token", "sum")
        else:
            change = rearrange(product, "... (head dim) -> ... head dim", head=batch.heads)
            change = change[..., site.head, :].sum(-1)
        if site.kind == "resid_pre":  # the input of a block is the state of the layer before
            change = change[(layers - 1).clamp(min=0)]
        changes.append(change)
    members = batch.members.to(changes[0])
    total = einsum(
        torch.stack(changes),
        members,
        "site layer run token, run group token -> site layer run group",
    )
    return total.cpu().double()


def _averaged(encoder: Encoder, batch: Batch, runs: Sequence[Sourced], steps: int) -> Grads:
    """Return the mean gradient at the middle of each step from the base run to the donor."""
    start = batch.base_states[0]
    way = torch.where(batch.exists_token[..., None], batch.donor_embed - start, 0)
    total: Grads = {}
    for step in range(steps):
        state = start + (step + 0.5) / steps * way
        _, grads = _differentiated(encoder, runs, batch.anchors, batch.plan, partial(_put, state))
        total = {kind: total.get(kind, 0) + grad / steps for kind, grad in grads.items()}
    return total


def _put(state: Tensor, _: Tensor) -> Tensor:
    return state


def _differentiated(
    encoder: Encoder,
    runs: Sequence[Sourced],
    anchors: Float[Tensor, "run dim"],
    plan: Plan,
    embed: Edit,
) -> tuple[Side, Grads]:
    """Run one side, block 0 given `embed` of its input, and take its scores' gradient by state."""
    inputs = [HookSite(site="resid_pre", module=block, at="input") for block in encoder.blocks]
    hook_sites = inputs if any(site.kind == "resid_pre" for site in plan.sites) else ()

    def leaf(hidden: Float[Tensor, "run token width"]) -> Float[Tensor, "run token width"]:
        # A copy: what was made in inference mode cannot be part of a graph.
        return embed(hidden).detach().clone().requires_grad_()

    with torch.inference_mode(mode=False), torch.enable_grad():
        side = run_side(
            encoder, runs, anchors.clone(), plan, keep=False, embed=leaf, hook_sites=hook_sites
        )
        wanted = {"resid": side.capture.stream, **side.capture.site_states}
        flat = [state for states in wanted.values() for state in states]
        found = torch.autograd.grad(
            side.scores.sum(), flat, allow_unused=True, materialize_grads=True
        )
    grads = iter(found)
    by_kind = {kind: torch.stack([next(grads) for _ in states]) for kind, states in wanted.items()}
    return side, {kind: _by_layer(kind, grad) for kind, grad in by_kind.items()}


def _by_layer(
    kind: str, grad: Float[Tensor, "place run token width"]
) -> Float[Tensor, "layer run token width"]:
    """Return gradients with a place for every layer, `embed` included."""
    if kind == "resid":
        return grad
    none = torch.zeros_like(grad[:1])
    # An input is kept with the layer before, whose state it is; nothing is given the last one.
    return torch.cat([grad, none] if kind == "resid_pre" else [none, grad])
