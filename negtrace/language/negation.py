"""Whether the concept at given characters is negated, uncertain or affirmed, and why."""

__all__ = ["Decision", "Status", "decide", "is_negated", "negation_of"]

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from negtrace.errors import LanguageError
from negtrace.language.cues import Cue, Reading, read_cues, silent
from negtrace.language.lexicon import Lexicon, load_lexicon
from negtrace.language.words import Span

Status = Literal["affirmed", "negated", "uncertain"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a text says of one concept in it."""

    span: Span
    """Characters of the concept."""
    status: Status
    cue: Cue | None
    """The cue that decides; None where the concept is affirmed."""
    reason: str
    """Names phrases of the lexicon and no other word of the text."""

    @property
    def negated(self) -> bool:
        """Whether the text denies the concept."""
        return self.status == "negated"


def is_negated(text: str, start: int, end: int, lexicon: Lexicon | None = None) -> bool:
    """Tell whether `text` denies the concept at its characters `start` to `end`.

    >>> text = "No effusion, but a nodule."
    >>> is_negated(text, 3, 11), is_negated(text, 19, 25)
    (True, False)

    Raises:
        LanguageError: for characters outside the text, or none.
    """
    span = _checked(text, start, end)
    lexicon = load_lexicon() if lexicon is None else lexicon
    return not silent(text, lexicon) and decide(read_cues(text, lexicon), span).negated


def negation_of(text: str, start: int, end: int, lexicon: Lexicon | None = None) -> Decision:
    """Return whether the concept at characters `start` to `end` is denied, and why.

    Where a scope ends within the concept, its beginning decides, or behind it its end.

    >>> negation_of("Pneumonia cannot be excluded.", 0, 9).reason
    'left open by uncertain_after: cannot be entirely|completely|definitely? excluded'
    >>> negation_of("No effusion, but a nodule.", 19, 25).reason
    'affirmed: the scope of before: no ends at but'

    Raises:
        LanguageError: for characters outside the text, or none.
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
    """Return the same from what was read in the text, for several concepts of one text."""
    if cue := _reaching(reading.cues, span):
        return Decision(span=span, status="negated", cue=cue, reason=f"negated by {cue.reason}")
    if phrase := _denied_change(reading, span):
        return Decision(span=span, status="negated", cue=None, reason=f"denied within {phrase}")
    if cue := _reaching(reading.doubts, span):
        return Decision(span=span, status="uncertain", cue=cue, reason=f"left open by {cue.reason}")
    return Decision(span=span, status="affirmed", cue=None, reason=_spared(reading, span))


def _reaching(cues: Iterable[Cue], span: Span) -> Cue | None:
    """Return the nearest cue whose scope holds the concept."""
    found = [cue for cue in cues if _holds(cue, span)]
    return min(found, key=lambda cue: max(span[0] - cue.end, cue.start - span[1]), default=None)


def _holds(cue: Cue, span: Span) -> bool:
    if cue.start < span[1] and span[0] < cue.end:
        return False
    decisive = span[0] if cue.start < span[0] else span[1] - 1
    return cue.scope[0] <= decisive < cue.scope[1]


def _denied_change(reading: Reading, span: Span) -> str | None:
    """Return the pseudo-negation that denies the concept itself, as "no change" does a change."""
    for (_, begin), (_, end), phrase in reading.pseudo:
        if begin <= span[0] < end:
            return f"pseudo: {phrase}"
    return None


def _spared(reading: Reading, span: Span) -> str:
    """Say why nothing negates the concept: its nearest cue falls short, or there is none."""
    for (start, _), (_, end), phrase in reading.pseudo:
        if start <= span[0] and not any(end <= cue.start <= span[0] for cue in reading.cues):
            return f"affirmed: pseudo: {phrase} does not negate it"
    if not reading.cues:
        return "affirmed: no cue"
    near = min(reading.cues, key=lambda cue: max(span[0] - cue.end, cue.start - span[1]))
    inside = span[0] <= near.start < span[1]
    if inside:
        return f"affirmed: {near.reason} is part of it"
    return f"affirmed: the scope of {near.reason} ends at {near.bound}"
