"""Denials of a text taken back: the text as if it affirmed what it denies, and the text without it.

Both are made by the cues and their scopes alone, so that they hold for what a person types. The
words that affirm in the place of a cue are in `denials.toml`.
"""

__all__ = ["Denials", "denials_of"]

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from negtrace.language.cues import Cue, find_cues
from negtrace.language.words import Span

_WORD = re.compile(r"[A-Za-z]+(?:['\u2019][a-z]+)?")
_STEM = re.compile(r"\b(?:ca|wo|sha)$", re.IGNORECASE)
"""The part of "can't", "won't" and "shan't" before the "n't", which is no word of its own."""


@dataclass(frozen=True, kw_only=True)
class Denials:
    """A text that denies something, rewritten in three ways."""

    affirmed: str
    """The text with everything that it denies affirmed."""
    omitted: str
    """The text without what it denies; empty where nothing else is said."""
    denied: tuple[str, ...]
    """The denying parts: each cue with its scope."""


def denials_of(text: str) -> Denials | None:
    """Return the denials of a text; None where nothing is denied.

    >>> denials = denials_of("The heart is enlarged, without effusion or edema. No nodule.")
    >>> denials.affirmed
    'The heart is enlarged, with effusion and edema. Nodule.'
    >>> denials.omitted
    'The heart is enlarged.'
    >>> denials.denied
    ('without effusion or edema', 'No nodule')
    >>> denials_of("The heart is enlarged.")

    A cue that denies nothing, such as the "no" of an answer, is left as it is.

    Args:
        text: one sentence or several.
    """
    cues = [_whole(text, cue) for cue in find_cues(text) if cue.scope[0] < cue.scope[1]]
    if not cues:
        return None
    return Denials(
        affirmed=_tidy(_replaced(text, _affirmations(text, cues))),
        omitted=_omitted(text, [span for cue in cues for span in _spans(cue)]),
        denied=tuple(" ".join(text[slice(*_hull(cue))].split()) for cue in cues),
    )


def _spans(cue: Cue) -> tuple[Span, Span]:
    return (cue.start, cue.end), cue.scope


def _whole(text: str, cue: Cue) -> Cue:
    """Return a cue that begins where its word does: "can't", not "n't" behind a "ca"."""
    if text[cue.start : cue.start + 1].lower() == "n" and (
        stem := _STEM.search(text, max(0, cue.start - 4), cue.start)
    ):
        return replace(cue, start=stem.start())
    return cue


def _hull(cue: Cue) -> Span:
    """Return the characters from the first of cue and scope to the last."""
    return min(cue.start, cue.scope[0]), max(cue.end, cue.scope[1])


def _affirmations(text: str, cues: Sequence[Cue]) -> dict[Span, str]:
    """Return what takes the place of each cue, and of the words in its scope that go with it."""
    edits: dict[Span, str] = {}
    for cue in cues:
        edits[cue.start, cue.end] = _affirmation(text[cue.start : cue.end])
        for word in _WORD.finditer(text, *cue.scope):
            if (new := _words().in_scope.get(word[0].lower())) is not None:
                edits.setdefault(word.span(), new)
    return edits


def _affirmation(cue: str) -> str:
    """Return the words that affirm in the place of a cue.

    >>> _affirmation("no evidence of"), _affirmation("isn't"), _affirmation("Without")
    ('evidence of', 'is', 'With')
    """
    said = " ".join(cue.split()).replace("\u2019", "'")
    new = _words().cues.get(said.lower())
    if new is None:
        parts = [_words().words.get(part.lower(), part) for part in said.split(" ")]
        new = " ".join(filter(None, (_without_not(part) for part in parts)))
    return new[:1].upper() + new[1:] if said[:1].isupper() else new


def _without_not(word: str) -> str:
    """Return a verb without its "n't"; any other word as it is."""
    return re.sub(r"n['\u2019]?t$", "", word) if re.search(r"n['\u2019]t$", word) else word


def _replaced(text: str, edits: Mapping[Span, str]) -> str:
    """Return the text with other words at some spans, which do not overlap."""
    parts, at = [], 0
    for (start, end), new in sorted(edits.items()):
        if start < at:
            continue
        parts += [text[at:start], new]
        at = end
    return "".join([*parts, text[at:]])


def _omitted(text: str, spans: Sequence[Span]) -> str:
    """Return the clauses of the text that say something without the characters of these spans."""
    gone = bytearray(len(text))
    for start, end in spans:
        gone[start:end] = b"\1" * (end - start)
    kept = []
    for clause in re.finditer(r"[^.;:!?\n]*[.;:!?\n]*(?:\s|$)*", text):
        start, end = clause.span()
        left = "".join(text[at] for at in range(start, end) if not gone[at])
        if not any(gone[start:end]) or _says_something(left):
            kept.append(left if left == text[start:end] else _closed(left))
    return _tidy("".join(kept))


def _closed(clause: str) -> str:
    """Return a clause without the words at its end that wait for what was taken out."""
    body = clause.rstrip()
    mark = body[-1:] if body[-1:] in (*".;:!?",) else ""
    words = body.removesuffix(mark).split()
    while words and words[-1].strip(",").lower() in _words().carrying:
        words.pop()
    return f"{' '.join(words)}{mark} "


def _says_something(text: str) -> bool:
    """Return whether a text has a word besides those that only carry what was denied."""
    return any(word.lower() not in _words().carrying for word in _WORD.findall(text))


def _tidy(text: str) -> str:
    """Return a text without the marks that are left where words were taken out."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\b(?:with|but|of|for)\s*(?=,)", "", text)
    text = re.sub(r"\s+([.,;:!?])", r"\1", text)
    text = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
    text = re.sub(r"[,;:\s]+([.!?]|$)", r"\1", text)
    text = re.sub(r"^(?:[\s,.;:!?]|\b(?:and|or|nor|but)\b)+", "", text)
    text = re.sub(r"([.!?])(?:\s*[.!?])+", r"\1", text).strip()
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


@dataclass(frozen=True, kw_only=True)
class _AffirmingWords:
    cues: Mapping[str, str]
    words: Mapping[str, str]
    in_scope: Mapping[str, str]
    carrying: frozenset[str]


@cache
def _words() -> _AffirmingWords:
    data = tomllib.loads(files("negtrace.language").joinpath("denials.toml").read_text("utf-8"))
    return _AffirmingWords(
        cues=data["cues"],
        words=data["words"],
        in_scope=data["in_scope"],
        carrying=frozenset(word for line in data["carrying"] for word in line.split()),
    )
