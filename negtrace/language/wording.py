"""Claims put into words: phrases, sentences, captions and reports, and twins one word apart.

`phrase`, `sentence`, `caption` and `realize` use the finding's first name and a few plain
templates. The phantom's reports and the benchmark's questions are made of them.

`statement`, `statements` and `phrasings` use every name, template, and word for severity and
place. The data sets are made of them. Each statement parses back to its claim (`parse_claim`).
"""

__all__ = [
    "CAPTIONS",
    "STATEMENTS",
    "AbsenceWording",
    "affirmative_sentence",
    "caption",
    "equivalents",
    "kind_of",
    "phrase",
    "phrasings",
    "realize",
    "sentence",
    "statement",
    "statements",
]

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product
from random import Random
from typing import Literal

from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS, VOCABULARY
from negtrace.language.noun_phrases import (
    Slots,
    capitalized,
    joined,
    names_of,
    normal_phrase,
    noun_phrase,
    noun_phrases,
    places,
    severities,
)

AbsenceWording = Literal["negated", "equivalent"]
"""Wording of an absent finding: "no cardiomegaly" or "normal heart size"."""

Kind = Literal["present", "possible", "probable", "absent", "place denied", "severity denied"]
"""Kind of a claim; each has its own templates."""

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
"""Sentences that state a finding. For the slots see `negtrace.language.noun_phrases.Slots`."""

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
"""Sentences that deny a finding."""

EQUIVALENT: tuple[str, ...] = ("{normal}", "{normal}", "{phrase}.", "The film shows {phrase}.")
"""Sentences that affirm what excludes a finding, and do not name it."""

CAPTIONS: tuple[str, ...] = (
    "Chest radiograph with {list}.",
    "Portable film with {list}.",
    "Frontal view showing {list}.",
    "{list}.",
)
"""Sentences about several findings."""

STATEMENTS: Mapping[Kind, tuple[str, ...]] = {
    "present": (
        "There {be} {np}.",
        "{np} {be} seen.",
        "{np} {be} noted.",
        "{np} {be} present.",
        "{np} {be} identified on this study.",
        "The radiograph shows {np}.",
        "Findings are consistent with {np}.",
        "{bare}.",
    ),
    "possible": (
        "Possible {bare}.",
        "{np} cannot be excluded.",
        "There may be {np}.",
        "Suspected {bare}.",
        "Findings are suspicious for {np}.",
        "{np} {be} possible.",
    ),
    "probable": (
        "Probable {bare}.",
        "{np} {be} likely.",
        "There {be} probably {np}.",
        "Findings most likely represent {np}.",
    ),
    "absent": (
        "There {be} no {bare}.",
        "No {bare}.",
        "No {bare} {be} seen.",
        "No {bare} {be} identified.",
        "No evidence of {bare}.",
        "There is no evidence of {np}.",
        "There is no sign of {np}.",
        "{np} {be} not seen.",
        "{bare} {be} not present.",
        "{bare} not present.",
        "{bare} {be} absent.",
        "Negative for {bare}.",
        "The chest is free of {bare}.",
        "The radiograph does not show {np}.",
        "The study is without {bare}.",
        "The patient does not have {np}.",
        "{bare} {have} been ruled out.",
    ),
    "place denied": (
        "{bare} not involving {place}.",
        "The {bare} {do} not involve {place}.",
        "There {be} {np}, not involving {place}.",
        "The {bare} {be} not in {place}.",
    ),
    "severity denied": (
        "The {bare} {be} not {severity}.",
        "There {be} {np}, not {severity}.",
        "{bare}, not {severity}.",
    ),
}
"""Every template for each kind of claim. `place` and `severity` are what the claim denies."""


