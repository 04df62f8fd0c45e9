"""Read the states of a model, edit them, or start its forward at a block.

Only this module changes what a model's forward does. Everything here is a context manager that
leaves the model as it was, also after an exception: no hook, no replaced forward, the same train
and grad flags.

A *state* is the residual stream at one layer. Layer 0 (`embed`) is the input of block 0, and layer
`l` is the output of block `l`, counted from 1. To start a forward at layer `l` of any architecture,
the blocks before `l` return what they returned in the base run, and block `l` returns the patched
state. The model's own forward does the rest: embeddings, masks, final norm, pooling, projection.
Every block returns its *own* output of the base run, because some towers read several blocks.
"""

__all__ = [
    "Capture",
    "Edit",
    "HookSite",
    "captured",
    "edited",
    "evaluating",
    "forward_replaced",
    "hidden_given",
    "hidden_of",
    "hooks_in",
    "input_edited",
    "starting_at",
    "widened",
    "with_hidden",
]

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from negtrace.errors import EncoderError

Edit = Callable[[Tensor], Tensor]
"""Maps a state [run token width] to the one that is used instead."""

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True, kw_only=True, eq=False)
class HookSite:
    """A site inside one block: the module that holds it, and its input or its output."""

    site: str
    module: nn.Module
    at: Literal["input", "output"]

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """Put the states at this site through `edit` in every forward inside the `with`."""
        hook = input_edited if self.at == "input" else output_edited
        return hook(self.module, edit)


def hidden_of(output: Any) -> Tensor:
    """Return the residual stream in a block's output: a tensor, or the first item of a tuple.

    Raises:
        EncoderError: for any other output.
    """
    hidden = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(hidden, Tensor):
        raise EncoderError(
            f"a block returned {type(output).__name__}; expected a tensor, or a tuple that starts "
            "with one. Name other modules as the blocks."
        )
    return hidden


def hidden_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the hidden states among a block's arguments: the first tensor.

    Raises:
        EncoderError: when there is no tensor.
    """
    hidden = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)
    if hidden is None:
        raise EncoderError("a block is called without a tensor; name other modules as the blocks")
    return hidden


def with_hidden(output: Any, hidden: Tensor) -> Any:
    """Return a block's output with another residual stream."""
    return (hidden, *output[1:]) if isinstance(output, tuple) else hidden


