"""Claims put into words: phrases, sentences, captions, and equal-length twins."""

__all__ = [
    "FINDING_TWINS",
    "AbsenceWording",
    "caption",
    "finding_twins",
    "phrase",
    "realize",
    "sentence",
]

from collections.abc import Sequence
from random import Random
from typing import Literal

from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS, Finding

AbsenceWording = Literal["negated", "equivalent"]
"""How an absent finding is worded: "no cardiomegaly" or "normal heart size"."""

FINDING_TWINS: tuple[tuple[str, str, str], ...] = (
    ("There is {word} {term}.", "some", "no"),
    ("{word} {term} is seen.", "Some", "No"),
    ("The patient has {word} {term}.", "some", "no"),
    ("The {term} is {word}.", "present", "absent"),
    ("The chest is {word} {term}.", "with", "without"),
)
"""Template, affirmative word, negating word: the two sentences differ in that one word."""

PRESENT: tuple[str, ...] = (
    "There {be} {np}.",
    "There {be} {np}.",
    "{np} {be} seen.",
    "{np} {be} present.",
    "{np} {be} noted.",
    "The patient has {np}.",
    "The film shows {np}.",
    "The chest is with {np}.",
    "{np}.",
)
"""How a present finding is stated; `be` agrees with the noun phrase."""

ABSENT: tuple[str, ...] = (
    "There {be} no {bare}.",
    "There {be} no {bare}.",
    "No {bare} {be} seen.",
    "The patient has no {bare}.",
    "The {bare} {be} absent.",
    "The chest is without {bare}.",
    "There is no evidence of {np}.",
    "The film is negative for {bare}.",
    "No {bare}.",
)
"""How an absent finding is denied."""

EQUIVALENT: tuple[str, ...] = ("{normal}", "{normal}", "{phrase}.", "The film shows {phrase}.")
"""How the absence of a finding is affirmed without naming it."""

CAPTIONS: tuple[str, ...] = (
    "Chest radiograph with {list}.",
    "Portable film with {list}.",
    "Frontal view showing {list}.",
    "{list}.",
)
"""One sentence over several findings."""

GRADES = {"small": "mild", "moderate": "moderate", "large": "severe"}
"""What small, moderate and large are called where the noun has no size (severe edema)."""


def finding_twins(
    finding: Finding, templates: Sequence[tuple[str, str, str]] = FINDING_TWINS
) -> tuple[tuple[str, str], ...]:
    """Return (affirmative, negated) sentences on one finding, equal but for one word.

    >>> from negtrace.language.findings import FINDINGS
    >>> finding_twins(FINDINGS["edema"])[0]
    ('There is some pulmonary edema.', 'There is no pulmonary edema.')
    """
    return tuple(
        (
            _capital(template.format(word=affirmative, term=finding.term)),
            _capital(template.format(word=negating, term=finding.term)),
        )
        for template, affirmative, negating in templates
    )


def _plural(claim: Claim) -> bool:
    """Tell whether the claim is of one thing on each side."""
    return claim.side == "bilateral" and FINDINGS[claim.finding].article != ""


def _noun(claim: Claim) -> str:
    term = FINDINGS[claim.finding].term
    if not _plural(claim):
        return term
    for ending, ending_of_many in (("thorax", "thoraces"), ("y", "ies")):
        if term.endswith(ending):
            return term.removesuffix(ending) + ending_of_many
    return term + "s"


def _place(claim: Claim) -> str:
    """Return where the finding is, as words after the noun."""
    zone = f" {claim.zone} zone" if claim.zone else ""
    if claim.side == "bilateral":
        return f" in both{zone}s" if zone else " on both sides"
    if claim.side:
        return f" in the {claim.side}{zone}" if zone else f" on the {claim.side}"
    return f" in the{zone}" if zone else ""


