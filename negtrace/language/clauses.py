"""Clauses of a text: how far a cue reaches ahead, back and to both sides.

A scope never crosses a stop or a terminating phrase. What else ends it depends on the cue: a bare
"no" ends at a second article, an adjective or a noun at its verb.
"""

__all__ = ["Clauses", "Reach", "clauses_of"]

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from negtrace.language.bounds import (
    DOUBTS,
    NEAR,
    Bound,
    brackets,
    couplers_in,
    ends_scope,
    is_adverb,
    openings_of,
    qualifies,
    reopenings,
)
from negtrace.language.lexicon import Lexicon, PhraseMatch
from negtrace.language.words import Span, Words, asks_ahead, stops

_EDGES = frozenset([",", "(", "[", '"', "\u201c", "\u2018", "-", "\u2013", ":", "\n", "*"])
_DASHES = frozenset(["-", "\u2013", "\u2014"])
_BARE = frozenset(["no", "nor", "nil"])
_PAUSING = _BARE | {"without", "w/o"}
_LISTING = ("no ", "without", "w/o", "negative", "free|")
"""Beginnings of the phrases whose scope is a list, as that of a bare "no" is."""

_INNER = ("change", "noun", "after")
_MOST_SPANS = 4
"""Most parts of one scope."""


_COORDINATORS = frozenset([",", "and", "or", "nor", "but", "with", "&"])


_End = tuple[int, str]
"""Word at which a scope may end or begin, and a name for what bounds it there."""


class Reach(NamedTuple):
    """Reach of a cue. Words are given by their number."""

    scope: Span
    bound: str
    """Name of what ends the scope."""
    more: tuple[Span, ...] = ()
    """Further words of the scope, behind what it leaves out: "no change in the mass or **new
    edema**"."""
    taken: int = 0
    """Endings in front of this word, such as "resolved", are denied themselves."""
    end: int = 0
    """Word that ends all of it."""


