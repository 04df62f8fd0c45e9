"""Claims read back from text: each finding that a text names, with its polarity and attributes."""

__all__ = ["parse_claim", "parse_claims", "read_sentence", "sentence_spans"]

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal

from negtrace.errors import LanguageError
from negtrace.language.claims import WORDS_BY_VALUE, Claim, attribute_words
from negtrace.language.cues import Cue, Reading, read_words
from negtrace.language.findings import VOCABULARY, Finding
from negtrace.language.lexicon import load_lexicon
from negtrace.language.negation import Decision, decide
from negtrace.language.words import Span, Words, split, stops

Meaning = Literal["named", "normal", "abnormal", "elsewhere"]
"""Meaning of a phrase: the name of a finding; that the finding is absent or present, without its
name; or the name of something outside the chest."""

_ENDS = frozenset(".;:!?")
_SENTENCE_ENDS = frozenset(".!?;\n")
_JOINTS = frozenset([",", "and", "or", "nor", "but", "with", "without", "no", "not", "while"])


@dataclass(frozen=True, kw_only=True)
class _Mention:
    """A phrase about a finding in a text. Words are given by their number."""

    finding: str
    meaning: Meaning
    first: int
    last: int
    """The word after the last one of the phrase."""


@dataclass(frozen=True, kw_only=True)
class _Text:
    words: Words
    reading: Reading

    def decision(self, first: int, last: int) -> Decision:
        """Return what the text says of the words from `first` to `last`, without `last`."""
        return decide(self.reading, self.words.span(first, last))


def parse_claim(text: str) -> Claim:
    """Return the one claim that a text makes.

    >>> parse_claim("No large left pleural effusion.")
    Claim(finding='effusion', present=False, side='left', severity='large')
    >>> parse_claim("The heart size is normal.")
    Claim(finding='cardiomegaly', present=False)

    Raises:
        LanguageError: for a text with no claim about a known finding, or with several.
    """
    claims = parse_claims(text)
    if len(claims) != 1:
        findings = ", ".join(claim.finding for claim in claims) or "none"
        raise LanguageError(
            f"expected a text with one claim, got {len(claims)} (findings: {findings}); "
            "parse_claims reads several"
        )
    return claims[0]


def parse_claims(text: str) -> tuple[Claim, ...]:
    """Return the claims that a text makes, from left to right.

    The attributes of a claim are stated near its finding: between the findings before and after it,
    in the same sentence. Attributes that the finding cannot have are ignored. A finding that is
    named twice makes two claims.

    >>> for claim in parse_claims("Small left effusion at the base, no pneumothorax."):
    ...     print(claim)
    Claim(finding='effusion', present=True, side='left', zone='lower', severity='small')
    Claim(finding='pneumothorax', present=False)
    """
    return tuple(
        claim for start, end in sentence_spans(text) for claim in _claims_of(text[start:end])
    )


def sentence_spans(text: str) -> list[Span]:
    """Return the characters of each sentence, with its full stop. A colon ends no sentence.

    >>> sentence_spans("No mass, as Dr. Low said. Size: 2.5 cm.")
    [(0, 25), (25, 39)]
    """
    words = split(text)
    marks = stops(words, load_lexicon().abbreviations)
    ends = [words.ends[index] for index in marks if words.lower[index][0] in _SENTENCE_ENDS]
    edges = [0, *ends, len(text)]
    return [(begin, end) for begin, end in pairwise(edges) if text[begin:end].strip()]


def read_sentence(sentence: str) -> tuple[tuple[Claim, ...], Reading]:
    """Return the claims that one sentence makes, and what the lexicon finds in it.

    >>> claims, reading = read_sentence("There is no effusion.")
    >>> claims[0], reading.cues[0].text
    (Claim(finding='effusion', present=False), 'no')
    """
    words = split(sentence)
    reading = read_words(words, load_lexicon())
    return tuple(_claims(_Text(words=words, reading=reading), _mentions(words))), reading


def _claims_of(sentence: str) -> Iterator[Claim]:
    words = split(sentence)
    mentions = _mentions(words)
    # Most sentences of a report name no finding; they need not be searched for cues.
    if any(mention.meaning != "elsewhere" for mention in mentions):
        reading = read_words(words, load_lexicon())
        yield from _claims(_Text(words=words, reading=reading), mentions)


def _claims(text: _Text, mentions: Sequence[_Mention]) -> Iterator[Claim]:
    for mention, area in zip(mentions, _areas(text.words, mentions), strict=True):
        if mention.meaning != "elsewhere":
            yield _claim(text, mention, area)


def _claim(text: _Text, mention: _Mention, area: Span) -> Claim:
    decision = text.decision(mention.first, mention.last)
    if mention.meaning != "named":
        # "Normal heart size" denies cardiomegaly; "not normal heart size" affirms it.
        present = (mention.meaning == "normal") == decision.negated
        return Claim(finding=mention.finding, present=present)
    finding = VOCABULARY[mention.finding]
    stated = _stated(text.words, mention, area, finding)
    attributes: dict[str, Any] = {name: value for name, (value, _) in stated.items()}
    if decision.negated:
        return Claim(finding=finding.key, present=False, **attributes)
    if decision.status == "uncertain" and decision.cue:
        attributes["certainty"] = _certainty(decision.cue)
    elif denied := _denied(text, stated):
        attributes["denied"] = denied
    return Claim(finding=finding.key, present=True, **attributes)


