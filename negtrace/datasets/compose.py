"""Rows of the data set, made from a study in the words of its split."""

__all__ = ["KINDS", "Composer", "Kind", "Line"]

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from negtrace.datasets.claim_sets import wrongs
from negtrace.datasets.config import Config
from negtrace.datasets.speech import Lot, Scene, Speaker, Spoken
from negtrace.datasets.splits import Split, Splits, draw
from negtrace.datasets.study import Said, Study
from negtrace.datasets.wordings import Twin
from negtrace.language.claims import Claim

T = TypeVar("T")
Kind = Literal["claims", "captions", "pairs"]

KINDS: tuple[Kind, ...] = get_args(Kind)

COMPANIONS = 2
"""Further claims in a statement on one that can be wrong in one way only."""


class Line(NamedTuple):
    """A row of one of the files, and what the card counts it by."""

    kind: Kind
    row: dict[str, Any]
    tags: tuple[str, ...]
    """Each a name and a value, as in `finding/effusion`."""


class Composer:
    """Makes claim sets, captions and pairs of studies."""

    def __init__(self, config: Config, splits: Splits) -> None:
        self._config = config
        self._splits = splits
        self._speaker = Speaker(config, splits)
        self._tag = lru_cache(maxsize=256)(self._named)

    def _named(self, patient: str) -> str:
        return f"{draw('tag', self._config.seed, patient) >> 208:012x}"

    def split_of(self, study: Study) -> Split:
        """Return the split of the study's patient; without one, that of its words."""
        if study.patient:
            return self._splits.of_patient(study.patient)
        return self._splits.of_statement(study.text or study.key)

    def lines(self, study: Study, split: Split, root: str) -> Iterator[Line]:
        """Yield the rows of a study, `per_study` of each kind where there is enough to say."""
        tag = self._tag(study.patient or study.text or study.key)
        claims = study.claims if self._config.anchors == "image" else _plain(study.claims)
        scene = Scene(study, claims, split, root, tag)
        lot = Lot("study", self._config.seed, study.id)
        for make in (self._sets, self._captions, self._pairs):
            yield from make(scene, lot)

    def _sets(self, scene: Scene, lot: Lot) -> Iterator[Line]:
        for number, claim in enumerate(self._turns(_by_polarity(scene.claims), lot)):
            if line := self._set(scene, claim, lot, number):
                yield line

    def _set(self, scene: Scene, claim: Claim, lot: Lot, number: int) -> Line | None:
        """Return a right statement and wrong ones; one attribute of one claim sets each apart."""
        alone = _alone(claim, scene.claims)
        primary = self._maybe_denied(scene, claim, lot) if alone else claim
        false = [wrongs(primary) if alone else wrongs(primary)[:1]]
        facts = [claim]
        if len(false[0]) < 2:
            facts += _companions(scene.claims, claim, lot)
            false += [wrongs(fact)[:1] for fact in facts[1:]]
        spoken = [self._speaker.say(fact, scene.split, lot) for fact in (primary, *facts[1:])]
        texts = [one.text for one in spoken]
        anchor = self._speaker.anchor(scene, facts, texts, lot)
        if anchor is None:
            return None
        row: dict[str, Any] = {
            "id": f"{scene.study.id}-{number}",
            "anchor": anchor,
            "right": " ".join(texts),
            "wrong": self._wrong(scene, spoken, false, lot),
            "finding": claim.finding,
            "present": claim.present,
            "patient": scene.tag,
            "source": scene.study.source,
        }
        tags = [f"finding/{claim.finding}", f"polarity/{_polarity(primary)}"]
        tags += [f"attribute/{one['attribute']}" for one in row["wrong"]]
        return Line("claims", row, (*tags, f"options/{1 + len(row['wrong'])}"))

    def _wrong(
        self,
        scene: Scene,
        spoken: Sequence[Spoken],
        false: Sequence[Sequence[tuple[str, Claim]]],
        lot: Lot,
    ) -> list[dict[str, str]]:
        """Return what was said with one of its claims wrong, by each claim and aspect in turn."""
        texts = [one.text for one in spoken]
        made: dict[str, dict[str, str]] = {}
        for place, one in enumerate(spoken):
            for aspect, other in false[place]:
                instead = self._speaker.instead(one, other, scene.split, lot)
                text = " ".join([*texts[:place], instead, *texts[place + 1 :]])
                made[text] = {"text": text, "attribute": aspect, "finding": one.claim.finding}
        return list(made.values())

    def _maybe_denied(self, scene: Scene, claim: Claim, lot: Lot) -> Claim:
        """Return now and then, of a finding that is there, the denial of what it is not."""
        choices = self._speaker.deniable(claim, scene.split)
        return choices[lot.below(len(choices))] if choices and not lot.below(4) else claim

    def _captions(self, scene: Scene, lot: Lot) -> Iterator[Line]:
        lawful = [s for s in scene.study.said if self._speaker.lawful(s.text, scene.split)]
        absent = [(claim, claim) for claim in scene.claims if not claim.present]
        denied = [
            (claim, denial)
            for claim in scene.claims
            if claim.present and _alone(claim, scene.claims)
            for denial in self._speaker.deniable(claim, scene.split)
        ]
        choices: list[list[Any]] = [lawful, absent, denied]
        for number, choice in enumerate(self._turns(choices, lot)):
            if isinstance(choice, Said):
                yield self._quoted(scene, choice, lot, number)
            elif line := self._caption(scene, choice, lot, number):
                yield line

    def _caption(
        self, scene: Scene, told: tuple[Claim, Claim], lot: Lot, number: int
    ) -> Line | None:
        """Return a denial that holds because a fact does."""
        fact, claim = told
        text = self._speaker.say(claim, scene.split, lot).text
        anchor = self._speaker.anchor(scene, [fact], [text], lot)
        cue = self._speaker.wordings.cue(text)
        if anchor is None or cue is None:
            return None
        return _captioned(scene, number, (text, cue, claim.finding, _polarity(claim)), anchor)

    def _quoted(self, scene: Scene, said: Said, lot: Lot, number: int) -> Line:
        """Return a report's own sentence; without an image its anchor says the same otherwise."""
        facts = [
            claim
            for claim, sentence in zip(scene.study.claims, scene.study.sentences, strict=True)
            if sentence == said.text and claim in scene.claims
        ]
        anchor = self._speaker.anchor(scene, facts, [said.text], lot)
        return _captioned(scene, number, (said.text, said.cue, said.finding, "report"), anchor)

    def _pairs(self, scene: Scene, lot: Lot) -> Iterator[Line]:
        for number, claim in enumerate(self._turns(_by_polarity(scene.claims), lot)):
            twins = self._speaker.wordings.twins(claim, scene.split)
            if not twins:
                continue
            twin = twins[lot.below(len(twins))]
            anchor = self._speaker.anchor(scene, [claim], [twin.affirmative, twin.negated], lot)
            if anchor is None:
                continue
            yield _paired(scene, number, claim, twin, anchor)

    def _turns(self, lists: Sequence[list[T]], lot: Lot) -> Iterator[T]:
        """Draw from the lists in turn, `per_study` times or until all are empty."""
        filled = [list(one) for one in lists if one]
        left = self._config.per_study or sum(map(len, filled))
        turn = lot.below(len(filled)) if filled else 0
        while left and filled:
            now = filled[turn % len(filled)]
            yield now.pop(lot.below(len(now)))
            left -= 1
            turn += 1
            filled = [one for one in filled if one] if not now else filled


