"""Read the states of a model, edit them, or give its blocks recorded outputs.

Only this module changes what a model's forward does. Everything here is a context manager that
leaves the model as it was, also after an exception: no hook, no replaced forward, the same train
and grad flags.

A *state* is the residual stream at one layer. Layer 0 (`embed`) is the input of block 0, and layer
`l` is the output of block `l`, counted from 1. States are [row token width]. Where a tower holds
them as [token row width] (XLNet), `row_axis` is 1, and they are turned on the way in and out.

What is recorded is a copy: a block may add to its input in place.
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
    "replayed",
    "try_widened",
    "widened",
    "with_hidden",
    "with_items",
    "zeros_filled",
]

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary, WeakMethod, WeakSet

import torch
from jaxtyping import Float
from torch import Tensor, nn

from negtrace.encoders.guard import exclusive, uncompiled
from negtrace.errors import EncoderError

Edit = Callable[[Tensor], Tensor]
"""Maps a state [run token width] to the one that is used instead."""

_UNTRIED: WeakKeyDictionary[nn.Module, WeakMethod[Callable[[], object]]] = WeakKeyDictionary()
"""Methods that run models which were not widened yet."""
_KEPT: WeakSet[nn.Module] = WeakSet()
"""Models in half precision that do not run in float32."""

HALF = (torch.float16, torch.bfloat16)
"""Half precision."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HookSite:
    """A site inside one block: the module that holds it, and its input or its output."""

    site: str
    module: nn.Module
    at: Literal["input", "output"]
    row_axis: int = 0
    """Axis of the rows in the states, 0 or 1."""

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """Put the states at this site through `edit` in every forward inside the `with`."""
        hook = input_edited if self.at == "input" else output_edited
        return hook(self.module, edit, row_axis=self.row_axis)


