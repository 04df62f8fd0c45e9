"""Claims that differ from a claim in exactly one attribute."""

__all__ = [
    "ASPECTS",
    "ATTRIBUTES",
    "OPPOSITES",
    "Attribute",
    "Counterfactual",
    "contradictions",
    "counterfactuals",
    "deny",
]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from negtrace.language.claims import Claim, Denied, check_claim

Attribute = Literal["presence", "side", "zone", "severity"]

ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)

ASPECTS: Mapping[str, str] = {
    "presence": "existence",
    "side": "location",
    "zone": "location",
    "severity": "severity",
}
"""What NAST (arXiv 2602.12498), the benchmark and the data sets call each attribute."""

OPPOSITES: Mapping[str, tuple[str, ...]] = {
    "left": ("right",),
    "right": ("left",),
    "bilateral": ("left", "right"),
    "upper": ("lower",),
    "lower": ("upper",),
    "middle": ("upper", "lower"),
    "small": ("large",),
    "large": ("small",),
    "moderate": ("small", "large"),
}
"""What a side, zone or severity is changed to."""


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """A claim that is wrong where another is right, by one attribute."""

    claim: Claim
    changed: Attribute


def counterfactuals(
    claim: Claim, attributes: Sequence[Attribute] = ATTRIBUTES
) -> tuple[Counterfactual, ...]:
    """Return the claims that differ in one of `attributes`, in their order.

    >>> claim = Claim(finding="effusion", present=True, side="left", severity="small")
    >>> for wrong in counterfactuals(claim):
    ...     print(wrong.changed, wrong.claim)
    presence Claim(finding='effusion', present=False, side='left', severity='small')
    side Claim(finding='effusion', present=True, side='right', severity='small')
    severity Claim(finding='effusion', present=True, side='left', severity='large')

    Raises:
        LanguageError: for a claim that cannot be made.
    """
    check_claim(claim)
    return tuple(
        Counterfactual(claim=other, changed=attribute)
        for attribute in attributes
        for other in _changed(claim, attribute)
    )


def _changed(claim: Claim, attribute: Attribute) -> Iterator[Claim]:
    if attribute == "presence":
        yield claim.negate()
        return
    for value in OPPOSITES.get(getattr(claim, attribute) or "", ()):
        change: dict[str, Any] = {attribute: value}
        yield replace(claim, **change)


def contradictions(claim: Claim) -> tuple[Counterfactual, ...]:
    """Return the counterfactuals that must be wrong where `claim` is right.

    A denial says nothing of where and how much, and what is on both sides is on the left too: an
    absent finding is contradicted by its presence alone, a bilateral one not by a side.

    >>> claim = Claim(finding="effusion", present=True, side="bilateral", severity="small")
    >>> [wrong.changed for wrong in contradictions(claim)]
    ['presence', 'severity']
    >>> [wrong.changed for wrong in contradictions(claim.negate())]
    ['presence']

    Raises:
        LanguageError: for a claim that cannot be made.
    """
    if not claim.present or claim.denied:
        return counterfactuals(claim, ["presence"])
    told = counterfactuals(claim)
    return tuple(c for c in told if not (c.changed == "side" and claim.side == "bilateral"))


def deny(claim: Claim, denied: Denied) -> Claim:
    """Return the claim that the finding is there, but not with this place or severity.

    >>> deny(Claim(finding="effusion", present=True, side="left", zone="lower"), "place")
    Claim(finding='effusion', present=True, side='left', zone='lower', denied='place')

    Raises:
        LanguageError: where the finding is absent or in doubt, or the attribute is not stated.
    """
    return check_claim(replace(claim, denied=denied))
