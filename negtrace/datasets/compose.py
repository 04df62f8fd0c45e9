"""Rows of a data set, made from a study in the words of its split."""

__all__ = ["ROW_KINDS", "Composer", "Line", "RowKind"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.pseudonyms import Pseudonyms
from negtrace.datasets.splits import Split, Splits
from negtrace.datasets.study import NegatedSentence, Study
from negtrace.datasets.wording import (
    Realizer,
    SeededDraws,
    StudyContext,
    TwinStatements,
    WordedClaim,
)
from negtrace.language.claims import Claim
from negtrace.language.words import Span

T = TypeVar("T")
RowKind = Literal["claims", "captions", "pairs"]

ROW_KINDS: tuple[RowKind, ...] = get_args(RowKind)

COMPANIONS = 2
"""Most further claims that are stated together with a claim that can be wrong in one way only."""

AnchorJson = Mapping[str, str] | None


class Line(NamedTuple):
    """A row of one of the files, and what the card counts it by."""

    kind: RowKind
    row: dict[str, Any] | None
    """None if the split has no words for it."""
    tags: tuple[str, ...]
    """Each a name and a value, as in `finding/effusion`."""


def _left_out(kind: RowKind, reason: str) -> Line:
    return Line(kind, None, (f"left_out/{reason}",))


_NO_WORDS = "no words in the split"
_NO_OTHER_WORDS = "no other words for the anchor"


class Composer:
    """Makes claim sets, captions and pairs of studies."""

    def __init__(self, config: DatasetConfig, splits: Splits, pseudonyms: Pseudonyms) -> None:
        self._config = config
        self._splits = splits
        self._realizer = Realizer(config, splits)
        self._pseudonyms = pseudonyms

    def split_of(self, study: Study) -> Split:
        """Return the split of the study's patient, or else of its text."""
        if study.patient:
            return self._splits.of_patient(study.patient)
        return self._splits.of_statement(study.text or study.key)

    def lines(self, study: Study, split: Split, root: str) -> Iterator[Line]:
        """Yield the rows of a study: `per_study` of each kind, or fewer if it says too little."""
        patient = self._pseudonyms.of("patient", study.patient or study.text or study.key)
        name = self._pseudonyms.of("study", study.id)
        claims = study.claims if self._config.anchors == "image" else _plain(study.claims)
        worded = tuple(claim for claim in claims if self._realizer.phrasings(claim, split))
        yield from [_left_out("claims", _NO_WORDS)] * (len(claims) - len(worded))
        context = StudyContext(study, worded, split, root, patient, name)
        draws = SeededDraws("study", self._config.seed, study.id)
        for make in (self._claim_sets, self._captions, self._pairs):
            yield from make(context, draws)

    def _claim_sets(self, context: StudyContext, draws: SeededDraws) -> Iterator[Line]:
        for number, claim in enumerate(self._turns(_by_polarity(context.claims), draws)):
            yield self._claim_set(context, claim, draws, number)

    def _claim_set(
        self, context: StudyContext, claim: Claim, draws: SeededDraws, number: int
    ) -> Line:
        """Return a right statement and wrong ones, each wrong in one attribute of one claim."""
        alone = _only_on_its_finding(claim, context.claims)
        primary = self._sometimes_denied(context, claim, draws) if alone else claim
        # Only the existence of a finding is changed if several claims are about it.
        false = [self._false(context, primary, most=None if alone else 1)]
        facts = [claim]
        if len(false[0]) < 2:
            facts += _companions(context.claims, claim, draws)
            false += [self._false(context, fact, most=1) for fact in facts[1:]]
        said = [self._realizer.say(fact, context.split, draws) for fact in (primary, *facts[1:])]
        texts = [worded.text for worded in said]
        anchor = self._realizer.anchor(context, facts, texts, draws)
        if anchor is None or not any(false):
            return _left_out("claims", _NO_OTHER_WORDS if any(false) else _NO_WORDS)
        row: dict[str, Any] = {
            "id": f"{context.name}-{number}",
            "anchor": anchor,
            "right": " ".join(texts),
            "wrong": self._wrong(context, said, false, draws),
            "finding": claim.finding,
            "present": claim.present,
            "patient": context.patient,
            "source": context.study.source,
        }
        tags = [f"finding/{claim.finding}", f"polarity/{_polarity(primary)}"]
        tags += [f"attribute/{wrong['attribute']}" for wrong in row["wrong"]]
        return Line("claims", row, (*tags, f"options/{1 + len(row['wrong'])}"))

    def _false(
        self, context: StudyContext, claim: Claim, *, most: int | None
    ) -> list[tuple[str, Claim]]:
        """Return what is wrong if a claim is right, as far as the split has words for it."""
        return [wrong for wrong in self._realizer.wrongs(claim, context.split)[:most] if wrong]

    def _wrong(
        self,
        context: StudyContext,
        said: Sequence[WordedClaim],
        false: Sequence[Sequence[tuple[str, Claim]]],
        draws: SeededDraws,
    ) -> list[dict[str, str]]:
        """Return what was said with one claim replaced by each of its wrong versions in turn."""
        texts = [worded.text for worded in said]
        wrong: dict[str, dict[str, str]] = {}
        for position, worded in enumerate(said):
            for attribute, other in false[position]:
                replacement = self._realizer.say_alike(worded, other, context.split, draws)
                text = " ".join([*texts[:position], replacement, *texts[position + 1 :]])
                finding = worded.claim.finding
                wrong[text] = {"text": text, "attribute": attribute, "finding": finding}
        return list(wrong.values())

    def _sometimes_denied(self, context: StudyContext, claim: Claim, draws: SeededDraws) -> Claim:
        """Return, in one of four cases, the denial of an attribute the finding does not have."""
        choices = self._realizer.denials(claim, context.split)
        return choices[draws.below(len(choices))] if choices and not draws.below(4) else claim

    def _captions(self, context: StudyContext, draws: SeededDraws) -> Iterator[Line]:
        realizer, split = self._realizer, context.split
        quotes = [s for s in context.study.negated_sentences if realizer.may_quote(s.text, split)]
        absent = [(claim, claim) for claim in context.claims if claim.denied or not claim.present]
        denied = [
            (claim, denial)
            for claim in context.claims
            if claim.present and _only_on_its_finding(claim, context.claims)
            for denial in realizer.denials(claim, split)
        ]
        choices: list[list[Any]] = [quotes, absent, denied]
        for number, choice in enumerate(self._turns(choices, draws)):
            if isinstance(choice, NegatedSentence):
                yield self._quoted(context, choice, draws, number)
            else:
                yield self._caption(context, choice, draws, number)

    def _caption(
        self, context: StudyContext, choice: tuple[Claim, Claim], draws: SeededDraws, number: int
    ) -> Line:
        """Return a caption that denies something, from a fact and the denial that follows."""
        fact, claim = choice
        text = self._realizer.say(claim, context.split, draws).text
        anchor = self._realizer.anchor(context, [fact], [text], draws)
        cue = self._realizer.cue(text)
        if anchor is None or cue is None:
            return _left_out("captions", _NO_OTHER_WORDS if cue else _NO_WORDS)
        caption = _Caption(text, cue, claim.finding, _polarity(claim))
        return _caption_line(context, number, caption, anchor)

    def _quoted(
        self, context: StudyContext, sentence: NegatedSentence, draws: SeededDraws, number: int
    ) -> Line:
        """Return a report's own sentence; a text anchor states the same in other words."""
        facts = [
            claim
            for claim, text in zip(context.study.claims, context.study.sentences, strict=True)
            if text == sentence.text and claim in context.claims
        ]
        anchor = self._realizer.anchor(context, facts, [sentence.text], draws)
        if anchor is None and facts:
            return _left_out("captions", _NO_OTHER_WORDS)
        caption = _Caption(sentence.text, sentence.cue, sentence.finding, "report")
        return _caption_line(context, number, caption, anchor)

    def _pairs(self, context: StudyContext, draws: SeededDraws) -> Iterator[Line]:
        for number, claim in enumerate(self._turns(_by_polarity(context.claims), draws)):
            choices = self._realizer.twins(claim, context.split)
            if not choices:
                yield _left_out("pairs", _NO_WORDS)
                continue
            twins = choices[draws.below(len(choices))]
            texts = [twins.affirmative, twins.negated]
            anchor = self._realizer.anchor(context, [claim], texts, draws)
            if anchor is None:
                yield _left_out("pairs", _NO_OTHER_WORDS)
                continue
            yield _pair_line(context, number, claim, twins, anchor)

    def _turns(self, lists: Sequence[list[T]], draws: SeededDraws) -> Iterator[T]:
        """Draw from the lists in turn, `per_study` times or until all are empty."""
        filled = [list(items) for items in lists if items]
        left = self._config.per_study or sum(map(len, filled))
        turn = draws.below(len(filled)) if filled else 0
        while left and filled:
            items = filled[turn % len(filled)]
            yield items.pop(draws.below(len(items)))
            left -= 1
            turn += 1
            filled = [items for items in filled if items]


class _Caption(NamedTuple):
    text: str
    cue: Span
    finding: str
    denied: str
    """`absent`, `place denied`, `severity denied`, or `report` for a quoted sentence."""


def _caption_line(
    context: StudyContext, number: int, caption: _Caption, anchor: AnchorJson
) -> Line:
    row = {
        "id": f"{context.name}-{number}",
        "anchor": anchor,
        "caption": caption.text,
        "cue": caption.cue,
        "finding": caption.finding,
        "denied": caption.denied,
        "patient": context.patient,
        "source": context.study.source,
    }
    tags = (f"finding/{caption.finding or 'other'}", f"polarity/{caption.denied}")
    return Line("captions", row, tags)


def _pair_line(
    context: StudyContext, number: int, claim: Claim, twins: TwinStatements, anchor: AnchorJson
) -> Line:
    texts = (twins.affirmative, twins.negated)
    tags = {"finding": claim.finding, "patient": context.patient, "source": context.study.source}
    row = {
        "id": f"{context.name}-{number}",
        "true": texts[not claim.present],
        "false": texts[claim.present],
        "anchor": anchor,
        **({"subject": twins.subject} if twins.subject else {}),
        "negated": "false" if claim.present else "true",
        "cue": twins.cue,
        "tags": tags,
    }
    return Line("pairs", row, (f"finding/{claim.finding}", f"polarity/{_polarity(claim)}"))


def _only_on_its_finding(claim: Claim, claims: Sequence[Claim]) -> bool:
    return sum(other.finding == claim.finding for other in claims) == 1


def _polarity(claim: Claim) -> str:
    return f"{claim.denied} denied" if claim.denied else "present" if claim.present else "absent"


def _by_polarity(claims: Sequence[Claim]) -> list[list[Claim]]:
    return [[c for c in claims if c.present], [c for c in claims if not c.present]]


def _companions(claims: Sequence[Claim], claim: Claim, draws: SeededDraws) -> list[Claim]:
    """Return up to `COMPANIONS` claims, each on another finding, present and absent in turn.

    Drawn at random, most would be denials, and the statement with most denials would be right.
    """
    by_polarity = _by_polarity([other for other in claims if other.finding != claim.finding])
    turn = int(claim.present)
    companions: dict[str, Claim] = {}
    while any(by_polarity) and len(companions) < COMPANIONS:
        choices = by_polarity[turn] or by_polarity[1 - turn]
        other = choices.pop(draws.below(len(choices)))
        companions.setdefault(other.finding, other)
        turn = 1 - turn
    return list(companions.values())


def _plain(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Return what affirmative equivalents can say of claims: presence, and plain absence."""
    return tuple(
        dict.fromkeys(
            replace(c, side=None, zone=None, severity=None, certainty=None, denied=None)
            for c in claims
            if c.present or not (c.side or c.zone or c.severity)
        )
    )
