"""Claims: one structured clinical fact each, and the words for its attributes.

A claim has a finding, a polarity, and maybe a side, zone, severity and certainty. The words come
from `attributes.toml`.
"""

__all__ = [
    "CERTAINTIES",
    "SEVERITIES",
    "SIDES",
    "WORDS_BY_VALUE",
    "ZONES",
    "Claim",
    "Denied",
    "Side",
    "attribute_words",
    "check_claim",
]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

from negtrace.errors import LanguageError
from negtrace.language.findings import VOCABULARY

Side = Literal["left", "right", "bilateral"]
Zone = Literal["upper", "middle", "lower"]
Severity = Literal["small", "moderate", "large"]
Certainty = Literal["possible", "probable"]
Denied = Literal["place", "severity"]

SIDES: tuple[Side, ...] = get_args(Side)
ZONES: tuple[Zone, ...] = get_args(Zone)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
CERTAINTIES: tuple[Certainty, ...] = get_args(Certainty)

_VALUES: dict[str, tuple[str, ...]] = {
    "side": SIDES,
    "zone": ZONES,
    "severity": SEVERITIES,
    "certainty": CERTAINTIES,
    "denied": get_args(Denied),
}


WORDS_BY_VALUE: Mapping[str, Mapping[str, list[str]]] = MappingProxyType(
    tomllib.loads(files("negtrace.language").joinpath("attributes.toml").read_text("utf-8"))
)
"""The tables of `attributes.toml`: heading, value, and the words for the value."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding that is present or absent, with its stated attributes.

    An absent finding may have attributes too: they say what is denied, as in "no left-sided
    effusion". A present finding may have its place or severity denied, as in "effusion not
    involving the left base".

    >>> Claim(finding="effusion", present=False, side="left").negate()
    Claim(finding='effusion', present=True, side='left')
    """

    finding: str
    """Key of the finding in `findings.toml`."""
    present: bool
    """Polarity: True if the claim says that the finding is present."""
    side: Side | None = None
    zone: Zone | None = None
    severity: Severity | None = None
    certainty: Certainty | None = None
    """Degree of doubt about a present finding; None if there is no doubt."""
    denied: Denied | None = None
    """Denied attribute of a present finding: its place (side and zone) or its severity."""

    def __repr__(self) -> str:
        stated = {name: getattr(self, name) for name in _VALUES}
        attributes = "".join(f", {name}={value!r}" for name, value in stated.items() if value)
        return f"Claim(finding={self.finding!r}, present={self.present}{attributes})"

    def negate(self) -> "Claim":
        """Return the claim with the opposite polarity, of the finding or of what it denies."""
        if self.denied:
            return replace(self, denied=None)
        return replace(self, present=not self.present, certainty=None)


def check_claim(claim: Claim) -> Claim:
    """Return the claim, if its finding can have the attributes that it states.

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an unknown value, an attribute that the finding cannot have, doubt about
            an absent finding, and the denial of an attribute that is not stated.
    """
    allowed = VOCABULARY[claim.finding].allowed
    for name, values in _VALUES.items():
        value = getattr(claim, name)
        if value is not None and value not in values:
            raise LanguageError(f"{name} is {value!r}; expected one of {', '.join(values)} or None")
        if value is not None and name in ("side", "zone", "severity") and name not in allowed:
            stated = ", ".join(allowed) or "no attribute"
            raise LanguageError(f"a claim on {claim.finding!r} has a {name}; it may have {stated}")
    if not claim.present and (claim.certainty or claim.denied):
        raise LanguageError(
            f"an absent {claim.finding!r} can be neither in doubt nor have an attribute denied"
        )
    if claim.denied and claim.certainty:
        raise LanguageError(f"{claim.finding!r} is in doubt; no attribute of it can be denied")
    if claim.denied and not _denied(claim):
        raise LanguageError(f"the {claim.denied} of {claim.finding!r} is denied but not stated")
    return claim


def _denied(claim: Claim) -> str | None:
    return claim.severity if claim.denied == "severity" else claim.side or claim.zone


@cache
def attribute_words() -> Mapping[str, tuple[str, str]]:
    """Return every word for a side, zone or severity, with its attribute and value.

    >>> attribute_words()["basilar"]
    ('zone', 'lower')
    """
    words: dict[str, tuple[str, str]] = {}
    for attribute in ("side", "zone", "severity"):
        for value, synonyms in WORDS_BY_VALUE[attribute].items():
            words |= dict.fromkeys(synonyms, (attribute, value))
    return MappingProxyType(words)
