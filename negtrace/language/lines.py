"""Lines of a report: which line breaks end an item, and which only wrap a sentence."""

__all__ = ["ends_item"]

import re

_LONGEST_LINE = 200
"""Characters of a line that are looked at; what stands before them decides nothing."""

_SHORT_LINE = 45
"""Characters of a line that is too short to be wrapped."""

_BULLET = re.compile(r"[-*+>\u2022\u2013\u2014\u00b7]\s|[-*\u2022]\w|\(?\d{1,2}[.)]\s")
_HEADING = re.compile(r"[A-Z][\w&/()-]*(?: [\w&/()-]+){0,5}:")
_CAPITALIZED = re.compile(r"[A-Z](?:[a-z]|['\u2019 ])")
_ITEM_WORD = re.compile(
    r"(?:no|without|mild|moderate|severe|small|large|tiny|trace|minimal|marked|stable|unchanged)\b"
)
_UNFINISHED = frozenset(
    [
        *(
            "and",
            "or",
            "nor",
            "of",
            "the",
            "a",
            "an",
            "no",
            "not",
            "any",
            "some",
            "with",
            "without",
        ),
        *("for", "in", "on", "at", "to", "from", "by", "than", "as", "that", "which", "is", "are"),
        *("was", "were", "be", "been", "being", "has", "have", "had", "may", "might", "could"),
        *("can", "cannot", "will", "would", "should", "show", "shows", "demonstrates", "reveals"),
        *("suggests", "mild", "moderate", "severe", "small", "large", "tiny", "trace", "left"),
        *("right", "both", "acute", "new", "focal", "definite", "this", "these", "its", "his"),
        *("her", "dr."),
    ]
)
"""Words that no item ends with."""

_UNFINISHED_MARKS = ",/(&-"


def ends_item(text: str, start: int, end: int) -> bool:
    r"""Return whether a line break ends an item of a report, and does not wrap a sentence.

    An empty line always does. So does a break in front of a bullet, a number, a heading such as
    "Effusion:" and a capital letter, unless the line before it is unfinished ("no sign of").

    >>> ends_item("No mass\nLarge effusion", 7, 8), ends_item("No large\neffusion", 8, 9)
    (True, False)

    Args:
        text: the whole text.
        start: the line break.
        end: the first character of the next line that is no space.
    """
    if text.count("\n", start, end) > 1:
        return True
    line = text[max(0, start - _LONGEST_LINE) : start].rpartition("\n")[2].strip()
    following = text[end : end + 60]
    if _BULLET.match(following) or _HEADING.match(following):
        return True
    if line[-1:] and (line[-1] in _UNFINISHED_MARKS or line.split()[-1].lower() in _UNFINISHED):
        return False
    if _CAPITALIZED.match(following) or _ITEM_WORD.match(following):
        return True
    # An abbreviation, or a text in capitals: only a short line shows that a list goes on.
    return following[:1].isupper() and len(line) < _SHORT_LINE
