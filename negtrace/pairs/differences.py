"""Differences: words in which two statements differ although the negation does not ask for it."""

__all__ = ["DIFFERENCE_KINDS", "DifferenceKind", "Differences", "differences", "differences_note"]

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, get_args

from negtrace.language.claims import attribute_words
from negtrace.pairs.pair import Pair
from negtrace.pairs.subjects import same_noun, subject_spans, words_of

DifferenceKind = Literal["side", "zone", "severity", "words"]
DIFFERENCE_KINDS: tuple[DifferenceKind, ...] = get_args(DifferenceKind)
"""Kinds of words that differ; "words" are those that name no side, zone or severity."""

_ARTICLES = frozenset(["a", "an", "the", "some", "any"])
_DO = frozenset(["do", "does", "did"])
_BE = frozenset(["is", "are", "was", "were", "be", "been", "has", "have", "had"])
# "left-sided" is read as two words.
_GRAMMAR = _ARTICLES | _DO | _BE | {"there", "sided", "sized"}
"""Words that come and go with a negation: "There is a mass." / "No mass."."""
_CUE = "\0"
"""Stands for a word of the cue. No text has it as a word."""


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Words in which the statements of a pair differ, apart from the negation.

    Words are counted, not tokens, so the number is the same for every model.
    """

    words: int = 0
    """Number of words. A word in the place of another one of its kind counts once."""
    kinds: tuple[DifferenceKind, ...] = ()
    """Kinds of these words, each once, in the order of `DIFFERENCE_KINDS`."""

    def __bool__(self) -> bool:
        return self.words > 0


def differences(pair: Pair) -> Differences:
    """Count the words in which two statements differ apart from the negation.

    Not counted are the cue, as many words in its place as it has ("no" may become an article
    instead), articles, "there", forms of "be", "have" and "do", the number of the subject, and
    words that only stand elsewhere. A word for a side, zone or severity always counts. Case,
    punctuation and the encoding of accents make no difference.

    >>> from negtrace.pairs.anchor import Anchor
    >>> differences(
    ...     Pair(
    ...         true="There is no effusion on the left.",
    ...         false="There is some effusion on the right.",
    ...         anchor=Anchor(text="The left costophrenic angle is sharp."),
    ...     )
    ... )
    Differences(words=1, kinds=('side',))
    """
    here, there, cue = _negated_words(pair), _affirmative_words(pair), _cue_words(pair)
    if not _DO.isdisjoint(here) and _DO.isdisjoint(there):
        there = [_without_ending(word, here) for word in there]
    gone: list[str] = []
    new: list[str] = []
    for tag, i, k, j, m in SequenceMatcher(None, here, there, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        added = there[j:m]
        if _CUE in here[i:k]:
            added = _beside_counterpart(added, cue)
        gone += here[i:k]
        new += added
    counts = _counted(gone, new, (here, there))
    return Differences(
        words=sum(counts.values()), kinds=tuple(kind for kind in DIFFERENCE_KINDS if counts[kind])
    )


def _cue_words(pair: Pair) -> list[str]:
    start, end = pair.cue
    return [
        word for word, span in words_of(pair.negated_statement) if span[0] < end and span[1] > start
    ]


def _negated_words(pair: Pair) -> list[str]:
    start, end = pair.cue
    return [
        _CUE if span[0] < end and span[1] > start else word
        for word, span in words_of(pair.negated_statement)
    ]


def _affirmative_words(pair: Pair) -> list[str]:
    """Return the words of the affirmative statement, the subject as the negated one writes it."""
    words = words_of(pair.affirmative_statement)
    if pair.subject is None:
        return [word for word, _ in words]
    _, inflected = subject_spans(
        pair.negated_statement, pair.subject, pair.cue, pair.affirmative_statement
    )
    forms = [word for word in _negated_words(pair) if word != _CUE]
    subjects = [word for word, _ in words_of(pair.subject)]
    forms = [word for word in forms if any(same_noun(word, subject) for subject in subjects)]
    return [
        next((form for form in forms if same_noun(form, word)), word)
        if any(first <= start < last for first, last in inflected)
        else word
        for word, (start, _) in words
    ]


def _beside_counterpart(words: Sequence[str], cue: Sequence[str]) -> list[str]:
    """Return the words in the place of a cue without those that replace the cue itself."""
    article = cue[:1] == ["no"] and not _ARTICLES.isdisjoint(words)
    free = len(cue) - article
    rest = []
    for word in words:
        if word in _GRAMMAR:
            continue
        if free and word not in attribute_words():
            free -= 1
        else:
            rest.append(word)
    return rest


def _counted(
    gone: Sequence[str], new: Sequence[str], statements: tuple[Sequence[str], Sequence[str]]
) -> Counter[DifferenceKind]:
    """Count the words of each kind that one statement has and the other does not."""
    counts: Counter[DifferenceKind] = Counter()
    left, added = _content(gone), _content(new)
    for kind in DIFFERENCE_KINDS:
        removed = Counter(word for word in left if _kind(word) == kind)
        inserted = Counter(word for word in added if _kind(word) == kind)
        here, there = ([w for w in words if _kind(w) == kind] for words in statements)
        if kind == "words" or here == there:
            removed, inserted = removed - inserted, inserted - removed
        counts[kind] = max(removed.total(), inserted.total())
    return counts


def _content(words: Iterable[str]) -> list[str]:
    return [word for word in words if word != _CUE and word not in _GRAMMAR]


def _without_ending(verb: str, negated: Sequence[str]) -> str:
    """Return a verb as it reads behind "do": "show" for "shows", if "show" is negated."""
    bases = (verb.removesuffix(ending) for ending in ("s", "es", "ed", "d"))
    return next((base for base in bases if base in negated), verb)


def _kind(word: str) -> DifferenceKind:
    attribute, _ = attribute_words().get(word, ("words", ""))
    return next((kind for kind in DIFFERENCE_KINDS if kind == attribute), "words")


def differences_note(found: Iterable[Differences]) -> str:
    """Return one sentence on the pairs that differ in more than the negation; "" if none does.

    The sentence holds no text of a statement.

    >>> differences_note([Differences(words=2, kinds=("side", "words")), Differences()])[:58]
    '1 of 2 pairs differs in more than the negation (side: 1, w'
    """
    rows = list(found)
    differing = [row for row in rows if row]
    if not differing:
        return ""
    counts = Counter(kind for row in differing for kind in row.kinds)
    kinds = ", ".join(f"{kind}: {counts[kind]}" for kind in DIFFERENCE_KINDS if counts[kind])
    verb = "differs" if len(differing) == 1 else "differ"
    return (
        f"{len(differing)} of {len(rows)} pairs {verb} in more than the negation ({kinds}), so "
        "results on them count that difference too; word both statements alike apart from it, or "
        "leave out the pairs for which negtrace.pairs.differences(pair) is true"
    )
