"""Calls of the modules inside the blocks of a tower, recorded in a plain and in a changed forward.

In the changed forward, every block gets its own input of the plain one, changed at the tokens
`moved`. The module that may be its attention returns what it returned there, changed at `moved`;
inside it, the weighted values are those of the plain forward, changed at the token `ATTENDED`. So
all blocks are measured at once, each as if it were alone.

Nothing is changed at the tokens `still`. The two sets are irregular: at every distance there is a
still token behind a moved one, so a module that mixes tokens at some distances alone is seen too.
"""

__all__ = [
    "ATTENDED",
    "NONE",
    "SHORTEST",
    "Call",
    "Forward",
    "Start",
    "moved_tokens",
    "record_calls",
    "still_tokens",
]

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from negtrace.encoders.attention_calls import AttentionCall, AttentionCalls, with_changed
from negtrace.encoders.hooks import Edit, input_edited, with_hidden

ATTENDED = 1
"""Token at which the output of attention is changed."""

SHORTEST = 5
"""Tokens of the shortest statement in which moved and still ones are at every distance."""

NONE = torch.empty(0)


def still_tokens(count: int) -> list[int]:
    """Return the tokens of a statement at which nothing is changed."""
    return sorted({3, count - 2, count - 1})


def moved_tokens(count: int) -> list[int]:
    """Return the tokens of a statement at which the inputs of blocks are changed."""
    return [token for token in range(count) if token not in (ATTENDED, *still_tokens(count))]


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """Input and output of one call of a submodule; copies, since blocks may write in place."""

    name: str
    module: nn.Module
    started: int
    ended: int
    input: Tensor
    """First tensor among its arguments; empty where there is none."""
    output: Tensor
    """Tensor it returned; empty where it returned none."""

    @property
    def kind(self) -> str:
        """Class of the module."""
        return type(self.module).__name__


@dataclass(frozen=True, kw_only=True, eq=False)
class Forward:
    """One forward of the probe: the calls of every block's modules, and attention."""

    calls: Mapping[str, Sequence[Call]]
    """Calls by block, in the order in which they ended; the block's own are among them."""
    attention: Sequence[AttentionCall]

    def inner(self, name: str) -> list[Call]:
        """Return the calls of the submodules of a block that run once."""
        names = [call.name for call in self.calls[name]]
        return [c for c in self.calls[name] if c.name != name and names.count(c.name) == 1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """States that one block starts from in the changed forward."""

    block: Call
    """Call of the block in the plain forward."""
    mixer: Call
    """Call of the module that may be its attention."""


def record_calls(
    blocks: Mapping[str, nn.Module],
    run: Callable[[], Tensor],
    changes: Mapping[str, Start] | None = None,
    replacing: Sequence[AttentionCall | None] = (),
) -> Forward:
    """Run one forward, and return what its blocks called.

    Args:
        blocks: the blocks by name.
        run: runs the forward.
        changes: states of the plain forward that are given back changed, by block.
        replacing: attention of the plain forward that is given back changed; None stands for one
            that is not.
    """
    clock = count()
    calls: dict[str, list[Call]] = {name: [] for name in blocks}
    with ExitStack() as stack:
        for block, module in blocks.items():
            start = changes.get(block) if changes else None
            # Hooks run in the order in which they are registered: the recorder sees the changed
            # input of a block, and the output of its mixer before that is changed.
            if start:
                stack.enter_context(input_edited(module, _giving(_moved(start.block.input))))
            for name, inner in module.named_modules(prefix=block):
                recorder = _Recorder(name, calls[block], clock)
                # The user's hooks on a block act on the sum that it returns; those on a submodule
                # act on what is added up. So only the block's own output is recorded before them.
                after = inner.register_forward_hook(recorder.after, prepend=name == block)
                before = inner.register_forward_pre_hook(recorder.before, with_kwargs=True)
                stack.callback(after.remove)
                stack.callback(before.remove)
            if start:
                stack.callback(_output_moved(start.mixer.module, start.mixer.output).remove)
        observed = stack.enter_context(AttentionCalls(clock, replacing, (ATTENDED,)))
        run()
    return Forward(calls=calls, attention=observed.calls)


def _giving(states: Tensor) -> Edit:
    """Return the edit that puts `states` in the place of any other."""
    return lambda _: states


def _output_moved(module: nn.Module, states: Tensor) -> RemovableHandle:
    """Let a module return `states` in place of its output, changed at the moved tokens."""
    moved = _moved(states)
    return module.register_forward_hook(lambda _, __, output: with_hidden(output, moved))


def _moved(states: Float[Tensor, "1 token width"]) -> Float[Tensor, "1 token width"]:
    return with_changed(states, 1, moved_tokens(states.shape[1]))


class _Recorder:
    """Hooks on one module that append its calls to a list."""

    def __init__(self, name: str, calls: list[Call], clock: Iterator[int]) -> None:
        self.name = name
        self.calls = calls
        self.clock = clock
        self.running: list[tuple[int, Tensor]] = []

    def before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), NONE)
        self.running.append((next(self.clock), hidden.clone()))

    def after(self, module: nn.Module, _: tuple[Any, ...], out: Any) -> None:
        output = out[0] if isinstance(out, tuple | list) and out else out
        output = output.clone() if isinstance(output, Tensor) else NONE
        started, hidden = self.running.pop()
        self.calls.append(
            Call(
                name=self.name,
                module=module,
                started=started,
                ended=next(self.clock),
                input=hidden,
                output=output,
            )
        )
