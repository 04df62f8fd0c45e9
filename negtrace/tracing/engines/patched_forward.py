"""Run many patches in one forward pass.

Each patched cell is a row of the batch and enters at the layer that it patches. Rows are sorted by
the block they enter at, and a block runs only the rows that have entered. So a batch costs one call
of each block, whatever the layers of its cells. A patch of the residual stream is in the state that
the row enters with. A patch inside a block is a hook on the submodule that writes there. The
further layers of a window are overwritten when the rows reach them.

Where a causal tower allows it (`PrefixAttention`), rows run only their last tokens, from the first
position that is patched, and the last block runs the position that is read out alone.
"""

__all__ = ["patched_scores"]

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
from negtrace.tracing.engines.patch_sites import CellIndex, PatchSites, patch_sites_of

SPAN_TOKENS = 256
"""Neighbouring positions share a forward until their rows have this many tokens: small batches are
slow."""


def patched_scores(
    encoder: Encoder, batch: Batch, row_tokens: int
) -> Iterator[tuple[CellIndex, Float[Tensor, " cell"]]]:
    """Yield the cells that are needed with their scores, at most `row_tokens` tokens at once."""
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
            yield chosen, PatchedForward(encoder, batch, chosen, entries[piece], start).scores()


def _spans(begins: Int[Tensor, " cell"], count: int) -> Iterator[tuple[int, int]]:
    """Cut the positions into spans whose rows make a batch that is worth its overhead.

    All rows of a span run from its start. That costs a few tokens more, but makes far fewer and
    larger batches where there are few rows, as with a single pair.
    """
    start, rows = 0, 0
    for position, more in enumerate(torch.bincount(begins, minlength=count).tolist()):
        start = start if rows else position
        rows += more
        full = rows * (count - start) >= SPAN_TOKENS
        if rows and (full or position == count - 1):
            yield start, position + 1
            rows = 0


def _entries(encoder: Encoder, batch: Batch) -> Int[Tensor, "site layer"]:
    """Return how many blocks the cells of each site and layer need not run."""

    def entry(kind: str, first: int) -> int:
        return first if kind == "resid" or batch.skips_block(kind) else max(0, first - 1)

    layers, plan = len(encoder.layers), batch.plan
    rows = [
        [entry(s.kind, min(plan.layers(at, layers, s.kind), default=at)) for at in range(layers)]
        for s in plan.sites
    ]
    return torch.tensor(rows, device=batch.needed.device)


