"""Names that a report gives its findings; what is said of them keeps these names.

A vocabulary has one entry for hiatal and for diaphragmatic hernias. A report that denies the one
says nothing of the other.
"""

__all__ = ["NamedClaim", "every_name", "under_name", "with_names"]

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY, plural_of
from negtrace.language.usage import usage_of

UNCLEAR = "?"
"""Name of a claim in a sentence with several names for its finding, of which any could be meant."""


@dataclass(frozen=True, kw_only=True, repr=False)
class NamedClaim(Claim):
    """A claim with the name that a report gives its finding.

    The name goes with the claim into its counterfactuals, since those are made by replacing fields.
    """

    name: str = ""
    """The name in the singular and without an article; blank if any name will do."""


def with_names(claims: Sequence[Claim], sentence: str) -> tuple[NamedClaim, ...]:
    """Return the claims of a sentence with the names that it uses.

    A finding that is stated without its name, as in "The heart is enlarged", has a blank one.

    >>> claim = Claim(finding="hernia", present=True)
    >>> [named.name for named in with_names([claim], "Hiatal hernia.")]
    ['hiatal hernia']
    """
    names = {claim.finding: names_in(claim.finding, sentence) for claim in claims}
    counts = {finding: sum(c.finding == finding for c in claims) for finding in names}
    result: list[NamedClaim] = []
    for claim in claims:
        said = names[claim.finding]
        if len(said) == counts[claim.finding]:
            name = said[sum(earlier.finding == claim.finding for earlier in result)]
        else:
            name = UNCLEAR if len(set(said)) > 1 else "".join(said[:1])
        result.append(NamedClaim(**vars(claim), name=name))
    return tuple(result)


def names_in(finding: str, text: str) -> list[str]:
    """Return the names of a finding in a text, in the singular and in their order.

    >>> names_in("hernia", "Hernias, one of them a hiatal hernia.")
    ['hernia', 'hiatal hernia']
    """
    singular = _singular(finding)
    return [singular[match[0].casefold()] for match in _pattern(finding).finditer(text)]


def every_name(finding: str) -> Iterator[str]:
    """Yield every name of a finding, also those that are read and never written."""
    entry = VOCABULARY[finding]
    yield from (name.words for name in entry.names)
    yield from entry.mentions


@cache
def _singular(finding: str) -> Mapping[str, str]:
    """Return the names of a finding by themselves and by their plurals."""
    words: dict[str, str] = {}
    for name in every_name(finding):
        words |= {name.casefold(): name, plural_of(name).casefold(): name}
    return words


@cache
def _pattern(finding: str) -> re.Pattern[str]:
    longest_first = sorted(_singular(finding), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b", re.IGNORECASE)


@lru_cache(maxsize=1024)
def _model(finding: str, name: str) -> str | None:
    """Return the name whose sentences a name can stand in: itself, or one of the same head.

    It is the finding's first name where no name of that head has the words for its attributes: an
    endotracheal tube has no side, but a chest tube has. None if the finding has no such name.
    """
    if name not in every_name(finding):
        return None
    written = VOCABULARY[finding].names
    if name in [other.words for other in written]:
        return name
    first = written[0]
    alike = [other for other in written if other.words.split()[-1] == name.split()[-1]]
    able = [other for other in alike if _has_words_of(finding, other.words, first.words)]
    if able or not alike or alike[0].counted == first.counted:
        return (able or [first])[0].words
    return alike[0].words


def _has_words_of(finding: str, name: str, other: str) -> bool:
    """Tell whether a name has words for each attribute that another name has words for."""
    one, two = (usage_of(finding, each) for each in (name, other))
    attributes = ("sides", "zones", "severities")
    return all(getattr(one, attribute) or not getattr(two, attribute) for attribute in attributes)


def under_name(finding: str, name: str, text: str) -> str | None:
    """Return a statement under another name of its finding, or None if the name cannot be put in.

    >>> under_name("device", "chest drain", "There is a support device.")
    'There is a chest drain.'
    """
    model = _model(finding, name)
    match = _pattern(finding).search(text)
    if model is None or match is None or names_in(finding, text) != [model]:
        return None
    if model == name:
        return text
    words = name if match[0].casefold() == model.casefold() else plural_of(name)
    start = match.start()
    before = re.sub(r"\b([Aa])n? $", rf"\1{'n' if words[0] in 'aeiou' else ''} ", text[:start])
    return before + (words if before else words[0].upper() + words[1:]) + text[match.end() :]
