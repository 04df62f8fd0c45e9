"""How far a cue reaches: to the ends of its clause."""

__all__ = ["Clauses", "clauses"]

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from negtrace.language.lexicon import Lexicon, Match
from negtrace.language.words import Span, Words, stops

_EDGES = frozenset([",", "(", "[", '"', "\u201c", "\u2018", "-", "\u2013", ":"])
_BARE = frozenset(["no", "nor"])
_ADJECTIVES = frozenset(["absent", "resolved"])
_PAUSING = _BARE | _ADJECTIVES | {"without"}
_ALTERNATIVES = frozenset(["nor", "or"])


@dataclass(frozen=True, kw_only=True)
class Clauses:
    """The words of a text that no scope crosses, and the words that may open another clause."""

    words: Words
    lexicon: Lexicon
    bounds: list[tuple[int, int, str]]
    """First word, word after the last, and what it is; from left to right, apart."""
    reopening: list[tuple[int, int, str]]
    """Bounds that count for a bare "no" and for an adjective only."""
    parting: list[tuple[int, int, str]]
    """Bounds that count for an adjective only."""
    verbs: list[int]
    """Places of finite verbs."""
    couplers: list[int]
    """Places of words that may join two clauses."""
    commas: list[int]
    openings: list[int]
    """Of these, the last one between two verbs."""
    closers: list[int]
    """For each word, the bracket behind it that closes one open before it, or -1; may be empty."""
    openers: list[int]
    """For each word, the bracket before it that is still open there, or -1; may be empty."""

    def forward(self, match: Match) -> tuple[Span, str]:
        """Return the words that a cue in front negates, and what ends them."""
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
        end, bound = min(ends, key=lambda found: found[0])
        return self._trimmed(begin, end), bound

    def backward(self, match: Match) -> tuple[Span, str]:
        """Return the words that a cue behind negates, and what begins them."""
        place = bisect_right(self.bounds, match.first, key=lambda bound: bound[1])
        _, begin, bound = self.bounds[place - 1] if place else (0, 0, "the text's beginning")
        end = match.first
        while end > begin and self.words.lower[end - 1] in self.lexicon.auxiliaries:
            end -= 1
        begins = [(begin, bound), self._own_subject(begin, end), self._open_bracket(match.first)]
        begin, bound = max(begins, key=lambda found: found[0])
        return self._trimmed(begin, end), bound

    def _next(self, bounds: Sequence[tuple[int, int, str]], begin: int) -> tuple[int, str]:
        place = bisect_left(bounds, begin, key=lambda bound: bound[0])
        if place == len(bounds):
            return len(self.words.lower), "the text's end"
        return bounds[place][0], bounds[place][2]

    def _second_clause(self, match: Match) -> tuple[int, str]:
        """Return where a second finite verb shows that another clause has begun."""
        first = bisect_left(self.bounds, match.first, key=lambda bound: bound[0])
        begin = self.bounds[first - 1][1] if first else 0
        behind = match.last
        if bisect_left(self.verbs, begin) == bisect_left(self.verbs, match.first):
            own = bisect_left(self.verbs, behind)
            behind = self.verbs[own] if own < len(self.verbs) else len(self.words.lower)
        place = bisect_left(self.openings, behind)
        if place == len(self.openings):
            return len(self.words.lower), ""
        return self.openings[place], "another clause"

    def _pause(self, begin: int) -> tuple[int, str]:
        """Return where a comma and an "and" follow one thing alone: "no mass, and good drainage".

        A list has a comma before: "no mass, node, and cyst".
        """
        comma = bisect_left(self.commas, begin)
        place = self.commas[comma] if comma < len(self.commas) else len(self.words.lower)
        paused = self.words.lower[place + 1 : place + 2] == ["and"]
        return (place, ", and") if paused else (len(self.words.lower), "")

    def _own_subject(self, begin: int, end: int) -> tuple[int, str]:
        """Return where the subject of a cue behind begins: after the last clause with a verb."""
        verb = bisect_left(self.verbs, end) - 1
        place = bisect_left(self.couplers, end) - 1
        if min(verb, place) < 0 or not begin <= self.verbs[verb] < self.couplers[place]:
            return begin, ""
        return self.couplers[place] + 1, "another clause"

    def _closed_bracket(self, begin: int) -> tuple[int, str]:
        """Return where a bracket closes that was open before the scope began."""
        place = self.closers[begin] if begin < len(self.closers) else -1
        return (len(self.words.lower), "") if place < 0 else (place, self.words.lower[place])

    def _open_bracket(self, end: int) -> tuple[int, str]:
        """Return where the bracket that is open at a cue behind was opened."""
        place = self.openers[end] if end < len(self.openers) else -1
        return (0, "") if place < 0 else (place + 1, self.words.lower[place])

    def _trimmed(self, begin: int, end: int) -> Span:
        while begin < end and self.words.lower[begin] in _EDGES:
            begin += 1
        while begin < end and self.words.lower[end - 1] in _EDGES:
            end -= 1
        return (begin, max(begin, end))


