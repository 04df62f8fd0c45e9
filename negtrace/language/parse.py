"""Claims read back from text: each finding that is named, with its polarity and attributes."""

__all__ = ["parse_claim", "parse_claims", "read_sentence"]

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from negtrace.errors import LanguageError
from negtrace.language.claims import WORDS_BY_VALUE, Claim, attribute_words
from negtrace.language.cues import Cue, Reading, read_words
from negtrace.language.findings import VOCABULARY, Finding
from negtrace.language.lexicon import load_lexicon
from negtrace.language.negation import Decision, decide
from negtrace.language.words import Span, Words, sentence_spans, split

Meaning = Literal["named", "normal", "abnormal", "elsewhere"]

_ENDS = frozenset(".;:!?")
_JOINTS = frozenset([",", "and", "or", "nor", "but", "with", "without", "no", "not", "while"])


@dataclass(frozen=True, kw_only=True)
class _Mention:
    """A finding named in a text, or its absence or presence put without naming it."""

    finding: str
    meaning: Meaning
    first: int
    last: int
    """The word after its last."""


@dataclass(frozen=True, kw_only=True)
class _Text:
    words: Words
    reading: Reading

    def decision(self, first: int, last: int) -> Decision:
        """Return what is said of some of the words."""
        return decide(self.reading, self.words.span(first, last))


def parse_claim(text: str) -> Claim:
    """Return the one claim that a text makes.

    >>> parse_claim("No large left pleural effusion.")
    Claim(finding='effusion', present=False, side='left', severity='large')
    >>> parse_claim("The heart size is normal.")
    Claim(finding='cardiomegaly', present=False)

    Raises:
        LanguageError: where the text makes no claim on a known finding, or several.
    """
    claims = parse_claims(text)
    if len(claims) != 1:
        named = ", ".join(claim.finding for claim in claims) or "none"
        raise LanguageError(
            f"expected a text with one claim, got {len(claims)} (findings: {named}); "
            "parse_claims reads several"
        )
    return claims[0]


def parse_claims(text: str) -> tuple[Claim, ...]:
    """Return the claims that a text makes, from left to right.

    Side, zone and severity are those stated between a finding and its neighbours; what a finding
    cannot have is passed over. A finding that is named twice makes two claims.

    >>> for claim in parse_claims("Small left effusion at the base, no pneumothorax."):
    ...     print(claim)
    Claim(finding='effusion', present=True, side='left', zone='lower', severity='small')
    Claim(finding='pneumothorax', present=False)
    """
    spans = sentence_spans(text, load_lexicon().abbreviations)
    return tuple(claim for start, end in spans for claim in _claims(text[start:end]))


def read_sentence(sentence: str) -> tuple[tuple[Claim, ...], Reading]:
    """Return the claims that one sentence makes, and what the lexicon finds in it.

    >>> claims, reading = read_sentence("There is no effusion.")
    >>> claims[0], reading.cues[0].text
    (Claim(finding='effusion', present=False), 'no')
    """
    words = split(sentence)
    reading = read_words(words, load_lexicon())
    return tuple(_said(_Text(words=words, reading=reading), _mentions(words))), reading


def _claims(sentence: str) -> Iterator[Claim]:
    words = split(sentence)
    mentions = _mentions(words)
    if any(mention.meaning != "elsewhere" for mention in mentions):
        reading = read_words(words, load_lexicon())
        yield from _said(_Text(words=words, reading=reading), mentions)


def _said(read: _Text, mentions: Sequence[_Mention]) -> Iterator[Claim]:
    for mention, field in zip(mentions, _fields(read.words, mentions), strict=True):
        if mention.meaning != "elsewhere":
            yield _claim(read, mention, field)


def _claim(read: _Text, mention: _Mention, field: Span) -> Claim:
    decision = read.decision(mention.first, mention.last)
    if mention.meaning != "named":
        # "Normal heart size" denies by affirming; a cue before it turns it round.
        return Claim(
            finding=mention.finding, present=(mention.meaning == "normal") == decision.negated
        )
    finding = VOCABULARY[mention.finding]
    places = _attributes(read.words, mention, field, finding)
    stated: dict[str, Any] = {name: value for name, (value, _) in places.items()}
    if decision.negated:
        return Claim(finding=finding.key, present=False, **stated)
    if decision.status == "uncertain" and decision.cue:
        stated["certainty"] = _certainty(decision.cue)
    elif denied := _denied(read, places):
        stated["denied"] = denied
    return Claim(finding=finding.key, present=True, **stated)


