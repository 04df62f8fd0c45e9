"""Roles of tokens: what each token does in its statement."""

__all__ = ["ROLES", "SUBJECT", "token_roles", "tokens_within"]

from collections.abc import Sequence

from negtrace.errors import AlignmentError
from negtrace.language.cues import subject_span
from negtrace.language.words import Span
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
"""Every role, in the order of the figures."""

SUBJECT = ("subject", "subject_rest")
"""Roles of the tokens that are negated."""


def token_roles(
    text: str, tokens: Tokens, *, cue: Span | None, subject: str | None
) -> tuple[str, ...]:
    """Return the role of every token of a statement.

    | role | tokens |
    |---|---|
    | `start` | added by the tokenizer before the text |
    | `prefix` | text before the cue or the subject, and between the two |
    | `cue` | the negation cue |
    | `subject` | first token of what is negated |
    | `subject_rest` | further tokens of what is negated |
    | `rest` | text after both |
    | `punct` | punctuation that closes the statement |
    | `prompt` | added by the tokenizer after the text |
    | `end` | read out as the embedding, or else the first token added after the text |
    | `pad` | padding |

    A text token that is read out is `end` unless it is part of the cue or the subject.

    Args:
        text: the statement.
        tokens: its tokens.
        cue: character span of the cue; None for an affirmative statement.
        subject: the words that are negated; None if unknown.

    Raises:
        AlignmentError: "truncated" when no token stands for the cue or for the subject.
    """
    inside = _inside(tokens)
    span = None if subject is None else subject_span(text, subject, cue=cue)
    cues, subjects = tokens_within(tokens, cue), tokens_within(tokens, span)
    subjects = [i for i in subjects if i not in cues]
    if (cue and not cues) or (span and not subjects):
        raise AlignmentError(
            "truncated",
            "no token stands for the cue or its subject; shorten the statement, or look at how "
            "the tokenizer reads it",
        )
    roles = ["start"] * inside.start
    roles += _text_roles(inside, cues, subjects)
    # In a padded statement, tokens after the text are padding.
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
    """Return the positions of the tokens that cover a character of `span`."""
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
    positions: list[int] = []
    for i in reversed(inside):
        characters = text[slice(*tokens.spans[i])].strip()
        if not characters or characters.strip(".,;:!?"):
            break
        positions.append(i)
    return positions


def _end(tokens: Tokens, inside: range) -> int | None:
    """Return the position that is read out, or else of the first token added after the text."""
    read_out = tokens.read_out
    if read_out is not None and read_out >= inside.start:
        return read_out
    return inside.stop if inside.stop < len(tokens) else None
