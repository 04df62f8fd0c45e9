"""Wordings of claims in the words of each split: statements, wrong statements and anchors."""

__all__ = ["Phrasing", "Realizer", "SeededDraws", "StudyContext", "TwinStatements", "WordedClaim"]

import re
from collections.abc import Sequence, Set
from functools import lru_cache
from itertools import chain
from typing import NamedTuple, TypeVar

from negtrace.datasets.claim_sets import wrongs
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.splits import Split, Splits, frame, stable_hash
from negtrace.datasets.study import Study
from negtrace.language.claims import Claim
from negtrace.language.counterfactuals import deny
from negtrace.language.cues import find_cues, subject_of
from negtrace.language.wording import affirmative_sentence
from negtrace.language.words import Span

_MOST = 24
"""Most phrasings of one claim in one split; a bound on memory."""

_CACHED = 2048
"""Claims whose wordings are kept in each split."""

_WORD = re.compile(r"\w+")

T = TypeVar("T")


class Phrasing(NamedTuple):
    """Wordings of a claim with one name of the finding and one template."""

    frame: str
    texts: tuple[str, ...]


class TwinStatements(NamedTuple):
    """Two statements that differ by one negating word."""

    affirmative: str
    negated: str
    cue: Span
    """Characters of the negating word in `negated`."""
    subject: str | None
    """Words that it negates."""


class WordedClaim(NamedTuple):
    """A claim and one wording of it."""

    claim: Claim
    text: str
    frame: str
    phrasing: int
    """Index of the phrasing among those of the claim."""
    form: int
    """Index of the text in its phrasing."""


class StudyContext(NamedTuple):
    """A study, the claims that may be stated about it, and the split it is in."""

    study: Study
    claims: Sequence[Claim]
    split: Split
    root: str
    """Folder of images, relative to the folder of the data set."""
    patient: str
    """Pseudonym of the patient."""
    name: str
    """Pseudonym of the study."""


class SeededDraws:
    """A stream of random numbers that depends only on the values it is made with."""

    def __init__(self, *parts: object) -> None:
        self._bits = stable_hash(*parts)

    def below(self, count: int) -> int:
        """Return the next number from 0 to `count - 1`."""
        if self._bits < 1 << 64:  # Too few bits are left for an even choice.
            self._bits = stable_hash("on", self._bits)
        self._bits, number = divmod(self._bits, count)
        return number


