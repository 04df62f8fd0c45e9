"""Cases: anchors whose findings are known, such as labelled radiographs.

A `CaseSource` gives cases with the labels that a question needs. `PhantomCases` draws synthetic
radiographs, `TextCases` writes texts, and `LabelledCases` chooses among given cases, such as those
of a CheXpert-style label file.
"""

__all__ = [
    "Case",
    "CaseSource",
    "LabelledCases",
    "PhantomCases",
    "TextCases",
    "case_source",
    "data_name",
    "read_cases",
    "require_images",
]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
from typing_extensions import override

from negtrace.bench.config import BenchConfig
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note, image_note
from negtrace.datasets.readers.chexpert import LabelRow, open_label_file
from negtrace.datasets.study import Study
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.wording import affirmative_sentence
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import (
    HELD_OUT_SEEDS,
    PHANTOM_FINDINGS,
    Patient,
    draw_patients,
    patient_with,
)

Labels = Mapping[str, bool]
"""True for each present finding, False for each absent one. Unknown findings are left out."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An anchor and its known findings."""

    id: str
    """Unique name. It is exported, so it must contain no statement and no image path."""
    anchor: Anchor
    labels: Labels


class CaseSource(ABC):
    """Source of cases with given labels."""

    findings: Sequence[str]
    """Findings that questions may be about."""

    def has(self, labels: Labels) -> bool:
        """Return True if a case with these labels exists: by default, any labels of `findings`."""
        return set(labels) <= set(self.findings)

    @abstractmethod
    def draw(self, labels: Labels, rng: Random) -> Case:
        """Draw a case with these labels."""

    def draw_pair(self, finding: str, rng: Random) -> tuple[Case, Case]:
        """Draw a case with a finding and one without it. By default they differ in more."""
        return self.draw({finding: True}, rng), self.draw({finding: False}, rng)

    @abstractmethod
    def sample(self, count: int, rng: Random) -> list[Case]:
        """Draw different cases as they come; fewer than `count` if there are no more."""


class PhantomCases(CaseSource):
    """Held-out radiographs of the phantom. Every combination of its seven findings occurs.

    Args:
        findings: findings that questions may be about.
        size: width and height of the radiographs in pixels.
    """

    def __init__(self, findings: Sequence[str] = PHANTOM_FINDINGS, *, size: int = 48) -> None:
        self.findings = tuple(findings)
        self.size = size

    def draw(self, labels: Labels, rng: Random) -> Case:
        """Draw a held-out radiograph with these labels."""
        return self._case(patient_with(labels, HELD_OUT_SEEDS, rng))

    @override
    def draw_pair(self, finding: str, rng: Random) -> tuple[Case, Case]:
        """Draw a held-out patient, rendered with and without a finding from the same seed."""
        patient = patient_with({finding: True}, HELD_OUT_SEEDS, rng)
        claims = tuple(
            Claim(finding=finding, present=False) if claim.finding == finding else claim
            for claim in patient.claims
        )
        return self._case(patient), self._case(replace(patient, claims=claims), f"-no-{finding}")

    @override
    def sample(self, count: int, rng: Random) -> list[Case]:
        """Draw different held-out patients, with findings as often as the phantom has them."""
        seeds = rng.sample(HELD_OUT_SEEDS, count)
        return [self._case(patient) for patient in draw_patients(seeds)]

    def _case(self, patient: Patient, suffix: str = "") -> Case:
        return Case(
            id=f"phantom-{patient.seed}{suffix}",
            anchor=Anchor(image=patient.image(self.size)),
            labels={claim.finding: claim.present for claim in patient.claims},
        )