@dataclass(frozen=True, kw_only=True)
class Clauses:
    """Ends of the clauses in a text. Words are given by their number."""

    words: Words
    lexicon: Lexicon
    bounds: list[Bound]
    """Phrases and marks that end every scope, from left to right; they do not overlap."""
    reopening: list[Bound]
    """Phrases that begin another statement behind a bare "no", a noun, an adjective or a doubt."""
    parting: list[Bound]
    """Phrases that end the scope of a noun or an adjective."""
    inner: list[PhraseMatch]
    """Changes and endings, such as "worsening of" and "resolved"."""
    partial: list[int]
    """Quantities that are not all, such as "not every"."""
    doubts: list[Bound]
    verbs: list[int]
    """Finite verbs."""
    predicates: list[int]
    """Finite verbs, and cues behind their subject."""
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

    def ahead(self, match: PhraseMatch) -> Reach:
        """Return the words that a cue reaches ahead of it."""
        begin = match.last
        while begin < len(self.words.lower) and self.words.lower[begin] in (":", "\n"):
            begin += 1
        ends = [self.next_bound(self.bounds, begin)]
        doubt, noun = match.category in DOUBTS, match.category == "noun"
        listing = match.category == "pseudo" or (
            match.phrase in _BARE or match.phrase.startswith(_LISTING)
        )
        if noun or doubt or listing:
            ends.append(self.next_bound(self.reopening, begin))
        if noun:
            ends += [self.next_bound(self.parting, begin), self.next_bound(self.doubts, begin)]
            ends.append(self._verb(begin))
        if noun or match.phrase in _PAUSING:
            ends.append(self._pause(begin))
        if listing:
            ends.append(self._splice(begin, min(ends)[0]))
        ends += [self._second_clause(match), self._closed_bracket(begin)]
        if self.words.lower[max(0, match.first - 2) : match.first] == [",", "but"]:
            ends.append(self._comma(begin))
        end, bound = min(ends, key=lambda end: end[0])
        return self._without_changes(begin, end, bound)

    def behind(self, match: PhraseMatch) -> Reach:
        """Return the words that a cue reaches behind it, back to the start of its clause."""
        _, begin, bound = self.bound_before(match.first)
        end = match.first
        while end > begin and self.words.lower[end - 1] in self.lexicon.auxiliaries:
            end -= 1
        begins = [(begin, bound), self._last_clause(begin, end), self._open_bracket(match.first)]
        begins.append(self._spliced(begin, end))
        begin, bound = max(begins, key=lambda begin: begin[0])
        if begin >= end and self.words.lower[end - 1 : end] == [","]:
            begin, end, bound = self._before_insertion(end - 1)
        return Reach(self._trimmed(begin, end), bound)

    def _before_insertion(self, comma: int) -> Bound:
        """Return the subject of a verb behind an insertion: "the mass, seen before, is gone"."""
        index = bisect_left(self.commas, comma) - 1
        if index < 0 or comma - self.commas[index] > NEAR:
            return comma, comma, ","
        opening = self.commas[index]
        _, begin, bound = self.bound_before(opening)
        return begin, opening, bound

    def around(self, match: PhraseMatch) -> Reach:
        """Return the words that a cue reaches on both sides: what it sets side by side."""
        reach = self.ahead(match)
        return self.beside(match.first, match.last, reach.scope[1])

    def beside(self, first: int, last: int, end: int, *, near: bool = False) -> Reach:
        """Return the nouns on both sides of some words, up to what divides them from others.

        Args:
            first: the first of the words.
            last: the word after the last one.
            end: the word that ends the clause.
            near: stop at a preposition too.
        """
        stops = self.lexicon.dividing | self.lexicon.verbs
        stops = stops | self.lexicon.prepositions if near else stops
        lower = self.words.lower
        doubt = bisect_right(self.doubts, first, key=lambda bound: bound[1]) - 1
        begin = low = max(
            self.bound_before(first)[1],
            first - NEAR,
            self.doubts[doubt][1] if doubt >= 0 else 0,
        )
        for index in range(first - 1, low - 1, -1):
            if lower[index] in stops:
                begin = index + 1
                break
        high = last
        while high < min(end, last + NEAR) and (lower[high] not in stops or lower[high] == "of"):
            high += 1
        return Reach(self._trimmed(begin, high), "the words beside it")

    def heading(self, first: int) -> Span:
        """Return the words of the heading that a word answers: "Edema: none"; may be empty."""
        colon = first - 1
        skipped = self.lexicon.auxiliaries
        while colon >= 0 and (
            self.words.lower[colon] in skipped or self.words.lower[colon] == "there"
        ):
            colon -= 1
        if colon < 0 or self.words.lower[colon] != ":":
            return (0, 0)
        _, begin, bound = self.bound_before(colon)
        if bound == ":":
            comma = bisect_left(self.commas, colon) - 1
            begin = max(begin, self.commas[comma] + 1) if comma >= 0 else begin
        return self._trimmed(begin, colon)

    def says_nothing(self, scope: Span) -> bool:
        """Return whether words name nothing, as in "seen", "evidence" and "on the left"."""
        lexicon = self.lexicon
        skipped = lexicon.closing | lexicon.light | lexicon.carrying
        begin, end = scope
        if begin < end and self.words.lower[begin] in lexicon.prepositions:
            return True
        return end - begin < NEAR and all(w in skipped for w in self.words.lower[begin:end])

    def has_object(self, match: PhraseMatch) -> bool:
        """Return whether a doubt such as "suspected" or "?" stands before what it doubts."""
        if match.phrase == "?":
            return asks_ahead(self.words, match.first)
        begin, end = self.ahead(match).scope
        if begin == end or begin > match.last:
            return begin < end and self.words.lower[match.last] == ":"
        before, after = self.words.lower[match.first - 1 : match.first], self.words.lower[begin]
        if before == [","] and after == "with":
            return True
        while begin < end and is_adverb(self.words.lower[begin]):
            begin += 1
        return begin < end and self.words.lower[begin] not in self.lexicon.closing

    def resumed(self, match: PhraseMatch) -> Reach:
        """Return the words behind "no change or new", where a denial goes on."""
        end = max(self.ahead(match).end, match.last)
        begin = self._resumption(match.last, end)
        return self._without_changes(begin, end, "the clause's end")

    def bound_before(self, word: int) -> Bound:
        """Return the last bound in front of a word."""
        index = bisect_right(self.bounds, word, key=lambda bound: bound[1])
        return self.bounds[index - 1] if index else (0, 0, "the text's beginning")

    def next_bound(self, bounds: Sequence[Bound], begin: int) -> _End:
        """Return the first of some bounds from a word on, or the text's end."""
        index = bisect_left(bounds, begin, key=lambda bound: bound[0])
        if index == len(bounds):
            return len(self.words.lower), "the text's end"
        return bounds[index][0], bounds[index][2]

    def _without_changes(self, begin: int, end: int, bound: str) -> Reach:
        """Return a scope without the things whose change is denied: "no worsening of" them."""
        spans: list[Span] = []
        taken = 0
        last = end
        while begin < end and len(spans) < _MOST_SPANS:
            inner = self._inner(begin, end)
            if inner is None:
                spans.append(self._trimmed(begin, end))
                break
            spans.append(self._trimmed(begin, inner.last))
            bound, taken = inner.phrase, inner.last
            begin = self._resumption(inner.last, end)
        scope, *more = spans or [self._trimmed(begin, max(begin, end))]
        further = tuple(span for span in more if span[0] < span[1])
        return Reach(scope, bound, further, taken, last)

    def _inner(self, begin: int, end: int) -> PhraseMatch | None:
        """Return the first change between two words, or an ending that a cue there denies."""
        index = bisect_left(self.inner, begin, key=lambda match: match.first)
        for inner in self.inner[index : index + 4]:
            if inner.first >= min(end, begin + NEAR):
                break
            if inner.category == "change" or self._coordinators(begin, inner.first) in ([], ["or"]):
                return inner
        return None

    def _coordinators(self, begin: int, end: int) -> list[str]:
        return [word for word in self.words.lower[begin:end] if word in _COORDINATORS]

    def _resumption(self, begin: int, end: int) -> int:
        """Return the word behind "or" where a denial goes on after a change: "or new edema"."""
        lower = self.words.lower
        # "No change, when compared" has no object that a comma could end.
        first = begin + (lower[begin : begin + 1] in (["in"], ["of"], ["to"]))
        definite = first < end and (lower[first] in self.lexicon.definite or lower[first] == ",")
        for index in range(begin, min(end - 1, begin + NEAR)):
            following = lower[index + 1]
            if lower[index] in _COORDINATORS and (
                following in self.lexicon.resuming
                or (lower[index] == "," and not definite and following not in self.lexicon.definite)
            ):
                return index + 1
        return end

    def _second_clause(self, match: PhraseMatch) -> _End:
        """Return the coupler where a second finite verb shows that another clause has begun."""
        first = bisect_left(self.bounds, match.first, key=lambda bound: bound[0])
        begin = self.bounds[first - 1][1] if first else 0
        behind = match.last
        if bisect_left(self.verbs, begin) == bisect_left(self.verbs, match.first):
            # No verb in front of the cue: the next one belongs to its own clause.
            behind = self._next(self.verbs, behind)
        return self._next(self.openings, behind), "another clause"

    def _next(self, places: Sequence[int], begin: int) -> int:
        """Return the first of some words from one on, or the text's end."""
        index = bisect_left(places, begin)
        return places[index] if index < len(places) else len(self.words.lower)

    def _verb(self, begin: int) -> _End:
        verb = self._next(self.verbs, begin)
        return verb, "".join(self.words.lower[verb : verb + 1])

    def _comma(self, begin: int) -> _End:
        """Return the comma that closes an insertion: "the left, but not the right, lung"."""
        return self._next(self.commas, begin), ","

    def _pause(self, begin: int) -> _End:
        """Return the first comma if "and" follows it, as in "no mass, and good drainage".

        In a list, such as "no mass, node, and cyst", the first comma is another one.
        """
        comma = self._next(self.commas, begin)
        followed = self.words.lower[comma + 1 : comma + 2] == ["and"]
        return (comma, ", and") if followed else (len(self.words.lower), "")

    def _splice(self, begin: int, end: int) -> _End:
        """Return the only comma of "no mass, the edema persists": a list of two needs an "or"."""
        nowhere = (len(self.words.lower), "")
        verb = bisect_left(self.predicates, begin)
        if verb == len(self.predicates) or self.predicates[verb] >= end:
            return nowhere
        comma = self._only_comma(begin, self.predicates[verb])
        return (comma, "another clause") if comma > begin else nowhere

    def _only_comma(self, begin: int, end: int) -> int:
        """Return the one comma that joins two clauses between two words, or -1."""
        first, last = bisect_left(self.commas, begin), bisect_left(self.commas, end)
        if last - first != 1 or end - begin > NEAR:
            return -1
        comma = self.commas[first]
        if qualifies(self.words.lower[comma - 1], self.lexicon) or self._apart(comma + 1, end):
            return -1
        joined = [word for word in self._coordinators(begin, end) if word != "with"]
        return comma if joined == [","] else -1

    def _apart(self, begin: int, end: int) -> bool:
        """Return whether there is no subject between two words: "the mass, now resolved"."""
        skipped = self.lexicon.auxiliaries | self.lexicon.closing
        return all(w in skipped or is_adverb(w) for w in self.words.lower[begin:end])

    def _spliced(self, begin: int, end: int) -> _End:
        comma = self._only_comma(begin, end)
        for index in range(max(begin, comma, end - NEAR), end):
            if self.words.lower[index] in _DASHES and not self._apart(index + 1, end):
                comma = index
        return (comma + 1, "another clause") if comma > begin else (begin, "")

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


