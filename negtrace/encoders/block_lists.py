"""Blocks of a text tower, found among all lists of modules by measurement.

No architecture is named here. The blocks are the list whose modules mix tokens: norms, adapters and
linear maps treat each token alone, however many of them stand in a list. A module mixes tokens if
changing every token but one in its input changes that one, in its output or inside it. Modules of
the list run one behind the other: changing what they return changes what the next one is given.
"""

__all__ = ["find_blocks"]

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from negtrace.encoders.hooks import Edit, evaluating, input_edited
from negtrace.encoders.structure import ROUNDING
from negtrace.errors import EncoderError

LISTED = 3
"""Lists that a message names at most."""

WAY_OUT = (
    "Name them: negtrace.wrap(module, tokenizer, blocks=[...]) with names as in "
    "module.named_modules()"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class _BlockList:
    """Modules that one container holds."""

    name: str
    members: Mapping[str, nn.Module]
    """The modules by their names in the model."""
    inside: frozenset[nn.Module]
    """The modules and all that is inside them."""

    def overlaps(self, other: "_BlockList") -> bool:
        """Return whether one of the lists is inside a module of the other."""
        return not self.inside.isdisjoint(other.inside)

    def is_inside(self, other: "_BlockList") -> bool:
        """Return whether this list is inside a module of the other."""
        return self.inside < other.inside and other.inside.issuperset(self.members.values())

    def __str__(self) -> str:
        kinds = dict.fromkeys(type(member).__name__ for member in self.members.values())
        return f"{self.name or 'the model'} ({len(self.members)} x {' or '.join(kinds)})"


@dataclass(kw_only=True, eq=False)
class _Calls:
    """Calls of modules in one forward."""

    count: Counter[nn.Module] = field(default_factory=Counter)
    input: dict[nn.Module, Tensor] = field(default_factory=dict)
    """First tensor that a module was given in its last call; a copy."""
    output: dict[nn.Module, Tensor] = field(default_factory=dict)
    """First tensor that it returned; a copy."""

    def started(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record the input of a call; a hook."""
        self.count[module] += 1
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if given:
            self.input[module] = given[0].clone()

    def ended(self, module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        """Record the output of a call; a hook."""
        first = output[0] if isinstance(output, tuple | list) and output else output
        if isinstance(first, Tensor):
            self.output[module] = first.clone()


def find_blocks(
    model: nn.Module, encode: Callable[[Tensor], Tensor], ids: Int[Tensor, "row token"]
) -> list[str]:
    """Return the names of the text tower's blocks, in the order in which they run.

    These are the modules of the list in which most modules mix tokens. Each of them turns states
    into states of the same shape exactly once in a forward, and passes them on to the next one.

    Raises:
        EncoderError: when there is no such list, or several lists hold as much of what mixes
            tokens; it names them, and says how to name the blocks.
    """
    lists = _lists(model)
    with evaluating(model), torch.inference_mode():
        plain = _calls(lists, lambda: encode(ids))
        running = [each for each in lists if _obstacle(each, plain) is None]
        if not running:
            raise EncoderError(_none_found(model, lists, plain))
        mixing = _mixing(running, plain, lambda: encode(ids))
        chosen = _chosen(running, mixing, plain, lambda: encode(ids), type(model).__name__)
    order = list(plain.input)
    return sorted(chosen.members, key=lambda name: order.index(chosen.members[name]))


def _lists(model: nn.Module) -> list[_BlockList]:
    lists = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential | nn.ModuleDict) and len(module):
            prefix = f"{name}." if name else ""
            members = {prefix + key: member for key, member in module.named_children()}
            inside = frozenset(each for member in members.values() for each in member.modules())
            lists.append(_BlockList(name=name, members=members, inside=inside))
    return lists


def _calls(
    lists: Sequence[_BlockList],
    run: Callable[[], object],
    edits: Mapping[nn.Module, Edit] | None = None,
    *,
    before_edits: bool = False,
) -> _Calls:
    """Run a forward, and return the calls of all modules in some lists.

    Args:
        lists: the lists.
        run: runs the forward.
        edits: edits of the inputs of modules.
        before_edits: record what the edited modules were given before the edit.
    """
    calls = _Calls()
    with ExitStack() as stack:

        def record() -> None:
            for module in dict.fromkeys(each for block in lists for each in block.inside):
                before = module.register_forward_pre_hook(calls.started, with_kwargs=True)
                stack.callback(before.remove)
                stack.callback(module.register_forward_hook(calls.ended).remove)

        # Hooks run in the order in which they are registered.
        if before_edits:
            record()
        for module, edit in (edits or {}).items():
            stack.enter_context(input_edited(module, edit))
        if not before_edits:
            record()
        run()
    return calls


def _obstacle(blocks: _BlockList, plain: _Calls) -> str | None:
    """Return why the modules of a list are no blocks; None if they may be."""
    for name, member in blocks.members.items():
        if plain.count[member] != 1:
            return f"{name} runs {plain.count[member]} times"
        given, returned = plain.input.get(member), plain.output.get(member)
        if given is None or returned is None or not given.is_floating_point() or given.ndim < 3:
            return f"{name} does not turn token states into token states"
        if given.shape != returned.shape:
            return f"{name} turns states {tuple(given.shape)} into {tuple(returned.shape)}"
    return None


def _none_found(model: nn.Module, lists: Sequence[_BlockList], plain: _Calls) -> str:
    ran = [each for each in lists if any(plain.count[member] for member in each.members.values())]
    outer = [each for each in ran if not any(each.is_inside(other) for other in ran)]
    near = [f"in {each}, {_obstacle(each, plain)}" for each in outer]
    seen = f" ({'; '.join(_some(near))})" if near else ""
    return (
        f"no blocks found in {type(model).__name__}: no list of modules turns states into states, "
        f"once each, in the text tower's forward{seen}. {WAY_OUT}"
    )


def _some(items: Sequence[str]) -> list[str]:
    more = [f"{len(items) - LISTED} more"] if len(items) > LISTED else []
    return [*items[:LISTED], *more]


def _mixing(
    lists: Sequence[_BlockList], plain: _Calls, run: Callable[[], object]
) -> dict[_BlockList, frozenset[nn.Module]]:
    """Return the modules of each list that mix tokens.

    Lists that are inside each other are measured in different forwards.
    """
    depths = {each: sum(each.is_inside(other) for other in lists) for each in lists}
    mixing: dict[_BlockList, frozenset[nn.Module]] = {}
    for depth in sorted(set(depths.values())):
        level = [each for each in lists if depths[each] == depth]
        members = [member for each in level for member in each.members.values()]
        changed = _calls(level, run, _others_changed(members, plain))
        for each in level:
            mixing[each] = frozenset(
                member for member in each.members.values() if _mixes(member, plain, changed)
            )
    return mixing


def _others_changed(members: Iterable[nn.Module], plain: _Calls) -> dict[nn.Module, Edit]:
    """Return edits that give modules their input, changed at every token but the middle one."""

    def edit(states: Tensor) -> Edit:
        axis = _token_axis(states)
        changed, middle = states.flip(-1) + 1, states.shape[axis] // 2
        changed.select(axis, middle).copy_(states.select(axis, middle))
        return lambda _: changed

    return {member: edit(plain.input[member]) for member in members}


def _token_axis(states: Tensor) -> int:
    """Return the axis of the tokens in the states of one row: the first with more than one."""
    return next((axis for axis, size in enumerate(states.shape[:-1]) if size > 1), 0)


def _mixes(member: nn.Module, plain: _Calls, changed: _Calls) -> bool:
    """Return whether a module carries a change of the other tokens to the middle one.

    What its submodules are given counts too: what a block adds may be 0 as yet.
    """
    axis = _token_axis(plain.input[member])
    leading = plain.input[member].shape[: axis + 1]
    inner = [each for each in member.modules() if each is not member]
    pairs = [(plain.output[member], changed.output.get(member))]
    for module in inner:
        if plain.count[module] == changed.count[module] == 1:
            pairs += [
                (calls[module], others.get(module))
                for calls, others in (
                    (plain.input, changed.input),
                    (plain.output, changed.output),
                )
                if module in calls
            ]
    return any(
        _differs_in_the_middle(one, other, axis)
        for one, other in pairs
        if other is not None
        and one.shape == other.shape
        and one.ndim > axis + 1
        and one.shape[: axis + 1] == leading
    )


def _differs_in_the_middle(one: Tensor, other: Tensor, axis: int) -> bool:
    middle = one.shape[axis] // 2
    one, other = one.select(axis, middle), other.select(axis, middle)
    if not one.is_floating_point():
        return not torch.equal(one, other)
    # In half precision, what a block adds may be less than a few units of rounding.
    half = torch.finfo(one.dtype).bits < torch.finfo(torch.float32).bits
    limit = 0.0 if half else ROUNDING * torch.finfo(one.dtype).eps * one.abs().max().item()
    return (one - other).abs().max().item() > limit


def _chosen(
    lists: Sequence[_BlockList],
    mixing: Mapping[_BlockList, frozenset[nn.Module]],
    plain: _Calls,
    run: Callable[[], object],
    name: str,
) -> _BlockList:
    """Return the list in which most modules mix tokens.

    Raises:
        EncoderError: when other lists hold as many, or no module passes its states on.
    """

    def rank(each: _BlockList) -> tuple[int, bool, int]:
        # Nested lists may hold as many: one block, the encoder around it beside a norm, and the
        # parts inside the block. Then it is the one that holds nothing else, or the outermost.
        depth = sum(each.is_inside(other) for other in lists)
        return len(mixing[each]), _holds_no_others(each, plain, mixing[each]), -depth

    ordered = sorted(lists, key=rank, reverse=True)
    best = next((each for each in ordered if _is_chain(each, plain, run)), None)
    if best is None:
        raise EncoderError(_several(name, ordered, mixing))
    rivals: list[_BlockList] = []
    for each in ordered:
        if not any(each.overlaps(other) for other in (best, *rivals)):
            rivals.append(each)
    if sum(len(mixing[each]) for each in rivals) >= len(mixing[best]):
        rivals = [each for each in rivals if _is_chain(each, plain, run)]
        if rivals and sum(len(mixing[each]) for each in rivals) >= len(mixing[best]):
            raise EncoderError(_several(name, [best, *rivals], mixing))
    return best


def _several(
    name: str, lists: Sequence[_BlockList], mixing: Mapping[_BlockList, frozenset[nn.Module]]
) -> str:
    candidates = [f"{each}, of which {len(mixing[each])} mix tokens" for each in lists]
    return f"no blocks found in {name}: they may be {'; or '.join(_some(candidates))}. {WAY_OUT}"


def _holds_no_others(blocks: _BlockList, plain: _Calls, mixing: frozenset[nn.Module]) -> bool:
    """Return whether all modules of a list mix tokens or return what they are given."""
    return all(
        member in mixing or torch.equal(plain.input[member], plain.output[member])
        for member in blocks.members.values()
    )


def _is_chain(blocks: _BlockList, plain: _Calls, run: Callable[[], object]) -> bool:
    """Return whether each module of a list is given what comes of the ones before it."""
    order = list(plain.input)
    members = sorted(blocks.members.values(), key=order.index)
    changed = _calls([blocks], run, _others_changed(members, plain), before_edits=True)
    return not any(
        torch.equal(plain.input[member], changed.input[member]) for member in members[1:]
    )
