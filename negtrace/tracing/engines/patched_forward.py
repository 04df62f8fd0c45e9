"""Cells as rows of a forward: each enters at its own block, and all go on together from there.

Rows are ordered by the block they enter at, and a block is given those that have entered: a batch
costs one call of each block, whatever the layers of its cells. A patch of the residual stream is in
the state that a row enters with, a patch inside a block is a hook on the submodule that writes it,
and the later layers of a window are overwritten as the rows get there.

Where a causal tower allows it (`PrefixAttention`), rows run their tail only, from the first
position that is patched, and the last block runs the read-out alone.
"""

__all__ = ["swept_rows"]

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, final

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.encoders.base import Encoder
from negtrace.encoders.hooks import (
    edited,
    forward_replaced,
    hidden_of,
    with_hidden,
)
from negtrace.tracing.engines.batch import Batch
from negtrace.tracing.engines.patch_sites import Cells, Points, points_of

SPAN_TOKENS = 256
"""Positions are run together until their rows have this many tokens: fewer make poor batches."""


def swept_rows(
    encoder: Encoder, batch: Batch, row_tokens: int
) -> Iterator[tuple[Cells, Float[Tensor, " cell"]]]:
    """Yield the cells that are needed and their scores, at most `row_tokens` tokens at once."""
    count = batch.members.shape[2]
    cells = batch.needed.nonzero()
    entries = _entries(encoder, batch)[cells[:, 0], cells[:, 1]]
    begins = batch.members.int().argmax(-1)[cells[:, 2], cells[:, 3]]
    for start, stop in _spans(begins, count) if batch.base.cache is not None else [(0, count)]:
        within = ((start <= begins) & (begins < stop)).nonzero()[:, 0]
        ordered = within[entries[within].argsort(stable=True)]
        for piece in torch.split(ordered, max(1, row_tokens // (count - start))):
            sites, layers, runs, groups = cells[piece].unbind(dim=1)
            chosen = sites, layers, runs, groups
            yield chosen, _Passage(encoder, batch, chosen, entries[piece], start).scores()


def _spans(begins: Int[Tensor, " cell"], count: int) -> Iterator[tuple[int, int]]:
    """Cut the positions into spans, each as long as its rows need to make a worthwhile batch.

    Rows of a span all run from its start: a few tokens more, but far fewer and larger batches
    where there are few rows, as with one pair alone.
    """
    start, held = 0, 0
    for position, found in enumerate(torch.bincount(begins, minlength=count).tolist()):
        start = start if held else position
        held += found
        full = held * (count - start) >= SPAN_TOKENS
        if held and (full or position == count - 1):
            yield start, position + 1
            held = 0


def _entries(encoder: Encoder, batch: Batch) -> Int[Tensor, "site layer"]:
    """Return how many blocks the cells of each site and layer leave out."""

    def entry(kind: str, first: int) -> int:
        return first if kind == "resid" or batch.adds_up(kind) else max(0, first - 1)

    layers, plan = len(encoder.layers), batch.plan
    rows = [
        [entry(s.kind, min(plan.layers(at, layers, s.kind), default=at)) for at in range(layers)]
        for s in plan.sites
    ]
    return torch.tensor(rows, device=batch.needed.device)


@final
class _Passage:
    """One forward of rows: what they enter with, and what is overwritten on their way."""

    def __init__(
        self, encoder: Encoder, batch: Batch, cells: Cells, entry: Int[Tensor, " row"], start: int
    ) -> None:
        self.encoder, self.batch, self.start = encoder, batch, start
        self.runs, self.entry = cells[2], entry
        self.points = list(points_of(batch, cells))
        started = torch.bincount(entry, minlength=len(encoder.layers)).cumsum(0)
        self.entered: list[int] = started.tolist()
        self.tail: Float[Tensor, "row tail width"] = batch.base_states[entry, self.runs, start:]
        for points in self.points:
            if points.at_entry:
                self._overwrite(points, points.donated(batch, points.first))

    def scores(self) -> Float[Tensor, " row"]:
        """Run the rows, and return the score of each."""
        ids, cache = self.batch.base.ids[self.runs], self.batch.base.cache
        prefix = None if cache is None else self.encoder.prefix_attention
        with ExitStack() as stack:
            for index, block in enumerate(self.encoder.blocks):
                stack.enter_context(forward_replaced(block, self._forward(index, block)))
            for points in self.points:
                if not points.at_entry:
                    self._edit_inside(stack, points)
            if prefix is None or cache is None:
                text = self.encoder.encode(ids)
            else:
                text = prefix.encode_from(ids, self.start, cache, self.runs)
        return self.encoder.score(text, self.batch.anchors[self.runs])

    def _forward(self, index: int, block: nn.Module) -> Callable[..., Any]:
        """Return a forward that takes the rows that have entered through the block."""
        run, count, layer = block.forward, self.entered[index], index + 1
        last_alone = self._last_alone(layer)
        prefix = self.encoder.prefix_attention

        def forward(*args: Any, **kwargs: Any) -> Any:
            if count:
                args, kwargs = edited(args, kwargs, lambda hidden: self._given(index, hidden))
                args, kwargs = _first_rows((args, kwargs), count, len(self.tail))
                if last_alone and prefix is not None:
                    self.tail[:count, -1:] = hidden_of(prefix.run_last(run, args, kwargs))
                else:
                    self.tail[:count] = hidden_of(run(*args, **kwargs))
            self._overwrite_later(layer, pre=False)
            answer = self._answer(layer)
            self._overwrite_later(layer, pre=True)
            return with_hidden(self.batch.base.capture.outputs[index], answer)

        return forward

    def _given(self, index: int, hidden: Tensor) -> Tensor:
        """Return what a block is given: what the one before gave, but the entry states at first.

        The model's own forward, and hooks of the user's, stand between two blocks.
        """
        return self.tail if index == 0 or self.batch.several else hidden

    def _answer(self, layer: int) -> Float[Tensor, "row tail width"]:
        """Return the state of every row behind a block.

        Rows that have yet to enter give the state they will enter with, which nothing reads; where
        the embedding is read from several layers, it is their base run's.
        """
        if not self.batch.several:
            return self.tail
        base = self.batch.base_states[layer, self.runs, self.start :]
        patched = self.entry <= layer - 1
        for points in self.points:
            if points.at_entry and not points.pre:
                patched[points.rows] |= self.entry[points.rows] == layer
        return torch.where(patched[:, None, None], self.tail, base)

    def _last_alone(self, layer: int) -> bool:
        """Return whether the block may run the read-out alone."""
        end = self.batch.members.shape[2] - 1
        return (
            layer == len(self.encoder.blocks)
            and self.batch.base.cache is not None
            and self.encoder.prefix_attention is not None
            and self.encoder.prefix_attention.reads_last
            and not self.batch.several
            and all(run.read_out == end for run in self.batch.base.runs)
        )

    def _overwrite_later(self, layer: int, *, pre: bool) -> None:
        """Write the further layers of a window; with `pre`, those that are a block's input."""
        if self.batch.plan.window == 1:
            return
        for points in self.points:
            later = points.at(layer, after_first=True) if points.stream else None
            if later is not None and points.pre == pre:
                self._overwrite(later, later.donated(self.batch, layer))

    def _overwrite(self, points: Points, values: Float[Tensor, "point width"]) -> None:
        self.tail[points.rows, points.positions - self.start] = values.to(self.tail)

    def _edit_inside(self, stack: ExitStack, points: Points) -> None:
        """Hook the submodules that hold a site, in every block where a row patches it."""
        for layer, hook_site in enumerate(self.encoder.hook_sites([points.kind]), start=1):
            if (here := points.at(layer)) is not None:
                stack.enter_context(hook_site.edited(self._written(here, layer)))

    def _written(self, points: Points, layer: int) -> Callable[[Tensor], Tensor]:
        values = points.donated(self.batch, layer)
        end, heads = self.batch.members.shape[2], self.batch.heads

        def write(hidden: Float[Tensor, "row token width"]) -> Float[Tensor, "row token width"]:
            offset = end - hidden.shape[1]  # a block may be given the last tokens only
            within = points.positions >= offset
            rows, positions = points.rows[within], points.positions[within] - offset
            hidden = hidden.clone()
            if points.heads is None:
                hidden[rows, positions] = values[within].to(hidden)
            else:
                # A view: writing to it writes to `hidden`.
                split = rearrange(hidden, "row token (head dim) -> row token head dim", head=heads)
                split[rows, positions, points.heads[within]] = values[within].to(hidden)
            return hidden

        return write


def _first_rows(value: Any, count: int, rows: int) -> Any:
    """Cut what has a row for each of `rows` down to the first `count`."""
    if isinstance(value, Tensor) and value.ndim and value.shape[0] == rows:
        return value[:count]
    if isinstance(value, tuple | list):
        return type(value)(_first_rows(part, count, rows) for part in value)
    if isinstance(value, dict):
        return {name: _first_rows(part, count, rows) for name, part in value.items()}
    return value
