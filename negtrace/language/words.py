"""Words of a text with their characters, and the marks that end a sentence or a clause."""

__all__ = ["Span", "Words", "split", "stops"]

import re
from dataclasses import dataclass

Span = tuple[int, int]

_WORD = re.compile(
    r"[^\W_]+(?:(?:[-'\u2019/]|(?<=\d)\.(?=\d))[^\W_]+)*|[^\w\s]|\n\s*\n", re.UNICODE
)
_ENDS = frozenset(".!?;:\n")
_CLOSERS = frozenset("\"')]\u201d\u2019")


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one text from left to right.

    A mark of punctuation is a word, and so is an empty line. "isn't" is two words, "is" and "n't";
    "peri-implantitis", "and/or" and "2.5" are one word each.
    """

    text: str
    lower: list[str]
    """Each word in lower case; "n\u2019t" is written "n't"."""
    starts: list[int]
    """The first character of each word."""
    ends: list[int]
    """The character after the last one of each word."""

    def span(self, first: int, last: int) -> Span:
        """Return the characters of the words from `first` to `last`, without `last`."""
        return (self.starts[first], self.ends[last - 1])


def split(text: str) -> Words:
    """Cut a text into its words, in time linear in its length.

    >>> split("It isn't a 2.5 cm mass.").lower
    ['it', 'is', "n't", 'a', '2.5', 'cm', 'mass', '.']
    """
    plain = text.lower()
    # Some letters, such as a dotted capital I, become two characters in lower case, so only the
    # words of an ASCII text can be cut from its lower case.
    if text.isascii() and "n't" not in plain:
        hits = list(_WORD.finditer(plain))
        return Words(
            text=text,
            lower=[hit.group() for hit in hits],
            starts=[hit.start() for hit in hits],
            ends=[hit.end() for hit in hits],
        )
    lower: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for hit in _WORD.finditer(text):
        word = hit.group().lower()
        start, end = hit.span()
        if word[-1] == "t" and word[-2:-1] in ("'", "\u2019") and word[-3:-2] == "n":
            if len(word) > 3:
                lower.append(word[:-3])
                starts.append(start)
                ends.append(end - 3)
                start = end - 3
            word = "n't"
        lower.append(word)
        starts.append(start)
        ends.append(end)
    return Words(text=text, lower=lower, starts=starts, ends=ends)


def stops(words: Words, abbreviations: frozenset[str]) -> list[int]:
    """Return the numbers of the words that end a sentence or a clause.

    These are full stops, question and exclamation marks, semicolons, colons and empty lines. The
    full stops of "Dr. Low", "2.5" and "e.g." end nothing.
    """
    return [
        index
        for index, word in enumerate(words.lower)
        if word[0] in _ENDS
        and (word[0] not in ".!?" or _ends_sentence(words, index, abbreviations))
    ]


def _ends_sentence(words: Words, index: int, abbreviations: frozenset[str]) -> bool:
    """Return whether a full stop, question or exclamation mark ends a sentence."""
    end = words.ends[index]
    following = words.text[end : end + 1]
    closed = not following or following.isspace() or following in _CLOSERS
    before = words.lower[index - 1] if index else ""
    # A space may be missing between two sentences: "no mass.No node."
    run_on = following.isupper() and before.isalpha() and len(before) > 2
    if not (closed or run_on):
        return False
    return words.lower[index][0] != "." or not _abbreviated(words, index, abbreviations)


def _abbreviated(words: Words, index: int, abbreviations: frozenset[str]) -> bool:
    """Return whether a full stop belongs to the word before it, as in "Dr." and "e.g."."""
    text = words.text
    start = stop = words.starts[index]
    while start > 0 and not text[start - 1].isspace() and stop - start < 12:
        start -= 1
    return text[start:stop].lower().strip("(\"'") in abbreviations
