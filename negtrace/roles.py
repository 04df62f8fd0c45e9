"""Roles: what each token does in its statement, and which tokens of a pair correspond."""

__all__ = ["ROLES", "AlignmentError", "Layout", "lay_out", "token_roles"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from negtrace.errors import PairError
from negtrace.language.cues import subject_span
from negtrace.pairs import Pair
from negtrace.tokens import Tokens

ROLES: tuple[str, ...] = (
    "start",
    "prefix",
    "cue",
    "subject",
    "subject_rest",
    "rest",
    "punct",
    "prompt",
    "end",
    "pad",
)
"""Every role, in the order in which a figure shows them."""

Span = tuple[int, int]
Sources = tuple[tuple[int, ...], ...]
Edges = set[tuple[int, int]]


class AlignmentError(PairError):
    """A pair that cannot be traced; neither its code nor its reason holds any statement text."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        """Short name of the reason, to count dropped pairs by."""


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
    rule: Literal["identity", "roles"]
    """Whether positions correspond one to one, or by what their tokens do."""
    first_difference: int
    """First position at which the token ids differ."""


def token_roles(
    text: str, tokens: Tokens, *, cue: Span | None, subject: str | None
) -> tuple[str, ...]:
    """Return the role of every token of `text`; `cue` is a character span in it.

    `start` and `prompt` are tokens that the tokenizer added before and after the text, `pad` what
    only fills the context. `end` is the one at which the embedding is read, or the first added
    after the text where that is none of these. Text before the cue or the subject, and between the
    two, is `prefix`, text after both `rest`, and punctuation that closes the statement `punct`. A
    text token that is read out is `end`, too, unless it negates or is negated.

    Raises:
        AlignmentError: "truncated" when no token stands for the cue or for the subject.
    """
    inside = _inside(tokens)
    named = None if subject is None else subject_span(text, subject, cue=cue)
    cues, subjects = _overlapping(tokens, cue), _overlapping(tokens, named)
    subjects = [i for i in subjects if i not in cues]
    if (cue and not cues) or (named and not subjects):
        raise AlignmentError(
            "truncated",
            "no token stands for the cue or its subject; shorten the statement, or look at how "
            "the tokenizer reads it",
        )
    roles = ["start"] * inside.start
    roles += _text_roles(inside, cues, subjects)
    # The end token of a filled statement belongs to what fills it.
    after = "pad" if any(tokens.padding) else "prompt"
    roles += [after] * (len(tokens) - inside.stop)
    for i in _closing(text, tokens, inside):
        roles[i] = "punct" if roles[i] in ("prefix", "rest") else roles[i]
    end = _end(tokens, inside)
    if end is not None and end not in {*cues, *subjects}:
        roles[end] = "end"
    return tuple(roles)


def _inside(tokens: Tokens) -> range:
    """Return the positions from the first to the last token of the text."""
    text = [i for i, added in enumerate(tokens.added) if not added]
    if not text:
        raise AlignmentError("truncated", "the tokenizer found no text in a statement; reword it")
    return range(text[0], text[-1] + 1)


def _overlapping(tokens: Tokens, span: Span | None) -> list[int]:
    if span is None:
        return []
    return [i for i, (start, end) in enumerate(tokens.spans) if start < span[1] and end > span[0]]


def _text_roles(inside: range, cues: Sequence[int], subjects: Sequence[int]) -> list[str]:
    roles = []
    marked = [*cues, *subjects]
    for i in inside:
        if i in cues:
            roles.append("cue")
        elif i in subjects:
            roles.append("subject" if i == subjects[0] else "subject_rest")
        else:
            roles.append("prefix" if marked and i < max(marked) else "rest")
    return roles


def _closing(text: str, tokens: Tokens, inside: range) -> list[int]:
    """Return the positions of the punctuation at the end of the text."""
    found: list[int] = []
    for i in reversed(inside):
        words = text[slice(*tokens.spans[i])].strip()
        if not words or words.strip(".,;:!?"):
            break
        found.append(i)
    return found


def _end(tokens: Tokens, inside: range) -> int | None:
    read_out = tokens.read_out
    if read_out is not None and read_out >= inside.start:
        return read_out
    return inside.stop if inside.stop < len(tokens) else None


def lay_out(pair: Pair, true: Tokens, false: Tokens) -> Layout:
    """Return the roles of both statements and how their positions correspond.

    Statements of equal length correspond position by position, and the affirmative one takes the
    roles of the negated one. Otherwise what precedes and what follows the change corresponds one
    to one and the words changed correspond as a whole: they have to hold the cue on one side,
    something on the other, and no word of the subject. Padding corresponds as far as it goes;
    the position that is read out corresponds to its like, always.

    Raises:
        AlignmentError: whose `code` is "same-tokens", "truncated", "no-counterpart",
            "subject-changed" or "unaligned".
    """
    if true.ids == false.ids:
        raise AlignmentError(
            "same-tokens",
            "the tokenizer reads both statements alike; they must differ by more than case",
        )
    swapped = pair.negated == "false"
    negated, other = (false, true) if swapped else (true, false)
    roles = token_roles(pair.negated_statement, negated, cue=pair.cue, subject=pair.subject)
    whole = _same_places(pair, roles, negated, other)
    if whole:
        edges = {(i, i) for i in range(len(roles))}
        roles_other = roles
    else:
        edges, roles_other = _match(pair, roles, negated, other)
    here, there = _sources(edges, len(negated)), _sources({(j, i) for i, j in edges}, len(other))
    return Layout(
        roles_true=roles_other if swapped else roles,
        roles_false=roles if swapped else roles_other,
        true_from_false=there if swapped else here,
        false_from_true=here if swapped else there,
        rule="identity" if whole else "roles",
        first_difference=_shared(true.ids, false.ids),
    )


def _same_places(pair: Pair, roles: Sequence[str], negated: Tokens, other: Tokens) -> bool:
    """Tell whether positions correspond as they are: equal lengths, the subject in its place."""
    if (negated.padding, negated.read_out) != (other.padding, other.read_out):
        return False
    if pair.subject is None or subject_span(pair.affirmative_statement, pair.subject) is None:
        return True
    subjects = [i for i, role in enumerate(roles) if role in ("subject", "subject_rest")]
    return all(negated.ids[i] == other.ids[i] for i in subjects)


def _match(
    pair: Pair, roles: tuple[str, ...], negated: Tokens, other: Tokens
) -> tuple[Edges, tuple[str, ...]]:
    """Return the pairs of positions that correspond, and the roles of the affirmative side."""
    before, after = _core(negated), _core(other)
    ids, other_ids = negated.ids[before.start : before.stop], other.ids[after.start : after.stop]
    head = _shared(ids, other_ids)
    room = min(len(ids), len(other_ids)) - head
    tail = min(room, _shared(ids[::-1], other_ids[::-1]))
    changed = before[head : len(before) - tail]
    replaced = after[head : len(after) - tail]
    _require_counterpart([roles[i] for i in changed], replaced)
    edges = {*zip(before[:head], after[:head], strict=True)}
    edges |= {(i, j) for i in changed for j in replaced}
    edges |= {*zip(before[len(before) - tail :], after[len(after) - tail :], strict=True)}
    edges |= _padding(negated, other, before, after)
    edges = _read_out_to_read_out(edges, negated, other)
    found = list(token_roles(pair.affirmative_statement, other, cue=None, subject=None))
    for i, j in edges:
        found[j] = roles[i]
    for j in replaced:
        found[j] = found[j] if j == other.read_out else "cue"
    return edges, tuple(found)


def _core(tokens: Tokens) -> range:
    """Return the positions that are no padding."""
    filled = [i for i, padding in enumerate(tokens.padding) if not padding]
    return range(filled[0], filled[-1] + 1)


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the common beginning."""
    limit = min(len(one), len(other))
    return next((i for i in range(limit) if one[i] != other[i]), limit)


def _require_counterpart(changed: Sequence[str], replaced: Sequence[int]) -> None:
    if {"subject", "subject_rest"} & set(changed):
        raise AlignmentError(
            "subject-changed",
            "the words that differ take in the subject; word both statements alike around it",
        )
    if "cue" not in changed:
        raise AlignmentError(
            "unaligned",
            "the words that differ do not hold the cue; word both statements alike apart from it",
        )
    if not replaced:
        raise AlignmentError(
            "no-counterpart",
            "nothing stands where the other statement has its cue; rephrase to equal length, for "
            "instance with 'some' in the place of 'no'",
        )


def _padding(negated: Tokens, other: Tokens, before: range, after: range) -> Edges:
    """Let padding correspond from the text outwards, as far as both sides go."""
    leading = zip(reversed(range(before.start)), reversed(range(after.start)), strict=False)
    trailing = zip(range(before.stop, len(negated)), range(after.stop, len(other)), strict=False)
    return {*leading, *trailing}


def _read_out_to_read_out(edges: Edges, negated: Tokens, other: Tokens) -> Edges:
    here, there = negated.read_out, other.read_out
    if here is None or there is None:
        return edges
    return {(i, j) for i, j in edges if i != here and j != there} | {(here, there)}


def _sources(edges: Edges, count: int) -> Sources:
    """Return, for each of `count` positions, those it corresponds to."""
    found: list[list[int]] = [[] for _ in range(count)]
    for i, j in sorted(edges):
        found[i].append(j)
    return tuple(map(tuple, found))
