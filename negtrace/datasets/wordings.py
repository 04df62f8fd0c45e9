"""The wordings of claims that each split may use, and how claims can be denied."""

__all__ = ["Phrasing", "Twin", "Wordings", "denials"]

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from negtrace.datasets.claim_sets import wrongs
from negtrace.datasets.splits import Split, Splits, frame
from negtrace.errors import LanguageError
from negtrace.language.claims import Claim
from negtrace.language.counterfactuals import deny
from negtrace.language.cues import find_cues, subject_of

MOST = 24
"""Phrasings of one claim that are kept in one split; a bound on memory."""

CLAIMS = 2048
"""Claims whose wordings are kept at hand in each split."""

T = TypeVar("T")
Span = tuple[int, int]


class Phrasing(NamedTuple):
    """The wordings of a claim by one name and one template."""

    frame: str
    texts: tuple[str, ...]


class Twin(NamedTuple):
    """Two statements that differ by one negating word."""

    affirmative: str
    negated: str
    cue: Span
    """Characters of the negating word in `negated`."""
    subject: str | None
    """What it negates."""


class Wordings:
    """What each split may say."""

    def __init__(self, splits: Splits) -> None:
        self._splits = splits
        self.phrasings = lru_cache(maxsize=CLAIMS * 3)(self._phrasings)
        self.alike = lru_cache(maxsize=CLAIMS * 8)(self._alike)
        self.twins = lru_cache(maxsize=CLAIMS * 3)(self._twins)
        self.cue = lru_cache(maxsize=1 << 14)(_cue)

    def _phrasings(self, claim: Claim, split: Split) -> tuple[Phrasing, ...]:
        """Return phrasings of a claim, at most `MOST`, aligned between values of an attribute."""
        there = [Phrasing(frame(texts[0]), texts) for texts in self._splits.says(split, claim)]
        return _thinned(there)

    def _alike(self, claim: Claim, split: Split, key: str) -> tuple[Phrasing, ...]:
        """Return phrasings of a claim in a frame; all where none is."""
        choices = self.phrasings(claim, split)
        return tuple(one for one in choices if one.frame == key) or choices

    def _twins(self, claim: Claim, split: Split) -> tuple[Twin, ...]:
        """Return twins on a claim and its negation; none where it is in doubt or denied in part."""
        present = claim if claim.present else claim.negate()
        if claim.denied or claim.certainty:
            return ()
        there = _thinned(list(self._splits.twins(split, present)))
        return tuple(twin for one, other in there if (twin := _twin(one, other)))


def _thinned(many: Sequence[T]) -> tuple[T, ...]:
    """Return at most `MOST`, evenly spread."""
    step = max(1.0, len(many) / MOST)
    return tuple(many[int(step * n)] for n in range(min(MOST, len(many))))


def _cue(text: str) -> Span | None:
    return next(((cue.start, cue.end) for cue in find_cues(text)), None)


def _twin(affirmative: str, negated: str) -> Twin | None:
    cues = find_cues(negated)
    if len(cues) != 1 or find_cues(affirmative):
        return None
    return Twin(affirmative, negated, (cues[0].start, cues[0].end), subject_of(negated, cues[0]))


@lru_cache(maxsize=CLAIMS)
def denials(claim: Claim) -> tuple[Claim, ...]:
    """Return claims that deny, of a finding that is there, a place or severity it has not.

    >>> denials(Claim(finding="edema", present=True, severity="small"))
    (Claim(finding='edema', present=True, severity='large', denied='severity'),)
    """
    if not claim.present or claim.denied or claim.certainty:
        return ()
    made = []
    for name, other in wrongs(claim):
        if name != "existence":
            try:
                made.append(deny(other, "severity" if name == "severity" else "place"))
            except LanguageError:
                continue
    return tuple(made)
