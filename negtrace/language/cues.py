"""Cues of negation, and the scope of each.

A cue is the words that negate, such as "no" or "is absent". Its scope is the words that it
negates; they reach to the end of the clause. The phrases and their categories are in
`lexicon.toml`.
"""

__all__ = [
    "Cue",
    "Reading",
    "find_cues",
    "may_have_cue",
    "read_cues",
    "read_words",
    "subject_of",
    "subject_span",
]

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from negtrace.language.bounds import DOUBTS
from negtrace.language.choices import choices_in, nouns_beside
from negtrace.language.clauses import Clauses, Reach, clauses_of
from negtrace.language.exceptions import is_excepted
from negtrace.language.lexicon import Lexicon, PhraseMatch, load_lexicon
from negtrace.language.sections import Section, sections_of
from negtrace.language.words import Span, Words, split

Category = Literal["before", "after", "uncertain"]

_CUES: dict[str, Category] = {
    "before": "before",
    "noun": "before",
    "joining": "before",
    "after": "after",
}
_BACKWARD = ("after", "uncertain_after")
_WORD = re.compile(r"\w+")
_LONG_LIST = re.compile(r"(?<![^\s\[])([^\s|\]]+\|[^\s|\]]+)(?:\|[^\s|\]]+){2,}")

_ANSWERS = frozenset(["no", "none", "nil", "not", "absent", "negative", "never"])
"""Cues that may answer a heading, as in "Edema: none"."""

_SUFFIX = "*-free"


@dataclass(frozen=True, kw_only=True)
class Cue:
    """A phrase that negates, and the part of the text that it negates."""

    start: int
    """First character of the negating words."""
    end: int
    """Character after the last of them."""
    text: str
    """The negating words as they stand in the text."""
    category: Category
    """`before` or `after` what it negates, or `uncertain` for a doubt."""
    scope: Span
    """Characters that are negated; empty where nothing is."""
    words: Span
    """The negating words, as word numbers from 0; see `negtrace.language.words`."""
    scope_words: Span
    """The negated words, as word numbers."""
    reason: str
    """Category and phrase of the lexicon that matched."""
    bound: str
    """Name of what ends the scope: a phrase, a mark of punctuation, or the end of the text."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything that the lexicon finds in one text."""

    cues: tuple[Cue, ...]
    """Phrases that negate."""
    doubts: tuple[Cue, ...]
    """Phrases that leave open whether something is there."""
    pseudo: tuple[tuple[Span, Span, str], ...]
    """Phrases that only look like a negation: the characters of the negating words, the
    characters of the whole phrase, and the phrase as the lexicon writes it."""


def find_cues(text: str, lexicon: Lexicon | None = None) -> tuple[Cue, ...]:
    """Return the cues of a text from left to right, in time linear in its length.

    The categories follow NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029).

    >>> [(cue.text, cue.category) for cue in find_cues("There is no evidence of pneumothorax.")]
    [('no evidence of', 'before')]
    >>> [(cue.text, cue.category) for cue in find_cues("The effusion is absent.")]
    [('absent', 'after')]
    >>> find_cues("There is no significant change.")
    ()

    Args:
        text: one sentence or several.
        lexicon: the phrases that negate; the built-in ones when not given.
    """
    lexicon = load_lexicon() if lexicon is None else lexicon
    if not may_have_cue(text, lexicon):
        return ()
    words = split(text)
    matches = lexicon.matches(words)
    if not any(match.category in _CUES or _denies_a_part(match) for match in matches):
        return ()
    return tuple(_cues(matches, clauses_of(words, matches, lexicon)))


def read_cues(text: str, lexicon: Lexicon | None = None) -> Reading:
    """Return the cues of a text together with its doubts and pseudo-negations.

    >>> read_cues("Possible effusion, no change.").doubts[0].text
    'Possible'
    """
    return read_words(split(text), load_lexicon() if lexicon is None else lexicon)


