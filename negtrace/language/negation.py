"""Decisions: whether a text denies a concept at given characters, leaves it uncertain, or affirms
it, and why."""

__all__ = ["Decision", "decide", "is_negated", "negation_of"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from negtrace.errors import LanguageError
from negtrace.language.cues import Cue, Reading, may_have_cue, read_cues
from negtrace.language.lexicon import Lexicon, load_lexicon
from negtrace.language.words import Span

Status = Literal["affirmed", "negated", "uncertain"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Decision on one concept in a text."""

    span: Span
    """Characters of the concept."""
    status: Status
    cue: Cue | None
    """The cue that decides; None where the concept is affirmed."""
    reason: str
    """Reason in words. It names phrases of the lexicon and no other word of the text."""

    @property
    def negated(self) -> bool:
        """True if the text denies the concept."""
        return self.status == "negated"


def is_negated(text: str, start: int, end: int, lexicon: Lexicon | None = None) -> bool:
    """Return whether `text` denies the concept at its characters `start` to `end`.

    >>> text = "No effusion, but a nodule."
    >>> is_negated(text, 3, 11), is_negated(text, 19, 25)
    (True, False)

    Raises:
        LanguageError: for an empty span, or one that is not inside the text.
    """
    span = _checked(text, start, end)
    lexicon = load_lexicon() if lexicon is None else lexicon
    return may_have_cue(text, lexicon) and decide(read_cues(text, lexicon), span).negated


def negation_of(text: str, start: int, end: int, lexicon: Lexicon | None = None) -> Decision:
    """Return what `text` says of the concept at its characters `start` to `end`, and why.

    If a scope covers only part of the concept, the end of the concept that is nearer to the cue
    decides: its first character after a cue, its last character before one.

    >>> negation_of("Pneumonia cannot be excluded.", 0, 9).reason
    'left open by uncertain_after: cannot be entirely|completely|... excluded'
    >>> negation_of("No effusion, but a nodule.", 19, 25).reason
    'affirmed: the scope of before: no ends at but'

    Raises:
        LanguageError: for an empty span, or one that is not inside the text.
    """
    return decide(read_cues(text, lexicon), _checked(text, start, end))


def _checked(text: str, start: int, end: int) -> Span:
    if not 0 <= start < end <= len(text):
        raise LanguageError(
            f"no concept at characters {start} to {end} of a text of {len(text)}; "
            "give (first character, character after the last)"
        )
    return start, end


def decide(reading: Reading, span: Span) -> Decision:
    """Return the decision on a concept in a text that was read before.

    Use it for several concepts of one text: `decide(read_cues(text), span)`.
    """
    if cue := _nearest_cue(reading.cues, span):
        return Decision(span=span, status="negated", cue=cue, reason=f"negated by {cue.reason}")
    if phrase := _denying_phrase(reading, span):
        reason = f"denied within pseudo: {phrase}"
        return Decision(span=span, status="negated", cue=None, reason=reason)
    if cue := _nearest_cue(reading.doubts, span):
        return Decision(span=span, status="uncertain", cue=cue, reason=f"left open by {cue.reason}")
    return Decision(span=span, status="affirmed", cue=None, reason=_why_affirmed(reading, span))


def _nearest_cue(cues: Iterable[Cue], span: Span) -> Cue | None:
    """Return the nearest of the cues that have the concept in their scope."""
    reaching = [cue for cue in cues if _reaches(cue, span)]
    return min(reaching, key=lambda cue: _distance(cue, span), default=None)


def _distance(cue: Cue, span: Span) -> int:
    """Return the number of characters between a cue and a concept."""
    return max(span[0] - cue.end, cue.start - span[1])


def _reaches(cue: Cue, span: Span) -> bool:
    if cue.start < span[1] and span[0] < cue.end:
        return False
    decisive = span[0] if cue.start < span[0] else span[1] - 1
    return cue.scope[0] <= decisive < cue.scope[1]


def _denying_phrase(reading: Reading, span: Span) -> str | None:
    """Return the pseudo-negation that denies the concept itself, as "no change" denies a change."""
    for (_, begin), (_, end), phrase in reading.pseudo:
        if begin <= span[0] < end:
            return phrase
    return None


def _why_affirmed(reading: Reading, span: Span) -> str:
    """Return why nothing negates the concept: its nearest cue ends too early, or there is none."""
    for (start, _), (_, end), phrase in reading.pseudo:
        if start <= span[0] and not any(end <= cue.start <= span[0] for cue in reading.cues):
            return f"affirmed: pseudo: {phrase} does not negate it"
    if not reading.cues:
        return "affirmed: no cue"
    nearest = min(reading.cues, key=lambda cue: _distance(cue, span))
    if span[0] <= nearest.start < span[1]:
        return f"affirmed: {nearest.reason} is part of it"
    return f"affirmed: the scope of {nearest.reason} ends at {nearest.bound}"
