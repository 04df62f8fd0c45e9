"""Studies: what a source says about one patient at one time."""

__all__ = ["NegatedSentence", "Study", "certain_claims", "finding_named"]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY
from negtrace.language.words import Span


@dataclass(frozen=True, kw_only=True, slots=True)
class NegatedSentence:
    """A sentence of a report with a negation cue."""

    text: str
    cue: Span
    """Characters of the cue."""
    finding: str
    """The finding it denies; blank if the vocabulary has none, or if it denies several."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """Everything that a source says about one patient at one time."""

    file: str
    """File name without its folder."""
    row: int
    """Line, or position in a JSON array, from 1."""
    source: str
    """Name of the layout it came in."""
    key: str
    """Name of the study. A second study of the same layout, patient and key is a duplicate."""
    patient: str
    """Name of the patient; blank if unknown."""
    claims: tuple[Claim, ...]
    """Claims that are certain."""
    image: str | None = None
    """Path of its image, from the folder of images."""
    text: str | None = None
    """Text that takes the place of the image."""
    sentences: tuple[str, ...] = ()
    """For a report: the sentence that states each claim."""
    negated_sentences: tuple[NegatedSentence, ...] = ()
    """For a report: its sentences with a negation cue."""
    uncertain: int = 0
    """Number of findings that are uncertain, and left out."""
    contradicted: int = 0
    """Number of findings that are both stated and denied, and left out."""
    unknown: int = 0
    """Number of findings that the vocabulary does not have."""

    @property
    def id(self) -> str:
        """File and row, as in `train.csv:7`; unique in the data set."""
        return f"{self.file}:{self.row}"


def certain_claims(claims: Sequence[Claim]) -> tuple[list[int], int, int]:
    """Return the positions of the claims to keep, and how many findings are left out and why.

    The numbers are of findings in doubt, and of findings of which something is both stated and
    denied. Nothing is kept of these: "Left effusion. Possible right effusion." leaves it open
    whether there is one on the right. Of equal claims the first is kept.

    >>> yes, no = Claim(finding="edema", present=True), Claim(finding="edema", present=False)
    >>> certain_claims([yes, Claim(finding="mass", present=True)]), certain_claims([yes, no])
    (([0, 1], 0, 0), ([], 0, 1))
    """
    doubted = {claim.finding for claim in claims if claim.certainty}
    first: dict[tuple[str | bool | None, ...], int] = {}
    for position, claim in enumerate(claims):
        if claim.finding not in doubted:
            first.setdefault(_content(claim), position)
    certain = [claims[position] for position in first.values()]
    present = [claim for claim in certain if claim.present]
    denials = [claim for claim in certain if claim.denied or not claim.present]
    contradicted = {denial.finding for denial in denials for c in present if _denies(denial, c)}
    kept = [position for position in first.values() if claims[position].finding not in contradicted]
    return kept, len(doubted), len(contradicted)


def _content(claim: Claim) -> tuple[str | bool | None, ...]:
    """Return what a claim says, under whichever name."""
    attributes = (claim.side, claim.zone, claim.severity, claim.denied)
    return claim.finding, claim.present, *attributes


def _denies(denial: Claim, present: Claim) -> bool:
    """Tell whether a denial covers what another claim states.

    "Not on the left" and "no effusion on the left" agree; "no effusion" denies both.
    """
    if denial.finding != present.finding:
        return False
    apart = _denied_fields(present)
    return all(
        _covers(getattr(denial, field), None if field in apart else getattr(present, field))
        for field in _denied_fields(denial) or ("side", "zone", "severity")
    )


def _covers(denied: str | None, stated: str | None) -> bool:
    """Tell whether the denial of one value concerns another; both sides are left and right."""
    return denied in (None, stated) or (stated is not None and "bilateral" in (denied, stated))


def _denied_fields(claim: Claim) -> tuple[str, ...]:
    """Return the fields of a present finding that are denied."""
    if claim.denied is None:
        return ()
    return ("severity",) if claim.denied == "severity" else ("side", "zone")


def finding_named(name: str) -> str | None:
    """Return the key of the finding that a data set calls `name`, or None if there is none.

    >>> finding_named("Pleural_Thickening"), finding_named("enlargement of the cardiac silhouette")
    ('thickening', 'cardiomegaly')
    """
    return _findings_by_name().get(re.sub(r"[\s_]+", " ", name).strip().casefold())


@cache
def _findings_by_name() -> Mapping[str, str]:
    """Return findings by key, label, name and plural. The first in the vocabulary has a name."""
    findings: dict[str, str] = {}
    for key, finding in VOCABULARY.items():
        words = [key, finding.term, finding.label, finding.nih.replace("_", " ")]
        words += [word for name in finding.names for word in (name.words, name.plural)]
        for word in words:
            findings.setdefault(word.casefold(), key)
    # CAD-Chest's own name. Its authors also count it as cardiomegaly.
    findings["enlargement of the cardiac silhouette"] = "cardiomegaly"
    findings.pop("", None)
    return findings