def phrase(claim: Claim, *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return a claim as a noun phrase.

    >>> phrase(Claim(finding="effusion", present=True, side="left", severity="large"))
    'a large left pleural effusion'
    >>> phrase(Claim(finding="cardiomegaly", present=False), wording="equivalent")
    'normal heart size'
    """
    if not claim.present and wording == "equivalent":
        return normal_phrase(FINDINGS[claim.finding].normal_phrase)
    slots = _plain_slots(claim, Random(seed))  # noqa: S311
    return slots["np"] if claim.present else f"no {slots['bare']}"


def _plain_slots(claim: Claim, rng: Random) -> Slots:
    """Return the noun phrase of a claim, in the first name and the plainest words."""
    name = FINDINGS[claim.finding].names[0]
    choices = places(claim)
    behind = rng.random() < 0.25
    place = choices[-1] if behind and claim.zone is None else choices[0]
    slots = noun_phrase(claim, name, severity=severities(claim, name)[0], place=place)
    amount = claim.present and claim.severity is None and not name.article
    if amount and rng.random() < 0.5:
        slots["np"] = f"some {slots['np']}"
    return slots


def sentence(claim: Claim, *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return a claim as one sentence; `seed` chooses its template.

    An affirmative equivalent speaks of the whole organ, so it says nothing of side, zone or
    severity.

    >>> sentence(Claim(finding="nodule", present=True, side="right", zone="upper"), seed=4)
    'There is a nodule in the right upper zone.'
    """
    return _sentence(claim, wording, Random(seed))  # noqa: S311


def _sentence(claim: Claim, wording: AbsenceWording, rng: Random) -> str:
    if not claim.present and wording == "equivalent":
        finding = FINDINGS[claim.finding]
        template = rng.choice(EQUIVALENT)
        words = normal_phrase(finding.normal_phrase)
        return capitalized(template.format(normal=finding.normal, phrase=words))
    slots = _plain_slots(claim, rng)
    template = rng.choice(PRESENT if claim.present else ABSENT)
    return capitalized(template.format(**slots))


def caption(claims: Sequence[Claim], *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return several claims, in their order, as one sentence.

    The words of a claim do not depend on the other claims.

    >>> caption([
    ...     Claim(finding="nodule", present=True),
    ...     Claim(finding="edema", present=False),
    ... ], seed=3)
    'Portable film with a nodule and no pulmonary edema.'
    """
    template = Random(seed).choice(CAPTIONS)  # noqa: S311
    # Every claim has a seed of its own, so that flipping one leaves the words of the others alone.
    parts = [
        phrase(claim, wording=wording, seed=8 * seed + index) for index, claim in enumerate(claims)
    ]
    return capitalized(template.format(list=joined(parts)))


def realize(claims: Sequence[Claim], *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return claims, in their order, as sentences; some sentences carry two or three claims.

    >>> realize([Claim(finding="edema", present=False)], wording="equivalent")
    'The film shows normal pulmonary vascularity.'
    """
    rng = Random(seed)  # noqa: S311
    rest, text = list(claims), []
    while rest:
        count = rng.choice((1, 1, 1, 2, 3))
        group, rest = rest[:count], rest[count:]
        text.append(
            _sentence(group[0], wording, rng)
            if len(group) == 1
            else caption(group, wording=wording, seed=rng.getrandbits(32))
        )
    return " ".join(text)


def kind_of(claim: Claim) -> Kind:
    """Return the key of the templates in `STATEMENTS` that fit a claim."""
    if not claim.present:
        return "absent"
    if claim.denied:
        return "place denied" if claim.denied == "place" else "severity denied"
    return claim.certainty or "present"


def statement(claim: Claim, *, seed: int = 0) -> str:
    """Return one of the statements of a claim; `seed` chooses it.

    >>> statement(Claim(finding="effusion", present=False, side="left"), seed=3)
    'No evidence of left-sided effusion.'

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    rng = Random(seed)  # noqa: S311
    name = rng.choice(names_of(claim))
    template = rng.choice(STATEMENTS[kind_of(claim)])
    return capitalized(template.format(**rng.choice(list(noun_phrases(claim, name)))))


def statements(claim: Claim) -> Iterator[str]:
    """Yield every statement of a claim: each name, template, and word for its attributes.

    >>> len(set(statements(Claim(finding="mass", present=False, zone="upper"))))
    204

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    return chain.from_iterable(phrasings(claim))


def phrasings(claim: Claim) -> Iterator[tuple[str, ...]]:
    """Yield the statements of a claim in groups: one group for each name and template.

    Claims that differ only in the value of an attribute yield as many groups, in the same order.

    >>> next(phrasings(Claim(finding="mass", present=True, side="left")))
    ('There is a left mass.', 'There is a left-sided mass.', 'There is a mass on the left.')

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    for name, template in product(names_of(claim), STATEMENTS[kind_of(claim)]):
        yield tuple(capitalized(template.format(**slots)) for slots in noun_phrases(claim, name))


def affirmative_sentence(claim: Claim) -> str:
    """Return a sentence that affirms a claim and neither names its finding nor negates.

    It says nothing of side, zone or severity.

    >>> affirmative_sentence(Claim(finding="cardiomegaly", present=True))
    'The heart is enlarged.'
    >>> affirmative_sentence(Claim(finding="cardiomegaly", present=False))
    'The heart size is normal.'

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
    """
    finding = VOCABULARY[claim.finding]
    return finding.abnormal if claim.present else finding.normal


def equivalents(finding: str) -> Iterator[str]:
    """Yield sentences that affirm what excludes a finding. They neither name nor negate it.

    >>> next(equivalents("effusion"))
    'The costophrenic angles are sharp.'

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
    """
    entry = VOCABULARY[finding]
    yield entry.normal
    for words in (entry.normal_phrase, *entry.normals):
        yield f"{capitalized(words)}."
        yield f"The radiograph shows {normal_phrase(words)}."
