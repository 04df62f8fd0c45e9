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
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from negtrace.language.lexicon import Lexicon, PhraseMatch, load_lexicon
from negtrace.language.words import Span, Words, split, stops

Category = Literal["before", "after", "uncertain"]

_CUES: dict[str, Category] = {"before": "before", "joining": "before", "after": "after"}
_DOUBTS = ("uncertain", "uncertain_after")
_BACKWARD = ("after", "uncertain_after")
_WORD = re.compile(r"\w+")
_LONG_LIST = re.compile(r"(?<![^\s\[])([^\s|\]]+\|[^\s|\]]+)(?:\|[^\s|\]]+){2,}")

_EDGES = frozenset([",", "(", "[", '"', "\u201c", "\u2018", "-", "\u2013", ":"])
_BARE = frozenset(["no", "nor"])
_ADJECTIVES = frozenset(["absent", "resolved"])
_PAUSING = _BARE | _ADJECTIVES | {"without"}
_ALTERNATIVES = frozenset(["nor", "or"])

_Bound = tuple[int, int, str]
"""Words that no scope crosses: the first, the one after the last, and a name for them."""

_End = tuple[int, str]
"""Word at which a scope may end or begin, and a name for what bounds it there."""


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
    if not any(match.category in _CUES for match in matches):
        return ()
    return tuple(_cues(matches, _clauses(words, matches, lexicon)))


def read_cues(text: str, lexicon: Lexicon | None = None) -> Reading:
    """Return the cues of a text together with its doubts and pseudo-negations.

    >>> read_cues("Possible effusion, no change.").doubts[0].text
    'Possible'
    """
    return read_words(split(text), load_lexicon() if lexicon is None else lexicon)


def read_words(words: Words, lexicon: Lexicon) -> Reading:
    """Return what `read_cues` returns, for a text that is cut into words already."""
    matches = lexicon.matches(words)
    clauses = _clauses(words, matches, lexicon)
    return Reading(
        cues=tuple(_cues(matches, clauses)),
        doubts=tuple(
            _cue(match, clauses, "uncertain") for match in matches if match.category in _DOUBTS
        ),
        pseudo=tuple(
            (words.span(*match.cue), words.span(match.first, match.last), match.phrase)
            for match in matches
            if match.category == "pseudo"
        ),
    )


def may_have_cue(text: str, lexicon: Lexicon) -> bool:
    """Return whether any word of a text could be part of a cue: a quick test before reading it."""
    lower = text.lower()
    if "n't" in lower or "n\u2019t" in lower:
        return True
    return not lexicon.signals.isdisjoint(_WORD.findall(lower))


def _cues(matches: Sequence[PhraseMatch], clauses: "_Clauses") -> Iterator[Cue]:
    negated_up_to = 0
    for match in matches:
        category = _CUES.get(match.category)
        if category is None:
            continue
        # "Nor" within a scope only carries it on; elsewhere it opens one.
        if match.category == "joining" and match.first < negated_up_to:
            continue
        cue = _cue(match, clauses, category)
        negated_up_to = max(negated_up_to, cue.scope_words[1])
        yield cue


def _cue(match: PhraseMatch, clauses: "_Clauses", category: Category) -> Cue:
    words = clauses.words
    start, end = words.span(*match.cue)
    if match.category in _BACKWARD:
        (scope, bound), empty = clauses.before(match), start
    else:
        (scope, bound), empty = clauses.after(match), words.ends[match.last - 1]
    return Cue(
        start=start,
        end=end,
        text=words.text[start:end],
        category=category,
        scope=words.span(*scope) if scope[0] < scope[1] else (empty, empty),
        words=match.cue,
        scope_words=scope,
        reason=f"{match.category}: {_shortened(match.phrase)}",
        bound=bound,
    )


def _shortened(phrase: str) -> str:
    """Return a phrase of the lexicon with its long lists of alternatives cut short."""
    return _LONG_LIST.sub(r"\1|...", phrase)