def _certainty(cue: Cue) -> str:
    words = set(split(cue.text).lower)
    return "probable" if words & set(WORDS_BY_VALUE["certainty"]["probable"]) else "possible"


def _denied(text: _Text, stated: Mapping[str, tuple[str, int]]) -> str | None:
    """Return the attribute that a cue negates while it does not negate the finding."""
    for name, (_, index) in stated.items():
        if text.decision(index, index + 1).negated:
            return "severity" if name == "severity" else "place"
    return None


def _stated(
    words: Words, mention: _Mention, area: Span, finding: Finding
) -> dict[str, tuple[str, int]]:
    """Return the value of each attribute in the area of a finding, and the word that states it.

    Of several words for one attribute, the one nearest in front of the finding counts; if there is
    none in front, the first one behind. "Left" and "right" together are both sides.
    """
    meanings = attribute_words()
    behind = range(area[1] - 1, mention.last - 1, -1)
    stated: dict[str, tuple[str, int]] = {}
    for index in (*behind, *range(area[0], mention.first)):
        attribute, value = meanings.get(words.lower[index], ("", ""))
        if attribute not in finding.allowed:
            continue
        sides = {value, stated.get(attribute, (value, 0))[0]}
        stated[attribute] = ("bilateral" if sides == {"left", "right"} else value, index)
    return stated


def _areas(words: Words, mentions: Sequence[_Mention]) -> list[Span]:
    """Return for each mention the words that may state its attributes."""
    stops = [index for index, word in enumerate(words.lower) if word in _ENDS]
    ends = [-1, *stops, len(words.lower)]
    areas = []
    for number, mention in enumerate(mentions):
        low = ends[bisect_left(ends, mention.first) - 1] + 1
        high = ends[bisect_left(ends, mention.last)]
        if number and mentions[number - 1].last > low:
            low = _joint(words, mentions[number - 1].last, mention.first)
        if number + 1 < len(mentions) and mentions[number + 1].first < high:
            high = _joint(words, mention.last, mentions[number + 1].first)
        areas.append((low, high))
    return areas


def _joint(words: Words, begin: int, end: int) -> int:
    """Return the first word between two findings that belongs to the second."""
    return next((i for i in range(begin, end) if words.lower[i] in _JOINTS), begin)


def _mentions(words: Words) -> list[_Mention]:
    """Return the phrases about findings; the longest one at each word, without overlaps."""
    phrases, longest = _phrases()
    mentions: list[_Mention] = []
    first = 0
    while first < len(words.lower):
        hit = _longest(phrases, words.lower[first : first + longest.get(words.lower[first], 0)])
        if hit is None:
            first += 1
            continue
        (finding, meaning), length = hit
        last = first + length
        mentions.append(_Mention(finding=finding, meaning=meaning, first=first, last=last))
        first = last
    return mentions


def _longest(
    phrases: Mapping[tuple[str, ...], tuple[str, Meaning]], ahead: Sequence[str]
) -> tuple[tuple[str, Meaning], int] | None:
    """Return the meaning of the longest phrase that begins with the words ahead, and its length."""
    for length in range(len(ahead), 0, -1):
        if meaning := phrases.get(tuple(ahead[:length])):
            return meaning, length
    return None


@cache
def _phrases() -> tuple[dict[tuple[str, ...], tuple[str, Meaning]], dict[str, int]]:
    """Return the meaning of each phrase, and the length of the longest phrase by its first word."""
    phrases: dict[tuple[str, ...], tuple[str, Meaning]] = {}
    for finding in VOCABULARY.values():
        names = [words for name in finding.names for words in (name.words, name.plural)]
        _add(phrases, names, finding, "named")
        normal = [finding.normal_phrase, finding.normal, *finding.normals]
        _add(phrases, normal, finding, "normal")
        _add(phrases, [finding.abnormal], finding, "abnormal")
    for phrase in WORDS_BY_VALUE["elsewhere"]["phrases"]:
        phrases[tuple(split(phrase).lower)] = ("", "elsewhere")
    longest: dict[str, int] = {}
    for words in phrases:
        longest[words[0]] = max(len(words), longest.get(words[0], 0))
    return phrases, longest


def _add(
    phrases: dict[tuple[str, ...], tuple[str, Meaning]],
    texts: Iterable[str],
    finding: Finding,
    meaning: Meaning,
) -> None:
    for text in texts:
        words = tuple(split(re.sub(r"\.$", "", text)).lower)
        entry = phrases.setdefault(words, (finding.key, meaning))
        if entry != (finding.key, meaning):
            raise LanguageError(
                f"{text!r} means both {entry[0]!r} and {finding.key!r} in findings.toml; "
                "give one of them another wording"
            )