def hidden_of(output: Any) -> Tensor:
    """Return the residual stream in a block's output: a tensor, or the first item of a sequence.

    Raises:
        EncoderError: for any other output.
    """
    hidden = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(hidden, Tensor):
        raise EncoderError(
            f"a block returned {type(output).__name__}; expected a tensor, or a tuple or list that "
            "starts with one. Name other modules as the blocks."
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
    return hidden if isinstance(output, Tensor) else with_items(output, [hidden, *output[1:]])


def with_items(sequence: Any, items: Iterable[Any]) -> Any:
    """Return a tuple, named tuple or list of the same kind with other items."""
    named = hasattr(sequence, "_make")
    return sequence._make(items) if named else type(sequence)(items)


def edited(
    args: tuple[Any, ...], kwargs: dict[str, Any], edit: Edit
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a block's arguments with their hidden states, by position or by name, edited.

    Only the first argument that holds them is edited: a model may hand the same tensor to the block
    once more, as the input of the first block (Zamba).
    """
    before = hidden_given(args, kwargs)
    after = edit(before)
    for index, value in enumerate(args):
        if value is before:
            return (*args[:index], after, *args[index + 1 :]), kwargs
    name = next(name for name, value in kwargs.items() if value is before)
    return args, {**kwargs, name: after}


def _turned(edit: Edit, row_axis: int) -> Edit:
    """Return an edit of [row token width] as one of a state with its rows on this axis."""
    if row_axis == 0:
        return edit
    return lambda hidden: edit(hidden.transpose(0, row_axis)).transpose(0, row_axis)


def _copied(value: Any) -> Any:
    """Return a copy of every tensor in a nested value."""
    if isinstance(value, Tensor):
        return value.clone()
    if type(value) in (tuple, list):
        return type(value)(map(_copied, value))
    return value


@dataclass(kw_only=True)
class Capture:
    """States that one batch of runs had at every layer."""

    row_axis: int = 0
    """Axis of the rows in the blocks' outputs, 0 or 1."""
    embed: list[Tensor] = field(default_factory=list)
    """The input of block 0, [run token width], once the forward has run."""
    outputs: list[Any] = field(default_factory=list)
    """The whole output of each block."""
    site_states: dict[str, list[Tensor]] = field(default_factory=dict)
    """States at further sites, [run token width], by site and then by block."""

    @property
    def stream(self) -> list[Tensor]:
        """The residual stream, layer by layer, `embed` first."""
        return [*self.embed, *(hidden_of(o).transpose(0, self.row_axis) for o in self.outputs)]

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
    """Put every module in eval mode, and afterwards each back in the mode it had.

    Inside, the model belongs to this thread, and a model of `torch.compile` runs its own code: a
    compiled forward would pass hooks by.
    """
    with exclusive(model), uncompiled():
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode


@contextmanager
def input_edited(module: nn.Module, edit: Edit, *, row_axis: int = 0) -> Iterator[None]:
    """Edit the input of a module in every forward inside the `with`.

    Hooks of the user's come first: `edit` gets the input as they return it.
    """
    turned = _turned(edit, row_axis)
    handle = module.register_forward_pre_hook(
        lambda _, args, kwargs: edited(args, kwargs, turned), with_kwargs=True
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def output_edited(module: nn.Module, edit: Edit, *, row_axis: int = 0) -> Iterator[None]:
    """Edit the output of a module in every forward inside the `with`.

    Hooks of the user's come afterwards: they get the edited output.
    """
    turned = _turned(edit, row_axis)
    handle = module.register_forward_hook(
        lambda _, __, output: with_hidden(output, turned(hidden_of(output))), prepend=True
    )
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def captured(
    blocks: Sequence[nn.Module],
    edit: Edit | None = None,
    hook_sites: Sequence[HookSite] = (),
    *,
    row_axis: int = 0,
) -> Iterator[Capture]:
    """Record the state at every layer of the forward inside the `with`.

    Outputs are recorded before hooks of the user's change them: a forward that is given the
    recorded outputs runs those hooks again.

    Args:
        blocks: the blocks, whose outputs are recorded.
        edit: edits the input of block 0; the edited input is what is recorded.
        hook_sites: further sites to record, in the order in which they run.
        row_axis: axis of the rows in the blocks' states, 0 or 1.
    """
    capture = Capture(row_axis=row_axis)

    def record_embed(hidden: Tensor) -> Tensor:
        return _recording_in(capture.embed)(edit(hidden) if edit else hidden)

    def record_output(_: nn.Module, __: Any, output: Any) -> Any:
        capture.outputs.append(_copied(output))
        return _passed_on(capture.outputs[-1]) if torch.is_grad_enabled() else None

    with ExitStack() as stack:
        stack.enter_context(input_edited(blocks[0], record_embed, row_axis=row_axis))
        for block in blocks:
            stack.callback(block.register_forward_hook(record_output, prepend=True).remove)
        for hook_site in hook_sites:
            states = capture.site_states.setdefault(hook_site.site, [])
            stack.enter_context(hook_site.edited(_recording_in(states)))
        yield capture


def _passed_on(recorded: Any) -> Any:
    """Return what the forward goes on with: the recorded state is then on a gradient's path.

    It is a copy of the copy: a block that writes to its input would write to the recorded state.
    """
    return with_hidden(recorded, hidden_of(recorded).clone())


def _recording_in(states: list[Tensor]) -> Edit:
    def record(hidden: Tensor) -> Tensor:
        states.append(hidden if hidden.is_leaf and hidden.requires_grad else hidden.clone())
        # As in `_passed_on`; without gradients the forward goes on with what it had.
        return states[-1].clone() if torch.is_grad_enabled() else hidden

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


def try_widened(model: nn.Module, run: Callable[[], object]) -> None:
    """Run a model once when it is widened first, and leave it alone if it raises anything.

    Some models cast their states to bfloat16 in their own code.

    Args:
        model: the model.
        run: a method that runs it; only a weak reference is kept.
    """
    _UNTRIED[model] = WeakMethod(run)


@contextmanager
def widened(model: nn.Module) -> Iterator[bool]:
    """Turn every half-precision weight into float32, and afterwards put its own data back.

    Yields True if there was such a weight, and the model runs so.
    """
    weights = [
        (weight, weight.data)
        for weight in (*model.parameters(), *model.buffers())
        if weight.dtype in HALF and model not in _KEPT
    ]
    try:
        for weight, data in weights:
            weight.data = data.float()
        if weights and not _runs_widened(model):
            _KEPT.add(model)
            for weight, data in weights:
                weight.data = data
        yield bool(weights) and model not in _KEPT
    finally:
        for weight, data in weights:
            weight.data = data


def _runs_widened(model: nn.Module) -> bool:
    """Return whether a model runs as it is now, if it is the first time that one asks."""
    reference = _UNTRIED.pop(model, None)
    run = reference() if reference else None
    try:
        with evaluating(model), torch.inference_mode():
            if run is not None:
                run()
    except torch.OutOfMemoryError:
        raise
    except Exception:  # code of any model can raise anything
        return False
    return True


@contextmanager
def zeros_filled(modules: Iterable[nn.Module]) -> Iterator[bool]:
    """Give every weight that is 0 throughout other numbers, and afterwards put its own data back.

    So a block that adds nothing as yet shows what it is made of. The numbers are always the same.
    Yields True if there was such a weight.
    """
    weights = [
        (weight, weight.data)
        for weight in dict.fromkeys(each for module in modules for each in module.parameters())
        if weight.is_floating_point() and weight.numel() and not weight.any()
    ]
    draws = torch.Generator().manual_seed(0)
    try:
        for weight, data in weights:
            numbers = torch.randn(data.shape, generator=draws) / max(1, *data.shape[-1:]) ** 0.5
            weight.data = numbers.to(data)
        yield bool(weights)
    finally:
        for weight, data in weights:
            weight.data = data


@contextmanager
def replayed(
    blocks: Sequence[nn.Module], capture: Capture, last: Float[Tensor, "row token width"]
) -> Iterator[None]:
    """Let every block return what is recorded, and the last block another state.

    What a forward inside the `with` returns shows what is read from the state after the last block.

    Args:
        blocks: the blocks.
        capture: recorded with as many rows.
        last: state that the last block returns.
    """

    def returning(output: Any) -> Callable[..., Any]:
        return lambda *_, **__: _copied(output)

    state = last.transpose(0, capture.row_axis)
    outputs = [*capture.outputs[:-1], with_hidden(capture.outputs[-1], state)]
    with ExitStack() as stack:
        for block, output in zip(blocks, outputs, strict=True):
            stack.enter_context(forward_replaced(block, returning(output)))
        yield