class Realizer:
    """Claims put into the words that a split may use."""

    def __init__(self, config: DatasetConfig, splits: Splits) -> None:
        self._config = config
        self._splits = splits
        self.phrasings = lru_cache(maxsize=_CACHED * 3)(self._phrasings)
        self.forms = lru_cache(maxsize=_CACHED * 3)(self._forms)
        self.twins = lru_cache(maxsize=_CACHED * 3)(self._twins)
        self.cue = lru_cache(maxsize=1 << 14)(_cue)
        self.wrongs = lru_cache(maxsize=_CACHED * 3)(self._wrongs)
        self.may_quote = lru_cache(maxsize=1 << 12)(self._may_quote)
        self._in_frame = lru_cache(maxsize=_CACHED * 8)(self._phrasings_in_frame)

    def _phrasings(self, claim: Claim, split: Split) -> tuple[Phrasing, ...]:
        """Return phrasings of a claim, at most `_MOST`, in the same order for each attribute."""
        texts = self._splits.phrasings(split, claim)
        return _thinned([Phrasing(frame(forms[0]), forms) for forms in texts])

    def _forms(self, claim: Claim, split: Split) -> tuple[str, ...]:
        """Return every text of the phrasings of a claim."""
        return tuple(text for phrasing in self.phrasings(claim, split) for text in phrasing.texts)

    def _phrasings_in_frame(self, claim: Claim, split: Split, key: str) -> tuple[Phrasing, ...]:
        """Return the phrasings of a claim in one frame, or all phrasings if there are none."""
        choices = self.phrasings(claim, split)
        return tuple(choice for choice in choices if choice.frame == key) or choices

    def _twins(self, claim: Claim, split: Split) -> tuple[TwinStatements, ...]:
        """Return twins on a claim and its negation; none if it is in doubt or denied in part."""
        if claim.denied or claim.certainty:
            return ()
        present = claim if claim.present else claim.negate()
        texts = _thinned(list(self._splits.twins(split, present)))
        return tuple(twins for pair in texts if (twins := _twin_statements(*pair)))

    def say(self, claim: Claim, split: Split, draws: SeededDraws) -> WordedClaim:
        """Return a claim in one of the split's wordings."""
        choices = self.phrasings(claim, split)
        phrasing = draws.below(len(choices))
        form = draws.below(len(choices[phrasing].texts))
        texts = choices[phrasing].texts
        return WordedClaim(claim, texts[form], choices[phrasing].frame, phrasing, form)

    def say_alike(self, said: WordedClaim, other: Claim, split: Split, draws: SeededDraws) -> str:
        """Return another claim in words as close as possible to those of `said`."""
        choices = self.phrasings(other, split)
        same = (other.present, other.denied) == (said.claim.present, said.claim.denied)
        number = said.phrasing
        if same and number < len(choices) and choices[number].frame == said.frame:
            phrasing = choices[number]
        else:
            alike = self._in_frame(other, split, said.frame)
            phrasing = alike[draws.below(len(alike))]
        return phrasing.texts[said.form % len(phrasing.texts)]

    def denials(self, claim: Claim, split: Split) -> tuple[Claim, ...]:
        """Return the denials of wrong attributes of a claim that the split has words for."""
        return tuple(denial for denial in _denials(claim) if self.phrasings(denial, split))

    def _wrongs(self, claim: Claim, split: Split) -> tuple[tuple[str, Claim] | None, ...]:
        """Return what is wrong if a claim is right; None for what the split has no words for."""
        return tuple(wrong if self.phrasings(wrong[1], split) else None for wrong in wrongs(claim))

    def _may_quote(self, text: str, split: Split) -> bool:
        """Tell whether a split may quote a text."""
        return self._splits.of_statement(text) == split

    def anchor(
        self,
        context: StudyContext,
        facts: Sequence[Claim],
        texts: Sequence[str],
        draws: SeededDraws,
    ) -> dict[str, str] | None:
        """Return the anchor of statements as JSON, or None if there is none.

        The anchor never has the words of a statement.

        Args:
            context: the study.
            facts: the claims that make the statements true.
            texts: the statements, whose words a text anchor avoids.
            draws: random numbers.
        """
        study = context.study
        if self._config.anchors == "text":
            return {"text": " ".join(map(affirmative_sentence, facts))} if facts else None
        if study.image:
            absolute = study.image.startswith("/")
            return {"image": study.image if absolute else f"{context.root}/{study.image}"}
        spoken = {_letters(text) for text in (*texts, " ".join(texts))}
        if not study.sentences and not study.negated_sentences:  # It is not a report.
            text = study.text
            return {"text": text} if text and _letters(text) not in spoken else None
        retold = [self._retold(context, fact, spoken, draws) for fact in facts]
        anchor = " ".join(dict.fromkeys(filter(None, retold)))
        return {"text": anchor} if all(retold) and anchor else None

    def _retold(
        self, context: StudyContext, fact: Claim, spoken: Set[str], draws: SeededDraws
    ) -> str | None:
        """Return a report's sentence on a claim, or another wording; never what was spoken.

        The sentence needs to be one that the split may quote. None if every wording was spoken.
        """
        sentence = context.study.sentences[context.study.claims.index(fact)]
        if _letters(sentence) not in spoken and self.may_quote(sentence, context.split):
            return sentence
        choices = self.forms(fact, context.split)
        first = draws.below(len(choices)) if choices else 0
        turned = chain(choices[first:], choices[:first])
        return next((text for text in turned if _letters(text) not in spoken), None)


@lru_cache(maxsize=1 << 14)
def _letters(text: str) -> str:
    """Return the words of a text, by which two texts are compared: in lower case, without marks."""
    return " ".join(_WORD.findall(text.casefold()))


def _thinned(choices: Sequence[T]) -> tuple[T, ...]:
    """Return at most `_MOST` choices, evenly spread."""
    step = max(1.0, len(choices) / _MOST)
    return tuple(choices[int(step * n)] for n in range(min(_MOST, len(choices))))


def _cue(text: str) -> Span | None:
    return next(((cue.start, cue.end) for cue in find_cues(text)), None)


def _twin_statements(affirmative: str, negated: str) -> TwinStatements | None:
    """Return twins with their cue, or None unless exactly the negated one has exactly one cue."""
    cues = find_cues(negated)
    if len(cues) != 1 or find_cues(affirmative):
        return None
    [cue] = cues
    return TwinStatements(affirmative, negated, (cue.start, cue.end), subject_of(negated, cue))


@lru_cache(maxsize=_CACHED)
def _denials(claim: Claim) -> tuple[Claim, ...]:
    """Return claims that deny a place or severity that a present finding does not have.

    >>> _denials(Claim(finding="edema", present=True, severity="small"))
    (Claim(finding='edema', present=True, severity='large', denied='severity'),)
    """
    if claim.denied or claim.certainty:
        return ()
    return tuple(
        deny(other, "severity" if attribute == "severity" else "place")
        for attribute, other in wrongs(claim)
        if attribute != "existence"  # of an absent finding nothing else can be wrong
    )
