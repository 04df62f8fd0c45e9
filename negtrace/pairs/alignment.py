"""Alignment: which tokens of a pair's two statements correspond, and by which rule."""

__all__ = ["RULES", "Layout", "Rule", "lay_out"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from negtrace.language.cues import subject_span
from negtrace.pairs.matching import (
    Side,
    Sides,
    Stretches,
    count_alike,
    moved,
    sides_of,
    stretches_of,
)
from negtrace.pairs.pair import Pair
from negtrace.pairs.roles import SUBJECT, AlignmentError, token_roles
from negtrace.pairs.tokens import Tokens

Rule = Literal["identity", "substitution", "deletion", "moved"]
RULES: tuple[Rule, ...] = get_args(Rule)
"""Position by position; other words stand where the cue does; none do; words change order."""

Sources = tuple[tuple[int, ...], ...]
Edges = set[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The roles of both statements of a pair, and which of their positions correspond.

    Each array has one entry per position of its statement. Correspondence goes both ways: `j` is
    in `true_from_false[i]` just when `i` is in `false_from_true[j]`.
    """

    roles_true: tuple[str, ...]
    roles_false: tuple[str, ...]
    true_from_false: Sources
    """For each position of the true statement, those of the false one; empty where there is none.
    The states of several are averaged."""
    false_from_true: Sources
    """The same, the other way round."""
    rule: Rule
    first_difference: int
    """First position at which the token ids differ, or which corresponds to more or less than
    itself. Before it, both runs of a causal tower have the same states."""


def lay_out(pair: Pair, true: Tokens, false: Tokens) -> Layout:
    """Return the roles of both statements and how their positions correspond.

    Statements of one length correspond position by position (`identity`), unless that would set
    the subject, or more words than need be, beside others. Otherwise tokens that read alike are
    matched from left to right, the subject to the subject whatever the rest does, and what stands
    between two matches corresponds as a whole, averaged. The cue then has other words in its
    place (`substitution`) or none (`deletion`): it has no cell in a run that lacks it. A word that
    stands on another side of the subject corresponds across, where it is the only one of its kind
    that is left (`moved`). Padding corresponds as far as it goes; the position that is read out
    corresponds to its like, always. The affirmative statement takes the roles of the negated one.

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
    sides = sides_of(pair, *((false, true) if swapped else (true, false)))
    rule, edges, roles_other = _aligned(sides)
    here = _sources(edges, len(sides.roles))
    there = _sources({(j, i) for i, j in edges}, len(roles_other))
    return Layout(
        roles_true=roles_other if swapped else sides.roles,
        roles_false=sides.roles if swapped else roles_other,
        true_from_false=there if swapped else here,
        false_from_true=here if swapped else there,
        rule=rule,
        first_difference=_alike_until(true.ids, false.ids, here, there),
    )


def _aligned(sides: Sides) -> tuple[Rule, Edges, tuple[str, ...]]:
    """Return the rule, the positions that correspond, and the roles of the other statement."""
    stretches = stretches_of(sides)
    if _in_place(sides, stretches):
        return "identity", {(i, i) for i in range(len(sides.roles))}, sides.roles
    across = moved(sides, stretches)
    rule = _rule(sides, stretches, across)
    edges = _edges(sides, stretches + across)
    return rule, edges, _roles_of_other(sides, stretches + across, edges)


def _in_place(sides: Sides, stretches: Stretches) -> bool:
    """Tell whether positions correspond as they are: one length, nothing to be gained apart."""
    negated, other = sides.negated, sides.other
    frames = [(side.tokens.padding, side.tokens.read_out) for side in (negated, other)]
    if frames[0] != frames[1]:
        return False
    alike = {i for i in negated.core if negated.words[i] == other.words[i]}
    if len(alike) < count_alike(stretches):
        return False
    text, subject = sides.pair.affirmative_statement, sides.pair.subject
    return not subject or not subject_span(text, subject) or alike >= sides.having(*SUBJECT)


def _rule(sides: Sides, stretches: Stretches, across: Stretches) -> Rule:
    """Name what happened to the cue and the words around it, or raise an AlignmentError."""
    cue = sides.having("cue")
    changed = [stretch for stretch in stretches if not stretch.alike and cue & {*stretch.here}]
    if not stretches:
        raise AlignmentError(
            "subject-changed",
            "the words that differ take in the subject; word both statements alike around it",
        )
    if not changed:
        raise AlignmentError(
            "unaligned",
            "the words that differ do not hold the cue; word both statements alike apart from it",
        )
    kept = {i for stretch in stretches + across if stretch.alike for i in stretch.here}
    kept |= sides.having(*SUBJECT)
    around = {i for i, word in enumerate(sides.negated.words) if isinstance(word, str)} - cue
    if 2 * len(kept & around) < len(around):
        raise AlignmentError(
            "unaligned",
            "the statements share fewer than half of the tokens around the cue; word both alike "
            "apart from it",
        )
    if across:
        return "moved"
    return "substitution" if any(stretch.there for stretch in changed) else "deletion"


def _edges(sides: Sides, stretches: Stretches) -> Edges:
    """Return the positions that correspond; what is read out corresponds to its like alone."""
    edges = {edge for stretch in stretches for edge in stretch.edges()}
    edges |= _padding(sides.negated, sides.other)
    here, there = sides.negated.tokens.read_out, sides.other.tokens.read_out
    if here is None or there is None:
        return edges
    return {(i, j) for i, j in edges if i != here and j != there} | {(here, there)}


def _padding(negated: Side, other: Side) -> Edges:
    """Let padding correspond from the text outwards, as far as both sides go."""
    before, after = negated.core, other.core
    ends = range(before.stop, len(negated.words)), range(after.stop, len(other.words))
    leading = zip(reversed(range(before.start)), reversed(range(after.start)), strict=False)
    return {*leading, *zip(*ends, strict=False)}


def _roles_of_other(sides: Sides, stretches: Stretches, edges: Edges) -> tuple[str, ...]:
    """Return the roles of the affirmative statement: those of what its tokens correspond to.

    What stands where the cue does is the cue. What has no like keeps its own role.
    """
    other, roles = sides.other.tokens, sides.roles
    found = list(token_roles(sides.pair.affirmative_statement, other, cue=None, subject=None))
    linked = {j for _, j in edges}
    for stretch in stretches:
        taken = [roles[i] for i in stretch.here]
        if not stretch.alike:
            taken = _as_a_whole(taken, [found[j] for j in stretch.there])
        for j, role in zip(stretch.there, taken, strict=True):
            found[j] = role if j in linked else found[j]
    if other.read_out is not None and sides.negated.tokens.read_out is not None:
        found[other.read_out] = roles[sides.negated.tokens.read_out]
    marked = max((j for j, role in enumerate(found) if role in ("cue", *SUBJECT)), default=0)
    lone = {*range(marked)} - linked
    return tuple("prefix" if j in lone and role == "rest" else role for j, role in enumerate(found))


def _as_a_whole(taken: Sequence[str], own: Sequence[str]) -> list[str]:
    if "cue" in taken:
        return ["cue"] * len(own)
    if "subject" in taken:
        return ["subject", *["subject_rest"] * (len(own) - 1)]
    return list(own)


def _sources(edges: Edges, count: int) -> Sources:
    """Return, for each of `count` positions, those it corresponds to."""
    found: list[list[int]] = [[] for _ in range(count)]
    for i, j in sorted(edges):
        found[i].append(j)
    return tuple(map(tuple, found))


def _alike_until(ids: Sequence[int], others: Sequence[int], here: Sources, there: Sources) -> int:
    """Return the first position that differs, or does not correspond to itself alone."""
    limit = min(len(ids), len(others))
    own = (ids[i] == others[i] and here[i] == there[i] == (i,) for i in range(limit))
    return next((i for i, alike in enumerate(own) if not alike), limit)