@dataclass(frozen=True, kw_only=True)
class _Clauses:
    """Ends of the clauses in a text: what no scope crosses. Words are given by their number."""

    words: Words
    lexicon: Lexicon
    bounds: list[_Bound]
    """Phrases and marks that end every scope, from left to right; they do not overlap."""
    reopening: list[_Bound]
    """Phrases that end the scope of a bare "no" and of an adjective."""
    parting: list[_Bound]
    """Phrases that end the scope of an adjective."""
    verbs: list[int]
    """Finite verbs."""
    couplers: list[int]
    """Words that may join two clauses."""
    commas: list[int]
    openings: list[int]
    """Couplers that open another clause: the last one between two verbs of one clause."""
    closers: list[int]
    """For each word, the next bracket that closes one opened before the word, or -1. Empty where
    the text has no such bracket."""
    openers: list[int]
    """For each word, the last bracket before it that is still open, or -1. May be empty too."""

    def after(self, match: PhraseMatch) -> tuple[Span, str]:
        """Return the words that a cue negates behind it, and what ends them."""
        begin = match.last
        while begin < len(self.words.lower) and self.words.lower[begin] == ":":
            begin += 1
        ends = [self._next(self.bounds, begin)]
        if match.phrase in _BARE | _ADJECTIVES:
            ends.append(self._next(self.reopening, begin))
        if match.phrase in _ADJECTIVES:
            ends.append(self._next(self.parting, begin))
        if match.phrase in _PAUSING:
            ends.append(self._pause(begin))
        ends += [self._second_clause(match), self._closed_bracket(begin)]
        end, bound = min(ends, key=lambda end: end[0])
        return self._trimmed(begin, end), bound

    def before(self, match: PhraseMatch) -> tuple[Span, str]:
        """Return the words that a cue negates in front of it, and what begins them."""
        index = bisect_right(self.bounds, match.first, key=lambda bound: bound[1])
        _, begin, bound = self.bounds[index - 1] if index else (0, 0, "the text's beginning")
        end = match.first
        while end > begin and self.words.lower[end - 1] in self.lexicon.auxiliaries:
            end -= 1
        begins = [(begin, bound), self._last_clause(begin, end), self._open_bracket(match.first)]
        begin, bound = max(begins, key=lambda begin: begin[0])
        return self._trimmed(begin, end), bound

    def _next(self, bounds: Sequence[_Bound], begin: int) -> _End:
        index = bisect_left(bounds, begin, key=lambda bound: bound[0])
        if index == len(bounds):
            return len(self.words.lower), "the text's end"
        return bounds[index][0], bounds[index][2]

    def _second_clause(self, match: PhraseMatch) -> _End:
        """Return the coupler where a second finite verb shows that another clause has begun."""
        first = bisect_left(self.bounds, match.first, key=lambda bound: bound[0])
        begin = self.bounds[first - 1][1] if first else 0
        behind = match.last
        if bisect_left(self.verbs, begin) == bisect_left(self.verbs, match.first):
            # No verb in front of the cue: the next one belongs to its own clause.
            verb = bisect_left(self.verbs, behind)
            behind = self.verbs[verb] if verb < len(self.verbs) else len(self.words.lower)
        index = bisect_left(self.openings, behind)
        if index == len(self.openings):
            return len(self.words.lower), ""
        return self.openings[index], "another clause"

    def _pause(self, begin: int) -> _End:
        """Return the first comma if "and" follows it, as in "no mass, and good drainage".

        In a list, such as "no mass, node, and cyst", the first comma is another one.
        """
        index = bisect_left(self.commas, begin)
        comma = self.commas[index] if index < len(self.commas) else len(self.words.lower)
        followed = self.words.lower[comma + 1 : comma + 2] == ["and"]
        return (comma, ", and") if followed else (len(self.words.lower), "")

    def _last_clause(self, begin: int, end: int) -> _End:
        """Return where the clause of a cue behind its subject begins: after a verb and coupler."""
        verb = bisect_left(self.verbs, end) - 1
        coupler = bisect_left(self.couplers, end) - 1
        if min(verb, coupler) < 0 or not begin <= self.verbs[verb] < self.couplers[coupler]:
            return begin, ""
        return self.couplers[coupler] + 1, "another clause"

    def _closed_bracket(self, begin: int) -> _End:
        """Return where a bracket closes that was open before the scope began."""
        closer = self.closers[begin] if begin < len(self.closers) else -1
        return (len(self.words.lower), "") if closer < 0 else (closer, self.words.lower[closer])

    def _open_bracket(self, end: int) -> _End:
        """Return the word after the bracket that is still open at a cue."""
        opener = self.openers[end] if end < len(self.openers) else -1
        return (0, "") if opener < 0 else (opener + 1, self.words.lower[opener])

    def _trimmed(self, begin: int, end: int) -> Span:
        """Return the words without commas, quotes and opening brackets at either end."""
        while begin < end and self.words.lower[begin] in _EDGES:
            begin += 1
        while begin < end and self.words.lower[end - 1] in _EDGES:
            end -= 1
        return (begin, max(begin, end))


