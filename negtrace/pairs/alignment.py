"""Alignment: which tokens of a pair's two statements correspond, and by which rule."""

__all__ = ["RULES", "Alignment", "Correspondence", "Rule", "align"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from negtrace.errors import AlignmentError
from negtrace.pairs.differences import Differences, differences
from negtrace.pairs.matching import (
    Match,
    Matches,
    TokenizedPair,
    TokenizedStatement,
    count_alike,
    match_moved_words,
    match_tokens,
    tokenized_pair,
)
from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import SUBJECT, token_roles
from negtrace.pairs.tokens import Tokens

Rule = Literal["identity", "substitution", "deletion", "moved"]
RULES: tuple[Rule, ...] = get_args(Rule)
"""Position by position; other words replace the cue; no words replace it; words change order."""

Correspondence = tuple[tuple[int, ...], ...]
"""For each position of one statement, the positions of the other that correspond to it."""

Edges = set[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Roles of both statements of a pair, and the positions that correspond.

    Each tuple has one entry per position of its statement. Correspondence is symmetric: `j` is in
    `true_from_false[i]` if and only if `i` is in `false_from_true[j]`.
    """

    roles_true: tuple[str, ...]
    roles_false: tuple[str, ...]
    true_from_false: Correspondence
    """For each position of the true statement, the corresponding positions of the false one. It is
    empty where there are none; the states of several are averaged."""
    false_from_true: Correspondence
    """The same in the other direction."""
    rule: Rule
    first_difference: int
    """First position where the token ids differ, or that does not correspond to itself alone.
    Before it, a causal tower has the same states in both runs."""
    differing: Differences
    """Words in which the statements differ apart from the negation. Effects of such a pair are not
    of the negation alone."""


def align(pair: Pair, true: Tokens, false: Tokens) -> Alignment:
    """Return the roles of both statements and the positions that correspond.

    Statements of one length correspond position by position (`identity`), unless another matching
    keeps the subject, or more words, together.

    Otherwise tokens that read alike are matched from left to right, and the subject always matches
    the subject. Words between two matches correspond as a whole, and their states are averaged. So
    the cue corresponds to other words (`substitution`) or to none (`deletion`); then its role has
    no cell in the run without it. A word that moved to the other side of the subject is matched
    across it, if it is the only such word (`moved`).

    Padding corresponds as far as both statements have it. The positions that are read out always
    correspond to each other alone. The affirmative statement takes the roles of the negated one.

    Args:
        pair: the pair.
        true: tokens of the true statement.
        false: tokens of the false statement.

    Raises:
        AlignmentError: whose `code` is "same-tokens", "truncated", "subject-changed" or
            "unaligned".
    """
    if true.ids == false.ids:
        raise AlignmentError(
            "same-tokens",
            "the tokenizer reads both statements alike; they must differ by more than case",
        )
    swapped = pair.negated == "false"
    both = tokenized_pair(pair, *((false, true) if swapped else (true, false)))
    rule, edges, roles_other = _aligned(both)
    here = _correspondence(edges, len(both.roles))
    there = _correspondence({(j, i) for i, j in edges}, len(roles_other))
    return Alignment(
        roles_true=roles_other if swapped else both.roles,
        roles_false=both.roles if swapped else roles_other,
        true_from_false=there if swapped else here,
        false_from_true=here if swapped else there,
        rule=rule,
        first_difference=_first_difference(true.ids, false.ids, here, there),
        differing=differences(pair),
    )


def _aligned(both: TokenizedPair) -> tuple[Rule, Edges, tuple[str, ...]]:
    """Return the rule, the positions that correspond, and the roles of the other statement."""
    matches = match_tokens(both)
    if not matches:
        raise AlignmentError(
            "subject-changed",
            "the words that differ take in the subject; word both statements alike around it",
        )
    if _in_place(both, matches):
        matches = _position_by_position(both)
        _require_contrast(both, matches)
        return "identity", {(i, i) for i in range(len(both.roles))}, both.roles
    moved = match_moved_words(both, matches)
    rule = _rule(both, matches, moved)
    edges = _edges(both, matches + moved)
    return rule, edges, _roles_of_other(both, matches + moved, edges)


def _position_by_position(both: TokenizedPair) -> Matches:
    """Match each position to itself."""
    here, there = both.negated, both.other
    return tuple(
        Match(here=range(i, i + 1), there=range(i, i + 1), alike=here.words[i] == there.words[i])
        for i in here.unpadded
    )


def _in_place(both: TokenizedPair, matches: Matches) -> bool:
    """Tell whether the statements have one length and matching them keeps no more together.

    The subject must have the same positions in both.
    """
    negated, other = both.negated, both.other
    if negated.tokens.padding != other.tokens.padding:
        return False
    if negated.tokens.read_out != other.tokens.read_out:
        return False
    alike = {i for i in negated.unpadded if negated.words[i] == other.words[i]}
    if len(alike) < count_alike(matches):
        return False
    subject = both.having(*SUBJECT)
    return all(match.here == match.there for match in matches if subject & {*match.here})


def _rule(both: TokenizedPair, matches: Matches, moved: Matches) -> Rule:
    """Return what happened to the cue and the words around it, or raise an AlignmentError."""
    changed = _require_contrast(both, matches, moved)
    if moved:
        return "moved"
    return "substitution" if any(match.there for match in changed) else "deletion"


def _require_contrast(both: TokenizedPair, matches: Matches, moved: Matches = ()) -> Matches:
    """Return the matches in which the cue differs.

    Raises:
        AlignmentError: "unaligned" when the cue does not differ, or too few words around it agree.
    """
    cue = both.having("cue")
    changed = tuple(match for match in matches if not match.alike and cue & {*match.here})
    if not changed:
        raise AlignmentError(
            "unaligned",
            "the words that differ do not hold the cue; word both statements alike apart from it",
        )
    alike = {i for match in matches + moved if match.alike for i in match.here}
    alike |= both.having(*SUBJECT)
    around = {i for i, word in enumerate(both.negated.words) if isinstance(word, str)} - cue
    if 2 * len(alike & around) < len(around):
        raise AlignmentError(
            "unaligned",
            "the statements share fewer than half of the tokens around the cue; word both alike "
            "apart from it",
        )
    return changed


def _edges(both: TokenizedPair, matches: Matches) -> Edges:
    """Return the positions that correspond. What is read out corresponds to what is read out."""
    edges = {edge for match in matches for edge in match.edges()}
    edges |= _padding(both.negated, both.other)
    here, there = both.negated.tokens.read_out, both.other.tokens.read_out
    if here is None or there is None:
        return edges
    return {(i, j) for i, j in edges if i != here and j != there} | {(here, there)}


def _padding(negated: TokenizedStatement, other: TokenizedStatement) -> Edges:
    """Let padding correspond from the text outwards, as far as both statements have it."""
    before, after = negated.unpadded, other.unpadded
    ends = range(before.stop, len(negated.words)), range(after.stop, len(other.words))
    leading = zip(reversed(range(before.start)), reversed(range(after.start)), strict=False)
    return {*leading, *zip(*ends, strict=False)}


def _roles_of_other(both: TokenizedPair, matches: Matches, edges: Edges) -> tuple[str, ...]:
    """Return the roles of the affirmative statement: each token takes that of its counterpart.

    Words in the place of the cue are the cue. A token without a counterpart keeps its own role.
    """
    other, roles = both.other.tokens, both.roles
    result = list(token_roles(both.pair.affirmative_statement, other, cue=None, subject=None))
    linked = {j for _, j in edges}
    for match in matches:
        taken = [roles[i] for i in match.here]
        if not match.alike:
            taken = _as_a_whole(taken, [result[j] for j in match.there])
        for j, role in zip(match.there, taken, strict=True):
            result[j] = role if j in linked else result[j]
    if other.read_out is not None and both.negated.tokens.read_out is not None:
        result[other.read_out] = roles[both.negated.tokens.read_out]
    last = max((j for j, role in enumerate(result) if role in ("cue", *SUBJECT)), default=0)
    before = {*range(last)} - linked
    return tuple(
        "prefix" if j in before and role == "rest" else role for j, role in enumerate(result)
    )


def _as_a_whole(taken: Sequence[str], default: Sequence[str]) -> list[str]:
    """Return roles for words that correspond as a whole to words of the roles `taken`."""
    if "cue" in taken:
        return ["cue"] * len(default)
    if "subject" in taken:
        return ["subject", *["subject_rest"] * (len(default) - 1)]
    return list(default)


def _correspondence(edges: Edges, count: int) -> Correspondence:
    """Return, for each of `count` positions, those it corresponds to."""
    result: list[list[int]] = [[] for _ in range(count)]
    for i, j in sorted(edges):
        result[i].append(j)
    return tuple(map(tuple, result))


def _first_difference(
    ids: Sequence[int], others: Sequence[int], here: Correspondence, there: Correspondence
) -> int:
    """Return the first position that differs, or does not correspond to itself alone."""
    limit = min(len(ids), len(others))
    same = (ids[i] == others[i] and here[i] == there[i] == (i,) for i in range(limit))
    return next((i for i, value in enumerate(same) if not value), limit)
