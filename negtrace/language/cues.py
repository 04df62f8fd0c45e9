"""Cues of negation and the scope of each, from the phrases of `lexicon.toml`."""

__all__ = [
    "Cue",
    "Lexicon",
    "Reading",
    "find_cues",
    "load_lexicon",
    "read_cues",
    "read_words",
    "silent",
    "subject_of",
    "subject_span",
]

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from negtrace.language.lexicon import Lexicon, Match, load_lexicon
from negtrace.language.scope import Clauses, clauses
from negtrace.language.words import Span, Words, split

Category = Literal["before", "after", "uncertain"]

_CUES: dict[str, Category] = {"before": "before", "joining": "before", "after": "after"}
_DOUBTS = ("uncertain", "uncertain_after")
_BEHIND = ("after", "uncertain_after")
_PLAIN = re.compile(r"\w+")
_LONG = re.compile(r"(?<![^\s\[])([^\s|\]]+\|[^\s|\]]+)(?:\|[^\s|\]]+){2,}")


@dataclass(frozen=True, kw_only=True)
class Cue:
    """A phrase that negates, and the stretch of text that it negates."""

    start: int
    """First character of the negating words."""
    end: int
    """Character after the last of them."""
    text: str
    """The negating words as the text has them."""
    category: Category
    """Whether the cue stands before or after what it negates; or leaves it open."""
    scope: Span
    """Characters that are negated; empty when nothing is."""
    words: Span
    """The negating words, counted from the text's first word; see `negtrace.language.words`."""
    scope_words: Span
    """The words that are negated, counted likewise."""
    reason: str
    """Which phrase of the lexicon matched."""
    bound: str
    """What ends the scope: a phrase of the lexicon, a mark of punctuation, or the text's end."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the lexicon finds in one text."""

    cues: tuple[Cue, ...]
    """What negates."""
    doubts: tuple[Cue, ...]
    """What leaves open whether something is there."""
    pseudo: tuple[tuple[Span, Span, str], ...]
    """Of what only looks like a negation: characters of the negating words and of the whole
    phrase, and the phrase as the lexicon has it."""


def find_cues(text: str, lexicon: Lexicon | None = None) -> tuple[Cue, ...]:
    """Return the cues of `text` from left to right; without `lexicon`, the built-in one counts.

    The categories follow NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029). Time is linear
    in the length of the text.

    >>> [(cue.text, cue.category) for cue in find_cues("There is no evidence of pneumothorax.")]
    [('no evidence of', 'before')]
    >>> [(cue.text, cue.category) for cue in find_cues("The effusion is absent.")]
    [('absent', 'after')]
    >>> find_cues("There is no significant change.")
    ()
    """
    lexicon = load_lexicon() if lexicon is None else lexicon
    if silent(text, lexicon):
        return ()
    words = split(text)
    matches = lexicon.matches(words)
    if not any(match.category in _CUES for match in matches):
        return ()
    return tuple(_cues(words, matches, lexicon))


def read_cues(text: str, lexicon: Lexicon | None = None) -> Reading:
    """Return the cues of `text` together with the doubts and the pseudo-negations.

    >>> read_cues("Possible effusion, no change.").doubts[0].text
    'Possible'
    """
    return read_words(split(text), load_lexicon() if lexicon is None else lexicon)


def read_words(words: Words, lexicon: Lexicon) -> Reading:
    """Return the same of a text that is cut into words already."""
    matches = lexicon.matches(words)
    clause = clauses(words, matches, lexicon)
    return Reading(
        cues=tuple(_cues(words, matches, lexicon)),
        doubts=tuple(
            _cue(words, match, clause, "uncertain")
            for match in matches
            if match.category in _DOUBTS
        ),
        pseudo=tuple(
            (words.span(*match.cue), words.span(match.first, match.last), match.phrase)
            for match in matches
            if match.category == "pseudo"
        ),
    )


def silent(text: str, lexicon: Lexicon) -> bool:
    """Tell at a glance that no word of `text` could be part of a cue."""
    lower = text.lower()
    if "n't" in lower or "n\u2019t" in lower:
        return False
    return lexicon.signals.isdisjoint(_PLAIN.findall(lower))


def _cues(words: Words, matches: Sequence[Match], lexicon: Lexicon) -> Iterator[Cue]:
    clause = clauses(words, matches, lexicon)
    reach = 0
    for match in matches:
        category = _CUES.get(match.category)
        if category is None:
            continue
        # "Nor" carries on a scope that is running and opens one where none is.
        if match.category == "joining" and match.first < reach:
            continue
        cue = _cue(words, match, clause, category)
        reach = max(reach, cue.scope_words[1])
        yield cue


def _cue(words: Words, match: Match, clause: Clauses, category: Category) -> Cue:
    if match.category in _BEHIND:
        scope, bound = clause.backward(match)
    else:
        scope, bound = clause.forward(match)
    start, end = words.span(*match.cue)
    empty = start if match.category in _BEHIND else words.ends[match.last - 1]
    return Cue(
        start=start,
        end=end,
        text=words.text[start:end],
        category=category,
        scope=words.span(*scope) if scope[0] < scope[1] else (empty, empty),
        words=match.cue,
        scope_words=scope,
        reason=f"{match.category}: {_brief(match.phrase)}",
        bound=bound,
    )


def _brief(phrase: str) -> str:
    """Return a phrase with its long lists of alternatives cut short."""
    return _LONG.sub(r"\1|...", phrase)


def subject_of(text: str, cue: Cue, lexicon: Lexicon | None = None) -> str | None:
    """Return the first noun phrase that `cue` negates, or None where its scope names nothing.

    >>> text = "No pleural effusion is seen in the left lung."
    >>> subject_of(text, find_cues(text)[0])
    'pleural effusion'
    """
    lexicon = load_lexicon() if lexicon is None else lexicon
    start, end = cue.scope
    words = split(text[start:end])
    named: list[int] = []
    for place, lower in enumerate(words.lower):
        if named and lower == "of" and words.lower[named[-1]] in lexicon.carrying:
            named.clear()
        elif named and (lower in lexicon.closing or not lower[0].isalnum()):
            break
        elif lower[0].isalnum() and (named or lower not in lexicon.light):
            named.append(place)
    if not named:
        return None
    return text[start + words.starts[named[0]] : start + words.ends[named[-1]]]


def subject_span(text: str, subject: str, *, cue: Span | None = None) -> Span | None:
    """Return where `subject` stands in `text`, case aside: nearest to `cue`, and not within it.

    >>> subject_span("No effusion, but an Effusion before.", "effusion", cue=(0, 2))
    (3, 11)
    """
    if not subject.strip():
        return None
    start, end = (0, 0) if cue is None else cue
    hits = re.finditer(rf"(?<!\w){re.escape(subject)}", text, re.IGNORECASE)
    apart = [hit.span() for hit in hits if hit.end() <= start or hit.start() >= end]
    return min(apart, key=lambda hit: max(hit[0] - end, start - hit[1]), default=None)
