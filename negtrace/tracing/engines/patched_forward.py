"""Run many patches in one forward pass.

Each patched cell is a row of the batch. A patch of what a block returns is written when the block
returns it. Any other patch is a hook on the module that holds the state.

A route (`routes`) may save work. Rows that start at the layer they patch are sorted by that layer,
and a block runs only the rows that have entered; what it returned in the base run stands for the
others. So a batch costs one call of each block, whatever the layers of its cells. In a causal
tower, rows may run their last tokens only, from the first position that is patched
(`PrefixAttention`), and the last block only the position that is read out.
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
from negtrace.encoders.hooks import forward_replaced, hidden_of, input_edited, with_hidden
from negtrace.encoders.key_value_cache import PrefixAttention
from negtrace.errors import EncoderError
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
    tails = batch.base.cache is not None
    for start, stop in _spans(begins, count) if tails else [(0, count)]:
        within = ((start <= begins) & (begins < stop)).nonzero()[:, 0]
        ordered = within[entries[within].argsort(stable=True)]
        rows = max(1, row_tokens // (count - start)) if batch.route.batched else 1
        for piece in torch.split(ordered, rows):
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
    entries = torch.tensor(rows, device=batch.needed.device)
    return entries if batch.route.from_layer else torch.zeros_like(entries)


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
        self.runs = cells[2]
        self.patches = list(patch_sites_of(batch, cells))
        started = torch.bincount(entry, minlength=len(encoder.layers)).cumsum(0)
        self.entered: list[int] = started.tolist()
        """By block, how many rows have entered: the first ones, as rows are sorted."""

    def scores(self) -> Float[Tensor, " row"]:
        """Run the rows, and return the score of each."""
        ids, anchors = self.batch.base.ids[self.runs], self.batch.anchors[self.runs]
        blocks, axis = self.encoder.blocks, self.encoder.row_axis
        with ExitStack() as stack:
            stack.enter_context(input_edited(blocks[0], self._embed, row_axis=axis))
            for index, block in enumerate(blocks):
                stack.enter_context(forward_replaced(block, self._forward(index, block)))
            for patch in self.patches:
                if not patch.after_block:
                    self._hook(stack, patch)
            if (cache := self.batch.base.cache) is None:
                text = self.encoder.run(ids, anchors)
            else:
                with self.encoder.guarded("rows ran from the first patched position on"):
                    text = self._prefix.encode_from(ids, self.start, cache, self.runs, anchors)
        return self.encoder.score(text, anchors)

    @property
    def _prefix(self) -> PrefixAttention:
        prefix = self.encoder.prefix_attention
        if prefix is None:
            raise EncoderError(f"{self.encoder.name} cannot run the end of a row alone")
        return prefix

    def _forward(self, index: int, block: nn.Module) -> Callable[..., Any]:
        """Return a forward that runs the rows that have entered through the block."""
        run, layer, axis = block.forward, index + 1, self.encoder.row_axis

        def forward(*args: Any, **kwargs: Any) -> Any:
            output = self._ran(index, run, (args, kwargs))
            states = hidden_of(output).transpose(0, axis)
            return with_hidden(output, self._overwritten(layer, states).transpose(0, axis))

        return forward

    def _embed(self, hidden: Float[Tensor, "row tail width"]) -> Float[Tensor, "row tail width"]:
        """Return the input of block 0: that of the base runs, with its patches."""
        return self._overwritten(0, self.batch.stream[0][self.runs][:, self.start :])

    def _ran(self, index: int, run: Callable[..., Any], inputs: Any) -> Any:
        """Return the output of a block for all rows."""
        count, rows = self.entered[index], len(self.runs)
        if count == 0:
            return self._completed(index, None)
        if count < rows:
            inputs = self.encoder.call_layout.first_rows(index, inputs, count)
        if self._queries_last_alone(index):
            last = self.encoder.call_layout.last_token(index, inputs)
            states = self._prefix.run_last(run, inputs, last)
            tail = hidden_of(states).expand(-1, self.batch.members.shape[2] - self.start, -1)
            output = with_hidden(states, tail)
        else:
            output = run(*inputs[0], **inputs[1])
        return output if count == rows else self._completed(index, output)

    def _completed(self, index: int, output: Any) -> Any:
        """Return a block's output, with that of the base runs for rows that have not entered."""
        base = self.batch.base.capture.outputs[index]
        if not self.start:
            return self.encoder.call_layout.completed(index, output, base, self.runs)
        # The blocks of a tail return hidden states alone.
        done = [] if output is None else [hidden_of(output)]
        rest = hidden_of(base)[:, self.start :][self.runs[len(done[0]) if done else 0 :]]
        return with_hidden(base, torch.cat([*done, rest]))

    def _queries_last_alone(self, index: int) -> bool:
        """Return whether the block may run only the position that is read out."""
        end = self.batch.members.shape[2] - 1
        return (
            index == len(self.encoder.block_names) - 1
            and self.batch.route.last_query
            and self.batch.base.cache is not None
            and all(run.read_out == end for run in self.batch.base.runs)
        )

    def _overwritten(self, layer: int, states: Tensor) -> Float[Tensor, "row tail width"]:
        """Return the states of the rows after a block, with the patches of that layer."""
        at_layer = [patch.at(layer) for patch in self.patches if patch.after_block]
        patches = [patch for patch in at_layer if patch is not None]
        if not patches:
            return states
        states = states.clone()
        for patch in patches:
            written = patch.states(self.batch, layer)
            states[patch.rows, patch.positions - self.start] = written.to(states)
        return states

    def _hook(self, stack: ExitStack, patch: PatchSites) -> None:
        """Hook the modules that hold a site, in every block where a row patches it."""
        for layer, site in enumerate(self.encoder.hook_sites([patch.kind]), start=1):
            if (at_layer := patch.at(layer)) is not None:
                stack.enter_context(site.edited(self._writer(at_layer, layer)))

    def _writer(self, patch: PatchSites, layer: int) -> Callable[[Tensor], Tensor]:
        """Return the edit that writes a patch into what a module holds."""
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
