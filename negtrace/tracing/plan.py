"""The cells of a sweep: sites inside the blocks, and windows of layers.

Light on purpose: the settings of a trace are checked with it before torch is imported.
"""

__all__ = [
    "KINDS",
    "ROW_TOKENS",
    "Kind",
    "Plan",
    "Site",
    "site_named",
]

from dataclasses import dataclass
from typing import Literal, get_args

from negtrace.errors import SiteError

ROW_TOKENS = 4096
"""Default number of tokens that run at once. It bounds memory, and is close to the fastest on a
CPU."""

Kind = Literal["resid", "resid_pre", "attn_out", "mlp_out", "head"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The state of a block that is patched."""

    kind: Kind
    head: int | None = None
    """Number of the head, for the kind `head`; None stands for every head."""

    @property
    def name(self) -> str:
        """`resid`, `attn_out`, `head.3`, ..."""
        return self.kind if self.head is None else f"{self.kind}.{self.head}"

    @property
    def hooked(self) -> bool:
        """True if a module's input or output holds the state: any site but the block's output."""
        return self.kind != "resid"


def site_named(name: str) -> Site:
    """Return the site called `name`.

    >>> site_named("head.3")
    Site(kind='head', head=3)

    Raises:
        SiteError: when no site has that name.
    """
    kind, dot, number = name.partition(".")
    for known in KINDS:
        if kind == known and not dot:
            return Site(kind=known)
    if kind == "head" and number.isdecimal():
        return Site(kind="head", head=int(number))
    raise SiteError(f"unknown site {name!r}; known: {', '.join(KINDS)}, and head.0, head.1, ...")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sites that a sweep patches, and how many layers a cell patches at once."""

    sites: tuple[Site, ...] = (Site(kind="resid"),)
    window: int = 1
    """Layers that a cell patches at once, centred on its own layer. Larger windows give higher
    peaks."""

    @property
    def hooked(self) -> list[str]:
        """The kinds of site that hooks record and patch, each once."""
        return list(dict.fromkeys(site.kind for site in self.sites if site.hooked))

    def layers(self, layer: int, count: int, kind: Kind) -> range:
        """Return the layers that the cell at `layer` patches.

        A window of k layers runs from `layer - k // 2` to `layer + (k - 1) // 2`, as in ROME, and
        is cut off at the ends. Layer 0 (`embed`) exists for `resid` only.

        Args:
            layer: layer of the cell.
            count: number of layers, `embed` included.
            kind: kind of the cell's site.

        Returns:
            The layers; an empty range where there is no such cell.
        """
        first = 0 if kind == "resid" else 1
        if layer < first:
            return range(0)
        low = max(first, layer - self.window // 2)
        return range(low, min(count, layer + (self.window - 1) // 2 + 1))
