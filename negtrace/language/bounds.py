"""Marks and phrases that bound clauses: stops, joints, brackets, and what begins another statement.

They are looked up once for a text; `negtrace.language.clauses` measures the reach of a cue by them.
"""

__all__ = [
    "DOUBTS",
    "NEAR",
    "Bound",
    "brackets",
    "couplers_in",
    "ends_scope",
    "is_adverb",
    "openings_of",
    "qualifies",
    "reopenings",
]

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

from negtrace.language.lexicon import Lexicon, PhraseMatch
from negtrace.language.words import Words

DOUBTS = frozenset(["uncertain", "uncertain_after", "uncertain_between", "uncertain_beside"])
"""Categories of the phrases that leave open whether something is there."""

NEAR = 40
"""Words of a clause that are looked at one by one; so a text is read in linear time."""

Bound = tuple[int, int, str]
"""Words that no scope crosses: the first, the one after the last, and a name for them."""

_ADJECTIVE_ENDINGS = ("al", "ic", "ous", "ive", "ed", "ary", "ar", "able", "ible", "ant", "ent")
_ALTERNATIVES = frozenset(["nor", "or"])


def is_adverb(word: str) -> bool:
    """Return whether a word is an adverb, as "completely"."""
    return word in ("now", "then") or (word.endswith("ly") and not word.endswith("megaly"))


def qualifies(word: str, lexicon: Lexicon) -> bool:
    """Return whether a word is an adjective, as in "acute, displaced fracture"."""
    return word.endswith(_ADJECTIVE_ENDINGS) or word in lexicon.definite


def ends_scope(match: PhraseMatch, words: Words) -> bool:
    """Return whether a phrase ends every scope. A doubt behind a comma begins something new."""
    before = words.lower[match.first - 1 : match.first]
    return match.category == "terminating" or (match.category in DOUBTS and before == [","])


def reopenings(
    words: Words, matches: Sequence[PhraseMatch], ends: Sequence[int], prepositions: frozenset[str]
) -> list[Bound]:
    """Return the phrases that begin another statement, but none within a list with "or"."""
    lower = words.lower
    found: list[Bound] = []
    alternatives = [index for index, word in enumerate(lower) if word in _ALTERNATIVES]
    cues = [m.first for m in matches if m.category in ("before", "noun", "after", *DOUBTS)]
    blocks = sorted([*ends, *cues]) if alternatives else []
    for match in matches:
        listed = match.category == "reopening" and lower[match.first] == ","
        new = match.category == "noun" and lower[match.first - 1 : match.first] in ([","], ["and"])
        within = (listed and _listed(lower, match.last, alternatives, blocks, prepositions)) or (
            lower[match.first] == "and"
            and "between" in lower[max(0, match.first - 6) : match.first]
        )
        if (match.category == "reopening" or new) and not within:
            found.append((match.first, match.last, match.phrase))
    return found


def _listed(
    lower: Sequence[str],
    begin: int,
    alternatives: Sequence[int],
    blocks: Sequence[int],
    prepositions: frozenset[str],
) -> bool:
    """Return whether "or" ends the list that a word belongs to: "no mass, large cyst or edema".

    The "or" of "mild edema at the left or right base" ends no list.
    """
    index = bisect_left(alternatives, begin)
    if index == len(alternatives) or alternatives[index] > begin + NEAR:
        return False
    end = alternatives[index]
    block = bisect_left(blocks, begin)
    if block < len(blocks) and blocks[block] < end:
        return False
    part = lower[begin:end]
    last = len(part) - part[::-1].index(",") if "," in part else 0
    return part[-1:] == [","] or prepositions.isdisjoint(part[last:])


def couplers_in(words: Words, lexicon: Lexicon) -> list[int]:
    """Return the words that may join two clauses; the comma of "x, or y" does not."""
    following = [*words.lower[1:], ""]
    return [
        index
        for index, (word, after) in enumerate(zip(words.lower, following, strict=False))
        if word in lexicon.couplers and after not in _ALTERNATIVES
    ]


def openings_of(
    verbs: Sequence[int], couplers: Sequence[int], bounds: Sequence[Bound]
) -> Iterator[int]:
    """Yield the last coupler between each two verbs of one clause."""
    for verb, next_verb in pairwise(verbs):
        coupler = bisect_left(couplers, next_verb) - 1
        bound = bisect_left(bounds, verb, key=lambda bound: bound[0])
        apart = bound < len(bounds) and bounds[bound][0] < next_verb
        if coupler >= 0 and couplers[coupler] > verb and not apart:
            yield couplers[coupler]


def brackets(words: Words, opening: str, closing: str, *, backwards: bool = False) -> list[int]:
    """Return for each word the innermost bracket that is open there, or -1.

    With `backwards` the text is read from its end, so that a closing bracket opens.
    """
    if not any(mark in words.lower for mark in opening):
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
