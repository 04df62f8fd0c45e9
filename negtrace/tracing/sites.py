"""The sites of a plan, checked against a model."""

__all__ = ["plan_for"]

from collections.abc import Iterator, Sequence

from negtrace.encoders.base import Encoder
from negtrace.errors import SiteError
from negtrace.tracing.plan import Plan, Site, site_named


def plan_for(encoder: Encoder, sites: Sequence[str] = ("resid",), window: int = 1) -> Plan:
    """Return the plan that patches these sites of a model. `head` stands for every head of a block.

    Raises:
        SiteError: when a site is unknown, repeated or not offered by the model, or the window is
            not from 1 to the number of blocks.
    """
    if not 1 <= window <= len(encoder.blocks):
        raise SiteError(
            f"a window of {window} layers; {encoder.name} has {len(encoder.blocks)} blocks, so "
            f"expected 1 to {len(encoder.blocks)}"
        )
    chosen = [site for name in sites for site in _offered(encoder, site_named(name))]
    if not chosen or len(set(chosen)) < len(chosen):
        raise SiteError(f"sites {', '.join(sites) or 'none'}: name each once, and at least one")
    return Plan(sites=tuple(chosen), window=window)


def _offered(encoder: Encoder, site: Site) -> Iterator[Site]:
    """Yield the site, or the site of every head."""
    if site.hooked:
        encoder.hook_sites([site.kind])
    if site.kind != "head":
        yield site
        return
    if not encoder.heads:
        raise SiteError(
            f"{encoder.name}: its blocks differ in their number of heads, so there is no grid of "
            "heads; patch resid"
        )
    if site.head is not None and site.head >= encoder.heads:
        raise SiteError(f"no head {site.head}; {encoder.name} has heads 0 to {encoder.heads - 1}")
    heads = range(encoder.heads) if site.head is None else [site.head]
    yield from (Site(kind="head", head=head) for head in heads)