def read_words(words: Words, lexicon: Lexicon) -> Reading:
    """Return what `read_cues` returns, for a text that is cut into words already."""
    matches = lexicon.matches(words)
    clauses = clauses_of(words, matches, lexicon)
    doubts = [_cue(m, clauses, "uncertain")[0] for m in matches if m.category in DOUBTS]
    doubts += [_choice(index, clauses) for index in choices_in(clauses, matches)]
    sections = sections_of(words, matches, lexicon)
    return Reading(
        cues=tuple(_cues(matches, clauses)),
        doubts=(*doubts, *(_unasserted(section, words) for section in sections)),
        pseudo=tuple(
            (words.span(*match.cue), words.span(match.first, match.last), match.phrase)
            for match in matches
            if match.category in ("pseudo", "partial")
        ),
    )


def _choice(index: int, clauses: Clauses) -> Cue:
    """Return the "or" between two nouns, as a doubt about both."""
    scope = nouns_beside(clauses, index).scope
    start, end = clauses.words.span(index, index + 1)
    return Cue(
        start=start,
        end=end,
        text=clauses.words.text[start:end],
        category="uncertain",
        scope=clauses.words.span(*scope),
        words=(index, index + 1),
        scope_words=scope,
        reason="alternatives: or",
        bound="the nouns beside it",
    )


def _unasserted(section: Section, words: Words) -> Cue:
    """Return the heading of a section that asserts nothing, as a doubt about all of it."""
    start, end = words.span(*section.heading)
    return Cue(
        start=start,
        end=end,
        text=words.text[start:end],
        category="uncertain",
        scope=words.span(*section.body),
        words=section.heading,
        scope_words=section.body,
        reason=f"heading: {_shortened(section.phrase)}",
        bound="the section's end",
    )


def may_have_cue(text: str, lexicon: Lexicon) -> bool:
    """Return whether any word of a text could be part of a cue: a quick test before reading it."""
    lower = text.lower()
    if "n't" in lower or "n\u2019t" in lower:
        return True
    return not lexicon.signals.isdisjoint(_WORD.findall(lower))


def _cues(matches: Sequence[PhraseMatch], clauses: Clauses) -> Iterator[Cue]:
    words = clauses.words
    negated_up_to = taken = 0
    for match in matches:
        category = _CUES.get(match.category)
        if category is None:
            yield from _resumed(match, clauses)
            continue
        # "Nor" within a scope only carries it on; elsewhere it opens one.
        if match.category == "joining" and match.first < negated_up_to:
            continue
        # "Not resolved" denies that something resolved, and "not seen before" is a matter of then.
        ending = match.category in ("noun", "after")
        if ending and (match.cue[0] < taken or is_excepted(clauses, match)):
            continue
        cue, reach = _cue(match, clauses, category)
        yield cue
        yield from _repeated(match, clauses, reach)
        yield from (replace(cue, scope=words.span(*m), scope_words=m) for m in reach.more)
        negated_up_to = max(negated_up_to, cue.scope_words[1], *(m[1] for m in reach.more))
        taken = max(taken, reach.taken)


def _denies_a_part(match: PhraseMatch) -> bool:
    """Return whether a pseudo-negation denies its own words, as "no change" denies a change."""
    return match.category == "pseudo" and "[" in match.phrase


def _resumed(match: PhraseMatch, clauses: Clauses) -> Iterator[Cue]:
    """Yield the cues of "no change or new edema", which denies the edema too; most have none."""
    if _denies_a_part(match):
        reach = clauses.resumed(match)
        for scope in (reach.scope, *reach.more):
            if scope[0] < scope[1]:
                yield _made(match, clauses, "before", Reach(scope, reach.bound))