class TextCases(CaseSource):
    """Texts that describe findings without naming them, for models that read no images.

    "The heart is enlarged." stands for present cardiomegaly, "The heart size is normal." for absent
    cardiomegaly.

    Args:
        findings: findings that questions may be about.
        least: least number of findings that a text describes. Those that no label names are drawn.
    """

    def __init__(self, findings: Sequence[str] = tuple(FINDINGS), *, least: int = 1) -> None:
        self.findings = tuple(findings)
        self.least = least

    @override
    def draw(self, labels: Labels, rng: Random) -> Case:
        """Return a text with one sentence for each label, in random order."""
        return self._case({**labels, **self._further(labels, rng)}, rng)

    @override
    def draw_pair(self, finding: str, rng: Random) -> tuple[Case, Case]:
        """Return two texts that differ in the sentence on one finding."""
        further, seed = self._further({finding: True}, rng), rng.getrandbits(32)
        with_finding, without = (
            self._case({finding: present, **further}, Random(seed))  # noqa: S311
            for present in (True, False)
        )
        return with_finding, without

    @override
    def sample(self, count: int, rng: Random) -> list[Case]:
        """Write texts on random findings, each of which is present in half of them."""
        return [
            replace(case, id=f"{number}-{case.id}")
            for number, case in enumerate(self.draw({}, rng) for _ in range(count))
        ]

    def _further(self, labels: Labels, rng: Random) -> dict[str, bool]:
        """Draw labels of other findings, until a text has as many as it needs."""
        missing = self.least - len(labels)
        if missing <= 0:
            return {}
        others = [finding for finding in self.findings if finding not in labels]
        return {finding: rng.random() < 0.5 for finding in rng.sample(others, missing)}

    def _case(self, labels: Labels, rng: Random) -> Case:
        claims = [Claim(finding=finding, present=present) for finding, present in labels.items()]
        sentences = [affirmative_sentence(claim) for claim in claims]
        rng.shuffle(sentences)
        name = "-".join(f"{'' if labels[key] else 'no-'}{key}" for key in sorted(labels))
        anchor = Anchor(text=" ".join(sentences))
        return Case(id=f"text-{name}", anchor=anchor, labels=dict(labels))


