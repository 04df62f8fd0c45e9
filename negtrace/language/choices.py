"""Choices: an "or" between two nouns that leaves open which of them is there."""

__all__ = ["choices_in", "nouns_beside"]

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from negtrace.language.bounds import is_adverb, qualifies
from negtrace.language.clauses import Clauses, Reach
from negtrace.language.lexicon import PhraseMatch

_DENYING = frozenset(["before", "noun", "pseudo", "partial", "change"])


def choices_in(clauses: Clauses, matches: Sequence[PhraseMatch]) -> Iterator[int]:
    """Yield each "or" that offers a choice, as in "a mass or pneumonia". Words are numbers.

    Behind a negation, "or" only carries a list on: "no mass or pneumonia".
    """
    ors = [index for index, word in enumerate(clauses.words.lower) if word == "or"]
    denials = [match.first for match in matches if match.category in _DENYING] if ors else []
    for index in ors:
        begin = clauses.bound_before(index)[1]
        denied = bisect_left(denials, begin) < bisect_left(denials, index)
        if not denied and _joins_nouns(clauses, index):
            yield index


def nouns_beside(clauses: Clauses, index: int) -> Reach:
    """Return the nouns on both sides of an "or"."""
    end = clauses.next_bound(clauses.bounds, index)[0]
    return clauses.beside(index, index + 1, end, near=True)


def _joins_nouns(clauses: Clauses, index: int) -> bool:
    """Return whether an "or" stands between two nouns: not "left or right", "5 or 6"."""
    lower, lexicon = clauses.words.lower, clauses.lexicon
    if not 0 < index < len(lower) - 1:
        return False
    before, after = lower[index - 1], lower[index + 1]
    return not qualifies(before, lexicon) and all(
        word.isalpha()
        and not is_adverb(word)
        and word not in lexicon.prepositions
        and word not in lexicon.verbs
        and word not in lexicon.closing
        and word not in lexicon.degrees
        for word in (before, after)
    )
