"""The one place that touches a model: read its states, or start its forward at a block.

Everything here is a context manager that leaves the model exactly as it found it, whatever
happens inside: no hook, no override, the same train and grad flags.

A *state* is the residual stream at one layer. Layer 0 (`embed`) is the input of block 0, layer
`l` the output of block `l`, counted from 1. To start a forward at layer `l` without knowing the
architecture, the blocks before `l` return what they returned in the base run and block `l`
returns the patched state; the model's own forward does the rest: embeddings, masks, final norm,
pooling, projection. Blocks return their *own* base output because some towers read several.
"""

__all__ = [
    "Capture",
    "captured",
    "edited",
    "embed_edited",
    "evaluating",
    "forward_replaced",
    "hidden_of",
    "starting_at",
    "with_hidden",
]

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.errors import EncoderError

EmbedEdit = Callable[[Tensor], Tensor]


def hidden_of(output: Any) -> Tensor:
    """Return the residual stream in a block's output, a tensor or a tuple that starts with one."""
    hidden = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(hidden, Tensor):
        raise EncoderError(
            f"a block returned {type(output).__name__}; expected a tensor, or a tuple that starts "
            "with one. Name other modules as the blocks."
        )
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """Return a block's output with the residual stream replaced."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


def rows_of(output: Any, rows: Int[Tensor, " row"], count: int) -> Any:
    """Repeat a block's output for `rows` of a base batch of `count`; leave what has no rows."""
    if isinstance(output, tuple):
        return tuple(rows_of(part, rows, count) for part in output)
    if isinstance(output, Tensor) and output.ndim and output.shape[0] == count:
        return output.index_select(0, rows)
    return output


@dataclass(kw_only=True)
class Capture:
    """What one batch of runs left at every layer."""

    embed: list[Tensor] = field(default_factory=list)
    """The input of block 0, [run token width], once the forward has run."""
    outputs: list[Any] = field(default_factory=list)
    """What each block returned, whole."""

    def states(self) -> Float[Tensor, "layer run token width"]:
        """Return the residual stream at every layer, `embed` first.

        Raises:
            EncoderError: when the blocks' outputs are not states of one shape.
        """
        states = [*self.embed, *map(hidden_of, self.outputs)]
        shapes = dict.fromkeys(tuple(state.shape) for state in states)
        if len(shapes) != 1:
            raise EncoderError(
                f"the blocks' states have the shapes {', '.join(map(str, shapes))}; expected one "
                "shape [run, token, width]. Name other modules as the blocks"
            )
        return torch.stack(states)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and each back in its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def edited(
    args: tuple[Any, ...], kwargs: dict[str, Any], edit: EmbedEdit
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a block's arguments, its hidden states, positional or named, put through `edit`."""
    if args:
        return (edit(args[0]), *args[1:]), kwargs
    name = next((key for key, value in kwargs.items() if isinstance(value, Tensor)), None)
    if name is None:
        raise EncoderError("block 0 is called without a tensor; name other modules as the blocks")
    return args, {**kwargs, name: edit(kwargs[name])}


@contextmanager
def embed_edited(block: nn.Module, edit: EmbedEdit) -> Iterator[None]:
    """Put the input of block 0 through `edit` in every forward inside the `with`."""
    handle = block.register_forward_pre_hook(
        lambda _, args, kwargs: edited(args, kwargs, edit), with_kwargs=True
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def captured(blocks: Sequence[nn.Module], edit: EmbedEdit | None = None) -> Iterator[Capture]:
    """Record the state at every layer of the forward run inside the `with`.

    `edit` maps the input of block 0 to the one that is used (and recorded) instead.
    """
    capture = Capture()

    def keep_embed(hidden: Tensor) -> Tensor:
        hidden = edit(hidden) if edit else hidden
        capture.embed.append(hidden)
        return hidden

    with ExitStack() as stack:
        stack.enter_context(embed_edited(blocks[0], keep_embed))
        for block in blocks:
            handle = block.register_forward_hook(
                lambda _, __, output: capture.outputs.append(output)
            )
            stack.callback(handle.remove)
        yield capture


@contextmanager
def forward_replaced(block: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let an instance answer with `forward`, and give it back what it had, if anything."""
    own = vars(block).get("forward")
    block.forward = forward
    try:
        yield
    finally:
        if own is None:
            del block.forward
        else:
            block.forward = own


@contextmanager
def starting_at(
    blocks: Sequence[nn.Module],
    layer: int,
    state: Float[Tensor, "row token width"],
    base: Capture,
    rows: Int[Tensor, " row"],
) -> Iterator[None]:
    """Start forwards inside the `with` at `layer`, from `state`.

    Row `i` of the batch continues run `rows[i]` of the base capture.
    """
    if layer == 0:
        with embed_edited(blocks[0], lambda _: state):
            yield
        return
    count = base.embed[0].shape[0]

    def answer(index: int) -> Callable[..., Any]:
        def forward(*_: Any, **__: Any) -> Any:
            output = rows_of(base.outputs[index], rows, count)
            return with_hidden(output, state) if index == layer - 1 else output

        return forward

    with ExitStack() as stack:
        for index, block in enumerate(blocks[:layer]):
            stack.enter_context(forward_replaced(block, answer(index)))
        yield