class LabelledCases(CaseSource):
    """Given cases, such as a folder of radiographs. Cases that were drawn least often come first.

    Args:
        cases: cases with labels.

    Raises:
        BenchError: for fewer than three findings that are present in some cases and absent in
            others.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.cases = tuple(cases)
        columns = {f: [_code(case.labels.get(f)) for case in cases] for f in FINDINGS}
        self._codes = {
            finding: np.array(column)
            for finding, column in columns.items()
            if {0, 1} <= set(column)
        }
        self._draws = np.zeros(len(self.cases), dtype=int)
        self.findings = tuple(self._codes)
        if len(self.findings) < 3:
            raise BenchError(
                f"{len(self.cases)} usable cases in which {len(self.findings)} findings are "
                "present in some and absent in others; three are needed. Label absent findings 0, "
                "not blank"
            )

    def has(self, labels: Labels) -> bool:
        """Return True if a case with these labels exists."""
        return bool(self._matches(labels).any())

    def draw(self, labels: Labels, rng: Random) -> Case:
        """Draw one of the cases with these labels that were drawn least often."""
        indices = np.flatnonzero(self._matches(labels))
        least = indices[self._draws[indices] == self._draws[indices].min()]
        index = int(rng.choice(least.tolist()))
        self._draws[index] += 1
        return self.cases[index]

    @override
    def sample(self, count: int, rng: Random) -> list[Case]:
        """Draw different cases; all of them if there are no more than `count`."""
        indices = sorted(rng.sample(range(len(self.cases)), min(count, len(self.cases))))
        return [self.cases[index] for index in indices]

    def _matches(self, labels: Labels) -> np.ndarray:
        matches = np.ones(len(self.cases), dtype=bool)
        for finding, present in labels.items():
            matches &= self._codes[finding] == int(present)
        return matches


def _code(label: bool | None) -> int:
    return -1 if label is None else int(label)


def case_source(encoder: Encoder, config: BenchConfig) -> tuple[CaseSource, list[Note]]:
    """Source of the cases that `config.data` names, and notes on the rows of a file.

    Raises:
        BenchError: for image data and a model that reads no images, or too few labelled cases.
        DatasetError: for a file that is not in the layout of CheXpert or MIMIC-CXR.
    """
    data = data_name(encoder, config)
    if data == "phantom":
        return PhantomCases(), []
    if data == "text":
        return TextCases(), []
    require_images(encoder)
    cases, notes = read_cases(data, config.images, limit=config.limit, seed=config.seed)
    return LabelledCases(cases), notes


def data_name(encoder: Encoder, config: BenchConfig) -> str:
    """Name of the data that a suite asks about: `phantom`, `text`, or a path.

    Raises:
        BenchError: when the data are the phantom's radiographs and the model reads no images.
    """
    default = "phantom" if encoder.reads_images else "text"
    name = str(config.data or default)
    if name == "phantom":
        require_images(encoder)
    return name


def require_images(encoder: Encoder) -> None:
    """Raise a BenchError for a model that reads no images."""
    if not encoder.reads_images:
        raise BenchError(f"{encoder.name} sees no images; use data 'text', whose anchors are texts")


def read_cases(
    path: Path | str, images: Path | str | None = None, *, limit: int | None = None, seed: int = 0
) -> tuple[list[Case], list[Note]]:
    """Read the cases of a label file, and notes on rows left out or read differently.

    The file has the columns of CheXpert (Irvin et al. 2019) or MIMIC-CXR. Labels are 1 present, 0
    absent, -1 uncertain, blank not mentioned; the last two are not asked about. Of a study with
    several images, the first that can be read is taken. Sixteen-bit and transparent images are
    read, and noted.

    Args:
        path: CSV file.
        images: folder that its paths start from; the folder of the CSV file when not given.
        limit: draw at most this many rows, so that not all images of a huge file are opened.
        seed: seed of the draw.

    Raises:
        DatasetError: for a file without paths, study ids or known labels.
        BenchError: for a file without a usable row.
    """
    path = Path(path)
    folder = Path(images or path.parent)
    with open_label_file(path, DatasetConfig(images=folder)) as file:
        unknown = list(file.unknown_columns())
        items = list(file.rows())
        notes = [item for item in items if isinstance(item, Note)]
        rows = _drawn([item for item in items if isinstance(item, LabelRow)], limit, seed)
        cases: dict[str, Case] = {}
        for row in rows:
            study = file.study(row)
            notes += [study] if isinstance(study, Note) else _take(study, folder, cases)
    notes.sort(key=lambda note: note.row)
    if not cases:
        raise BenchError(f"no usable row in {path.name}; {notes[0].detail if notes else 'empty'}")
    return list(cases.values()), [*unknown, *notes]


def _drawn(rows: Sequence[LabelRow], limit: int | None, seed: int) -> Sequence[LabelRow]:
    if limit is None or limit >= len(rows):
        return rows
    indices = Random(f"rows {seed}").sample(range(len(rows)), limit)  # noqa: S311
    return [rows[index] for index in sorted(indices)]


def _take(study: Study, folder: Path, cases: dict[str, Case]) -> list[Note]:
    """Add the case of a study, unless its image cannot be read, and return the notes on it."""
    file, row = study.file, study.row
    if study.image is None:
        detail = f"no image of the study in {folder}"
        return [Note(file=file, row=row, code="missing_image", detail=detail)]
    image = folder / study.image
    note = image_note(image, file=file, row=row)
    if note and note.skipped:
        return [note]
    if study.key in cases:
        detail = "the study has an earlier row"
        return [Note(file=file, row=row, code="duplicate_study", detail=detail)]
    labels = {claim.finding: claim.present for claim in study.claims}
    cases[study.key] = Case(id=study.id, anchor=Anchor(image=image), labels=labels)
    return [note] if note else []