@final
class PatchedForward:
    """One forward of patched rows."""

    def __init__(
        self,
        encoder: Encoder,
        batch: Batch,
        cells: CellIndex,
        entry: Int[Tensor, " row"],
        start: int,
    ) -> None:
        self.encoder, self.batch, self.start = encoder, batch, start
        self.runs, self.entry = cells[2], entry
        self.patches = list(patch_sites_of(batch, cells))
        started = torch.bincount(entry, minlength=len(encoder.layers)).cumsum(0)
        self.entered: list[int] = started.tolist()
        """By block, how many rows have entered: the first ones, as rows are sorted."""
        self.tail: Float[Tensor, "row tail width"] = batch.stream[entry, self.runs, start:]
        """The current state of every row, from the position `start` on."""
        for patch in self.patches:
            if patch.at_entry:
                self._overwrite(patch, patch.states(batch, patch.first))

    def scores(self) -> Float[Tensor, " row"]:
        """Run the rows, and return the score of each."""
        ids, cache = self.batch.base.ids[self.runs], self.batch.base.cache
        prefix = None if cache is None else self.encoder.prefix_attention
        with ExitStack() as stack:
            for index, block in enumerate(self.encoder.blocks):
                stack.enter_context(forward_replaced(block, self._forward(index, block)))
            for patch in self.patches:
                if not patch.at_entry:
                    self._hook_submodules(stack, patch)
            if prefix is None or cache is None:
                text = self.encoder.encode(ids)
            else:
                text = prefix.encode_from(ids, self.start, cache, self.runs)
        return self.encoder.score(text, self.batch.anchors[self.runs])

    def _forward(self, index: int, block: nn.Module) -> Callable[..., Any]:
        """Return a forward that runs the rows that have entered through the block."""
        run, count, layer = block.forward, self.entered[index], index + 1
        read_out_alone = self._read_out_alone(layer)
        prefix = self.encoder.prefix_attention

        def forward(*args: Any, **kwargs: Any) -> Any:
            if count:
                args, kwargs = edited(args, kwargs, lambda hidden: self._input(index, hidden))
                args, kwargs = _first_rows((args, kwargs), count, len(self.tail))
                if read_out_alone and prefix is not None:
                    self.tail[:count, -1:] = hidden_of(prefix.run_last(run, args, kwargs))
                else:
                    self.tail[:count] = hidden_of(run(*args, **kwargs))
            self._overwrite_window(layer, at_input=False)
            output = self._output(layer)
            self._overwrite_window(layer, at_input=True)
            return with_hidden(self.batch.base.capture.outputs[index], output)

        return forward

    def _input(self, index: int, hidden: Tensor) -> Tensor:
        """Return what a block is given: the entry states first, then what reached it.

        The model's own forward, and the user's hooks, may act between two blocks.
        """
        return self.tail if index == 0 or self.batch.reads_several else hidden

    def _output(self, layer: int) -> Float[Tensor, "row tail width"]:
        """Return the state of every row after a block.

        Rows that have not entered yet return their entry state, which nothing reads. Where the
        embedding is read from several layers, they return the state of their base run.
        """
        if not self.batch.reads_several:
            return self.tail
        base = self.batch.stream[layer, self.runs, self.start :]
        patched = self.entry <= layer - 1
        for patch in self.patches:
            if patch.at_entry and not patch.at_input:
                patched[patch.rows] |= self.entry[patch.rows] == layer
        return torch.where(patched[:, None, None], self.tail, base)

    def _read_out_alone(self, layer: int) -> bool:
        """Return whether the block may run only the position that is read out."""
        end = self.batch.members.shape[2] - 1
        return (
            layer == len(self.encoder.blocks)
            and self.batch.base.cache is not None
            and self.encoder.prefix_attention is not None
            and self.encoder.prefix_attention.reads_last
            and not self.batch.reads_several
            and all(run.read_out == end for run in self.batch.base.runs)
        )

    def _overwrite_window(self, layer: int, *, at_input: bool) -> None:
        """Write the further layers of a window.

        Args:
            layer: the layer that the rows have reached.
            at_input: write what patches the input of the next block, or what patches the output of
                this one.
        """
        if self.batch.plan.window == 1:
            return
        for patch in self.patches:
            later = patch.at(layer, after_first=True) if patch.in_stream else None
            if later is not None and patch.at_input == at_input:
                self._overwrite(later, later.states(self.batch, layer))

    def _overwrite(self, patch: PatchSites, states: Float[Tensor, "point width"]) -> None:
        self.tail[patch.rows, patch.positions - self.start] = states.to(self.tail)

    def _hook_submodules(self, stack: ExitStack, patch: PatchSites) -> None:
        """Hook the submodules that hold a site, in every block where a row patches it."""
        for layer, site in enumerate(self.encoder.hook_sites([patch.kind]), start=1):
            if (at_layer := patch.at(layer)) is not None:
                stack.enter_context(site.edited(self._writer(at_layer, layer)))

    def _writer(self, patch: PatchSites, layer: int) -> Callable[[Tensor], Tensor]:
        """Return the edit that writes a patch into what a submodule holds."""
        states = patch.states(self.batch, layer)
        end, heads = self.batch.members.shape[2], self.batch.heads

        def write(hidden: Float[Tensor, "row token width"]) -> Float[Tensor, "row token width"]:
            offset = end - hidden.shape[1]  # a block may be given the last tokens only
            within = patch.positions >= offset
            rows, positions = patch.rows[within], patch.positions[within] - offset
            hidden = hidden.clone()
            if patch.heads is None:
                hidden[rows, positions] = states[within].to(hidden)
            else:
                # A view: writing to it writes to `hidden`.
                split = rearrange(hidden, "row token (head dim) -> row token head dim", head=heads)
                split[rows, positions, patch.heads[within]] = states[within].to(hidden)
            return hidden

        return write


def _first_rows(value: Any, count: int, rows: int) -> Any:
    """Return the first `count` rows of every tensor that has `rows` rows, in a nested value."""
    if isinstance(value, Tensor) and value.ndim and value.shape[0] == rows:
        return value[:count]
    if isinstance(value, tuple | list):
        return type(value)(_first_rows(part, count, rows) for part in value)
    if isinstance(value, dict):
        return {name: _first_rows(part, count, rows) for name, part in value.items()}
    return value
