"""Markdown of reports and cards: a name is shown as it stands, whatever it is made of."""

__all__ = ["code", "escaped", "table"]

import re
from collections.abc import Iterable, Sequence

from negtrace._messages import one_line

# An underscore within a word, as in text_model, marks nothing; a link needs its opening bracket.
_MARKUP = re.compile(r"[\\`*\[<>|&$~]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)


def escaped(text: str) -> str:
    r"""Return a text on one line that Markdown and GitHub show as it stands: no link, no HTML.

    It is meant for the cell of a table, or for words within a sentence.

    >>> print(escaped("a|b <script> [x](javascript:1) text_model.layers.0"))
    a\|b \<script\> \[x](javascript:1) text_model.layers.0
    """
    return _MARKUP.sub(r"\\\g<0>", one_line(text))


def code(text: str) -> str:
    """Return a text on one line as code, whatever backticks it holds.

    >>> code("a`b"), code("`")
    ('``a`b``', '`` ` ``')
    """
    line = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; every cell shows its text as it stands.

    >>> table(["block", "share"], [["a|b", "0.5"]])
    ['| block | share |', '|---|---|', '| a\\\\|b | 0.5 |']
    """
    lines = [
        "|" + "".join(f" {escaped(cell)} |" if cell else " |" for cell in cells)
        for cells in (head, *rows)
    ]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]