def clauses_of(words: Words, matches: Sequence[PhraseMatch], lexicon: Lexicon) -> Clauses:
    """Return the clauses of a text, given the phrases of the lexicon in it."""
    lower = words.lower
    bounds = [(m.first, m.last, m.phrase) for m in matches if ends_scope(m, words)]
    bounds += [(i, i + 1, lower[i]) for i in stops(words, lexicon.abbreviations)]
    bounds.sort()
    verbs = [index for index, word in enumerate(lower) if word in lexicon.verbs]
    behind = [m.first for m in matches if m.category in ("after", "uncertain_after")]
    behind += [index for index, word in enumerate(lower) if word in lexicon.participles]
    couplers = couplers_in(words, lexicon)
    return Clauses(
        words=words,
        lexicon=lexicon,
        bounds=bounds,
        reopening=reopenings(
            words, matches, [*verbs, *(b[0] for b in bounds)], lexicon.prepositions
        ),
        parting=[(m.first, m.last, m.phrase) for m in matches if m.category == "parting"],
        inner=[m for m in matches if m.category in _INNER],
        partial=[m.first for m in matches if m.category == "partial"],
        doubts=[(m.first, m.last, m.phrase) for m in matches if m.category in DOUBTS],
        verbs=verbs,
        predicates=sorted([*verbs, *behind]) if behind else verbs,
        couplers=couplers,
        commas=[index for index, word in enumerate(lower) if word == ","],
        openings=list(openings_of(verbs, couplers, bounds)),
        closers=brackets(words, ")]", "([", backwards=True),
        openers=brackets(words, "([", ")]"),
    )
