"""Claims that differ from a claim in exactly one attribute."""

__all__ = [
    "ASPECTS",
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

_ATTRIBUTES: tuple[Attribute, ...] = get_args(Attribute)

ASPECTS: Mapping[str, str] = {
    "presence": "existence",
    "side": "location",
    "zone": "location",
    "severity": "severity",
}
"""Aspect of each attribute, as NAST (arXiv 2602.12498), the benchmark and data sets call it."""

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
"""Values that a side, zone or severity is changed to."""


@dataclass(frozen=True, kw_only=True)
class Counterfactual:
    """A claim that differs from another one in exactly one attribute."""

    claim: Claim
    changed: Attribute
    """The attribute in which it differs."""


def counterfactuals(
    claim: Claim, attributes: Sequence[Attribute] = _ATTRIBUTES
) -> tuple[Counterfactual, ...]:
    """Return the claims that differ from `claim` in one of `attributes`, in that order.

    >>> claim = Claim(finding="effusion", present=True, side="left", severity="small")
    >>> for wrong in counterfactuals(claim):
    ...     print(wrong.changed, wrong.claim)
    presence Claim(finding='effusion', present=False, side='left', severity='small')
    side Claim(finding='effusion', present=True, side='right', severity='small')
    severity Claim(finding='effusion', present=True, side='left', severity='large')

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
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
    """Return the counterfactuals that must be wrong if `claim` is right.

    An absent finding is contradicted only by its presence, because a denial leaves open on which
    side and how large. A finding on both sides is not contradicted by one side, because it is on
    that side too.

    >>> claim = Claim(finding="effusion", present=True, side="bilateral", severity="small")
    >>> [wrong.changed for wrong in contradictions(claim)]
    ['presence', 'severity']
    >>> [wrong.changed for wrong in contradictions(claim.negate())]
    ['presence']

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    if not claim.present or claim.denied:
        return counterfactuals(claim, ["presence"])
    both = claim.side == "bilateral"
    return tuple(c for c in counterfactuals(claim) if not (both and c.changed == "side"))


def deny(claim: Claim, denied: Denied) -> Claim:
    """Return the claim that the finding is present, but not with its stated place or severity.

    >>> deny(Claim(finding="effusion", present=True, side="left", zone="lower"), "place")
    Claim(finding='effusion', present=True, side='left', zone='lower', denied='place')

    Raises:
        LanguageError: for a finding that is absent or in doubt, and for an attribute that the
            claim does not state.
    """
    return check_claim(replace(claim, denied=denied))
