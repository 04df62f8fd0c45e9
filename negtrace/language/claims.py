"""One structured clinical fact: finding, polarity, side, zone, severity."""

__all__ = ["SEVERITIES", "SIDES", "ZONES", "Claim"]

from dataclasses import dataclass
from typing import Literal, get_args

Side = Literal["left", "right", "bilateral"]
Zone = Literal["upper", "middle", "lower"]
Severity = Literal["small", "moderate", "large"]

SIDES: tuple[Side, ...] = get_args(Side)
ZONES: tuple[Zone, ...] = get_args(Zone)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding that is present or absent, with the attributes that are stated of it.

    An absent finding may carry attributes too: they say what is denied
    ("no left-sided effusion").

    >>> Claim(finding="effusion", present=False).negate()
    Claim(finding='effusion', present=True, side=None, zone=None, severity=None)
    """

    finding: str
    """Key of the finding in `findings.toml`."""
    present: bool
    """Polarity: whether the statement holds the finding to be there."""
    side: Side | None = None
    zone: Zone | None = None
    severity: Severity | None = None

    def negate(self) -> "Claim":
        """Return the same claim with the opposite polarity."""
        return Claim(
            finding=self.finding,
            present=not self.present,
            side=self.side,
            zone=self.zone,
            severity=self.severity,
        )
