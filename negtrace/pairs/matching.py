"""Matching of two statements, from left to right: where they read alike and where they differ."""

__all__ = [
    "Match",
    "Matches",
    "TokenizedPair",
    "TokenizedStatement",
    "count_alike",
    "match_moved_words",
    "match_tokens",
    "tokenized_pair",
]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import product
from unicodedata import combining, normalize

from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import SUBJECT, token_roles, tokens_within
from negtrace.pairs.subjects import subject_spans
from negtrace.pairs.tokens import Tokens

TokenTexts = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class TokenizedStatement:
    """A statement as it is matched."""

    tokens: Tokens
    words: TokenTexts
    """Text of each token in lower case; the id of a token that the tokenizer added."""
    unpadded: range
    """Positions without the padding."""

    def read(self, positions: range) -> TokenTexts:
        """Return the words at these positions."""
        return self.words[positions.start : positions.stop]


@dataclass(frozen=True, kw_only=True)
class TokenizedPair:
    """Both statements of a pair as they are matched, with the roles of the negated one."""

    pair: Pair
    negated: TokenizedStatement
    other: TokenizedStatement
    roles: tuple[str, ...]
    """Role of each token of the negated statement."""

    def having(self, *roles: str) -> set[int]:
        """Return the positions of the negated statement that have one of the roles."""
        return {i for i, role in enumerate(self.roles) if role in roles}


@dataclass(frozen=True, kw_only=True)
class Match:
    """Positions of the negated statement, and those that take their place in the other one."""

    here: range
    """Positions in the negated statement; may be empty."""
    there: range
    """Positions in the other statement; may be empty."""
    alike: bool = True
    """Whether both read the same, token by token."""

    def edges(self) -> Iterator[tuple[int, int]]:
        """Yield the positions that correspond: one to one if alike, else each to all."""
        if self.alike:
            return zip(self.here, self.there, strict=True)
        return product(self.here, self.there)


Matches = tuple[Match, ...]


def tokenized_pair(pair: Pair, negated: Tokens, other: Tokens) -> TokenizedPair:
    """Return both statements as they are matched.

    Raises:
        AlignmentError: "truncated" when no token stands for the cue or for the subject.
    """
    text = pair.negated_statement
    return TokenizedPair(
        pair=pair,
        negated=_statement(text, negated),
        other=_statement(pair.affirmative_statement, other),
        roles=token_roles(text, negated, cue=pair.cue, subject=pair.subject),
    )


def _statement(text: str, tokens: Tokens) -> TokenizedStatement:
    words = tuple(
        token if start == end else _read(text, start, end)
        for token, (start, end) in zip(tokens.ids, tokens.spans, strict=True)
    )
    filled = [i for i, padding in enumerate(tokens.padding) if not padding]
    return TokenizedStatement(tokens=tokens, words=words, unpadded=range(filled[0], filled[-1] + 1))


def _read(text: str, start: int, end: int) -> str:
    """Return the text of a token in lower case, composed.

    Some tokenizers drop accents, so the marks behind the last letter of the token belong to it.
    """
    while combining(text[end : end + 1] or " "):
        end += 1
    return normalize("NFC", text[start:end]).casefold()


def match_tokens(both: TokenizedPair) -> Matches:
    """Match the statements from left to right, the subject to the subject.

    Returns no match when the other statement lacks the subject. If it has the subject several
    times, the occurrence counts around which most tokens read alike.
    """
    here, there = both.negated.unpadded, both.other.unpadded
    positions = sorted(both.having(*SUBJECT))
    if not positions:
        return _between(both, here, there)
    subject = range(positions[0], positions[-1] + 1)
    candidates = [
        (
            *_between(both, range(here.start, subject.start), range(there.start, other.start)),
            Match(here=subject, there=other, alike=_alike(both, subject, other)),
            *_between(both, range(subject.stop, here.stop), range(other.stop, there.stop)),
        )
        for other in _occurrences(both)
    ]
    return max(candidates, key=count_alike, default=())


def _shared(words: Sequence[object], others: Sequence[object]) -> int:
    """Return the length of the common beginning."""
    limit = min(len(words), len(others))
    return next((i for i in range(limit) if words[i] != others[i]), limit)


def _alike(both: TokenizedPair, here: range, there: range) -> bool:
    return both.negated.read(here) == both.other.read(there)


def _between(both: TokenizedPair, here: range, there: range) -> Matches:
    """Match two ranges: the common beginning and end first, then what lies between them."""
    words, others = both.negated.read(here), both.other.read(there)
    head = _shared(words, others)
    tail = min(_shared(words[::-1], others[::-1]), min(len(words), len(others)) - head)
    stop, end = len(words) - tail, len(others) - tail
    matcher = SequenceMatcher(None, words[head:stop], others[head:end], autojunk=False)
    inner = (
        Match(here=here[head:stop][i:k], there=there[head:end][j:m], alike=tag == "equal")
        for tag, i, k, j, m in matcher.get_opcodes()
    )
    first = Match(here=here[:head], there=there[:head])
    return (first, *inner, Match(here=here[stop:], there=there[end:]))


def _occurrences(both: TokenizedPair) -> list[range]:
    """Return the positions of the subject in the other statement, in the same number if it can."""
    pair = both.pair
    if pair.subject is None:
        return []
    text, other = pair.negated_statement, pair.affirmative_statement
    for spans in subject_spans(text, pair.subject, pair.cue, other):
        found = [tokens_within(both.other.tokens, span) for span in spans]
        if positions := [range(tokens[0], tokens[-1] + 1) for tokens in found if tokens]:
            return positions
    return []


def count_alike(matches: Matches) -> int:
    """Return the number of tokens in matches that read alike."""
    return sum(len(match.here) for match in matches if match.alike)


def match_moved_words(both: TokenizedPair, matches: Matches) -> Matches:
    """Match words left over in both statements if each occurs once among these in each."""
    here = [i for match in matches if not match.there for i in match.here]
    there = [j for match in matches if not match.here for j in match.there]
    words = [both.negated.words[i] for i in here]
    others = [both.other.words[j] for j in there]
    return tuple(
        Match(here=range(i, i + 1), there=range(j, j + 1))
        for i, word in zip(here, words, strict=True)
        for j, other in zip(there, others, strict=True)
        if word == other and words.count(word) == others.count(word) == 1
        if both.roles[i] != "cue"
    )
