"""Noun phrases: a finding with its severity and place, its article, and the verbs that agree.

Articles and agreement are decided here and nowhere else. The words for severity, side and zone are
in `negtrace.language.usage`, the plural of a noun is in `negtrace.language.findings`.
"""

__all__ = [
    "Slots",
    "capitalized",
    "joined",
    "names_of",
    "normal_phrase",
    "noun_phrase",
    "noun_phrases",
]

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from negtrace.language.claims import Claim, check_claim
from negtrace.language.findings import VOCABULARY, Name
from negtrace.language.usage import PlaceWords, usage_of

Slots = dict[str, str]
"""Words for the slots of a template:

- `bare`: the noun phrase without an article, as in "small left nodule"
- `np`: the noun phrase with its article, as in "a small left nodule"
- `article`: "a" or "an"; "some" for a plural and for what comes in amounts
- `be`, `have`, `do`, `it`: the verb or pronoun that agrees, such as "is" or "are"
- `severity`: the severity that a claim denies of its finding
- `place`, `in_place`: the place that a claim denies, as in "the left base" and "at the left base"
"""


def noun_phrase(
    claim: Claim, name: Name, *, severity: str = "", place: PlaceWords = ("", "")
) -> Slots:
    """Return a finding as a noun phrase, for the slots of a template.

    A counted finding on both sides is put in the plural.

    >>> from negtrace.language.findings import FINDINGS
    >>> claim = Claim(finding="nodule", present=True, side="left")
    >>> noun_phrase(claim, FINDINGS["nodule"].names[0], place=("left", ""))["np"]
    'a left nodule'

    Args:
        claim: the finding, and whether it is on both sides.
        name: what the finding is called.
        severity: a word for the severity.
        place: words before and behind the noun, of `Usage.places`.
    """
    both = claim.side == "bilateral" and name.counted
    noun = name.plural if both else name.words
    bare = " ".join(words for words in (severity, place[0], noun, place[1]) if words)
    article = _indefinite(bare) if name.counted and not both else ""
    plural = both or name.article == "some"
    return {
        "bare": bare,
        "np": f"{article} {bare}" if article else bare,
        "article": article or "some",
        "be": "are" if plural else "is",
        "have": "have" if plural else "has",
        "do": "do" if plural else "does",
        "it": "they" if plural else "it",
    }


def names_of(claim: Claim) -> list[Name]:
    """Return the names of the finding that fit a claim: nobody says "a mild enlarged heart".

    There is none for a claim that nobody writes, such as fluid in the middle zone.

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    names = VOCABULARY[check_claim(claim).finding].names
    return [name for name in names if next(noun_phrases(claim, name), None)]


def noun_phrases(claim: Claim, name: Name) -> Iterator[Slots]:
    """Yield a claim under one of its names in every word for its attributes.

    An attribute that the claim denies is no part of the noun phrase: it fills a slot of its own.
    """
    usage = usage_of(claim.finding, name.words)
    stated, denied = claim, [Slots()]
    if claim.denied == "place":
        stated = replace(claim, side=None, zone=None)
        denied = _denied_places(claim, name)
    elif claim.denied == "severity":
        stated = replace(claim, severity=None)
        denied = [{"severity": word} for word in _denied_severities(claim, name)]
    severities = usage.severities.get(stated.severity, []) if stated.severity else [""]
    # Denials are in the plainest words: nobody writes "no minimal effusion".
    plain = not claim.present or claim.denied
    choices = product(severities[:1] if plain else severities, usage.places(stated), denied)
    for severity, place, apart in choices:
        yield noun_phrase(stated, name, severity=severity, place=place) | apart


def _denied_severities(claim: Claim, name: Name) -> list[str]:
    """Return the word for the denied severity. "Not moderate" would say nothing."""
    words = usage_of(claim.finding, name.words).severities.get(claim.severity or "", [])
    return words[:1] if claim.severity != "moderate" else []


def _denied_places(claim: Claim, name: Name) -> list[Slots]:
    """Return the slots for the denied place; none for what is written of no such finding."""
    usage = usage_of(claim.finding, name.words)
    if claim.side == "bilateral":
        # Nobody says of one nodule that it is not bilateral, but of an effusion.
        single = name.counted and usage.kind != "diagnosis"
        return [] if single or claim.zone or not usage.sides.get("both") else [{}]
    slots: list[Slots] = []
    for words in usage.denied_places(claim):
        preposition, _, place = words.partition(" ")
        side = f"{place} side" if preposition == "on" else place
        slots.append({"place": side, "in_place": words})
    return slots


def _indefinite(words: str) -> str:
    """Return the indefinite article of a phrase that begins with these words."""
    return "an" if words[0] in "aeiou" else "a"


def normal_phrase(words: str) -> str:
    """Return an affirmative equivalent with its article.

    Of the equivalents in `findings.toml`, only those that speak of a chest take one.

    >>> normal_phrase("normal heart size"), normal_phrase("normal chest")
    ('normal heart size', 'a normal chest')
    """
    return f"{_indefinite(words)} {words}" if words.endswith(" chest") else words


def joined(parts: Sequence[str]) -> str:
    """Join phrases as a list in a sentence.

    >>> joined(["a nodule", "no edema", "a device"])
    'a nodule, no edema and a device'
    """
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), parts[-1]])


def capitalized(text: str) -> str:
    """Return a text with its first letter in upper case."""
    return text[0].upper() + text[1:]
