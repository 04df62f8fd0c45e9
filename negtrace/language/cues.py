"""Cues of negation and the scope of each, from the phrases of `lexicon.toml`."""

__all__ = ["Cue", "Lexicon", "find_cues", "load_lexicon", "subject_of", "subject_span"]

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Category = Literal["before", "after"]
Span = tuple[int, int]

_PHRASES = ("before", "after", "pseudo", "joining", "terminating")
_STOP = re.compile(r"[.!?](?=[\s\"')\]]|$)|[;:]|\n\s*\n")
_WORD = re.compile(r"[^\W_]+(?:(?:[-'\u2019/]|(?<=\d)\.(?=\d))[^\W_]+)*|[^\w\s]")


@dataclass(frozen=True, kw_only=True)
class Cue:
    """A phrase that negates, and the stretch of text that it negates."""

    start: int
    """First character of the negating words."""
    end: int
    """Character after the last of them."""
    text: str
    """The negating words as the text has them."""
    category: Category
    """Whether the cue stands before or after what it negates."""
    scope: Span
    """Characters that are negated; empty when nothing is."""
    reason: str
    """Which phrase of the lexicon matched."""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """The phrases that make and bound a negation."""

    phrases: tuple[tuple[str, str, re.Pattern[str]], ...]
    """Category, phrase as written, and its pattern, whose group `cue` holds the negating words."""
    abbreviations: frozenset[str]
    """Words whose full stop ends no sentence."""
    light: frozenset[str]
    """Words passed over on the way to the subject."""
    carrying: frozenset[str]
    """Words that pass the subject on to what stands behind their "of"."""
    closing: frozenset[str]
    """Words that end the subject."""


@dataclass(frozen=True, kw_only=True)
class _Match:
    category: str
    phrase: str
    start: int
    end: int
    cue: Span


def find_cues(text: str, lexicon: Lexicon | None = None) -> tuple[Cue, ...]:
    """Return the cues of `text` from left to right; without `lexicon`, the built-in one counts.

    The categories follow NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029).

    >>> [(cue.text, cue.category) for cue in find_cues("There is no evidence of pneumothorax.")]
    [('no evidence of', 'before')]
    >>> [(cue.text, cue.category) for cue in find_cues("The effusion is absent.")]
    [('absent', 'after')]
    >>> find_cues("There is no significant change.")
    ()
    """
    lexicon = load_lexicon() if lexicon is None else lexicon
    matches = _matches(text, lexicon)
    bounds = _bounds(text, matches, lexicon)
    cues: list[Cue] = []
    for match in matches:
        if match.category not in ("before", "after", "joining"):
            continue
        scope = _scope(text, match, bounds)
        carried_on = any(cue.scope[0] <= match.start < cue.scope[1] for cue in cues)
        if match.category != "joining" or not carried_on:
            cues.append(_cue(text, match, scope))
    return tuple(cues)


def subject_of(text: str, cue: Cue, lexicon: Lexicon | None = None) -> str | None:
    """Return the first noun phrase that `cue` negates, or None where its scope names nothing.

    >>> text = "No pleural effusion is seen in the left lung."
    >>> subject_of(text, find_cues(text)[0])
    'pleural effusion'
    """
    lexicon = load_lexicon() if lexicon is None else lexicon
    words: list[re.Match[str]] = []
    for word in _WORD.finditer(text, *cue.scope):
        lower = word.group().lower()
        named = lower[0].isalnum()
        if words and lower == "of" and words[-1].group().lower() in lexicon.carrying:
            words.clear()
        elif words and (lower in lexicon.closing or not named):
            break
        elif named and (words or lower not in lexicon.light):
            words.append(word)
    return text[words[0].start() : words[-1].end()] if words else None


def subject_span(text: str, subject: str, *, cue: Span | None = None) -> Span | None:
    """Return where `subject` stands in `text`, case aside: nearest to `cue`, and not within it.

    >>> subject_span("No effusion, but an Effusion before.", "effusion", cue=(0, 2))
    (3, 11)
    """
    if not subject.strip():
        return None
    start, end = (0, 0) if cue is None else cue
    hits = re.finditer(rf"(?<!\w){re.escape(subject)}", text, re.IGNORECASE)
    apart = [hit.span() for hit in hits if hit.end() <= start or hit.start() >= end]
    return min(apart, key=lambda hit: max(hit[0] - end, start - hit[1]), default=None)


def load_lexicon(source: str | None = None) -> Lexicon:
    """Read a lexicon from TOML text laid out as `lexicon.toml`, or the built-in one."""
    return _built_in() if source is None else _read(tomllib.loads(source))


