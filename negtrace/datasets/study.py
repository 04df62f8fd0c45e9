"""Studies as sources yield them: what is known of one patient at one time, or why it is not."""

__all__ = ["Said", "Study", "finding_of", "stated"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """A sentence of a report that denies something."""

    text: str
    cue: tuple[int, int]
    """Characters of the cue."""
    finding: str
    """What is denied, where the vocabulary has it; else empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What is known of one patient at one time."""

    id: str
    """File and row; unique in the data set."""
    file: str
    row: int
    source: str
    """The layout it came in."""
    key: str
    """Names the study wherever it occurs."""
    patient: str
    """Names the patient wherever they occur."""
    claims: tuple[Claim, ...]
    """What is certain."""
    image: str | None = None
    """Path of its image, from the folder of images."""
    text: str | None = None
    """What a text encoder is given in the image's place."""
    sentences: tuple[str, ...] = ()
    """Of a report: the sentence that states each claim."""
    said: tuple[Said, ...] = ()
    """Of a report: its negated sentences."""
    uncertain: int = 0
    """How many findings are in doubt, and left out."""
    contradicted: int = 0
    """How many are both stated and denied, and left out."""
    unknown: int = 0
    """How many the vocabulary does not have."""


def stated(claims: Sequence[Claim]) -> tuple[list[int], int, int]:
    """Return the places of the claims that are certain, and how many findings are not.

    A claim in doubt is left out, and so is every claim on a finding of which something is both
    stated and denied; of equal claims the first counts.

    >>> yes, no = Claim(finding="edema", present=True), Claim(finding="edema", present=False)
    >>> stated([yes, Claim(finding="mass", present=True)]), stated([yes, no])
    (([0, 1], 0, 0), ([], 0, 1))
    """
    sure = {claim: n for n, claim in reversed(list(enumerate(claims))) if not claim.certainty}
    absent = [claim for claim in sure if not claim.present]
    clash = {a.finding for a in absent for c in sure if c.present and _denies(a, c)}
    kept = sorted(place for claim, place in sure.items() if claim.finding not in clash)
    doubted = {claim.finding for claim in claims if claim.certainty}
    return kept, len(doubted), len(clash)


def _denies(absent: Claim, present: Claim) -> bool:
    """Tell whether what is denied is not there includes what is stated to be there."""
    return absent.finding == present.finding and (
        absent.side in (None, present.side)
        and absent.zone in (None, present.zone)
        and absent.severity in (None, present.severity)
    )


def finding_of(name: str) -> str | None:
    """Return the finding that a data set's name for it means, or None where there is none.

    >>> finding_of("Pleural_Thickening"), finding_of("enlargement of the cardiac silhouette")
    ('thickening', 'cardiomegaly')
    """
    return _names().get(re.sub(r"[\s_]+", " ", name).strip().casefold())


@cache
def _names() -> Mapping[str, str]:
    """Return findings by key, label, name and plural; what comes first in the vocabulary counts."""
    found: dict[str, str] = {}
    for key, finding in VOCABULARY.items():
        words = [key, finding.term, finding.label, finding.nih.replace("_", " ")]
        words += [word for name in finding.names for word in (name.words, name.plural)]
        for word in words:
            found.setdefault(word.casefold(), key)
    # CAD-Chest's own name, which its authors count as cardiomegaly too.
    found["enlargement of the cardiac silhouette"] = "cardiomegaly"
    found.pop("", None)
    return found
