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
    "output_edited",
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
    """Return the residual stream in a block's output, a tensor or a tuple that starts with one."""
    hidden = output[0] if isinstance(output, tuple) and output else output
    if not isinstance(hidden, Tensor):
        raise EncoderError(
            f"a block returned {type(output).__name__}; expected a tensor, or a tuple that starts "
            "with one. Name other modules as the blocks."
        )
    return hidden


def hidden_given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the hidden states among a block's arguments: the first tensor."""
    given = next((v for v in (*args, *kwargs.values()) if isinstance(v, Tensor)), None)
    if given is None:
        raise EncoderError("a block is called without a tensor; name other modules as the blocks")
    return given


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
    site_states: dict[str, list[Tensor]] = field(default_factory=dict)
    """By site, what each block held there, [run token width]."""

    @property
    def stream(self) -> list[Tensor]:
        """The residual stream, layer by layer, `embed` first."""
        return [*self.embed, *map(hidden_of, self.outputs)]

    def states(self) -> Float[Tensor, "layer run token width"]:
        """Return the residual stream at every layer in one tensor, `embed` first.

        Raises:
            EncoderError: when the blocks' outputs are not states of one shape.
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
    """Return the names of the modules with forward hooks of the user's; of the whole, its class."""
    return [
        name or type(model).__name__
        for name, module in model.named_modules()
        if any(map(_of_the_user, module._forward_hooks.values()))
        or any(map(_of_the_user, module._forward_pre_hooks.values()))
    ]


def _of_the_user(hook: Callable[..., Any]) -> bool:
    # Both packages record states by hooks of their own.
    return getattr(hook, "__module__", "").split(".")[0] not in ("transformers", "transformer_lens")


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
    args: tuple[Any, ...], kwargs: dict[str, Any], edit: Edit
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a block's arguments, its hidden states, positional or named, put through `edit`."""
    given = hidden_given(args, kwargs)
    hidden = edit(given)
    return (
        tuple(hidden if value is given else value for value in args),
        {name: hidden if value is given else value for name, value in kwargs.items()},
    )


@contextmanager
def input_edited(module: nn.Module, edit: Edit) -> Iterator[None]:
    """Put the input of a module through `edit` in every forward inside the `with`.

    Hooks of the user's own come first: what they make of the input is what is edited.
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
    """Put the output of a module through `edit`, before any hook of the user's own sees it."""
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
    """Record the state at every layer of the forward run inside the `with`.

    Outputs are recorded before hooks of the user's own: a forward that is given them back runs
    those hooks again.

    Args:
        blocks: whose outputs to record.
        edit: maps the input of block 0 to the one that is used (and recorded) instead.
        hook_sites: what else to record, by site, in the order in which it runs.
    """
    capture = Capture()

    def keep_embed(hidden: Tensor) -> Tensor:
        hidden = edit(hidden) if edit else hidden
        capture.embed.append(hidden)
        return hidden

    def keep_output(_: nn.Module, __: Any, output: Any) -> None:
        capture.outputs.append(output)

    with ExitStack() as stack:
        stack.enter_context(input_edited(blocks[0], keep_embed))
        for block in blocks:
            stack.callback(block.register_forward_hook(keep_output, prepend=True).remove)
        for hook_site in hook_sites:
            kept = capture.site_states.setdefault(hook_site.site, [])
            stack.enter_context(hook_site.edited(_kept_in(kept)))
        yield capture


def _kept_in(kept: list[Tensor]) -> Edit:
    def keep(hidden: Tensor) -> Tensor:
        # A node of its own: its gradient is that of this module's reading alone.
        kept.append(hidden.view_as(hidden))
        return kept[-1]

    return keep


@contextmanager
def forward_replaced(block: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let an instance answer with `forward`, and give it back what it had, if anything."""
    # Past the instance's own setter, which may hand the name on to a module it wraps.
    own = vars(block).get("forward")
    vars(block)["forward"] = forward
    try:
        yield
    finally:
        vars(block).pop("forward")
        if own is not None:
            vars(block)["forward"] = own


@contextmanager
def widened(model: nn.Module) -> Iterator[None]:
    """Let every half-precision weight be float32 for a while; its own storage comes back."""
    half = (torch.float16, torch.bfloat16)
    own = [(w, w.data) for w in (*model.parameters(), *model.buffers()) if w.dtype in half]
    try:
        for weight, data in own:
            weight.data = data.float()
        yield
    finally:
        for weight, data in own:
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

    def answer(index: int) -> Callable[..., Any]:
        def forward(*_: Any, **__: Any) -> Any:
            output = rows_of(base.outputs[index], rows, count)
            return with_hidden(output, state) if index == layer - 1 else output

        return forward

    with ExitStack() as stack:
        for index, block in enumerate(blocks[:layer]):
            stack.enter_context(forward_replaced(block, answer(index)))
        yield