def _repeated(match: PhraseMatch, clauses: Clauses, reach: Reach) -> Iterator[Cue]:
    """Yield the cue on the heading of "Edema: no edema", which its answer repeats."""
    heading = clauses.heading(match.first)
    if heading[0] < heading[1]:
        name = clauses.words.lower[heading[1] - 1]
        if name in clauses.words.lower[slice(*reach.scope)] and reach.scope[0] > match.first:
            yield _made(match, clauses, "after", Reach(heading, ":"))


def _cue(match: PhraseMatch, clauses: Clauses, category: Category) -> tuple[Cue, Reach]:
    """Return a cue and how far it reaches."""
    reach = _reach(match, clauses)
    heading = clauses.heading(match.first)
    if heading[0] < heading[1]:
        answers = category != "before" or match.phrase in _ANSWERS
        if answers and clauses.says_nothing(reach.scope):
            reach = Reach(heading, ":")
            category = "after" if category == "before" else category
    elif match.category == "uncertain" and reach.scope[0] == reach.scope[1]:
        reach = clauses.behind(match)
    return _made(match, clauses, category, reach), reach


def _reach(match: PhraseMatch, clauses: Clauses) -> Reach:
    if match.phrase == _SUFFIX:
        return Reach((max(0, match.first - 1), match.first), _SUFFIX)
    if match.category == "uncertain_between":
        return clauses.around(match)
    backward = match.category in _BACKWARD
    if match.category == "uncertain_beside":
        backward = not clauses.has_object(match)
    return clauses.behind(match) if backward else clauses.ahead(match)


def _made(match: PhraseMatch, clauses: Clauses, category: Category, reach: Reach) -> Cue:
    words = clauses.words
    start, end = words.span(*match.cue)
    empty = start if match.category in _BACKWARD else words.ends[match.last - 1]
    scope = reach.scope
    return Cue(
        start=start,
        end=end,
        text=words.text[start:end],
        category=category,
        scope=words.span(*scope) if scope[0] < scope[1] else (empty, empty),
        words=match.cue,
        scope_words=scope,
        reason=f"{match.category}: {_shortened(match.phrase)}",
        bound=_shortened(reach.bound),
    )


@lru_cache(maxsize=4096)
def _shortened(phrase: str) -> str:
    """Return a phrase of the lexicon with its long lists of alternatives cut short."""
    return _LONG_LIST.sub(r"\1|...", phrase)


def subject_of(text: str, cue: Cue, lexicon: Lexicon | None = None) -> str | None:
    """Return the first noun phrase in the scope of a cue; None if the scope names nothing.

    >>> text = "No pleural effusion is seen in the left lung."
    >>> subject_of(text, find_cues(text)[0])
    'pleural effusion'
    """
    lexicon = load_lexicon() if lexicon is None else lexicon
    start, end = cue.scope
    words = split(text[start:end])
    subject: list[int] = []
    for index, word in enumerate(words.lower):
        if subject and word == "of" and words.lower[subject[-1]] in lexicon.carrying:
            subject.clear()
        elif subject and (word in lexicon.closing or not word[0].isalnum()):
            break
        elif word[0].isalnum() and (subject or word not in lexicon.light):
            subject.append(index)
    if not subject:
        return None
    return text[start + words.starts[subject[0]] : start + words.ends[subject[-1]]]


def subject_span(text: str, subject: str, *, cue: Span | None = None) -> Span | None:
    """Return the characters of `subject` in a text, in upper or lower case; None if not there.

    Of several places the one nearest to the characters of `cue` counts, but none within them.

    >>> subject_span("No effusion, but an Effusion before.", "effusion", cue=(0, 2))
    (3, 11)
    """
    if not subject.strip():
        return None
    start, end = (0, 0) if cue is None else cue
    hits = re.finditer(rf"(?<!\w){re.escape(subject)}", text, re.IGNORECASE)
    apart = [hit.span() for hit in hits if hit.end() <= start or hit.start() >= end]
    return min(apart, key=lambda span: max(span[0] - end, start - span[1]), default=None)
