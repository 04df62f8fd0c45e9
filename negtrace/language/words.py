"""Words of a text with their characters, and the marks that end a sentence or a clause."""

__all__ = ["Span", "Words", "asks_ahead", "split", "stops"]

import re
from dataclasses import dataclass

from negtrace.language.lines import ends_item

Span = tuple[int, int]

_WORD = re.compile(r"[^\W_]+(?:(?:[-'\u2019/]|(?<=\d)\.(?=\d))[^\W_]+)*|[^\w\s]|\n\s*", re.UNICODE)
_ENDS = frozenset(".!?;:\n\u2022")
_FREE = "-free"
_LONGEST_ABBREVIATION = 12
_CLOSERS = frozenset("\"')]\u201d\u2019")


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of one text from left to right.

    A mark of punctuation is a word, and so is a line break that ends an item (`ends_item`).
    "isn't" is two words, "is" and "n't", and so is "tumor-free"; "peri-implantitis", "and/or" and
    "2.5" are one word each.
    """

    text: str
    lower: list[str]
    """Each word in lower case; "n\u2019t" is written "n't", and a line break "\\n"."""
    starts: list[int]
    """The first character of each word."""
    ends: list[int]
    """The character after the last one of each word."""

    def span(self, first: int, last: int) -> Span:
        """Return the characters of the words from `first` to `last`, without `last`."""
        return (self.starts[first], self.ends[last - 1])

    def part(self, first: int, last: int) -> "Words":
        """Return the words from `first` to `last`, without `last`; the text stays whole."""
        return Words(
            text=self.text,
            lower=self.lower[first:last],
            starts=self.starts[first:last],
            ends=self.ends[first:last],
        )


def split(text: str) -> Words:
    """Cut a text into its words, in time linear in its length.

    >>> split("It isn't a 2.5 cm mass.").lower
    ['it', 'is', "n't", 'a', '2.5', 'cm', 'mass', '.']
    """
    plain = text.lower()
    # Some letters, such as a dotted capital I, become two characters in lower case, so only the
    # words of an ASCII text can be cut from its lower case.
    if text.isascii() and not ("n't" in plain or _FREE in plain):
        hits = list(_WORD.finditer(plain))
        lower = [hit[0] for hit in hits]
        if "\n" in plain:
            hits = [hit for hit in hits if hit[0][0] != "\n" or ends_item(text, *hit.span())]
            lower = [hit[0] if hit[0][0] != "\n" else "\n" for hit in hits]
        return Words(
            text=text,
            lower=lower,
            starts=[hit.start() for hit in hits],
            ends=[hit.end() for hit in hits],
        )
    words = Words(text=text, lower=[], starts=[], ends=[])
    for hit in _WORD.finditer(text):
        start, end = hit.span()
        for word, first, last in _parts(text, start, end):
            words.lower.append(word)
            words.starts.append(first)
            words.ends.append(last)
    return words


def _parts(text: str, start: int, end: int) -> list[tuple[str, int, int]]:
    """Return the words that one match of the pattern makes, with their characters."""
    word = text[start:end].lower()
    if word[0] == "\n":
        return [("\n", start, end)] if ends_item(text, start, end) else []
    suffix = ""
    if word[-1] == "t" and word[-2:-1] in ("'", "\u2019") and word[-3:-2] == "n":
        word, suffix = word[:-3], "n't"
    elif word.endswith(_FREE):
        word, suffix = word.removesuffix(_FREE), _FREE
    if not suffix:
        return [(word, start, end)]
    joint = end - len(suffix)
    return [*([(word, start, joint)] if word else []), (suffix, joint, end)]


def stops(words: Words, abbreviations: frozenset[str]) -> list[int]:
    """Return the numbers of the words that end a sentence or a clause.

    These are full stops, question and exclamation marks, semicolons, colons, bullets, the ends of
    items and the numbers of items, as in "2) Edema". The full stops of "Dr. Low", "2.5" and "e.g."
    end nothing, and neither does the question mark of "opacity, ? edema".
    """
    return [
        index
        for index, word in enumerate(words.lower)
        if (word in _ENDS and (word not in ".!?" or _ends_sentence(words, index, abbreviations)))
        or (word == ")" and _numbers_item(words, index))
    ]


def asks_ahead(words: Words, index: int) -> bool:
    """Return whether a question mark asks about what follows, as in "? edema" and "?edema"."""
    start, end = words.starts[index], words.ends[index]
    apart = start == 0 or words.text[start - 1] in " \t\n(/,;:"
    return apart and words.text[end : end + 2].strip()[:1].isalnum()


def _numbers_item(words: Words, index: int) -> bool:
    """Return whether a bracket closes the number of an item, as in "1) No edema 2) A mass"."""
    number = words.lower[index - 1] if index else ""
    end = words.ends[index]
    following = words.text[end : end + 2]
    apart = index < 2 or words.lower[index - 2] not in "(["
    numbers = number.isdecimal() and len(number) < 3 and apart
    return numbers and following[:1].isspace() and following[1:].isupper()


def _ends_sentence(words: Words, index: int, abbreviations: frozenset[str]) -> bool:
    """Return whether a full stop, question or exclamation mark ends a sentence."""
    end = words.ends[index]
    if words.lower[index] == "?" and asks_ahead(words, index):
        return False
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
    stop = words.starts[index]
    before = words.text[max(0, stop - _LONGEST_ABBREVIATION) : stop]
    if not before or before[-1].isspace():
        return "" in abbreviations
    return before.split()[-1].lower().strip("(\"'") in abbreviations
