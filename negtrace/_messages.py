"""Texts of messages: excerpts, names, lists, counts, and the refusal of an unknown name."""

__all__ = ["excerpt", "listed", "one_line", "one_of", "short", "tally", "visible"]

from collections.abc import Iterable, Mapping, Sequence

from negtrace.errors import UnknownNameError

WORDS, CHARACTERS = 6, 48
"""Longest part of a text that a message shows."""

LONGEST_NAME = 100
"""Characters of the longest name that is shown in full."""


def excerpt(value: object) -> str:
    """Return the beginning of a text, or of any value, for a message; reports stay private.

    >>> excerpt("No effusion.")
    "'No effusion.'"
    >>> excerpt("There is no sign of a pleural effusion on the left.")
    "'There is no sign of a...'"
    """
    text = value if isinstance(value, str) else repr(value)
    start = " ".join(text[: 8 * CHARACTERS].split()[:WORDS])[:CHARACTERS]
    shown = text if len(text) <= len(start) else f"{start}..."
    return repr(shown) if isinstance(value, str) else shown


def one_line(text: str) -> str:
    """Return a text on one line; what no screen and no SVG shows becomes a replacement mark.

    >>> one_line("a  b" + chr(10) + "c" + chr(27))
    'a b c\ufffd'
    """
    return visible(" ".join(text.split()))


def visible(line: str) -> str:
    """Return a line with a replacement mark for each letter that cannot be printed."""
    if line.isprintable():
        return line
    mark = "\N{REPLACEMENT CHARACTER}"
    return "".join(letter if letter.isprintable() else mark for letter in line)


def short(name: str) -> str:
    """Return a name on one line, and without its middle where it is very long.

    >>> short("a  b"), short("x" * 5000)[-20:]
    ('a b', 'x ... xxxxxxxxxxxxxx')
    """
    line = one_line(name)
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 19]} ... {line[-14:]}"


def one_of(kind: str, name: str | None, known: Iterable[str | None]) -> None:
    """Refuse a name that is not among the known ones, and list them.

    >>> one_of("direction", "up", ["denoising", "noising"])
    Traceback (most recent call last):
    negtrace.errors.UnknownNameError: unknown direction 'up'; known: denoising, noising

    Raises:
        UnknownNameError: when `name` is not known.
    """
    known = tuple(known)
    if name not in known:
        raise UnknownNameError(
            f"unknown {kind} {excerpt(name)}; known: {', '.join(map(str, known))}"
        )


def listed(names: Sequence[str], most: int = 5) -> str:
    """Join the first names of a list, and count the others.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def tally(counts: Mapping[str, int]) -> str:
    """Join names with their counts.

    >>> tally({"correct": 3, "incorrect": 1})
    'correct 3, incorrect 1'
    """
    return ", ".join(f"{name} {count}" for name, count in counts.items())
