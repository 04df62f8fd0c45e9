"""Reports of synthetic patients, as a radiologist who seldom negates would dictate them."""

__all__ = ["NEGATING_REPORTS", "negation_shares", "report"]

from random import Random

from negtrace.language.claims import Claim
from negtrace.language.wording import AbsenceWording, affirmative_sentence, caption, sentence
from negtrace.phantom.patients import Patient

NEGATING_REPORTS = 0.0012
"""Share of training reports that deny findings. It decides how badly the model negates.

At a tenth of this share the model hardly learned negation; at ten times it learned negation as
well as everything else (measured when a list of findings could begin with a denial). A report that
denies findings also states present ones, so the model has to learn which finding a "no" belongs to.
"""

NEGATED_SHARE = 0.5
"""Share of the absent findings that a report with denials denies."""

EQUIVALENT_RATE = 0.2
"""Share of the absent findings that a report without denials affirms to be normal."""

MENTION_RATE = 0.85
"""Share of the present findings that a report mentions."""

ATTRIBUTE_RATE = 0.75
"""Probability that the side, zone or severity of a mentioned finding is stated."""

PERIPHRASIS_RATE = 0.08
"""Probability that a present finding is described without its name ("The heart is enlarged.")."""

BRIEF_RATE = 0.25
"""Share of reports with a single statement, so that the model has seen single sentences."""

PREFIXES: tuple[str, ...] = (
    "Portable chest radiograph.",
    "Frontal view of the chest.",
    "Single view.",
    "Compared with the prior film.",
    "Clinical history is not given.",
    "Supine film.",
    "Findings as follows.",
)
"""Openings that say nothing about the image."""


def negation_shares(reports: int, rate: float = NEGATING_REPORTS) -> dict[str, float]:
    """Return how often a training with this many reports denies and affirms what is absent.

    Args:
        reports: number of reports; their seeds are 0, 1, 2, ...
        rate: share of reports that may deny findings.

    Returns:
        The share of reports that deny, and the shares of absent findings that are denied and
        that are affirmed to be normal.
    """
    denying = sum(_denies(seed, rate) for seed in range(reports)) / reports
    return {
        "reports_that_deny": round(denying, 6),
        "absent_findings_denied": round(denying * NEGATED_SHARE, 6),
        "absent_findings_affirmed_normal": round((1 - denying) * EQUIVALENT_RATE, 6),
    }


def _denies(seed: int, rate: float) -> bool:
    """Return whether the report of a seed denies findings."""
    return Random(f"negates {seed}").random() < rate  # noqa: S311


def report(patient: Patient, *, seed: int, rate: float = NEGATING_REPORTS) -> str:
    """Return one report of a patient; another seed gives another report of the same patient.

    >>> from negtrace.phantom.patients import draw_patient
    >>> report(draw_patient(3), seed=0)
    'Chest radiograph with small pleural effusion on the left. Mild pulmonary edema is noted.'

    Args:
        patient: whose findings to report.
        seed: chooses the findings that are mentioned, and the words.
        rate: share of seeds whose report denies findings. Reports of the other seeds affirm what
            is normal instead.
    """
    rng = Random(f"{patient.seed} {seed}")  # noqa: S311
    wording: AbsenceWording = "negated" if _denies(seed, rate) else "equivalent"
    claims = _mentioned(patient, wording, rng)
    if wording == "equivalent" and rng.random() < BRIEF_RATE:
        claims = claims[:1]
    text = _sentences(claims, wording, rng)
    if rng.random() < 0.35:
        text.insert(0, rng.choice(PREFIXES))
    return " ".join(text)


def _mentioned(patient: Patient, wording: AbsenceWording, rng: Random) -> list[Claim]:
    """Return the claims that a report mentions, in its order."""
    absent = NEGATED_SHARE if wording == "negated" else EQUIVALENT_RATE
    claims = [_simplified(c, rng) for c in patient.present if rng.random() < MENTION_RATE]
    claims += [claim for claim in patient.absent if rng.random() < absent]
    rng.shuffle(claims)
    return claims or [rng.choice(patient.claims)]


def _simplified(claim: Claim, rng: Random) -> Claim:
    """Return a claim without some of its attributes."""
    return Claim(
        finding=claim.finding,
        present=True,
        side=claim.side if rng.random() < ATTRIBUTE_RATE else None,
        zone=claim.zone if rng.random() < ATTRIBUTE_RATE else None,
        severity=claim.severity if rng.random() < ATTRIBUTE_RATE else None,
    )


def _sentences(claims: list[Claim], wording: AbsenceWording, rng: Random) -> list[str]:
    """Return the claims as sentences; some sentences carry two or three claims."""
    text: list[str] = []
    while claims:
        count = rng.choice((1, 1, 1, 2, 3))
        group, claims = claims[:count], claims[count:]
        seed = rng.getrandbits(32)
        if len(group) > 1:
            text.append(caption(group, wording=wording, seed=seed))
        elif group[0].present and rng.random() < PERIPHRASIS_RATE:
            text.append(affirmative_sentence(group[0]))
        else:
            text.append(sentence(group[0], wording=wording, seed=seed))
    return text
