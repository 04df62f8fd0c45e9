"""What a trace patches: which sites, how many layers at once, and which positions together."""

__all__ = ["Plan", "Positions", "Site", "groups_of", "sites_of"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from negtrace.encoders.base import Encoder
from negtrace.encoders.sites import INNER
from negtrace.errors import SiteError, TraceError
from negtrace.pairs.roles import ROLES

Kind = Literal["resid", "resid_pre", "attn_out", "mlp_out", "head"]
KINDS: tuple[Kind, ...] = ("resid", "resid_pre", "attn_out", "mlp_out", "head")

Positions = str | Sequence[str] | Mapping[str, Sequence[int]]
"""`token` (each alone), `role` (all tokens of a role together), `all` (the whole statement), some
roles by name, or the positions of each pair by its id."""

Group = tuple[str, tuple[int, ...]]
"""A label and the positions that are patched together."""

WHOLE = "all"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where in a block a state is replaced."""

    kind: Kind
    head: int | None = None

    @property
    def name(self) -> str:
        """`resid`, `attn_out`, `head.3`, ..."""
        return self.kind if self.head is None else f"{self.kind}.{self.head}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells of a sweep."""

    sites: tuple[Site, ...] = (Site(kind="resid"),)
    window: int = 1
    """Layers patched at once, centred on the cell's own; peaks grow with it (opt-in)."""

    @property
    def inner(self) -> list[str]:
        """The kinds of site inside a block, each once."""
        return list(dict.fromkeys(site.kind for site in self.sites if site.kind in INNER))

    def layers(self, layer: int, count: int, kind: Kind) -> range:
        """Return the layers that the cell at `layer` of `count` patches; empty where it is none.

        The window of `k` runs from `layer - k // 2` to `layer + (k - 1) // 2`, as ROME's, cut off
        at the ends. Inside a block there is no layer `embed`.
        """
        first = 0 if kind == "resid" else 1
        if layer < first:
            return range(0)
        low = max(first, layer - self.window // 2)
        return range(low, min(count, layer + (self.window - 1) // 2 + 1))


def sites_of(encoder: Encoder, names: Sequence[str]) -> tuple[Site, ...]:
    """Return the sites called `names`; `head` stands for every head of a block.

    Raises:
        SiteError: when a name is unknown or repeated, or the model does not offer the site.
    """
    found: list[Site] = []
    for name in names:
        kind, _, number = name.partition(".")
        if kind not in KINDS or (number and kind != "head"):
            raise SiteError(f"unknown site {name!r}; known: {', '.join(KINDS)}, and head.0, head.1")
        if kind in INNER:
            encoder.taps([kind])
        found += _heads(encoder, number) if kind == "head" else [_site(kind)]
    if not found or len(set(found)) < len(found):
        raise SiteError(f"sites {', '.join(names) or 'none'}: name each once, and at least one")
    return tuple(found)


def _site(name: str) -> Site:
    return Site(kind=KINDS[KINDS.index(name)])


def _heads(encoder: Encoder, number: str) -> list[Site]:
    if not encoder.heads:
        raise SiteError(f"{encoder.name}: its blocks differ in their number of heads; patch resid")
    if number and not (number.isdigit() and int(number) < encoder.heads):
        raise SiteError(f"no head {number!r}; {encoder.name} has heads 0 to {encoder.heads - 1}")
    chosen = [int(number)] if number else range(encoder.heads)
    return [Site(kind="head", head=head) for head in chosen]


def groups_of(roles: Sequence[str], positions: Positions, pair: str) -> tuple[Group, ...]:
    """Return the groups of positions of one run that are patched together, each with its label.

    Raises:
        TraceError: when the positions asked for are not in the run, or no known way to choose.
    """
    if isinstance(positions, Mapping):
        return _given(roles, positions, pair)
    if positions == "token":
        return tuple((role, (i,)) for i, role in enumerate(roles))
    if positions == WHOLE:
        return ((WHOLE, tuple(range(len(roles)))),)
    wanted = ROLES if positions == "role" else positions
    if isinstance(wanted, str) or not wanted or set(wanted) - set(ROLES):
        raise TraceError(
            f"positions {positions!r}; expected 'token', 'role', 'all', roles out of "
            f"{', '.join(ROLES)}, or the positions of each pair by its id"
        )
    members = {role: tuple(i for i, own in enumerate(roles) if own == role) for role in wanted}
    return tuple((role, places) for role, places in members.items() if places)


def _given(
    roles: Sequence[str], positions: Mapping[str, Sequence[int]], pair: str
) -> tuple[Group, ...]:
    chosen = positions.get(pair, ())
    if not chosen or not all(0 <= i < len(roles) for i in chosen):
        raise TraceError(
            f"pair {pair!r} is given the positions {list(chosen)}; expected at least one out of 0 "
            f"to {len(roles) - 1}"
        )
    return tuple((roles[i], (i,)) for i in chosen)