@cache
def _built_in() -> Lexicon:
    path = files("negtrace.language").joinpath("lexicon.toml")
    return _read(tomllib.loads(path.read_text("utf-8")))


def _read(rows: Mapping[str, list[str]]) -> Lexicon:
    return Lexicon(
        phrases=tuple(
            (category, phrase, _pattern(phrase))
            for category in _PHRASES
            for phrase in rows.get(category, ())
        ),
        abbreviations=frozenset(rows.get("abbreviations", ())),
        light=frozenset(rows.get("light", ())),
        carrying=frozenset(rows.get("carrying", ())),
        closing=frozenset(rows.get("closing", ())),
    )


def _pattern(phrase: str) -> re.Pattern[str]:
    """Compile one phrase of the lexicon; see the head of `lexicon.toml` for its notation."""
    words = (phrase if "[" in phrase else f"[{phrase}]").split(" ")
    leading = words[0].endswith("?")
    slots = (_slot(word, rank, after_optional=leading) for rank, word in enumerate(words))
    return re.compile("".join(slots) + r"(?!\w|-\w)", re.IGNORECASE)


def _slot(word: str, rank: int, *, after_optional: bool) -> str:
    """Return the pattern of one word with the white space beside it, and the marks of the cue."""
    opening, closing = "(?P<cue>" * word.startswith("["), ")" * word.endswith("]")
    bare = word.strip("[]")
    first = rank == 0 or (rank == 1 and after_optional)
    options = "|".join(_option(option, first) for option in bare.removesuffix("?").split("|"))
    if bare.endswith("?"):
        inner = rf"(?:{options})\s+" if first else rf"\s+(?:{options})"
        return rf"{opening}(?:{inner})?{closing}"
    gap = "" if first else r"\s+"
    return rf"{gap}{opening}(?:{options}){closing}"


def _option(option: str, first: bool) -> str:
    """Return the pattern of one word: a whole one, or the end of one after `*`."""
    letters = re.escape(option.removeprefix("*")).replace("'", r"['\u2019]")
    if option.startswith("*"):
        return rf"(?<=\w){letters}"
    return rf"(?<!\w)(?<!\w-){letters}" if first and option != "," else letters


def _matches(text: str, lexicon: Lexicon) -> list[_Match]:
    """Return the phrases found, none within another: the first, then the longest, wins."""
    found = [
        _Match(
            category=category, phrase=phrase, start=hit.start(), end=hit.end(), cue=hit.span("cue")
        )
        for category, phrase, pattern in lexicon.phrases
        for hit in pattern.finditer(text)
    ]
    kept: list[_Match] = []
    for match in sorted(found, key=lambda match: (match.start, -match.end)):
        if not kept or match.start >= kept[-1].end:
            kept.append(match)
    return kept


def _bounds(text: str, matches: Iterable[_Match], lexicon: Lexicon) -> list[Span]:
    """Return the stretches of `text` that no scope may cross, from left to right."""
    ends = [(match.start, match.end) for match in matches if match.category == "terminating"]
    return sorted([*ends, *_stops(text, lexicon), (0, 0), (len(text), len(text))])


def _stops(text: str, lexicon: Lexicon) -> Iterator[Span]:
    for stop in _STOP.finditer(text):
        word = re.search(r"\S*$", text[: stop.start()])
        if stop.group() != "." or not word or word.group().lower() not in lexicon.abbreviations:
            yield stop.span()


def _scope(text: str, match: _Match, bounds: Iterable[Span]) -> Span:
    """Return what `match` negates, without white space and punctuation at either side."""
    if match.category == "after":
        start = max(end for _, end in bounds if end <= match.start)
        # "isn't seen" stands behind "is", which is no part of what it negates.
        host = len(text[: match.start]) - len(re.sub(r"\w+$", "", text[: match.start]))
        return _trim(text, start, max(start, match.start - host))
    # "Denies: fever" goes on behind its colon.
    begin = match.end + len(text[match.end :]) - len(text[match.end :].lstrip(" :"))
    return _trim(text, begin, min(start for start, _ in bounds if start >= begin))


def _trim(text: str, start: int, end: int) -> Span:
    inner = text[start:end]
    blank = " \t\r\n,"
    start += len(inner) - len(inner.lstrip(blank))
    return start, max(start, end - len(inner) + len(inner.rstrip(blank)))


def _cue(text: str, match: _Match, scope: Span) -> Cue:
    start, end = match.cue
    return Cue(
        start=start,
        end=end,
        text=text[start:end],
        category="after" if match.category == "after" else "before",
        scope=scope,
        reason=f"{match.category}: {match.phrase}",
    )
