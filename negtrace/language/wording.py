"""Claims put into words: phrases, sentences, captions and reports, and twins one word apart.

`phrase`, `sentence`, `caption` and `realize` use the finding's first name and a few plain
templates. The phantom's reports and the benchmark's questions are made of them.

`statement`, `statements` and `phrasings` use every name, template, and word for severity and
place. The data sets are made of them. Each statement parses back to its claim (`parse_claim`).
"""

__all__ = [
    "AbsenceWording",
    "affirmative_sentence",
    "caption",
    "caption_frame",
    "equivalents",
    "kind_of",
    "list_of_claims",
    "phrase",
    "phrasings",
    "realize",
    "sentence",
    "statement",
    "statements",
    "templates_of",
]

from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from random import Random
from typing import Literal

from negtrace.errors import LanguageError
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS, VOCABULARY, Name
from negtrace.language.noun_phrases import (
    Slots,
    capitalized,
    joined,
    names_of,
    normal_phrase,
    noun_phrases,
)
from negtrace.language.templates import (
    ABSENT,
    CAPTIONS,
    EQUIVALENT,
    PRESENT,
    STATEMENTS,
    UNSUITED,
    ClaimKind,
)
from negtrace.language.usage import usage_of

AbsenceWording = Literal["negated", "equivalent"]
"""Wording of an absent finding: "no cardiomegaly" or "normal heart size"."""


def phrase(claim: Claim, *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return a claim as a noun phrase.

    >>> phrase(Claim(finding="effusion", present=True, side="left", severity="large"))
    'a large left pleural effusion'
    >>> phrase(Claim(finding="cardiomegaly", present=False), wording="equivalent")
    'normal heart size'

    Raises:
        UnknownNameError: for a finding that is not built in.
        LanguageError: for a claim that nobody writes.
    """
    if not claim.present and wording == "equivalent":
        return normal_phrase(FINDINGS[claim.finding].normal_phrase)
    slots = _plain_slots(claim, Random(seed))  # noqa: S311
    return slots["np"] if claim.present else f"no {slots['bare']}"


def _plain_slots(claim: Claim, rng: Random) -> Slots:
    """Return the noun phrase of a claim, in the first name and the plainest words.

    In one of four cases the place stands behind the name.
    """
    name = FINDINGS[claim.finding].names[0]
    choices = list(noun_phrases(claim, name))
    if not choices:
        raise LanguageError(f"nobody writes of a {name.words} what {claim} says; {_FEWER}")
    behind = [slots for slots in choices if slots["bare"].rpartition(name.words)[2]]
    slots = behind[0] if rng.random() < 0.25 and behind else choices[0]
    amount = claim.present and claim.severity is None and not name.article
    # Edema and consolidation come in amounts, the size of the heart does not.
    in_lungs = bool(usage_of(claim.finding, name.words).sides)
    if amount and in_lungs and rng.random() < 0.5:
        slots["np"] = f"some {slots['np']}"
    return slots


_FEWER = "leave out its zone or its severity"


def sentence(claim: Claim, *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return a claim as one sentence; `seed` chooses its template.

    An affirmative equivalent speaks of the whole organ, so it says nothing of side, zone or
    severity.

    >>> sentence(Claim(finding="nodule", present=True, side="right", zone="upper"), seed=4)
    'There is a nodule in the right upper lobe.'
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
    """Return several claims as one sentence: what is there first, then what is not.

    The words of a claim do not depend on the other claims.

    >>> caption([
    ...     Claim(finding="edema", present=False),
    ...     Claim(finding="nodule", present=True),
    ... ], seed=3)
    'Portable radiograph with a nodule and no pulmonary edema.'
    """
    said = list_of_claims(claims, wording=wording, seed=seed)
    return capitalized(caption_frame(seed).format(list=said))


def caption_frame(seed: int) -> str:
    """Return the frame that `caption` puts around its list; `seed` chooses it.

    >>> caption_frame(3)
    'Portable radiograph with {list}.'
    """
    return Random(seed).choice(CAPTIONS)  # noqa: S311


def list_of_claims(
    claims: Sequence[Claim], *, wording: AbsenceWording = "negated", seed: int = 0
) -> str:
    """Return several claims as a list of noun phrases: what is there first, then what is not.

    Behind "no edema", a list would deny what follows. So each denied finding has a "no" of its own
    at the end of the list. In both wordings the order is the same.

    >>> edema, nodule = Claim(finding="edema", present=False), Claim(finding="nodule", present=True)
    >>> list_of_claims([edema, nodule]), list_of_claims([edema, nodule], wording="equivalent")
    ('a nodule and no pulmonary edema', 'a nodule and normal pulmonary vascularity')
    """
    # Every claim has a seed of its own, so that flipping one leaves the words of the others alone.
    parts = [
        (not claim.present, phrase(claim, wording=wording, seed=8 * seed + index))
        for index, claim in enumerate(claims)
    ]
    return joined([words for _, words in sorted(parts, key=itemgetter(0))])


def realize(claims: Sequence[Claim], *, wording: AbsenceWording = "negated", seed: int = 0) -> str:
    """Return claims as sentences, in their order; some sentences carry two or three claims.

    >>> realize([Claim(finding="edema", present=False)], wording="equivalent")
    'The radiograph shows normal pulmonary vascularity.'
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


def kind_of(claim: Claim) -> ClaimKind:
    """Return the key of the templates in `STATEMENTS` that fit a claim."""
    if not claim.present:
        return "absent"
    if claim.denied == "place":
        return "both sides denied" if claim.side == "bilateral" else "place denied"
    if claim.denied:
        return "severity denied"
    return claim.certainty or "present"


def statement(claim: Claim, *, seed: int = 0) -> str:
    """Return one of the statements of a claim; `seed` chooses it.

    >>> statement(Claim(finding="effusion", present=False, side="left"), seed=3)
    'Effusion on the left not present.'

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have, and for a claim that nobody
            writes, such as an effusion in the middle zone.
    """
    rng = Random(seed)  # noqa: S311
    names = names_of(claim)
    if not names:
        raise LanguageError(f"nobody writes what {claim} says; {_FEWER}")
    name = rng.choice(names)
    template = rng.choice(templates_of(claim, name))
    return capitalized(template.format(**rng.choice(list(noun_phrases(claim, name)))))


def templates_of(claim: Claim, name: Name) -> tuple[str, ...]:
    """Return the templates of `STATEMENTS` for a claim under one of the names of its finding."""
    unsuited = UNSUITED.get(usage_of(claim.finding, name.words).kind, frozenset())
    if claim.severity:
        unsuited |= UNSUITED["graded"]
    return tuple(text for text in STATEMENTS[kind_of(claim)] if text not in unsuited)


def statements(claim: Claim) -> Iterator[str]:
    """Yield every statement of a claim: each name, template, and word for its attributes.

    There is none for a claim that nobody writes, such as an effusion in the middle zone.

    >>> len(set(statements(Claim(finding="mass", present=False, zone="upper"))))
    98

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    return chain.from_iterable(phrasings(claim))


def phrasings(claim: Claim) -> Iterator[tuple[str, ...]]:
    """Yield the statements of a claim in groups: one group for each name and template.

    Claims that differ only in the value of an attribute yield as many groups, in the same order,
    unless nobody writes one of them.

    >>> next(phrasings(Claim(finding="mass", present=True, side="left")))
    ('There is a left lung mass.', 'There is a mass in the left lung.')

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    for name in names_of(claim):
        for template in templates_of(claim, name):
            slots = noun_phrases(claim, name)
            yield tuple(capitalized(template.format(**words)) for words in slots)


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