def edited(
    args: tuple[Any, ...], kwargs: dict[str, Any], edit: Edit
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a block's arguments with their hidden states, by position or by name, edited."""
    before = hidden_given(args, kwargs)
    after = edit(before)
    return (
        tuple(after if value is before else value for value in args),
        {name: after if value is before else value for name, value in kwargs.items()},
    )


def rows_of(output: Any, rows: Int[Tensor, " row"], count: int) -> Any:
    """Return the `rows` of every tensor in a block's output that has `count` rows."""
    if isinstance(output, tuple):
        return tuple(rows_of(part, rows, count) for part in output)
    if isinstance(output, Tensor) and output.ndim and output.shape[0] == count:
        return output.index_select(0, rows)
    return output


@dataclass(kw_only=True)
class Capture:
    """States that one batch of runs had at every layer."""

    embed: list[Tensor] = field(default_factory=list)
    """The input of block 0, [run token width], once the forward has run."""
    outputs: list[Any] = field(default_factory=list)
    """The whole output of each block."""
    site_states: dict[str, list[Tensor]] = field(default_factory=dict)
    """States at further sites, [run token width], by site and then by block."""

    @property
    def stream(self) -> list[Tensor]:
        """The residual stream, layer by layer, `embed` first."""
        return [*self.embed, *map(hidden_of, self.outputs)]

    def states(self) -> Float[Tensor, "layer run token width"]:
        """Return the residual stream at every layer in one tensor, `embed` first.

        Raises:
            EncoderError: when the blocks' outputs have more than one shape.
        """
        states = self.stream
        shapes = dict.fromkeys(tuple(state.shape) for state in states)
        if len(shapes) != 1:
            raise EncoderError(
                f"the blocks' states have the shapes {', '.join(map(str, shapes))}; expected one "
                "shape [run, token, width]. Name other modules as the blocks"
            )
        return torch.stack(states)


def hooks_in(model: nn.Module) -> list[str]:
    """Return the names of the modules that have forward hooks of the user's.

    The model itself, whose name is empty, is called by its class.
    """
    return [
        name or type(model).__name__
        for name, module in model.named_modules()
        if any(map(_of_the_user, module._forward_hooks.values()))
        or any(map(_of_the_user, module._forward_pre_hooks.values()))
    ]


def _of_the_user(hook: Callable[..., Any]) -> bool:
    # These packages record states with hooks of their own.
    return getattr(hook, "__module__", "").split(".")[0] not in ("transformers", "transformer_lens")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and afterwards each back in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def input_edited(module: nn.Module, edit: Edit) -> Iterator[None]:
    """Edit the input of a module in every forward inside the `with`.

    Hooks of the user's come first: `edit` gets the input as they return it.
    """
    handle = module.register_forward_pre_hook(
        lambda _, args, kwargs: edited(args, kwargs, edit), with_kwargs=True
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def output_edited(module: nn.Module, edit: Edit) -> Iterator[None]:
    """Edit the output of a module in every forward inside the `with`.

    Hooks of the user's come afterwards: they get the edited output.
    """
    handle = module.register_forward_hook(
        lambda _, __, output: with_hidden(output, edit(hidden_of(output))), prepend=True
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def captured(
    blocks: Sequence[nn.Module], edit: Edit | None = None, hook_sites: Sequence[HookSite] = ()
) -> Iterator[Capture]:
    """Record the state at every layer of the forward inside the `with`.

    Outputs are recorded before hooks of the user's change them: a forward that is given the
    recorded outputs runs those hooks again.

    Args:
        blocks: the blocks, whose outputs are recorded.
        edit: edits the input of block 0; the edited input is what is recorded.
        hook_sites: further sites to record, in the order in which they run.
    """
    capture = Capture()

    def record_embed(hidden: Tensor) -> Tensor:
        hidden = edit(hidden) if edit else hidden
        capture.embed.append(hidden)
        return hidden

    def record_output(_: nn.Module, __: Any, output: Any) -> None:
        capture.outputs.append(output)

    with ExitStack() as stack:
        stack.enter_context(input_edited(blocks[0], record_embed))
        for block in blocks:
            stack.callback(block.register_forward_hook(record_output, prepend=True).remove)
        for hook_site in hook_sites:
            states = capture.site_states.setdefault(hook_site.site, [])
            stack.enter_context(hook_site.edited(_recording_in(states)))
        yield capture


def _recording_in(states: list[Tensor]) -> Edit:
    def record(hidden: Tensor) -> Tensor:
        # A view is a node of its own, so its gradient comes from this module's reading alone.
        states.append(hidden.view_as(hidden))
        return states[-1]

    return record


@contextmanager
def forward_replaced(block: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace the forward of one module, and afterwards give it back what it had."""
    # Written to its dict: a setter of the module's may pass the name on to a module it wraps.
    before = vars(block).get("forward")
    vars(block)["forward"] = forward
    try:
        yield
    finally:
        vars(block).pop("forward")
        if before is not None:
            vars(block)["forward"] = before


@contextmanager
def widened(model: nn.Module) -> Iterator[None]:
    """Turn every half-precision weight into float32, and afterwards put its own data back."""
    weights = [
        (weight, weight.data)
        for weight in (*model.parameters(), *model.buffers())
        if weight.dtype in HALF
    ]
    try:
        for weight, data in weights:
            weight.data = data.float()
        yield
    finally:
        for weight, data in weights:
            weight.data = data


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
        with input_edited(blocks[0], lambda _: state):
            yield
        return
    count = base.embed[0].shape[0]

    def recorded(index: int) -> Callable[..., Any]:
        def forward(*_: Any, **__: Any) -> Any:
            output = rows_of(base.outputs[index], rows, count)
            return with_hidden(output, state) if index == layer - 1 else output

        return forward

    with ExitStack() as stack:
        for index, block in enumerate(blocks[:layer]):
            stack.enter_context(forward_replaced(block, recorded(index)))
        yield
