"""Claims in the varied wording of radiology reports, and twins that differ in one word."""

__all__ = [
    "TEMPLATES",
    "TWIN_TEMPLATES",
    "Kind",
    "claim_twins",
    "equivalents",
    "kind_of",
    "phrasings",
    "statement",
    "statements",
]

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, product
from random import Random
from typing import Literal

from negtrace.errors import LanguageError
from negtrace.language.attributes import severity_words
from negtrace.language.claims import Claim, check_claim
from negtrace.language.findings import VOCABULARY, Name

Kind = Literal["present", "possible", "probable", "absent", "place denied", "severity denied"]

TEMPLATES: Mapping[Kind, tuple[str, ...]] = {
    "present": (
        "There {be} {a}.",
        "{a} {be} seen.",
        "{a} {be} noted.",
        "{a} {be} present.",
        "{a} {be} identified on this study.",
        "The radiograph shows {a}.",
        "Findings are consistent with {a}.",
        "{bare}.",
    ),
    "possible": (
        "Possible {bare}.",
        "{a} cannot be excluded.",
        "There may be {a}.",
        "Suspected {bare}.",
        "Findings are suspicious for {a}.",
        "{a} {be} possible.",
    ),
    "probable": (
        "Probable {bare}.",
        "{a} {be} likely.",
        "There {be} probably {a}.",
        "Findings most likely represent {a}.",
    ),
    "absent": (
        "There {be} no {bare}.",
        "No {bare}.",
        "No {bare} {be} seen.",
        "No {bare} {be} identified.",
        "No evidence of {bare}.",
        "There is no evidence of {a}.",
        "There is no sign of {a}.",
        "{a} {be} not seen.",
        "{bare} {be} not present.",
        "{bare} not present.",
        "{bare} {be} absent.",
        "Negative for {bare}.",
        "The chest is free of {bare}.",
        "The radiograph does not show {a}.",
        "The study is without {bare}.",
        "The patient does not have {a}.",
        "{bare} {have} been ruled out.",
    ),
    "place denied": (
        "{bare} not involving {place}.",
        "The {bare} {do} not involve {place}.",
        "There {be} {a}, not involving {place}.",
        "The {bare} {be} not in {place}.",
    ),
    "severity denied": (
        "The {bare} {be} not {severity}.",
        "There {be} {a}, not {severity}.",
        "{bare}, not {severity}.",
    ),
}
"""How each kind of claim is put. Slots: the finding with what is stated of it, bare or with its
article; what is denied of it; and verbs that agree."""

TWIN_TEMPLATES: tuple[tuple[str, str, str], ...] = (
    ("There {be} {word} {bare}.", "{article}", "no"),
    ("{word} {bare} {be} seen.", "{article}", "no"),
    ("The radiograph shows {word} {bare}.", "{article}", "no"),
    ("The {bare} {be} {word}.", "present", "absent"),
    ("The study is {word} {bare}.", "with", "without"),
)
"""Template, affirmative word and negating word, for a claim with its attributes."""

_Wording = dict[str, str]


def kind_of(claim: Claim) -> Kind:
    """Return which templates put a claim into words."""
    if not claim.present:
        return "absent"
    if claim.denied:
        return "place denied" if claim.denied == "place" else "severity denied"
    return claim.certainty or "present"


def statement(claim: Claim, *, seed: int = 0) -> str:
    """Return a claim as one sentence; `seed` chooses among all its wordings.

    >>> statement(Claim(finding="effusion", present=False, side="left"), seed=3)
    'No evidence of left-sided effusion.'

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for a claim that its finding cannot have.
    """
    rng = Random(seed)  # noqa: S311
    name = rng.choice(_names(claim))
    template = rng.choice(TEMPLATES[kind_of(claim)])
    return _sentence(template, rng.choice(list(_wordings(claim, name))))


def statements(claim: Claim) -> Iterator[str]:
    """Yield every wording of a claim: each name, template, and way to say its attributes.

    >>> len(set(statements(Claim(finding="mass", present=False, zone="upper"))))
    204

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for a claim that its finding cannot have.
    """
    return chain.from_iterable(phrasings(claim))


def phrasings(claim: Claim) -> Iterator[tuple[str, ...]]:
    """Yield the wordings of a claim, those of one name and one template together.

    Claims that differ in the value of an attribute yield as many, in the same order.

    >>> next(phrasings(Claim(finding="mass", present=True, side="left")))
    ('There is a left mass.', 'There is a left-sided mass.', 'There is a mass on the left.')

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for a claim that its finding cannot have.
    """
    for name, template in product(_names(claim), TEMPLATES[kind_of(claim)]):
        yield tuple(_sentence(template, wording) for wording in _wordings(claim, name))


def equivalents(finding: str) -> Iterator[str]:
    """Yield sentences that affirm what excludes a finding, and neither name nor negate it.

    >>> next(equivalents("effusion"))
    'The costophrenic angles are sharp.'

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
    """
    known = VOCABULARY[finding]
    yield known.normal
    for phrase in (known.normal_phrase, *known.normals):
        article = "a " if phrase.endswith(" chest") else ""
        yield f"{phrase[0].upper()}{phrase[1:]}."
        yield f"The radiograph shows {article}{phrase}."


def _names(claim: Claim) -> list[Name]:
    """Return the names that a claim's wording may use: "a mild enlarged heart" is no English."""
    names = VOCABULARY[check_claim(claim).finding].names
    graded = ("enlarged", "widened", "thickened", "broken")
    return [name for name in names if not (claim.severity and name.words.startswith(graded))]


