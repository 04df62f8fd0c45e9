"""Sections of a report that assert nothing, such as INDICATION and HISTORY."""

__all__ = ["Section", "may_have_section", "sections_of"]

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from negtrace.language.lexicon import Lexicon, PhraseMatch
from negtrace.language.words import Span, Words, stops

_LONGEST_HEADING = 6
"""Words of the longest heading in front of a colon."""

_SENTENCE_ENDS = frozenset([".", "!", "?", "\n"])
_BULLETS = frozenset(["-", "*", "\u2022"])


class Section(NamedTuple):
    """A section by its heading and its body, as word numbers."""

    heading: Span
    body: Span
    phrase: str
    """Phrase of the lexicon that matched its heading."""


def may_have_section(words: Words, lexicon: Lexicon) -> bool:
    """Return whether a heading of the lexicon may stand in a text: a quick test."""
    return any(
        words.lower[index - 1] in lexicon.headings
        for index, word in enumerate(words.lower)
        if index and (word == ":" or word == "\n")
    )


def sections_of(words: Words, matches: Sequence[PhraseMatch], lexicon: Lexicon) -> list[Section]:
    """Return the sections whose heading the lexicon has, from left to right.

    A section reaches to the next heading. If there is none, it is one sentence or one item.
    """
    headings = [match for match in matches if match.category == "heading"]
    if not headings:
        return []
    ends = stops(words, lexicon.abbreviations)
    starts = _heading_starts(words, ends)
    sections: list[Section] = []
    for match in headings:
        if _opens(words, ends, match):
            body = _body(words, ends, starts, match.last + 1)
            if body[0] < body[1]:
                sections.append(
                    Section(heading=(match.first, match.last), body=body, phrase=match.phrase)
                )
    return sections


def _opens(words: Words, ends: Sequence[int], match: PhraseMatch) -> bool:
    """Return whether a phrase stands alone in front of a colon or on its line."""
    first = match.first
    while first and words.lower[first - 1] in _BULLETS:
        first -= 1
    index = bisect_left(ends, first)
    alone = first == 0 or (index > 0 and ends[index - 1] == first - 1)
    return alone and words.lower[match.last : match.last + 1] in ([":"], ["\n"])


def _body(words: Words, ends: Sequence[int], starts: Sequence[int], begin: int) -> Span:
    """Return the words of a section, from its first one."""
    while begin < len(words.lower) and words.lower[begin] == "\n":
        begin += 1
    following = bisect_left(starts, begin)
    if following < len(starts):
        return begin, starts[following]
    for index in range(bisect_left(ends, begin), len(ends)):
        if words.lower[ends[index]] in _SENTENCE_ENDS:
            return begin, ends[index]
    return begin, len(words.lower)


def _heading_starts(words: Words, ends: Sequence[int]) -> list[int]:
    """Return the first word of each heading: of the few words in front of a colon."""
    starts = []
    for colon in ends:
        if words.lower[colon] == ":":
            index = bisect_right(ends, colon - 1) - 1
            first = ends[index] + 1 if index >= 0 else 0
            if 0 < colon - first <= _LONGEST_HEADING:
                starts.append(first)
    return starts
