"""Cues behind their subject that deny nothing: "not seen on the prior film" and the like."""

__all__ = ["is_excepted"]

from bisect import bisect_left

from negtrace.language.bounds import is_adverb
from negtrace.language.clauses import Clauses
from negtrace.language.lexicon import PhraseMatch

_JOINING = ("and", "or", "nor")
_ENDING = frozenset([",", "but", "with", "&"])


def is_excepted(clauses: Clauses, match: PhraseMatch) -> bool:
    """Return whether a cue behind its subject does not deny it after all."""
    return match.category == "after" and (_of_a_part(clauses, match) or _elsewhere(clauses, match))


def _of_a_part(clauses: Clauses, match: PhraseMatch) -> bool:
    """Return whether a cue is about a part of its subject: "not all of it has cleared"."""
    index = bisect_left(clauses.partial, match.first) - 1
    return index >= 0 and clauses.partial[index] >= clauses.bound_before(match.first)[1]


def _elsewhere(clauses: Clauses, match: PhraseMatch) -> bool:
    """Return whether a cue denies that something is seen on another view or at another time."""
    lexicon, lower = clauses.lexicon, clauses.words.lower
    begin, end = match.last, len(lower)
    while begin < end and is_adverb(lower[begin]):
        begin += 1
    if begin >= end or lower[begin] not in lexicon.prepositions:
        return False
    view: list[str] = []
    for word in lower[begin + 1 : begin + 8]:
        if word in _JOINING:
            return False
        if word in _ENDING or not word[0].isalnum():
            break
        view.append(word)
    times = lexicon.elsewhere
    return not times.isdisjoint(view) and (view[-1] in times or not lexicon.views.isdisjoint(view))
