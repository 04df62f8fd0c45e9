"""How a split speaks of claims: wordings, counter-wordings and anchors."""

__all__ = ["Lot", "Scene", "Speaker", "Spoken"]

from collections.abc import Sequence
from typing import NamedTuple

from negtrace.datasets.config import Config
from negtrace.datasets.splits import Split, Splits, draw
from negtrace.datasets.study import Study
from negtrace.datasets.wordings import Wordings, denials
from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY

_FEW = 1 << 64
"""Below it, the bits of a lot are renewed."""


class Lot:
    """Numbers that hang on what they are drawn for."""

    def __init__(self, *what: object) -> None:
        self._bits = draw(*what)

    def below(self, count: int) -> int:
        """Return a number from 0 up to and without `count`."""
        if self._bits < _FEW:
            self._bits = draw("on", self._bits)
        self._bits, place = divmod(self._bits, count)
        return place


class Spoken(NamedTuple):
    """A claim and one wording of it."""

    claim: Claim
    text: str
    frame: str
    place: int
    """Of the phrasing among its claim's."""
    form: int
    """Of the text in its phrasing."""


class Scene(NamedTuple):
    """A study, what may be said of it, and the split it is in."""

    study: Study
    claims: Sequence[Claim]
    split: Split
    root: str
    """Where the paths of images start from, seen from the folder of the data set."""
    tag: str
    """Stands for the patient."""


class Speaker:
    """Puts claims into the words that a split may use."""

    def __init__(self, config: Config, splits: Splits) -> None:
        self._config = config
        self._splits = splits
        self.wordings = Wordings(splits)

    def say(self, claim: Claim, split: Split, lot: Lot) -> Spoken:
        """Return a claim in one of the split's wordings."""
        choices = self.wordings.phrasings(claim, split)
        place = lot.below(len(choices))
        form = lot.below(len(choices[place].texts))
        return Spoken(claim, choices[place].texts[form], choices[place].frame, place, form)

    def instead(self, said: Spoken, other: Claim, split: Split, lot: Lot) -> str:
        """Return another claim in words as near as can be to those of what was said."""
        choices = self.wordings.phrasings(other, split)
        same = (other.present, other.denied) == (said.claim.present, said.claim.denied)
        if same and said.place < len(choices) and choices[said.place].frame == said.frame:
            near = choices[said.place]
        else:
            alike = self.wordings.alike(other, split, said.frame)
            near = alike[lot.below(len(alike))]
        return near.texts[said.form % len(near.texts)]

    def deniable(self, claim: Claim, split: Split) -> tuple[Claim, ...]:
        """Return the denials that the split has words for."""
        return tuple(d for d in denials(claim) if self.wordings.phrasings(d, split))

    def lawful(self, text: str, split: Split) -> bool:
        """Tell whether a split may quote a text."""
        return self._splits.of_statement(text) == split

    def anchor(
        self, scene: Scene, facts: Sequence[Claim], texts: Sequence[str], lot: Lot
    ) -> dict[str, str] | None:
        """Return what statements on some claims are about; None where there is nothing."""
        study = scene.study
        if self._config.anchors == "text":
            return {"text": " ".join(map(_affirmed, facts))} if facts else None
        if study.image:
            absolute = study.image.startswith("/")
            return {"image": study.image if absolute else f"{scene.root}/{study.image}"}
        if study.source != "reports":
            return {"text": study.text} if study.text else None
        told = dict.fromkeys(self._retold(scene, fact, texts, lot) for fact in facts)
        return {"text": " ".join(told)} if told else None

    def _retold(self, scene: Scene, fact: Claim, texts: Sequence[str], lot: Lot) -> str:
        """Return a report's sentence on a claim if its split allows, or else another wording."""
        sentence = scene.study.sentences[scene.study.claims.index(fact)]
        if sentence not in texts and self.lawful(sentence, scene.split):
            return sentence
        choices = [t for p in self.wordings.phrasings(fact, scene.split) for t in p.texts]
        fresh = [text for text in choices if text not in texts] or choices
        return fresh[lot.below(len(fresh))]


def _affirmed(fact: Claim) -> str:
    """Return a sentence that affirms what is so, and does not name the finding."""
    finding = VOCABULARY[fact.finding]
    return finding.abnormal if fact.present else finding.normal
