"""The lexicon: phrases that negate, seem to, raise a doubt or end a scope; and how to find them.

The phrases of a lexicon are kept in a trie, so that a text is searched in one pass.
"""

__all__ = ["Lexicon", "PhraseMatch", "load_lexicon"]

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import product
from math import prod

from negtrace._messages import excerpt
from negtrace.errors import LanguageError
from negtrace.language.words import Words, split

CATEGORIES: tuple[str, ...] = (
    "before",
    "noun",
    "after",
    "pseudo",
    "partial",
    "uncertain",
    "uncertain_after",
    "uncertain_between",
    "uncertain_beside",
    "change",
    "fixed",
    "heading",
    "joining",
    "terminating",
    "reopening",
    "parting",
)
"""Keys of a lexicon that hold phrases. A phrase under two keys counts for the first one."""

_CUES = ("before", "noun", "after", "joining")

_WORD_SETS = (
    "abbreviations",
    "light",
    "carrying",
    "closing",
    "auxiliaries",
    "verbs",
    "couplers",
    "resuming",
    "elsewhere",
    "views",
    "definite",
    "prepositions",
    "dividing",
    "participles",
    "degrees",
)

MOST_SEQUENCES = 10_000
"""Most sequences of words that one phrase stands for; of the built-in ones, at most 1,575."""

MOST_WORDS = 1_000_000
"""Most words of all sequences of a lexicon: it is read in 0.6 s and takes 50 MB. The built-in one
has 11,412."""

LONGEST_PHRASE = 100
"""Most words of a phrase: a text is read in steps of that many. The built-in ones have 6."""

_SEQUENCES = "stands for {} sequences of words"

_CLAUSE_END, _NUMBER = "$", "#"
_CLAUSE_ENDS = frozenset([_CLAUSE_END, *".,;:!?)]\n", "and", "but", "or"])


@dataclass(frozen=True, kw_only=True)
class _Leaf:
    category: str
    phrase: str
    cue: tuple[int, int]
    """The negating words, as numbers from the first word of the phrase."""


@dataclass(slots=True)
class _Node:
    steps: dict[str, "_Node"] = field(default_factory=dict)
    leaf: _Leaf | None = None


@dataclass(frozen=True, kw_only=True)
class PhraseMatch:
    """A phrase of the lexicon found in a text. Words are given by their number in the text."""

    category: str
    phrase: str
    """The phrase as the lexicon writes it."""
    first: int
    last: int
    """The word after the last one of the phrase."""
    cue: tuple[int, int]
    """The negating words of the phrase: the first, and the one after the last."""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """The phrases that begin and end a negation, and the words that its scope depends on."""

    phrases: tuple[tuple[str, str], ...]
    """Category and phrase, as the lexicon writes it."""
    abbreviations: frozenset[str]
    """Words whose full stop ends no sentence."""
    light: frozenset[str]
    """Words that are skipped before the subject."""
    carrying: frozenset[str]
    """Words that are no subject when "of" follows: the subject is what follows "of"."""
    closing: frozenset[str]
    """Words that end the subject."""
    auxiliaries: frozenset[str]
    """Words between a subject and a cue behind it. They are not negated."""
    verbs: frozenset[str]
    """Finite verbs. A second one behind a coupler begins another clause."""
    couplers: frozenset[str]
    """Words that join two clauses, or two things within one clause."""
    resuming: frozenset[str]
    """Words behind "or" with which a denial goes on: "no change or **new** edema"."""
    elsewhere: frozenset[str]
    """Words for another view or an earlier time: "not seen on the **lateral** view"."""
    views: frozenset[str]
    """Words for an image or an examination."""
    definite: frozenset[str]
    """Words that stand before something known, and further adjectives."""
    prepositions: frozenset[str]
    """Words in front of a place or a view."""
    dividing: frozenset[str]
    """Words that end one side of a doubt between two."""
    headings: frozenset[str] = field(repr=False)
    """Last words of the headings of sections that assert nothing."""
    participles: frozenset[str]
    """Words that say something of a subject without a verb."""
    degrees: frozenset[str]
    """Words between which "or" offers no choice of findings: "one or two", "mild or severe"."""
    signals: frozenset[str] = field(repr=False)
    """A text without any of these words has no cue."""
    _trie: _Node = field(repr=False, compare=False)

    def matches(self, words: Words) -> list[PhraseMatch]:
        """Return the phrases in a text, from left to right. Phrases do not overlap.

        Of the phrases that begin at a word, the longest one wins. What stands behind the brackets
        of a terminating phrase is free for another one.
        """
        lower, first_words = words.lower, self._trie.steps
        matches: list[PhraseMatch] = []
        first, count = 0, len(lower)
        while first < count:
            hit = _longest(self._trie, lower, first) if lower[first] in first_words else None
            if hit is None:
                first += 1
                continue
            leaf, last = hit
            if leaf.category == "terminating":
                last = first + leaf.cue[1]
            matches.append(
                PhraseMatch(
                    category=leaf.category,
                    phrase=leaf.phrase,
                    first=first,
                    last=last,
                    cue=(first + leaf.cue[0], first + leaf.cue[1]),
                )
            )
            first = last
        return matches


