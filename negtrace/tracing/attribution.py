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
from contextlib import ExitStack
from functools import partial

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from negtrace.encoders.base import Encoder, batched
from negtrace.errors import TraceError, UnknownNameError
from negtrace.hooks import captured, hidden_of, input_edited
from negtrace.tracing.batch import Batch
from negtrace.tracing.corruption import Contrast
from negtrace.tracing.plan import Plan
from negtrace.tracing.sweep import (
    Direction,
    Sweeper,
    Swept,
    both_sides,
    by_length,
    no_effect,
    progress_bar,
    set_out_sides,
    sweep,
    swept_of,
)

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
                sides = both_sides(encoder, chosen, anchor, direction, plan)
                batch = set_out_sides(encoder, chosen, *sides, anchor, direction, plan)
                patched = no_effect(batch) + _change(encoder, batch, steps)
                yield from swept_of(indices, chosen, *sides, patched, direction)


def _change(encoder: Encoder, batch: Batch, steps: int) -> Float[Tensor, "site layer run group"]:
    """Return the estimated change of every cell's score."""
    grads = _averaged(encoder, batch, steps)
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


def _averaged(encoder: Encoder, batch: Batch, steps: int) -> Grads:
    """Return the gradient at the base run, or its mean at the middle of each step to the donor."""
    start = batch.base_states[0]
    way = torch.where(batch.exists_token[..., None], batch.donor_embed - start, 0)
    fractions = [(step + 0.5) / steps for step in range(steps)] or [0.0]
    found = [_gradients(encoder, batch, start + fraction * way) for fraction in fractions]
    return {kind: torch.stack([one[kind] for one in found]).mean(dim=0) for kind in found[0]}


def _gradients(encoder: Encoder, batch: Batch, embed: Float[Tensor, "run token width"]) -> Grads:
    """Return the gradient of each run's score by its states, started from `embed`."""
    inner, inputs = batch.plan.inner, []

    def apart(hidden: Float[Tensor, "run token width"]) -> Float[Tensor, "run token width"]:
        # A node of its own, which a read-out of several layers does not read.
        inputs.append(hidden.clone())
        return inputs[-1]

    with torch.inference_mode(mode=False), torch.enable_grad(), ExitStack() as stack:
        # Copies: tensors made in inference mode cannot be part of a graph.
        embed = embed.clone().requires_grad_()
        ids, anchors = batch.base.ids.clone(), batch.anchors.clone()
        taps = encoder.taps(inner)
        capture = stack.enter_context(captured(encoder.blocks, lambda _: embed, taps))
        for block in encoder.blocks:
            stack.enter_context(input_edited(block, apart))
        score = encoder.score(encoder.encode(ids), anchors).sum()
        stream = [embed, *map(hidden_of, capture.outputs)]
        wanted = [stream, inputs, *(capture.tapped[kind] for kind in inner)]
        flat = [state for states in wanted for state in states]
        grads = iter(torch.autograd.grad(score, flat, allow_unused=True, materialize_grads=True))
    found: Grads = {"resid": torch.stack([next(grads) for _ in stream])}
    given = torch.stack([next(grads) for _ in inputs])
    # Kept with the layer before, whose state it is; nothing is given the last one.
    found["resid_pre"] = torch.cat([given, torch.zeros_like(given[:1])])
    for kind in inner:
        by_block = torch.stack([next(grads) for _ in encoder.blocks])
        found[kind] = torch.cat([torch.zeros_like(by_block[:1]), by_block])
    return found
