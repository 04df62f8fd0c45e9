"""Subjects: where one statement names what the other one negates, in either number."""

__all__ = ["same_noun", "subject_spans", "words_of"]

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from unicodedata import normalize

from negtrace.language.cues import subject_span
from negtrace.language.findings import plural_of
from negtrace.language.words import Span

# A letter with its accent may be two characters, so marks that combine belong to their word.
_WORD = re.compile("(?:[^\\W_][\u0300-\u036f]*)+")


def words_of(text: str) -> list[tuple[str, Span]]:
    """Return each word with its characters: in lower case, composed, without punctuation.

    >>> words_of("Left-sided mass.")
    [('left', (0, 4)), ('sided', (5, 10)), ('mass', (11, 15))]
    """
    return list(_words(text))


@lru_cache(maxsize=100)
def _words(text: str) -> tuple[tuple[str, Span], ...]:
    """Return the words of a text; the statements of one pair are read several times."""
    hits = _WORD.finditer(text)
    return tuple((normalize("NFC", hit.group()).casefold(), hit.span()) for hit in hits)


def same_noun(word: str, other: str) -> bool:
    """Return whether two words in lower case are one noun, in the same number or not.

    >>> same_noun("opacity", "opacities"), same_noun("mass", "massive")
    (True, False)
    """
    return word == other or plural_of(word) == other or plural_of(other) == word


def subject_spans(text: str, subject: str, cue: Span, other: str) -> tuple[list[Span], list[Span]]:
    """Return the characters of `other` that name the subject of `text`.

    The words must be whole and in the same order. Case, punctuation and the way in which accents
    are encoded make no difference.

    Args:
        text: the negated statement.
        subject: the words in it that are negated.
        cue: the characters of its cue.
        other: the affirmative statement.

    Returns:
        the spans in the same number, and those with one word in the other number.
    """
    span = subject_span(text, subject, cue=cue)
    if span is None:
        return [], []
    # A subject may be given without the end of its last word, as "nodule" of "nodules".
    covered = [(word, at) for word, at in words_of(text) if at[0] < span[1] and at[1] > span[0]]
    words = [word for word, _ in covered]
    if not words:
        return [], []
    missing = covered[-1][1][1] - span[1]
    same, inflected = [], []
    for window in _windows(words_of(other), len(words)):
        differ = [
            (mine, theirs)
            for mine, (theirs, _) in zip(words, window, strict=True)
            if mine != theirs
        ]
        start, end = window[0][1][0], window[-1][1][1]
        if not differ:
            same.append((start, max(start + 1, end - max(0, missing))))
        elif len(differ) == 1 and same_noun(*differ[0]):
            inflected.append((start, end))
    return same, inflected


def _windows(words: Sequence[tuple[str, Span]], size: int) -> Iterator[Sequence[tuple[str, Span]]]:
    for first in range(len(words) - size + 1):
        yield words[first : first + size]
