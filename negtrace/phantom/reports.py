"""Reports of the phantom's studies, as a radiologist who seldom negates would dictate them."""

__all__ = ["EQUIVALENT_RATE", "NEGATING_REPORTS", "negates", "report"]

from random import Random

from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.wording import AbsenceWording, caption, sentence
from negtrace.phantom.patients import Patient

NEGATING_REPORTS = 0.0012
"""Share of training reports that deny findings. It decides how badly the model negates: at a
tenth of it negation is hardly learned at all, at ten times it is learned as well as the rest.
Such a report denies half of what is absent, next to what is present, so that "no" has to be
bound to its finding and a report cannot be read as one that "contains a no"."""

NEGATED_SHARE = 0.5
"""Share of the absent findings that such a report denies."""

EQUIVALENT_RATE = 0.2
"""Share of the absent findings that every other report affirms to be normal."""

MENTION_RATE = 0.85
"""Share of the present findings that a report mentions."""

ATTRIBUTE_RATE = 0.75
"""How often a mentioned finding's side, zone or severity is stated."""

PERIPHRASIS_RATE = 0.08
"""How often a present finding is described and not named ("The heart is enlarged.")."""

BRIEF_RATE = 0.25
"""Share of reports that make one statement only, so that single sentences are familiar."""

PREFIXES: tuple[str, ...] = (
    "Portable chest radiograph.",
    "Frontal view of the chest.",
    "Single view.",
    "Compared with the prior film.",
    "Clinical history is not given.",
    "Supine film.",
    "Findings as follows.",
)
"""Openings that say nothing of the image."""


def negates(seed: int, *, rate: float = NEGATING_REPORTS) -> bool:
    """Tell whether the report of this seed denies findings."""
    return Random(f"negates {seed}").random() < rate  # noqa: S311


def report(study: Patient, *, seed: int, rate: float = NEGATING_REPORTS) -> str:
    """Return one report of `study`; another `seed` is another dictation.

    >>> from negtrace.phantom.patients import draw_patient
    >>> report(draw_patient(1), seed=0) == report(draw_patient(1), seed=0)
    True
    """
    rng = Random(f"{study.seed} {seed}")  # noqa: S311
    wording: AbsenceWording = "negated" if negates(seed, rate=rate) else "equivalent"
    told = _told(study, wording, rng)
    if wording == "equivalent" and rng.random() < BRIEF_RATE:
        told = told[:1]
    text = _sentences(told, wording, rng)
    if rng.random() < 0.35:
        text.insert(0, rng.choice(PREFIXES))
    return " ".join(text)


def _told(study: Patient, wording: AbsenceWording, rng: Random) -> list[Claim]:
    """Return the claims that are mentioned, in the order of the report."""
    absent = NEGATED_SHARE if wording == "negated" else EQUIVALENT_RATE
    told = [_thin(c, rng) for c in study.present if rng.random() < MENTION_RATE]
    told += [claim for claim in study.absent if rng.random() < absent]
    rng.shuffle(told)
    return told or [rng.choice(study.claims)]


def _thin(claim: Claim, rng: Random) -> Claim:
    """Return the claim with some of its attributes left unsaid."""
    return Claim(
        finding=claim.finding,
        present=True,
        side=claim.side if rng.random() < ATTRIBUTE_RATE else None,
        zone=claim.zone if rng.random() < ATTRIBUTE_RATE else None,
        severity=claim.severity if rng.random() < ATTRIBUTE_RATE else None,
    )


def _sentences(told: list[Claim], wording: AbsenceWording, rng: Random) -> list[str]:
    text: list[str] = []
    while told:
        take = rng.choice((1, 1, 1, 2, 3))
        now, told = told[:take], told[take:]
        draw = rng.getrandbits(32)
        if len(now) > 1:
            text.append(caption(now, wording=wording, seed=draw))
        elif now[0].present and rng.random() < PERIPHRASIS_RATE:
            text.append(FINDINGS[now[0].finding].abnormal)
        else:
            text.append(sentence(now[0], wording=wording, seed=draw))
    return text
