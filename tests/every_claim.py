"""Every claim that can be made about a finding."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from negtrace.language.claims import CERTAINTIES, SEVERITIES, SIDES, ZONES, Claim
from negtrace.language.counterfactuals import deny
from negtrace.language.findings import VOCABULARY
from negtrace.language.wording import statements


def plain_claims(finding: str, attributes: Sequence[str] | None = None) -> Iterator[Claim]:
    """Yield every claim that is neither in doubt nor denied in part.

    Args:
        finding: the finding of the claims.
        attributes: those that the claims may state; all that the finding may have when not given.
    """
    allowed = VOCABULARY[finding].allowed if attributes is None else attributes
    for present, side, zone, severity in product(
        (True, False),
        (None, *SIDES) if "side" in allowed else (None,),
        (None, *ZONES) if "zone" in allowed else (None,),
        (None, *SEVERITIES) if "severity" in allowed else (None,),
    ):
        yield Claim(finding=finding, present=present, side=side, zone=zone, severity=severity)


def every_claim(finding: str) -> Iterator[Claim]:
    """Yield every claim, each present one followed by its doubts and partial denials."""
    for claim in plain_claims(finding):
        yield claim
        if claim.present:
            yield from (replace(claim, certainty=certainty) for certainty in CERTAINTIES)
            if claim.side or claim.zone:
                yield deny(claim, "place")
            if claim.severity:
                yield deny(claim, "severity")


def written_claims(finding: str) -> Iterator[Claim]:
    """Yield every claim that has statements: nobody writes of an effusion in the middle zone."""
    return (claim for claim in every_claim(finding) if next(statements(claim), None))
