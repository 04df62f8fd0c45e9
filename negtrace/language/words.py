"""Words of a text, each with its characters, and the places where a clause must end."""

__all__ = ["Span", "Words", "sentence_spans", "split", "stops"]

import re
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]

_WORD = re.compile(
    r"[^\W_]+(?:(?:[-'\u2019/]|(?<=\d)\.(?=\d))[^\W_]+)*|[^\w\s]|\n\s*\n", re.UNICODE
)
_ENDS = frozenset(".!?;:\n")
_CLOSING = frozenset(".!?;\n")
_CLOSERS = frozenset("\"')]\u201d\u2019")


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one text from left to right; a mark of punctuation is a word of its own.

    "isn't" is two words, "is" and "n't"; "peri-implantitis", "and/or" and "2.5" are one each, and
    so is an empty line.
    """

    text: str
    lower: list[str]
    """Each word in lower case, a typographic apostrophe made plain."""
    starts: list[int]
    """Its first character."""
    ends: list[int]
    """The character after its last."""

    def span(self, first: int, last: int) -> Span:
        """Return the characters of the words from `first` up to and without `last`."""
        return (self.starts[first], self.ends[last - 1])


def split(text: str) -> Words:
    """Cut a text into its words, in time linear in its length.

    >>> split("It isn't a 2.5 cm mass.").lower
    ['it', 'is', "n't", 'a', '2.5', 'cm', 'mass', '.']
    """
    plain = text.lower()
    # Letters such as a dotted capital I grow when they are made small, and move what follows.
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
    for found in _WORD.finditer(text):
        word = found.group().lower()
        start, end = found.span()
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


def sentence_spans(text: str, abbreviations: frozenset[str]) -> list[Span]:
    """Return the characters of each sentence, its full stop included; a colon ends none."""
    words = split(text)
    ends = [words.ends[p] for p in stops(words, abbreviations) if words.lower[p][0] in _CLOSING]
    edges = [0, *ends, len(text)]
    return [(one, other) for one, other in pairwise(edges) if text[one:other].strip()]


def stops(words: Words, abbreviations: frozenset[str]) -> list[int]:
    """Return which words end a sentence or a clause: full stops, semicolons, colons, empty lines.

    A full stop within "Dr. Low", "2.5" or "e.g." ends nothing.
    """
    text = words.text
    found = []
    for place, word in enumerate(words.lower):
        mark = word[0]
        if mark not in _ENDS:
            continue
        if mark in ".!?":
            after = text[words.ends[place] : words.ends[place] + 1]
            run_on = after.isupper() and words.lower[place - 1].isalpha() and place > 0
            closed = not after or after.isspace() or after in _CLOSERS
            if not (closed or (run_on and len(words.lower[place - 1]) > 2)):
                continue
            if mark == "." and _abbreviated(words, place, abbreviations):
                continue
        found.append(place)
    return found


def _abbreviated(words: Words, place: int, abbreviations: frozenset[str]) -> bool:
    """Tell whether the full stop belongs to the word before it, as in "Dr." and "e.g."."""
    text = words.text
    start = words.starts[place]
    while start > 0 and not text[start - 1].isspace() and words.starts[place] - start < 12:
        start -= 1
    return text[start : words.starts[place]].lower().strip("(\"'") in abbreviations
