"""The settings of a trace.

Light on purpose: the command line reads them before torch is imported.
"""

__all__ = [
    "QUERIES",
    "Queries",
    "TraceConfig",
    "TraceOptions",
    "refuse_to_verify",
]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict, get_args

from negtrace._messages import one_of
from negtrace.errors import SiteError, TraceError
from negtrace.results.options import DIRECTIONS
from negtrace.tracing.corruptions.base import CORRUPTIONS, Corruption
from negtrace.tracing.engines.base import ENGINES, Engine
from negtrace.tracing.plan import ROW_TOKENS, site_named
from negtrace.tracing.positions import Positions, check_positions

Queries = Literal["after_cue", "other"]
QUERIES: tuple[Queries, ...] = get_args(Queries)
"""The tokens whose attention to the cue counts in the selectivity of a head: those after it, or all
other tokens."""


@dataclass(frozen=True, kw_only=True)
class TraceConfig:
    """Settings of a trace: what is corrupted, what is patched, and how scores are computed.

    Raises:
        UnknownNameError: for an unknown corruption, direction or method.
        SiteError: for an unknown or repeated site, or a window below 1.
        TraceError: for positions that are no known way to choose, or a number out of range.
    """

    corruption: str | Corruption = "swap"
    """How the negation is destroyed: the name of a corruption, or a corruption object."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """Settings of a corruption that is given by name, such as {"samples": 16} for `noise`."""
    direction: str = "denoising"
    """`denoising` restores the clean state in the corrupted run (is it sufficient?); `noising` puts
    the corrupted state into the clean run (is it necessary?), as the papers do."""
    sites: Sequence[str] = ("resid",)
    """What is patched: `resid` (the output of a block), `resid_pre` (its input), `attn_out` and
    `mlp_out` (what its attention and its MLP add), `head` (each head's part of attn_out), or one
    head such as `head.3`."""
    positions: Positions = "token"
    """What is patched at once: `token` (each token alone), `role` (all tokens of a role), `all`, or
    roles by name. In Python also the positions of each pair, by the pair's id."""
    window: int = 1
    """Layers that are patched at once, centred on the cell's own. More than one gives higher peaks
    (arXiv 2309.16042); every figure says so."""
    method: str | Engine = "exact"
    """How scores are computed: the name of an engine, or an engine object. `exact` runs every cell.
    `attribution` estimates all cells from one gradient, `integrated_gradients` from several; every
    output marks an estimate as an approximation."""
    steps: int = 8
    """Gradients that `integrated_gradients` averages."""
    verify: int = 0
    """How many of the largest estimates, and as many random ones, are also run exactly. Their
    correlation is in the provenance."""
    row_tokens: int = ROW_TOKENS
    """Tokens that run at once. Lower it if memory is short."""
    self_check: bool = True
    """Compare a handful of cells with plain forwards of the model first, and rows of a batch with a
    row alone, once for each encoder and kind of trace. Take the fastest way that gives the same
    scores."""
    include_text: bool = False
    """Keep the statements in the result and in what is saved of it. They may be patients'."""
    include_ids: bool = False
    """Name pairs in what is saved by your own ids, which may tell of patients; otherwise a part of
    each pair's digest names it. Ids of built-in pairs are always saved."""

    def __post_init__(self) -> None:
        if isinstance(self.corruption, str):
            one_of("corruption", self.corruption, CORRUPTIONS)
        if isinstance(self.method, str):
            one_of("method", self.method, ENGINES)
        one_of("direction", self.direction, DIRECTIONS)
        self._check_sites()
        check_positions(self.positions)
        for name, least in (("steps", 1), ("verify", 0), ("row_tokens", 1)):
            if getattr(self, name) < least:
                raise TraceError(f"{name} is {getattr(self, name)}; expected {least} or more")
        if self.verify and self.method == "exact":
            refuse_to_verify(self.verify, "exact")

    def _check_sites(self) -> None:
        if isinstance(self.sites, str):
            raise SiteError(f"sites is the text {self.sites!r}; expected a list: [{self.sites!r}]")
        if not self.sites or len(set(self.sites)) < len(self.sites):
            raise SiteError(
                f"sites {', '.join(self.sites) or 'none'}: name each once, and at least one"
            )
        for name in self.sites:
            site_named(name)
        if self.window < 1:
            raise SiteError(f"a window of {self.window} layers; expected 1 or more")


class TraceOptions(TypedDict, total=False):
    """The fields of `TraceConfig` as keywords of `negtrace.trace`."""

    corruption: str | Corruption
    settings: Mapping[str, object]
    direction: str
    sites: Sequence[str]
    positions: Positions
    window: int
    method: str | Engine
    steps: int
    verify: int
    row_tokens: int
    self_check: bool
    include_text: bool
    include_ids: bool


def refuse_to_verify(verify: int, method: str) -> None:
    """Raise the error about verifying scores that are exact."""
    raise TraceError(
        f"verify={verify} with method={method!r}, which is exact already; verify takes the number "
        "of estimates to run exactly: method='attribution' or 'integrated_gradients'"
    )
