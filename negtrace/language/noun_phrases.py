"""Noun phrases: a finding with its severity and place, its article, and the verbs that agree.

Articles, agreement and the words for severity, side and zone are decided here and nowhere else.
The plural of a noun is in `negtrace.language.findings`.
"""

__all__ = [
    "PlaceWords",
    "Slots",
    "capitalized",
    "denied_places",
    "joined",
    "names_of",
    "normal_phrase",
    "noun_phrase",
    "noun_phrases",
    "places",
    "severities",
]

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

from negtrace.language.claims import Claim, check_claim, severity_words
from negtrace.language.findings import VOCABULARY, Name

Slots = dict[str, str]
"""Words for the slots of a template:

- `bare`: the noun phrase without an article, as in "small left nodule"
- `np`: the noun phrase with its article, as in "a small left nodule"
- `article`: "a" or "an"; "some" for a plural and for what comes in amounts
- `be`, `have`, `do`: the verb that agrees, such as "is" or "are"
- `place`, `severity`: what a claim denies of its finding, as in "the left base"
"""

PlaceWords = tuple[str, str]
"""Side and zone in words: those before the noun and those after it. One of the two is empty."""


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
        severity: a word of `severities`.
        place: words of `places`.
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
    }


def names_of(claim: Claim) -> list[Name]:
    """Return the names of the finding that fit a claim: nobody says "a mild enlarged heart".

    Raises:
        UnknownNameError: for a finding that is not in the vocabulary.
        LanguageError: for an attribute that the finding cannot have.
    """
    names = VOCABULARY[check_claim(claim).finding].names
    graded = ("enlarged", "widened", "thickened", "broken")
    return [name for name in names if not (claim.severity and name.words.startswith(graded))]


def noun_phrases(claim: Claim, name: Name) -> Iterator[Slots]:
    """Yield a claim under one of its names in every word for its attributes.

    An attribute that the claim denies is no part of the noun phrase: it fills the slot `place` or
    `severity`.
    """
    stated = claim
    denied: list[Slots] = [{}]
    if claim.denied == "place":
        stated = replace(claim, side=None, zone=None)
        denied = [{"place": words} for words in denied_places(claim)]
    elif claim.denied == "severity":
        stated = replace(claim, severity=None)
        denied = [{"severity": words} for words in severities(claim, name)]
    for severity, place, apart in product(severities(stated, name), places(stated), denied):
        yield noun_phrase(stated, name, severity=severity, place=place) | apart


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


def severities(claim: Claim, name: Name) -> list[str]:
    """Return the words for the severity of a claim, the plainest first; "" if it states none."""
    return severity_words(counted=name.counted)[claim.severity] if claim.severity else [""]


def places(claim: Claim) -> list[PlaceWords]:
    """Return the ways to word side and zone; with neither, one pair of empty words.

    >>> places(Claim(finding="nodule", present=True, side="left"))
    [('left', ''), ('left-sided', ''), ('', 'on the left')]
    >>> places(Claim(finding="nodule", present=True, side="left", zone="upper"))[0]
    ('', 'in the left upper zone')
    """
    side = claim.side
    if claim.zone:
        parts = [f"in {part}" for part in _lung_parts(side, claim.zone)]
        return [("", words) for words in (*parts, *(f"at {end}" for end in _ends(claim)))]
    if side == "bilateral":
        return [(side, ""), ("", "on both sides")]
    return [(side, ""), (f"{side}-sided", ""), ("", f"on the {side}")] if side else [("", "")]


def denied_places(claim: Claim) -> list[str]:
    """Return the ways to word the place where a claim denies its finding.

    >>> denied_places(Claim(finding="effusion", present=True, side="left", denied="place"))
    ['the left side']
    """
    if claim.zone is None:
        return [_of_side(claim.side, "side", "sides")]
    return [*_lung_parts(claim.side, claim.zone), *_ends(claim)]


def _lung_parts(side: str | None, zone: str) -> list[str]:
    return [
        _of_side(side, f"{zone} {part}", f"{zone} {part}s") for part in ("zone", "lobe", "lung")
    ]


def _ends(claim: Claim) -> list[str]:
    """Return the end of the lung that the zone is at; the middle zone is at none."""
    ends = {"upper": ("apex", "apices"), "lower": ("base", "bases")}
    return [_of_side(claim.side, *ends[claim.zone])] if claim.zone in ends else []


def _of_side(side: str | None, one: str, both: str) -> str:
    """Return a part of the chest with its side, as in "the left base" and "both bases"."""
    if side == "bilateral":
        return f"both {both}"
    return " ".join(words for words in ("the", side, one) if words)


def joined(parts: Sequence[str]) -> str:
    """Join phrases as a list in a sentence.

    >>> joined(["a nodule", "no edema", "a device"])
    'a nodule, no edema and a device'
    """
    return " and ".join([*([", ".join(parts[:-1])] if parts[1:] else []), parts[-1]])


def capitalized(text: str) -> str:
    """Return a text with its first letter in upper case."""
    return text[0].upper() + text[1:]
