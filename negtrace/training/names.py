"""Names of blocks, whatever wrappers stand around the model or inside it.

torch.compile, DataParallel, peft and others put a part of their own into the names of the modules
that they wrap. Two names are of the same block if they are equal without these parts.
"""

__all__ = ["blocks_of", "name_pattern", "renamed"]

import re
from collections.abc import Iterable, Mapping, Sequence

from negtrace._messages import listed
from negtrace.errors import FinetuneError

WRAPPERS = frozenset(
    {"module", "_orig_mod", "base_layer", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
"""Parts of names from DataParallel and DistributedDataParallel, torch.compile, peft's layers, FSDP
and activation checkpointing."""

PEFT = "base_model"
"""Part that a PeftModel puts first. Another part, `model`, follows it for adapters of the weights,
but not for prompts."""

Bare = tuple[str, ...]
"""Parts of a name that are not of a wrapper."""


def _parts(name: str, *, prompts: bool) -> list[tuple[str, int]]:
    """Return the parts of a name that are the model's own, and the number of parts up to each."""
    parts, kept = name.split("."), []
    for index, part in enumerate(parts):
        of_peft = part == "model" and index > 0 and parts[index - 1] == PEFT and not prompts
        if part and part not in WRAPPERS and part != PEFT and not of_peft:
            kept.append((part, index + 1))
    return kept


def _bare(name: str, *, prompts: bool = False) -> Bare:
    return tuple(part for part, _ in _parts(name, prompts=prompts))


def blocks_of(
    names: Iterable[str], blocks: Iterable[str], *, prefix: str = ""
) -> dict[str, str | None]:
    """Return the block that each weight is in, and None for a weight in no block.

    Wrappers may stand anywhere in either name.

    Args:
        names: names of weights.
        blocks: names of the blocks.
        prefix: name of the traced module in the one of the weights, with a dot.

    Raises:
        FinetuneError: when a block is none of the module's, or may be more than one of them.
    """
    names, blocks = list(names), list(blocks)
    # A PeftModel of adapters is by far the more common one, so its names are tried first.
    for prompts in (False, True):
        found = _found(names, blocks, prefix, prompts=prompts)
        if not (missing := [block for block in blocks if block not in found.values()]):
            return found
    raise FinetuneError(
        f"the module has no weight in {listed(missing)}: the scores are of another model, or "
        "it is nested (give prefix=)"
    )


def _found(
    names: Sequence[str], blocks: Sequence[str], prefix: str, *, prompts: bool
) -> dict[str, str | None]:
    wanted: dict[Bare, str] = {}
    for block in blocks:
        bare = _bare(prefix + block)
        wanted[bare] = _one(block, {wanted[bare], block}) if bare in wanted else block
        if prompts:
            wanted.setdefault(_bare(prefix + block, prompts=True), block)
    wanted.pop((), None)
    found: dict[str, str | None] = {}
    places: dict[str, set[str]] = {}
    for name in names:
        found[name] = None
        for kept in (_parts(name, prompts=mode) for mode in {False, prompts}):
            for count in range(1, len(kept)):
                if (match := wanted.get(tuple(part for part, _ in kept[:count]))) is not None:
                    found[name] = match
                    place = ".".join(name.split(".")[: kept[count - 1][1]])
                    places.setdefault(match, set()).add(place)
    for block, where in places.items():
        _one(block, where)
    return found


def _one(block: str, places: Iterable[str]) -> str:
    """Return the one place of a block.

    Raises:
        FinetuneError: when there are several.
    """
    first, *others = sorted(places)
    if others:
        raise FinetuneError(
            f"{block} may be {' or '.join([first, *others])}, which differ only by the parts that "
            "wrappers put into names; give the named parameters of the one that is meant, with its "
            "names as they were traced"
        )
    return first


def renamed(scored: Sequence[str], blocks: Sequence[str]) -> Mapping[str, str] | None:
    """Return the block of a model for each scored name; None unless they are the same blocks.

    The order does not matter, nor do wrappers.
    """
    for prompts in (False, True):
        of_model = {_bare(block): block for block in blocks}
        if prompts:
            of_model |= {_bare(block, prompts=True): block for block in blocks}
        pairs = {}
        for name in scored:
            forms = (_bare(name, prompts=mode) for mode in {False, prompts})
            pairs[name] = next((of_model[form] for form in forms if form in of_model), None)
        found = {name: block for name, block in pairs.items() if block is not None}
        if len(found) == len(scored) == len(blocks) and set(found.values()) == set(blocks):
            return found
    return None


def name_pattern(block: str) -> str:
    """Return a regular expression for a block's name, with or without wrappers inside it."""
    inside = "|".join([*sorted(WRAPPERS), rf"{PEFT}\.model"])
    return rf"\.(?:(?:{inside})\.)*".join(map(re.escape, _bare(block)))
