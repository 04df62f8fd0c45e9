"""Roles: what each token does in its statement."""

__all__ = ["ROLES", "SUBJECT", "AlignmentError", "token_roles", "tokens_within"]

from collections.abc import Sequence

from negtrace.errors import PairError
from negtrace.language.cues import subject_span
from negtrace.pairs.tokens import Tokens

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

SUBJECT = ("subject", "subject_rest")
"""The roles of what is negated."""

Span = tuple[int, int]


class AlignmentError(PairError):
    """A pair that cannot be traced; neither its code nor its reason holds any statement text."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        """Short name of the reason, to count dropped pairs by."""


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
    cues, subjects = tokens_within(tokens, cue), tokens_within(tokens, named)
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


def tokens_within(tokens: Tokens, span: Span | None) -> list[int]:
    """Return the positions of the tokens that stand for any character of `span`."""
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
