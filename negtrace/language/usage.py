"""Usage: the words for side, zone and severity that go with each name of a finding.

They come from `usage.toml`, with their sources. A combination that a radiologist would not write
has no words.
"""

__all__ = ["FindingKind", "PlaceWords", "Usage", "usage_of"]

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

from negtrace.language.claims import Claim

FindingKind = Literal["diagnosis", "sign", "spot", "device"]
"""Findings are consistent with a diagnosis; a sign is seen; a spot is in one place."""

PlaceWords = tuple[str, str]
"""Side and zone in words: those before the noun and those after it. One of the two is empty."""

_TABLES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    tomllib.loads(files("negtrace.language").joinpath("usage.toml").read_text("utf-8"))
)


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The words that go with one name of a finding."""

    kind: FindingKind
    has_organ: bool
    """True if the name begins with "lung" or "pulmonary", so that no "left lung" precedes it."""
    sides: Mapping[str, list[str]]
    """Patterns for `one` side and `both`, as in "{side} _"; empty if no side is written."""
    zones: Mapping[str, Mapping[str, list[str]]]
    """Patterns for each zone that is written, by the side."""
    severities: Mapping[str, list[str]]
    """Words for each severity that is written, the plainest first."""

    def places(self, claim: Claim) -> list[PlaceWords]:
        """Return the ways to word the side and zone of a claim; none if nobody writes it.

        The denial of "nodules in both lungs" would leave one lung open, so a denial of both sides
        has its words in front: "no bilateral nodules".
        """
        if not (claim.side or claim.zone):
            return [("", "")]
        places = [_around(pattern) for pattern in self._patterns(claim.side, claim.zone)]
        if claim.side == "bilateral" and not claim.present:
            return [place for place in places if place[0]]
        behind = [place for place in places if place[1]]
        return behind if behind and claim.zone and self.has_organ else places

    def denied_places(self, claim: Claim) -> list[str]:
        """Return the ways to say where a finding is not, as in "in the left lung"; maybe none."""
        if claim.side == "bilateral":
            return []
        if claim.side is None:
            return self.zones.get(claim.zone or "", {}).get("denied", [])
        behind = [_around(pattern)[1] for pattern in self._patterns(claim.side, claim.zone)]
        return [words for words in behind if words]

    def _patterns(self, side: str | None, zone: str | None) -> list[str]:
        number = {"bilateral": "both", None: "none"}.get(side, "one")
        table = self.zones.get(zone, {}) if zone else self.sides
        if side and not self.sides:
            return []
        patterns = table.get(side or "", table.get(number, []))
        if side is None and self.kind == "spot" and not self.has_organ:
            patterns = [*patterns, *table.get("spot", [])]
        return [pattern.format(side=side) for pattern in patterns]


def _around(pattern: str) -> PlaceWords:
    before, _, behind = pattern.partition("_")
    return before.strip(), behind.strip()


@lru_cache(maxsize=1024)
def usage_of(finding: str, name: str) -> Usage:
    """Return the words that go with a name of a finding.

    >>> usage_of("effusion", "pleural effusion").severities["large"]
    ['large', 'massive']
    >>> usage_of("effusion", "pleural fluid").severities
    {}
    """
    entry = _TABLES[finding]
    chosen = {**entry, **entry.get("names", {}).get(name, {})}
    has_organ = name.startswith(("lung ", "pulmonary "))
    if has_organ and chosen.get("sides") in ("lung", "spot"):
        chosen["sides"] = "organ"
    zones = _table("zones", chosen)
    left_out = chosen.get("left_out", ())
    return Usage(
        kind=chosen["kind"],
        has_organ=has_organ,
        sides=_table("sides", chosen),
        zones={zone: words for zone, words in zones.items() if zone not in left_out},
        severities=_table("severities", chosen, key="severity"),
    )


def _table(heading: str, chosen: Mapping[str, Any], *, key: str = "") -> Mapping[str, Any]:
    style = chosen.get(key or heading)
    table: Mapping[str, Any] = _TABLES[heading][style] if style else {}
    return table
