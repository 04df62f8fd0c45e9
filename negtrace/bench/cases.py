"""Where anchors of known labels come from: the phantom's studies, texts, labelled images."""

__all__ = ["Case", "Cases", "Labels", "PhantomSupply", "Supply", "TextSupply"]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from negtrace.errors import BenchError
from negtrace.language.findings import FINDINGS
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import HELD_OUT_SEEDS, PHANTOM_FINDINGS, patient_with

Labels = Mapping[str, bool]
"""Which findings are there and which are not; a finding that is not known is not in it."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An anchor and what is known of it."""

    id: str
    """Exported: it must hold no statement text and no image path."""
    anchor: Anchor
    labels: Labels


class Supply(ABC):
    """Cases to ask about."""

    findings: Sequence[str]
    """The findings that questions may be about."""

    def can(self, wanted: Labels) -> bool:
        """Whether there is a case with these labels: any of these findings, unless overridden."""
        return set(wanted) <= set(self.findings)

    @abstractmethod
    def take(self, wanted: Labels, rng: Random) -> Case:
        """Return a case with these labels."""


class PhantomSupply(Supply):
    """The phantom's held-out studies: every combination of its seven findings occurs."""

    def __init__(self, findings: Sequence[str] = PHANTOM_FINDINGS, *, size: int = 48) -> None:
        self.findings = tuple(findings)
        self.size = size

    def take(self, wanted: Labels, rng: Random) -> Case:
        """Return the film of a held-out study with these labels."""
        patient = patient_with(wanted, HELD_OUT_SEEDS, rng)
        return Case(
            id=f"phantom-{patient.seed}",
            anchor=Anchor(image=patient.image(self.size)),
            labels={claim.finding: claim.present for claim in patient.claims},
        )


class TextSupply(Supply):
    """Texts that affirm what is so without naming a finding: the affirmative equivalents.

    "The heart size is normal." where cardiomegaly is absent, "The heart is enlarged." where it is
    present. For encoders that see no images.
    """

    def __init__(self, findings: Sequence[str] = tuple(FINDINGS)) -> None:
        self.findings = tuple(findings)

    def take(self, wanted: Labels, rng: Random) -> Case:
        """Return a text that says these labels, in an order of its own."""
        said = [
            FINDINGS[finding].abnormal if there else FINDINGS[finding].normal
            for finding, there in wanted.items()
        ]
        rng.shuffle(said)
        name = "-".join(f"{'' if there else 'no-'}{key}" for key, there in sorted(wanted.items()))
        return Case(id=f"text-{name}", anchor=Anchor(text=" ".join(said)), labels=dict(wanted))


class Cases(Supply):
    """Labelled cases, such as a folder of radiographs; the least used is taken first."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = tuple(cases)
        known = {finding for case in cases for finding in case.labels}
        table = {f: [_code(case.labels.get(f)) for case in cases] for f in FINDINGS if f in known}
        # A finding that is always there, or never, makes no question.
        self._codes = {f: np.array(c) for f, c in table.items() if {0, 1} <= set(c)}
        self._used = np.zeros(len(self.cases), dtype=int)
        self.findings = tuple(self._codes)
        if len(self.findings) < 3:
            raise BenchError(
                f"{len(self.cases)} usable cases in which {len(self.findings)} findings are "
                "present in some and absent in others; three are needed. Label absent findings 0, "
                "not blank"
            )

    def can(self, wanted: Labels) -> bool:
        """Whether a case has these labels."""
        return bool(self._with(wanted).any())

    def take(self, wanted: Labels, rng: Random) -> Case:
        """Return one of the cases with these labels that were taken least often."""
        places = np.flatnonzero(self._with(wanted))
        fresh = places[self._used[places] == self._used[places].min()]
        place = int(rng.choice(fresh.tolist()))
        self._used[place] += 1
        return self.cases[place]

    def _with(self, wanted: Labels) -> np.ndarray:
        fits = np.ones(len(self.cases), dtype=bool)
        for finding, there in wanted.items():
            fits &= self._codes[finding] == int(there)
        return fits


def _code(label: bool | None) -> int:
    return -1 if label is None else int(label)