def load_lexicon(source: str | None = None) -> Lexicon:
    """Read a lexicon from TOML text, or return the built-in one.

    Args:
        source: text in the layout and notation of `lexicon.toml`, whose head explains both.

    Raises:
        LanguageError: for text that is not TOML, an unknown key, or a phrase that cannot be read.
    """
    return _built_in() if source is None else _parse(source)


@cache
def _built_in() -> Lexicon:
    return _parse(files("negtrace.language").joinpath("lexicon.toml").read_text("utf-8"))


def _parse(source: str) -> Lexicon:
    known = (*CATEGORIES, *_WORD_SETS)
    try:
        rows: Mapping[str, object] = tomllib.loads(source)
    except (ValueError, RecursionError) as error:  # long numbers, and lists within lists
        raise LanguageError(f"the lexicon is not TOML ({error}); see lexicon.toml") from error
    for key, row in rows.items():
        if key not in known or not isinstance(row, list) or not all(map(_is_phrase, row)):
            raise LanguageError(
                f"the lexicon's {excerpt(key)} is not a list of phrases under a known key; "
                f"known: {', '.join(known)}"
            )
    return _build({key: list(map(str, row)) for key, row in rows.items() if isinstance(row, list)})


def _is_phrase(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _build(rows: Mapping[str, Sequence[str]]) -> Lexicon:
    phrases = [(kind, phrase) for kind in CATEGORIES for phrase in rows.get(kind, ())]
    _require_few([phrase for _, phrase in phrases])
    trie = _Node()
    signals: set[str] = set()
    headings: set[str] = set()
    for category, phrase in phrases:
        for words, cue in _word_sequences(phrase):
            _insert(trie, words, _Leaf(category=category, phrase=phrase, cue=cue))
            if category == "heading":
                headings.add(words[-1])
            denying = category == "pseudo" and "[" in phrase
            if denying or category in _CUES:
                signal = next((w for w in words[slice(*cue)] if w[0].isalnum()), words[0])
                signals.add(signal.removeprefix("-"))
    return Lexicon(
        phrases=tuple(phrases),
        headings=frozenset(headings),
        signals=frozenset(signals),
        _trie=trie,
        **{name: frozenset(rows.get(name, ())) for name in _WORD_SETS},
    )


def _require_few(phrases: Sequence[str]) -> None:
    """Refuse phrases whose optional words multiply, before any sequence is made.

    Raises:
        LanguageError: names the phrase and the bound.
    """
    total = 0
    for phrase in phrases:
        # Two lower bounds come first, since to read a phrase takes as long as it is.
        _require_most(phrase, "has {} words", len(phrase.split()), LONGEST_PHRASE)
        _require_most(phrase, _SEQUENCES, 1 + phrase.count("|"), MOST_SEQUENCES)
        slots = _slots(phrase)
        longest = sum(max(map(len, options)) for options, _, _ in slots)
        _require_most(phrase, "has {} words", longest, LONGEST_PHRASE)
        count = prod(len(options) for options, _, _ in slots)
        _require_most(phrase, _SEQUENCES, count, MOST_SEQUENCES)
        total += count * longest
        _require_most(phrase, "makes {} words of all phrases so far", total, MOST_WORDS)


def _require_most(phrase: str, what: str, number: int, most: int) -> None:
    if number > most:
        shown = number if number < 10**12 else "more than 10**12"
        raise LanguageError(
            f"the phrase {excerpt(phrase)} {what.format(shown)}; expected {most} or fewer: write "
            "several phrases, or phrases with fewer choices"
        )


def _slots(phrase: str) -> list[tuple[list[tuple[str, ...]], bool, bool]]:
    """Return the choices for each word of a phrase, as `_choices` does."""
    return [_choices(word) for word in (phrase if "[" in phrase else f"[{phrase}]").split()]


def _word_sequences(phrase: str) -> Iterator[tuple[tuple[str, ...], tuple[int, int]]]:
    """Yield every sequence of words that a phrase stands for, and which of the words negate."""
    slots = _slots(phrase)
    if not (any(opens for _, opens, _ in slots) and any(closes for _, _, closes in slots)):
        raise LanguageError(
            f"the phrase {excerpt(phrase)} needs one opening and one closing bracket around its cue"
        )
    for choice in product(*(options for options, _, _ in slots)):
        words: list[str] = []
        first = last = 0
        for option, (_, opens, closes) in zip(choice, slots, strict=True):
            first = len(words) if opens else first
            words += option
            last = len(words) if closes else last
        last = min(last, len(words) - (words[-1:] == [_CLAUSE_END]))
        if first >= last or words[0] == _CLAUSE_END:
            raise LanguageError(
                f"the phrase {excerpt(phrase)} may consist of no words; make one of them required"
            )
        yield tuple(words), (first, last)


def _choices(word: str) -> tuple[list[tuple[str, ...]], bool, bool]:
    """Return the choices for one word of a phrase, and whether the cue begins and ends there."""
    bare = word.strip("[]")
    optional = len(bare) > 1 and bare.endswith("?")
    options = [_option(option) for option in (bare[:-1] if optional else bare).split("|")]
    if optional:
        options.append(())
    return options, word.startswith("["), word.endswith("]")


def _option(option: str) -> tuple[str, ...]:
    if option in (_CLAUSE_END, _NUMBER):
        return (option,)
    if option.startswith("*"):
        return (option[1:],)
    return tuple(split(option.replace("_", " ")).lower)


def _insert(trie: _Node, words: tuple[str, ...], leaf: _Leaf) -> None:
    node = trie
    for word in words:
        node = node.steps.setdefault(word, _Node())
    node.leaf = node.leaf or leaf


def _longest(trie: _Node, lower: list[str], index: int) -> tuple[_Leaf, int] | None:
    """Return the longest phrase that begins at a word, and the word after its last one."""
    best: tuple[_Leaf, int] | None = None
    node, count = trie, len(lower)
    while True:
        word = lower[index] if index < count else _CLAUSE_END
        final = node.steps.get(_CLAUSE_END) if word in _CLAUSE_ENDS else None
        if final and final.leaf:
            best = (final.leaf, index)
        step = node.steps.get(word) if index < count else None
        if step is None and word[0].isdecimal():
            step = node.steps.get(_NUMBER)
        if step is None:
            return best
        node, index = step, index + 1
        if node.leaf:
            best = (node.leaf, index)