def claim_twins(
    claim: Claim, other: Claim, *, length: Callable[[str], int] | None = None
) -> list[tuple[str, str]]:
    """Return sentences on two claims that differ in exactly one word.

    The claims differ in presence, side, zone or severity alone, as a claim and its counterfactual.
    With `length`, which counts a sentence's tokens, only pairs of equal length are kept.

    >>> left = Claim(finding="nodule", present=True, side="left")
    >>> right = Claim(finding="nodule", present=True, side="right")
    >>> claim_twins(left, right)[0]
    ('There is a left nodule.', 'There is a right nodule.')
    >>> claim_twins(left, left.negate())[0]
    ('There is a left nodule.', 'There is no left nodule.')

    Raises:
        LanguageError: for claims that cannot be made, or that no pair of sentences sets apart by
            one word.
    """
    found = [
        pair
        for pair in dict.fromkeys(_twins(claim, other))
        if _one_word_apart(*pair) and (length is None or length(pair[0]) == length(pair[1]))
    ]
    if not found:
        raise LanguageError(
            f"no sentences say {claim} and {other} one word apart; change one attribute, "
            "and keep to left or right where the side is changed"
        )
    return found


def _twins(claim: Claim, other: Claim) -> Iterator[tuple[str, str]]:
    """Yield sentences on both claims, of one template and one name of the finding."""
    if claim.certainty or claim.denied or other.certainty or other.denied:
        raise LanguageError(f"{claim} or {other} is in doubt or denied in part; twins are plain")
    alike = TEMPLATES[kind_of(claim)]
    pairs = TWIN_TEMPLATES if claim.present != other.present else [(t, "", "") for t in alike]
    for name, (template, affirmative, negating) in product(_names(claim), pairs):
        for one, two in product(_wordings(claim, name), _wordings(other, name)):
            one["word"] = affirmative.format(**one) if claim.present else negating
            two["word"] = affirmative.format(**two) if other.present else negating
            yield _sentence(template, one), _sentence(template, two)


def _one_word_apart(one: str, other: str) -> bool:
    words, others = one.split(), other.split()
    return (
        len(words) == len(others) and sum(a != b for a, b in zip(words, others, strict=True)) == 1
    )


def _sentence(template: str, wording: _Wording) -> str:
    text = template.format(**wording)
    return text[0].upper() + text[1:]


def _wordings(claim: Claim, name: Name) -> Iterator[_Wording]:
    """Yield the ways to fill a template's slots; what is denied stands apart from the finding."""
    kept = claim
    denied: list[_Wording] = [{}]
    if claim.denied == "place":
        kept = replace(claim, side=None, zone=None)
        denied = [{"place": place} for place in _denied_places(claim)]
    elif claim.denied == "severity":
        kept = replace(claim, severity=None)
        denied = [{"severity": word} for word in _severities(claim, name)]
    for severity, (before, after), apart in product(_severities(kept, name), _places(kept), denied):
        yield _filled((severity, before, after), kept, name) | apart


def _severities(claim: Claim, name: Name) -> list[str]:
    return severity_words(counted=name.counted)[claim.severity] if claim.severity else [""]


def _filled(stated: tuple[str, str, str], claim: Claim, name: Name) -> _Wording:
    """Return the noun phrase with its severity and place, and what agrees with it."""
    severity, before, after = stated
    several = claim.side == "bilateral" and name.counted
    noun = name.plural if several else name.words
    bare = " ".join(part for part in (severity, before, noun, after) if part)
    many = several or name.article == "some"
    article = f"{'an' if bare[0] in 'aeiou' else 'a'} " if name.counted and not several else ""
    return {
        "bare": bare,
        "a": article + bare,
        "article": article.strip() or "some",
        "be": "are" if many else "is",
        "have": "have" if many else "has",
        "do": "do" if many else "does",
    }


def _places(claim: Claim) -> list[tuple[str, str]]:
    """Return how side and zone are said: words before the noun and words after it."""
    side, zone = claim.side, claim.zone
    if zone is None:
        if side is None:
            return [("", "")]
        if side == "bilateral":
            return [("bilateral", ""), ("", "on both sides")]
        return [(side, ""), (f"{side}-sided", ""), ("", f"on the {side}")]
    where = [f"in {place}" for place in _zones(side, zone)]
    corner = {"upper": ("apex", "apices"), "lower": ("base", "bases")}.get(zone)
    if corner:
        where.append(f"at {_of_side(side, *corner)}")
    return [("", place) for place in where]


def _zones(side: str | None, zone: str) -> list[str]:
    return [
        _of_side(side, f"{zone} {part}", f"{zone} {part}s") for part in ("zone", "lobe", "lung")
    ]


def _of_side(side: str | None, one: str, both: str) -> str:
    """Return a part of the chest on its side: "the left base", "both bases"."""
    if side == "bilateral":
        return f"both {both}"
    return " ".join(word for word in ("the", side, one) if word)


def _denied_places(claim: Claim) -> list[str]:
    if claim.zone is None:
        return [_of_side(claim.side, "side", "sides")]
    corner = {"upper": ("apex", "apices"), "lower": ("base", "bases")}.get(claim.zone)
    return [*_zones(claim.side, claim.zone), *([_of_side(claim.side, *corner)] if corner else [])]