def _paired(scene: Scene, number: int, claim: Claim, twin: Twin, anchor: dict[str, str]) -> Line:
    texts = (twin.affirmative, twin.negated)
    row = {
        "id": f"{scene.study.id}-{number}",
        "true": texts[not claim.present],
        "false": texts[claim.present],
        "anchor": anchor,
        **({"subject": twin.subject} if twin.subject else {}),
        "negated": "false" if claim.present else "true",
        "cue": twin.cue,
        "tags": {"finding": claim.finding, "patient": scene.tag, "source": scene.study.source},
    }
    return Line("pairs", row, (f"finding/{claim.finding}", f"polarity/{_polarity(claim)}"))


def _captioned(
    scene: Scene,
    number: int,
    said: tuple[str, tuple[int, int], str, str],
    anchor: dict[str, str] | None,
) -> Line:
    text, cue, finding, denied = said
    row = {
        "id": f"{scene.study.id}-{number}",
        "anchor": anchor,
        "caption": text,
        "cue": cue,
        "finding": finding,
        "denied": denied,
        "patient": scene.tag,
        "source": scene.study.source,
    }
    return Line("captions", row, (f"finding/{finding or 'other'}", f"polarity/{denied}"))


def _alone(claim: Claim, claims: Sequence[Claim]) -> bool:
    """Tell whether a claim is the only one on its finding."""
    return sum(other.finding == claim.finding for other in claims) == 1


def _polarity(claim: Claim) -> str:
    return f"{claim.denied} denied" if claim.denied else "present" if claim.present else "absent"


def _by_polarity(claims: Sequence[Claim]) -> list[list[Claim]]:
    return [[c for c in claims if c.present], [c for c in claims if not c.present]]


def _companions(claims: Sequence[Claim], claim: Claim, lot: Lot) -> list[Claim]:
    """Return up to `COMPANIONS` claims, each on a finding of its own, polarities in turn.

    Were they drawn as they come, most would be denials, and the right statement would be the one
    that denies most.
    """
    sides = _by_polarity([other for other in claims if other.finding != claim.finding])
    turn = int(claim.present)
    found: dict[str, Claim] = {}
    while any(sides) and len(found) < COMPANIONS:
        side = sides[turn] or sides[1 - turn]
        other = side.pop(lot.below(len(side)))
        found.setdefault(other.finding, other)
        turn = 1 - turn
    return list(found.values())


def _plain(claims: Sequence[Claim]) -> tuple[Claim, ...]:
    """Return what affirmative equivalents can say of claims: presence, and plain absence."""
    return tuple(
        dict.fromkeys(
            Claim(finding=c.finding, present=c.present)
            for c in claims
            if c.present or not (c.side or c.zone or c.severity)
        )
    )