def _clauses(words: Words, matches: Sequence[PhraseMatch], lexicon: Lexicon) -> _Clauses:
    bounds = [(m.first, m.last, m.phrase) for m in matches if _ends_scope(m, words)]
    bounds += [(i, i + 1, words.lower[i]) for i in stops(words, lexicon.abbreviations)]
    bounds.sort()
    verbs = [index for index, word in enumerate(words.lower) if word in lexicon.verbs]
    couplers = _couplers(words, lexicon)
    return _Clauses(
        words=words,
        lexicon=lexicon,
        bounds=bounds,
        reopening=[(m.first, m.last, m.phrase) for m in matches if m.category == "reopening"],
        parting=[(m.first, m.last, m.phrase) for m in matches if m.category == "parting"],
        verbs=verbs,
        couplers=couplers,
        commas=[index for index, word in enumerate(words.lower) if word == ","],
        openings=list(_openings(verbs, couplers, bounds)),
        closers=_brackets(words, ")]", "([", backwards=True),
        openers=_brackets(words, "([", ")]"),
    )


def _ends_scope(match: PhraseMatch, words: Words) -> bool:
    """Return whether a phrase ends every scope. A doubt behind a comma begins something new."""
    doubt = match.category == "uncertain" and words.lower[match.first - 1 : match.first] == [","]
    return doubt or match.category == "terminating"


def _couplers(words: Words, lexicon: Lexicon) -> list[int]:
    """Return the words that may join two clauses; the comma of "x, or y" does not."""
    following = [*words.lower[1:], ""]
    return [
        index
        for index, (word, after) in enumerate(zip(words.lower, following, strict=False))
        if word in lexicon.couplers and after not in _ALTERNATIVES
    ]


def _openings(
    verbs: Sequence[int], couplers: Sequence[int], bounds: Sequence[_Bound]
) -> Iterator[int]:
    """Yield the last coupler between each two verbs of one clause."""
    for verb, next_verb in pairwise(verbs):
        coupler = bisect_left(couplers, next_verb) - 1
        bound = bisect_left(bounds, verb, key=lambda bound: bound[0])
        apart = bound < len(bounds) and bounds[bound][0] < next_verb
        if coupler >= 0 and couplers[coupler] > verb and not apart:
            yield couplers[coupler]


def _brackets(words: Words, opening: str, closing: str, *, backwards: bool = False) -> list[int]:
    """Return for each word the innermost bracket that is open there, or -1.

    With `backwards` the text is read from its end, so that a closing bracket opens.
    """
    if not set(opening) & set(words.text):
        return []
    stack: list[int] = []
    innermost = [-1] * len(words.lower)
    order = range(len(words.lower))
    for index in reversed(order) if backwards else order:
        mark = words.lower[index]
        if mark in opening:
            stack.append(index)
        elif mark in closing and stack:
            stack.pop()
        innermost[index] = stack[-1] if stack else -1
    return innermost


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
