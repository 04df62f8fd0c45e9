"""Positions of a statement that are patched at once."""

__all__ = [
    "MODES",
    "WHOLE",
    "Group",
    "Positions",
    "check_positions",
    "groups_of",
    "name_of",
]

from collections.abc import Mapping, Sequence

from negtrace.errors import TraceError
from negtrace.pairs.roles import ROLES

Positions = str | Sequence[str] | Mapping[str, Sequence[int]]
"""`token` (each token alone), `role` (all tokens of a role together), `all` (the whole statement),
roles by name, or the positions of each pair, by the pair's id."""

Group = tuple[str, tuple[int, ...]]
"""A label, and the positions that are patched together."""

WHOLE = "all"
MODES = ("token", "role", WHOLE)


def check_positions(positions: Positions) -> None:
    """Raise a TraceError when `positions` are no known way to choose."""
    if isinstance(positions, Mapping) or positions in MODES:
        return
    if isinstance(positions, str) or not positions or set(positions) - set(ROLES):
        raise TraceError(
            f"positions {positions!r}; expected 'token', 'role', 'all', roles out of "
            f"{', '.join(ROLES)}, or the positions of each pair by its id"
        )


def name_of(positions: Positions) -> str:
    """Return what is patched at once, in a few words for titles; positions by pair are `given`."""
    if isinstance(positions, str):
        return positions
    return "given" if isinstance(positions, Mapping) else ", ".join(positions)


def groups_of(roles: Sequence[str], positions: Positions, pair_id: str) -> tuple[Group, ...]:
    """Return the groups of positions that are patched together in one run.

    Args:
        roles: the role of each token of the run.
        positions: what is patched at once.
        pair_id: id of the run's pair, for positions that are given by pair.

    Raises:
        TraceError: when the positions are not in the run, or are no known way to choose.
    """
    check_positions(positions)
    if isinstance(positions, Mapping):
        return _given(roles, positions, pair_id)
    if positions == "token":
        return tuple((role, (i,)) for i, role in enumerate(roles))
    if positions == WHOLE:
        return ((WHOLE, tuple(range(len(roles)))),)
    wanted = ROLES if positions == "role" else positions
    members = {name: tuple(i for i, role in enumerate(roles) if role == name) for name in wanted}
    return tuple((name, indices) for name, indices in members.items() if indices)


def _given(
    roles: Sequence[str], positions: Mapping[str, Sequence[int]], pair_id: str
) -> tuple[Group, ...]:
    chosen = positions.get(pair_id, ())
    if not chosen or not all(0 <= i < len(roles) for i in chosen):
        raise TraceError(
            f"pair {pair_id!r} is given the positions {list(chosen)}; expected at least one out of "
            f"0 to {len(roles) - 1}"
        )
    return tuple((roles[i], (i,)) for i in chosen)
