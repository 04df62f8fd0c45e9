"""Oracle: the score of every cell by one plain forward of the model, with one plain hook.

It shares no code with the engines that it judges. The encoder only says which modules hold its
sites. A run is a batch of one row; a patch writes the other run's state at one token.
"""

__all__ = ["Ids", "Oracle", "Place", "Scorer", "correspondence"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

Ids = Sequence[int]

Scorer = Callable[[Ids], tuple[float, float]]
"""Score of one row of token ids by the model's own forward, and the size of the score's terms."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A state of the model: the input or the output of a module, and the part of its width."""

    module: nn.Module
    at: Literal["input", "output"]
    part: slice = field(default_factory=lambda: slice(None))


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """A model, a score, and where its sites are."""

    scorer: Scorer
    blocks: Sequence[nn.Module]
    inner: Mapping[str, Sequence[Place]]
    """Places of the sites inside the blocks, block by block, such as `attn_out` or `head.0`."""

    def score(self, ids: Ids) -> float:
        """Return the score of a row."""
        return self.scorer(ids)[0]

    def magnitude(self, ids: Ids) -> float:
        """Return the size of the terms of a row's score, which bounds its rounding."""
        return self.scorer(ids)[1]

    def place(self, site: str, layer: int) -> Place:
        """Return where a site is at a layer; layer 0 is the input of the first block."""
        if site == "resid_pre" or layer == 0:
            return Place(module=self.blocks[max(layer - 1, 0)], at="input")
        if site == "resid":
            return Place(module=self.blocks[layer - 1], at="output")
        return self.inner[site][layer - 1]

    def cells(
        self, base: Ids, source: Ids, sites: Sequence[str]
    ) -> tuple[float, float, np.ndarray[Any, Any]]:
        """Return the scores of base and source, and of the base with each cell patched.

        The cells are [site, layer, token]; NaN where a site has no layer 0, or a token of the base
        has no counterpart in the source.
        """
        depth = len(self.blocks)
        cells = np.full((len(sites), depth + 1, len(base)), np.nan)
        pairs = correspondence(base, source)
        source_score = float("nan")
        for s, site in enumerate(sites):
            for layer in range(0 if site == "resid" else 1, depth + 1):
                place = self.place(site, layer)
                with _read(place) as states:
                    source_score = self.score(source)
                for here, there in pairs:
                    with _written(place, states[0], here, there, len(base)):
                        cells[s, layer, here] = self.score(base)
        return self.score(base), source_score, cells


def correspondence(base: Ids, source: Ids, padding: int = 0) -> list[tuple[int, int]]:
    """Return the tokens of two rows that correspond: their common beginning and common end.

    Rows of one length correspond token by token. Padding at the end corresponds from the text on,
    and the last tokens correspond to each other, since a padded row is read there.
    """
    if len(base) == len(source) and padding not in (base[-1], source[-1]):
        return [(i, i) for i in range(len(base))]
    a, b = (len([token for token in row if token != padding]) for row in (base, source))
    head = next((i for i in range(min(a, b)) if base[i] != source[i]), min(a, b))
    tail = 0
    while tail < min(a, b) - head and base[a - 1 - tail] == source[b - 1 - tail]:
        tail += 1
    middle = range(head, a - tail) if a == b else ()  # words of the same number replace each other
    text = [(i, i) for i in (*range(head), *middle)]
    text += [(a - 1 - i, b - 1 - i) for i in reversed(range(tail))]
    last = len(base) - 1, len(source) - 1
    filled = zip(range(a, last[0]), range(b, last[1]), strict=False)
    return [*text, *filled, last] if last[0] >= a else text


def _state_in(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else _state_in(value[0])


def _with_state(value: Any, state: Tensor) -> Any:
    """Return the output of a block with another state; the other values are the model's own."""
    if isinstance(value, Tensor):
        return state
    if isinstance(value, tuple | list):
        return type(value)((_with_state(value[0], state), *value[1:]))
    raise TypeError(f"a block returns {type(value).__name__}; expected a tensor, tuple or list")


@contextmanager
def _hooked(place: Place, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change one state of the model in every forward within the context."""

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        return _with_state(output, change(_state_in(output)))

    def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        if args and isinstance(args[0], Tensor):
            return (change(args[0]), *args[1:]), kwargs
        name = next(key for key, value in kwargs.items() if isinstance(value, Tensor))
        return args, {**kwargs, name: change(kwargs[name])}

    if place.at == "output":
        handle = place.module.register_forward_hook(after)
    else:
        handle = place.module.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _read(place: Place) -> Iterator[list[Tensor]]:
    """Give the list of the states that runs within the context have at a place."""
    states: list[Tensor] = []

    def change(state: Tensor) -> Tensor:
        states.append(state.clone())
        return state

    with _hooked(place, change):
        yield states


@contextmanager
def _written(place: Place, source: Tensor, here: int, there: int, count: int) -> Iterator[None]:
    """Write the source's state at token `there` over the state at token `here` of a base run."""

    def change(state: Tensor) -> Tensor:
        axis = 1 if state.shape[1] == count else state.shape.index(count)
        changed = state.clone()
        row = changed.select(axis, here)
        row[..., place.part] = source.select(axis, there)[..., place.part]
        return changed

    with _hooked(place, change):
        yield
