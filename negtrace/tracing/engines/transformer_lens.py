"""transformer_lens: an encoder for its patching functions, and its bridge as an encoder.

`as_hooked` gives an encoder the shape that `transformer_lens.patching` drives, so its functions
sweep text towers that the package itself has no model class for. `from_bridge` takes a
`TransformerBridge` as an encoder. `sweep` is negtrace's sweep done by `transformer_lens.patching`:
the same numbers, one whole forward for every cell.
"""

__all__ = ["Hooked", "as_hooked", "from_bridge", "sweep"]

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import input_edited
from negtrace.encoders.tokenizing import ReadOut
from negtrace.encoders.wrap import pooled, wrap
from negtrace.errors import EncoderError, TraceError, require
from negtrace.tracing.corruptions.contrast import Contrast, Run
from negtrace.tracing.engines.exact import ROW_TOKENS, Direction, Swept
from negtrace.tracing.engines.hooked import HOOKS, Hooked, as_hooked
from negtrace.tracing.engines.sides import Cell, Sides, cells_of, equally_long, filled
from negtrace.tracing.plan import Plan


def from_bridge(
    bridge: Any,
    tokenizer: Any = None,
    *,
    read_out: ReadOut = "mean",
    name: str | None = None,
) -> Encoder:
    """Return a `TransformerBridge` as an encoder; states go through the bridge's own blocks.

    Args:
        bridge: from `TransformerBridge.boot_transformers`; hooks of yours on it keep firing.
        tokenizer: the bridge's own when not given, which transformer_lens may have set to add
            other tokens at the start and end than the one it was booted with.
        read_out: which of the model's final token states is the embedding.
        name: what to call it in results; the name in the bridge's `cfg` when not given.

    Raises:
        EncoderError: when it is no bridge over a model of transformers with its blocks in a list.
    """
    model, blocks = getattr(bridge, "original_model", None), getattr(bridge, "blocks", None)
    tower = getattr(model, "base_model", None)
    if not isinstance(model, nn.Module) or not isinstance(blocks, nn.ModuleList) or tower is None:
        raise EncoderError(
            f"a {type(bridge).__name__} with no original_model, base_model or blocks; expected a "
            "TransformerBridge over a model of transformers"
        )
    # By the wrapped model's names, which trainers know; its blocks are the bridge's.
    names = {id(module): path for path, module in model.named_modules()}
    if missing := [str(i) for i, block in enumerate(blocks) if id(block) not in names]:
        raise EncoderError(f"blocks {', '.join(missing)} of the bridge are not in its model")
    return wrap(
        model,
        bridge.tokenizer if tokenizer is None else tokenizer,
        name=name or str(bridge.cfg.model_name),
        blocks=[names[id(block)] for block in blocks],
        encode=pooled(tower, read_out),
        max_tokens=int(bridge.cfg.n_ctx),
    )


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
) -> Iterator[Swept]:
    """Yield the raw scores of every contrast, swept by `transformer_lens.patching`.

    The arguments are those of `negtrace.tracing.engines.exact.sweep`; the bars are
    transformer_lens's own, whatever `progress` says. Contrasts of
    equal lengths share their forwards, up to `row_tokens`.

    Raises:
        SiteError: when the model does not offer a site.
        TraceError: for a window of several layers, which `transformer_lens.patching` has not.
    """
    if plan.window != 1:
        raise TraceError(
            f"window {plan.window}: transformer_lens.patching patches one layer at a time; leave "
            "the window out, or use another sweeper"
        )
    longest = max((len(run.ids) for c in contrasts for run in (c.clean, c.corrupt)), default=1)
    for indices in equally_long(contrasts, max(1, row_tokens // longest), done):
        sides = [Sides.of(contrasts[i], direction) for i in indices]
        hooked = Hooked(encoder, anchors[list(indices)])
        donor, states = _states(hooked, [side.donor for side in sides])
        base, _ = _states(hooked, [side.base for side in sides])
        clean, corrupt = (donor, base) if direction == "denoising" else (base, donor)
        found = _found(hooked, plan, sides, states)
        for row, (index, side) in enumerate(zip(indices, sides, strict=True)):
            layers, groups = len(encoder.layers), side.groups
            scores = {cell: found[cell][row] for cell in cells_of(plan, layers, groups)}
            yield Swept(
                index=index,
                clean=clean[row].item(),
                corrupt=corrupt[row].item(),
                patched=filled(plan, layers, len(groups), scores),
            )


@contextmanager
def _edits(hooked: Hooked, runs: Sequence[Run]) -> Iterator[None]:
    """Put the corruption's own edits on the input of block 0."""

    def edit(hidden: Tensor) -> Tensor:
        rows = zip(runs, hidden, strict=True)
        return torch.stack([run.edit(row) if run.edit else row for run, row in rows])

    with input_edited(hooked.encoder.blocks[0], edit):
        yield


def _ids(hooked: Hooked, runs: Sequence[Run]) -> Int[Tensor, "run token"]:
    return torch.tensor([run.ids for run in runs], device=hooked.encoder.device)


def _states(
    hooked: Hooked, runs: Sequence[Run]
) -> tuple[Float[Tensor, " run"], Mapping[str, Tensor]]:
    """Return the scores of plain runs, and what is at every hook point."""
    with _edits(hooked, runs):
        scores, cache = hooked.run_with_cache(_ids(hooked, runs))
    return scores, cache.cache_dict


def _found(
    hooked: Hooked, plan: Plan, sides: Sequence[Sides], states: Mapping[str, Tensor]
) -> dict[Cell, list[float]]:
    """Return the scores of all runs in every cell."""
    given = {
        name: torch.stack([side.aligned(state[i]) for i, side in enumerate(sides)])
        for name, state in states.items()
    }
    cells: dict[Cell, list[float]] = {}
    for place, site in enumerate(plan.sites):
        if site.kind == "resid":
            # The layer `embed` is what block 0 is given; every other, what a block gives.
            first = _patched(hooked, "hook_resid_pre", range(1), None, sides, given)
            cells |= {(place, 0, group): row for (_, group), row in first.items()}
        layers = range(hooked.cfg.n_layers)
        rest = _patched(hooked, HOOKS[site.kind], layers, site.head, sides, given)
        cells |= {(place, block + 1, group): row for (block, group), row in rest.items()}
    return cells


def _patched(
    hooked: Hooked,
    hook: str,
    blocks: range,
    head: int | None,
    sides: Sequence[Sides],
    given: Mapping[str, Tensor],
) -> dict[tuple[int, int], list[float]]:
    """Return the scores of all runs by block and group, one forward each."""
    lens, patching = (
        require("transformer_lens", extra="interop"),
        require("transformer_lens.patching", extra="interop"),
    )
    groups = [side.groups for side in sides]
    runs = [side.base for side in sides]
    where = patching.make_df_from_ranges([len(blocks), max(map(len, groups))], ["layer", "pos"])
    scores: list[list[float]] = []

    def put(activation: Tensor, index: Sequence[int], clean: Tensor) -> Tensor:
        for row, members in enumerate(groups):
            at = members[index[1]] if index[1] < len(members) else []
            into = (row, at) if head is None else (row, at, head)
            activation[into] = clean[into]
        return activation

    def metric(found: Float[Tensor, " run"]) -> Float[Tensor, ""]:
        # Kept here, since transformer_lens stores what a metric returns in single precision.
        scores.append(found.double().tolist())
        return found.sum()

    with _edits(hooked, runs):
        patching.generic_activation_patch(
            hooked,
            _ids(hooked, runs),
            lens.ActivationCache(dict(given), hooked),
            metric,
            put,
            hook.removeprefix("hook_").removeprefix("attn.hook_"),
            index_df=where,
        )
    cells = [(block, group) for block, group in where.to_numpy().tolist()]
    return dict(zip(cells, scores, strict=True))