def _bare(claim: Claim, *, after: bool) -> str:
    """Return the noun with its attributes and no article; `after` puts the side behind it."""
    sized = FINDINGS[claim.finding].article != ""
    grade = claim.severity and (claim.severity if sized else GRADES[claim.severity])
    before = "" if after or claim.zone else claim.side
    words = " ".join(word for word in (grade, before, _noun(claim)) if word)
    return words if before else words + _place(claim)


def _with_article(claim: Claim, bare: str) -> str:
    if _plural(claim) or not FINDINGS[claim.finding].article:
        return bare
    return f"{'an' if bare[0] in 'aeiou' else 'a'} {bare}"


def _some(claim: Claim, rng: Random) -> str:
    """Return "some " now and then before a noun that comes in amounts."""
    amount = not FINDINGS[claim.finding].article and claim.severity is None
    return "some " if amount and rng.random() < 0.5 else ""


def _normal(finding: Finding) -> str:
    """Return the affirmative equivalent; a chest is the only one of them that takes an article."""
    counted = finding.normal_phrase.endswith(" chest")
    return f"a {finding.normal_phrase}" if counted else finding.normal_phrase


def phrase(claim: Claim, *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return a claim as a noun phrase.

    >>> phrase(Claim(finding="effusion", present=True, side="left", severity="large"))
    'a large left pleural effusion'
    >>> phrase(Claim(finding="cardiomegaly", present=False), wording="equivalent")
    'normal heart size'
    """
    rng = Random(seed)  # noqa: S311
    bare = _bare(claim, after=rng.random() < 0.25)
    if claim.present:
        return _some(claim, rng) + _with_article(claim, bare)
    if wording == "equivalent":
        return _normal(FINDINGS[claim.finding])
    return f"no {bare}"


def sentence(claim: Claim, *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return a claim as one sentence; `seed` chooses its template.

    The affirmative equivalent of an absent finding affirms the whole organ, so it says
    nothing of side, zone or severity.

    >>> sentence(Claim(finding="nodule", present=True, side="right", zone="upper"), seed=4)
    'There is a nodule in the right upper zone.'
    """
    return _sentence(claim, wording, Random(seed))  # noqa: S311


def _sentence(claim: Claim, wording: AbsenceWording, rng: Random) -> str:
    finding = FINDINGS[claim.finding]
    if not claim.present and wording == "equivalent":
        text = rng.choice(EQUIVALENT).format(normal=finding.normal, phrase=_normal(finding))
        return _capital(text)
    bare = _bare(claim, after=rng.random() < 0.25)
    named = _with_article(claim, bare)
    if claim.present:
        named = _some(claim, rng) + named
    template = rng.choice(PRESENT if claim.present else ABSENT)
    return _capital(template.format(np=named, bare=bare, be="are" if _plural(claim) else "is"))


def caption(claims: Sequence[Claim], *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return several claims, in their order, as one sentence.

    >>> caption([
    ...     Claim(finding="nodule", present=True),
    ...     Claim(finding="edema", present=False),
    ... ], seed=3)
    'Portable film with a nodule and no pulmonary edema.'
    """
    template = Random(seed).choice(CAPTIONS)  # noqa: S311
    # Each claim draws for itself, so that flipping one leaves the words of the others alone.
    parts = [
        phrase(claim, wording=wording, seed=8 * seed + place) for place, claim in enumerate(claims)
    ]
    return _capital(template.format(list=_list(parts)))


def realize(claims: Sequence[Claim], *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return claims, in their order, as sentences; some sentences carry two or three claims.

    >>> realize([Claim(finding="edema", present=False)], wording="equivalent")
    'The film shows normal pulmonary vascularity.'
    """
    rng = Random(seed)  # noqa: S311
    rest, text = list(claims), []
    while rest:
        take = rng.choice((1, 1, 1, 2, 3))
        now, rest = rest[:take], rest[take:]
        text.append(
            _sentence(now[0], wording, rng)
            if len(now) == 1
            else caption(now, wording=wording, seed=rng.getrandbits(32))
        )
    return " ".join(text)


def _list(parts: Sequence[str]) -> str:
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), parts[-1]])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