def _certainty(cue: Cue) -> str:
    said = set(split(cue.text).lower)
    return "probable" if said & set(WORDS_BY_VALUE["certainty"]["probable"]) else "possible"


def _denied(read: _Text, places: Mapping[str, tuple[str, int]]) -> str | None:
    """Return the attribute that a cue reaches where it does not reach the finding."""
    for name, (_, place) in places.items():
        if read.decision(place, place + 1).negated:
            return "severity" if name == "severity" else "place"
    return None


def _attributes(
    words: Words, mention: _Mention, field: Span, finding: Finding
) -> dict[str, tuple[str, int]]:
    """Return the value and the word of each attribute; before the finding the last word counts."""
    known = attribute_words()
    behind = range(field[1] - 1, mention.last - 1, -1)
    found: dict[str, tuple[str, int]] = {}
    for place in (*behind, *range(field[0], mention.first)):
        attribute, value = known.get(words.lower[place], ("", ""))
        if attribute not in finding.allowed:
            continue
        sides = {value, found.get(attribute, (value, 0))[0]}
        found[attribute] = ("bilateral" if sides == {"left", "right"} else value, place)
    return found


def _fields(words: Words, mentions: Sequence[_Mention]) -> list[Span]:
    """Return for each mention the words that may say something of it."""
    ends = [-1, *(p for p, word in enumerate(words.lower) if word in _ENDS), len(words.lower)]
    fields = []
    for number, mention in enumerate(mentions):
        low = ends[bisect_left(ends, mention.first) - 1] + 1
        high = ends[bisect_left(ends, mention.last)]
        if number and mentions[number - 1].last > low:
            low = _joint(words, mentions[number - 1].last, mention.first)
        if number + 1 < len(mentions) and mentions[number + 1].first < high:
            high = _joint(words, mention.last, mentions[number + 1].first)
        fields.append((low, high))
    return fields


def _joint(words: Words, begin: int, end: int) -> int:
    """Return where, between two findings, what is said of the second begins."""
    return next((p for p in range(begin, end) if words.lower[p] in _JOINTS), begin)


def _mentions(words: Words) -> list[_Mention]:
    """Return the findings in a text, the longest name first at each word, none within another."""
    names, longest = _names()
    found: list[_Mention] = []
    place = 0
    while place < len(words.lower):
        hit = _named(names, words.lower[place : place + longest.get(words.lower[place], 0)])
        if hit is None:
            place += 1
            continue
        (finding, meaning), length = hit
        found.append(_Mention(finding=finding, meaning=meaning, first=place, last=place + length))
        place += length
    return found


def _named(
    names: Mapping[tuple[str, ...], tuple[str, Meaning]], ahead: Sequence[str]
) -> tuple[tuple[str, Meaning], int] | None:
    for length in range(len(ahead), 0, -1):
        if entry := names.get(tuple(ahead[:length])):
            return entry, length
    return None


@cache
def _names() -> tuple[dict[tuple[str, ...], tuple[str, Meaning]], dict[str, int]]:
    """Return what each sequence of words names, and the longest that begins with a word."""
    names: dict[tuple[str, ...], tuple[str, Meaning]] = {}
    for finding in VOCABULARY.values():
        _enter(
            names,
            (n for name in finding.names for n in (name.words, name.plural)),
            finding,
            "named",
        )
        _enter(names, [finding.normal_phrase, finding.normal, *finding.normals], finding, "normal")
        _enter(names, [finding.abnormal], finding, "abnormal")
    for phrase in WORDS_BY_VALUE["elsewhere"]["phrases"]:
        names[tuple(split(phrase).lower)] = ("", "elsewhere")
    longest: dict[str, int] = {}
    for words in names:
        longest[words[0]] = max(len(words), longest.get(words[0], 0))
    return names, longest


def _enter(
    names: dict[tuple[str, ...], tuple[str, Meaning]],
    phrases: Iterable[str],
    finding: Finding,
    meaning: Meaning,
) -> None:
    for phrase in phrases:
        words = tuple(split(re.sub(r"\.$", "", phrase)).lower)
        held = names.setdefault(words, (finding.key, meaning))
        if held != (finding.key, meaning):
            raise LanguageError(f"{phrase!r} names both {held[0]!r} and {finding.key!r}")