def clauses(words: Words, matches: Sequence[Match], lexicon: Lexicon) -> Clauses:
    """Return what bounds the scopes in a text, in time linear in its length."""
    bounds = [(m.first, m.last, m.phrase) for m in matches if _ends_scope(m, words)]
    bounds += [(p, p + 1, words.lower[p]) for p in stops(words, lexicon.abbreviations)]
    bounds.sort()
    verbs = [p for p, word in enumerate(words.lower) if word in lexicon.verbs]
    couplers = _couplers(words, lexicon)
    return Clauses(
        words=words,
        lexicon=lexicon,
        bounds=bounds,
        reopening=[(m.first, m.last, m.phrase) for m in matches if m.category == "reopening"],
        parting=[(m.first, m.last, m.phrase) for m in matches if m.category == "parting"],
        verbs=verbs,
        couplers=couplers,
        commas=[place for place, word in enumerate(words.lower) if word == ","],
        openings=list(_openings(verbs, couplers, bounds)),
        closers=_brackets(words, ")]", "([", backwards=True),
        openers=_brackets(words, "([", ")]"),
    )


def _couplers(words: Words, lexicon: Lexicon) -> list[int]:
    """Return the words that may join clauses; in "x, or y" the comma does not."""
    following = [*words.lower[1:], ""]
    return [
        place
        for place, (word, after) in enumerate(zip(words.lower, following, strict=False))
        if word in lexicon.couplers and after not in _ALTERNATIVES
    ]


def _openings(
    verbs: Sequence[int], couplers: Sequence[int], bounds: Sequence[tuple[int, int, str]]
) -> Iterator[int]:
    """Yield the last coupler between two verbs of one clause."""
    for one, other in pairwise(verbs):
        place = bisect_left(couplers, other) - 1
        bound = bisect_left(bounds, one, key=lambda found: found[0])
        apart = bound < len(bounds) and bounds[bound][0] < other
        if place >= 0 and couplers[place] > one and not apart:
            yield couplers[place]


def _brackets(words: Words, opening: str, closing: str, *, backwards: bool = False) -> list[int]:
    """Return for each word the bracket passed last that is not closed yet, or -1."""
    if not set(opening) & set(words.text):
        return []
    held: list[int] = []
    found = [-1] * len(words.lower)
    places = range(len(words.lower))
    for place in reversed(places) if backwards else places:
        mark = words.lower[place]
        if mark in opening:
            held.append(place)
        elif mark in closing and held:
            held.pop()
        found[place] = held[-1] if held else -1
    return found


def _ends_scope(match: Match, words: Words) -> bool:
    """Tell whether a phrase bounds scopes: "..., likely atelectasis" opens a doubt of its own."""
    doubted = match.category == "uncertain" and words.lower[match.first - 1 : match.first] == [","]
    return doubted or match.category == "terminating"
