"""One structured clinical fact: finding, polarity, side, zone, severity, certainty."""

__all__ = [
    "CERTAINTIES",
    "SEVERITIES",
    "SIDES",
    "ZONES",
    "Certainty",
    "Claim",
    "Denied",
    "check_claim",
]

from dataclasses import dataclass, replace
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


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding that is present or absent, with the attributes that are stated of it.

    An absent finding may carry attributes too: they say what is denied
    ("no left-sided effusion"). Of a present finding one attribute may be denied instead
    ("effusion not involving the left base").

    >>> Claim(finding="effusion", present=False, side="left").negate()
    Claim(finding='effusion', present=True, side='left')
    """

    finding: str
    """Key of the finding in `findings.toml`."""
    present: bool
    """Polarity: whether the statement holds the finding to be there."""
    side: Side | None = None
    zone: Zone | None = None
    severity: Severity | None = None
    certainty: Certainty | None = None
    """How far a present finding is in doubt; None where it is not."""
    denied: Denied | None = None
    """What is denied of a present finding: its place, which is side and zone, or its severity."""

    def __repr__(self) -> str:
        stated = {name: getattr(self, name) for name in _VALUES}
        told = "".join(f", {name}={value!r}" for name, value in stated.items() if value)
        return f"Claim(finding={self.finding!r}, present={self.present}{told})"

    def negate(self) -> "Claim":
        """Return the claim with the opposite polarity, of the finding or of what it denies."""
        if self.denied:
            return replace(self, denied=None)
        return replace(self, present=not self.present, certainty=None)


def check_claim(claim: Claim) -> Claim:
    """Return the claim if its finding may have the attributes that are stated of it.

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for a value or attribute that the finding cannot have, doubt about an absent
            finding, or the denial of an attribute that is not stated.
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
