"""Stretches: two statements cut, from left to right, into what reads alike and what does not."""

__all__ = [
    "Side",
    "Sides",
    "Stretch",
    "Stretches",
    "count_alike",
    "moved",
    "sides_of",
    "stretches_of",
]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product

from negtrace.language.cues import subject_span
from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import SUBJECT, token_roles, tokens_within
from negtrace.pairs.tokens import Tokens

Words = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One statement as it is aligned."""

    tokens: Tokens
    words: Words
    """What each token reads, case aside; the id of one that the tokenizer added."""
    core: range
    """The positions that are no padding."""

    def read(self, positions: range) -> Words:
        """Return what the tokens at these positions read."""
        return self.words[positions.start : positions.stop]


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What is aligned: the negated statement with its roles, and the other one."""

    pair: Pair
    negated: Side
    other: Side
    roles: tuple[str, ...]

    def having(self, *roles: str) -> set[int]:
        """Return the positions of the negated statement that have one of the roles."""
        return {i for i, role in enumerate(self.roles) if role in roles}


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Positions of the negated statement, and those that stand in their place in the other."""

    here: range
    there: range
    alike: bool = True
    """Whether both read the same, token by token."""

    def edges(self) -> Iterator[tuple[int, int]]:
        """Yield the positions that correspond: one to one, or as a whole."""
        if self.alike:
            return zip(self.here, self.there, strict=True)
        return product(self.here, self.there)


Stretches = tuple[Stretch, ...]


def sides_of(pair: Pair, negated: Tokens, other: Tokens) -> Sides:
    """Return both statements as they are aligned.

    Raises:
        AlignmentError: "truncated" when no token stands for the cue or for the subject.
    """
    text = pair.negated_statement
    return Sides(
        pair=pair,
        negated=_side(text, negated),
        other=_side(pair.affirmative_statement, other),
        roles=token_roles(text, negated, cue=pair.cue, subject=pair.subject),
    )


def _side(text: str, tokens: Tokens) -> Side:
    words = tuple(
        token if start == end else text[start:end].lower()
        for token, (start, end) in zip(tokens.ids, tokens.spans, strict=True)
    )
    filled = [i for i, padding in enumerate(tokens.padding) if not padding]
    return Side(tokens=tokens, words=words, core=range(filled[0], filled[-1] + 1))


def stretches_of(sides: Sides) -> Stretches:
    """Cut both cores into stretches from left to right; none where the subject has no like.

    Where the other statement has the subject several times, the one counts around which most
    reads alike.
    """
    here, there = sides.negated.core, sides.other.core
    subject = sorted(sides.having(*SUBJECT))
    if not subject:
        return _between(sides, here, there)
    named = range(subject[0], subject[-1] + 1)
    around = [
        (
            *_between(sides, range(here.start, named.start), range(there.start, to.start)),
            Stretch(here=named, there=to, alike=_alike(sides, named, to)),
            *_between(sides, range(named.stop, here.stop), range(to.stop, there.stop)),
        )
        for to in _places(sides, named)
    ]
    return max(around, key=count_alike, default=())


def _shared(one: Sequence[object], other: Sequence[object]) -> int:
    """Return the length of the common beginning."""
    limit = min(len(one), len(other))
    return next((i for i in range(limit) if one[i] != other[i]), limit)


def _alike(sides: Sides, here: range, there: range) -> bool:
    return sides.negated.read(here) == sides.other.read(there)


def _between(sides: Sides, here: range, there: range) -> Stretches:
    """Cut two stretches into what reads alike and what does not, their ends first."""
    one, other = sides.negated.read(here), sides.other.read(there)
    head = _shared(one, other)
    tail = min(_shared(one[::-1], other[::-1]), min(len(one), len(other)) - head)
    stop, end = len(one) - tail, len(other) - tail
    matcher = SequenceMatcher(None, one[head:stop], other[head:end], autojunk=False)
    inner = (
        Stretch(here=here[head:stop][i:k], there=there[head:end][j:m], alike=tag == "equal")
        for tag, i, k, j, m in matcher.get_opcodes()
    )
    first = Stretch(here=here[:head], there=there[:head])
    return (first, *inner, Stretch(here=here[stop:], there=there[end:]))


def _places(sides: Sides, subject: range) -> list[range]:
    """Return where the other statement has the subject: token by token, or else as a text."""
    there, size = sides.other.core, len(subject)
    windows = (range(j, j + size) for j in range(there.start, there.stop - size + 1))
    found = [window for window in windows if _alike(sides, subject, window)]
    if found or sides.pair.subject is None:
        return found
    span = subject_span(sides.pair.affirmative_statement, sides.pair.subject)
    tokens = tokens_within(sides.other.tokens, span)
    return [range(tokens[0], tokens[-1] + 1)] if tokens else []


def count_alike(stretches: Stretches) -> int:
    """Return how many tokens stand in stretches that read alike."""
    return sum(len(stretch.here) for stretch in stretches if stretch.alike)


def moved(sides: Sides, stretches: Stretches) -> Stretches:
    """Match the words left over on both sides, each the only one of its kind there."""
    here = [i for stretch in stretches if not stretch.there for i in stretch.here]
    there = [j for stretch in stretches if not stretch.here for j in stretch.there]
    words = [sides.negated.words[i] for i in here]
    others = [sides.other.words[j] for j in there]
    return tuple(
        Stretch(here=range(i, i + 1), there=range(j, j + 1))
        for i, word in zip(here, words, strict=True)
        for j, other in zip(there, others, strict=True)
        if word == other and words.count(word) == others.count(word) == 1
        if sides.roles[i] != "cue"
    )
