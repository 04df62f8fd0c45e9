"""Mentions: the phrases about findings in a text, by name or by the state of an organ."""

__all__ = ["Meaning", "Mention", "mentions_in"]

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from negtrace.errors import LanguageError
from negtrace.language.claims import WORDS_BY_VALUE
from negtrace.language.findings import VOCABULARY, Finding, plural_of
from negtrace.language.words import Span, Words, split

Meaning = Literal["named", "normal", "abnormal", "organ", "elsewhere"]
"""Meaning of a phrase: the name of a finding; that the finding is absent or present, without its
name; an organ whose state says so; or the name of something outside the chest."""

_FARTHEST_STATE = 16
"""Most words between an organ and the word for its state."""

_TEXT_ENDS = frozenset(".;!?\n")


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A phrase about a finding in a text. Words are given by their number."""

    finding: str
    meaning: Meaning
    first: int
    last: int
    """The word after the last one of the phrase."""
    state: Span = (0, 0)
    """Words for the state of an organ: "enlarged"; empty for other mentions."""

    @property
    def decisive(self) -> Span:
        """The words whose denial decides: those of the state, or else the mention."""
        return self.state if self.state[1] else (self.first, self.last)


def mentions_in(words: Words) -> list[Mention]:
    """Return the phrases about findings; the longest one at each word, without overlaps.

    An organ is a mention if its state is stated: "the heart and the mediastinum are normal".
    """
    phrases, longest = _phrases()
    lower = words.lower
    found: list[Mention] = []
    organs = False
    first = 0
    while first < len(lower):
        size = longest.get(lower[first], 0)
        hit = _longest(phrases, lower[first : first + size]) if size else None
        if hit is None:
            first += 1
            continue
        (finding, meaning), length = hit
        last = first + length
        organs = organs or meaning == "organ"
        found.append(Mention(finding=finding, meaning=meaning, first=first, last=last))
        first = last
    return list(_with_states(words, found)) if organs else found


def _with_states(words: Words, found: Sequence[Mention]) -> Iterator[Mention]:
    """Yield the mentions; of the organs only those that are said to be healthy or diseased."""
    inside = {index for mention in found for index in range(mention.first, mention.last)}
    for mention in found:
        if mention.meaning != "organ":
            yield mention
            continue
        finding = VOCABULARY[mention.finding]
        state = _state(words.lower, mention, inside, finding)
        if state is not None:
            healthy = words.lower[state[0]] in _first_words(finding.healthy)
            yield Mention(
                finding=mention.finding,
                meaning="normal" if healthy else "abnormal",
                first=mention.first,
                last=mention.last,
                state=state,
            )


def _state(lower: Sequence[str], organ: Mention, inside: set[int], finding: Finding) -> Span | None:
    """Return the words for the state of an organ, in front of it or behind a verb."""
    states = (*finding.healthy, *finding.diseased)
    for end in range(organ.first, max(0, organ.first - 3), -1):
        if span := _ending_in(lower, end, states):
            return span
        if lower[end - 1] not in _linking():
            break
    for index in range(organ.last, min(len(lower), organ.last + _FARTHEST_STATE)):
        word = lower[index]
        if index not in inside and (span := _beginning_at(lower, index, states)):
            return None if _excepted(lower, span[1]) else span
        if word in _TEXT_ENDS or not (index in inside or _links(word)):
            return None
    return None


def _excepted(lower: Sequence[str], index: int) -> bool:
    """Return whether the words behind a state take something out: "clear of", "clear except"."""
    return lower[index : index + 1] != [] and lower[index] in ("of", "except", "apart", "aside")


def _links(word: str) -> bool:
    return word in _linking() or (word.endswith("ly") and not word.endswith("megaly"))


def _ending_in(lower: Sequence[str], end: int, states: Sequence[str]) -> Span | None:
    """Return the state that ends in front of a word."""
    return (end - 1, end) if end and lower[end - 1] in states else None


def _beginning_at(lower: Sequence[str], index: int, states: Sequence[str]) -> Span | None:
    """Return the longest state that begins at a word."""
    spans = [
        (index, index + len(state.split()))
        for state in states
        if lower[index] == state.split()[0]
        and list(lower[index : index + len(state.split())]) == state.split()
    ]
    return max(spans, default=None)


@cache
def _first_words(states: tuple[str, ...]) -> frozenset[str]:
    return frozenset(state.split()[0] for state in states)


@cache
def _linking() -> frozenset[str]:
    return frozenset(WORDS_BY_VALUE["state"]["linking"])


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
        read = [words for name in finding.mentions for words in (name, plural_of(name))]
        _add(phrases, [*names, *read], finding, "named")
        normal = [finding.normal_phrase, finding.normal, *finding.normals]
        _add(phrases, normal, finding, "normal")
        _add(phrases, [finding.abnormal], finding, "abnormal")
        _add(phrases, finding.organs, finding, "organ")
    for phrase in WORDS_BY_VALUE["elsewhere"]["phrases"]:
        for text in (phrase, plural_of(phrase)):
            phrases[tuple(split(text).lower)] = ("", "elsewhere")
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
