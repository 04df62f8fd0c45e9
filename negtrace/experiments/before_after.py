"""Measurements before and after a fine-tuning: suites of the benchmark, and a trace."""

__all__ = ["NO_EVALUATION", "Evaluation", "Measurements", "measure"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from negtrace import bench
from negtrace._messages import one_of
from negtrace.bench.report import Report, write_report
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError
from negtrace.experiments.trace import run_trace
from negtrace.pairs.pair import Pair, ordered_digest
from negtrace.pairs.phantom import phantom_pairs
from negtrace.pairs.radiology import radiology_pairs
from negtrace.pairs.sample import sample
from negtrace.results.cte_json import Document, read_json

DIRECTION: Literal["noising"] = "noising"
"""Direction of the trace: necessity, as in the NAST paper."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Settings of the measurements before and after a fine-tuning.

    Raises:
        UnknownNameError: for a suite that is not registered.
        BenchError: for a number out of its range.
    """

    suites: tuple[str, ...] = ("polarity", "claims", "retrieval", "collapse")
    """Suites of the benchmark; none leaves the benchmark out."""
    data: str | Path | None = None
    """Data of the suites, as in `BenchConfig`; by default the phantom's radiographs for the
    phantom, and texts for every other model."""
    count: int = 600
    """Number of questions, claim sets and statements."""
    pairs: int | Sequence[Pair] = 48
    """Pairs to trace, or how many of the built-in pairs; 0 leaves the trace out."""
    seed: int = 0
    """Seed of the questions and the built-in pairs."""

    def __post_init__(self) -> None:
        for suite in self.suites:
            one_of("suite", suite, bench.SUITES)
        least = 2 if "retrieval" in self.suites else 1  # one candidate is no choice
        if self.suites and self.count < least:
            raise BenchError(f"count is {self.count}; expected {least} or more")
        if isinstance(self.pairs, int) and self.pairs < 0:
            raise BenchError(f"pairs is {self.pairs}; expected 0 or more")

    def as_json(self) -> dict[str, Any]:
        """Return every setting as JSON values: a file by its name, given pairs by their digest."""
        pairs = self.pairs if isinstance(self.pairs, int) else ordered_digest(self.pairs)
        data = self.data.name if isinstance(self.data, Path) else self.data
        return {**vars(self), "suites": list(self.suites), "data": data, "pairs": pairs}


NO_EVALUATION = Evaluation(suites=(), pairs=0)
"""Neither benchmark nor trace."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """Measurements of a model at one time."""

    reports: Mapping[str, Report]
    """Report of each suite of the benchmark, by name."""
    document: Document | None
    """The trace; None if there is none."""

    def headlines(self) -> dict[str, float]:
        """Return the main figures of the suites that were run, by name."""
        return {
            name: row.estimate
            for name, suite, wanted in _HEADLINES
            if suite in self.reports
            for row in self.reports[suite].rows
            if all(getattr(row, field) == value for field, value in wanted.items())
        }


def _accuracy(series: str, axis: str = "all", level: str = "all") -> dict[str, str]:
    row = {"measure": "accuracy", "scorer": "model"}
    return {**row, "series": series, "axis": axis, "level": level}


def _recall(series: str, axis: str) -> dict[str, str]:
    return {"measure": "recall", "series": series, "axis": axis, "level": "R@5"}


_HEADLINES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("accuracy, affirmative wording", "polarity", _accuracy("affirmative")),
    ("accuracy, negated wording", "polarity", _accuracy("negated")),
    ("gap", "polarity", {"measure": "gap"}),
    *(
        (f"claims, {level}", "claims", _accuracy("claims", "attribute", level))
        for level in ("existence", "location", "severity", "all of them")
    ),
    *(
        (f"R@5 {axis}, {series}", "retrieval", _recall(series, axis))
        for series in ("affirmative", "with negation")
        for axis in ("anchor to text", "text to anchor")
    ),
    ("similarity to the negation", "collapse", {"measure": "similarity", "series": "negation"}),
    ("margin of paraphrases", "collapse", {"measure": "margin"}),
)
"""Name of a figure, its suite, and the fields of its row in the report."""


def measure(
    encoder: Encoder, evaluation: Evaluation, folder: Path, *, progress: bool | None = None
) -> Measurements:
    """Measure a model, and write the reports and the trace into a folder.

    A report or trace that is already in the folder is read instead of measured again.

    Args:
        encoder: the model.
        evaluation: what to measure.
        folder: folder of the files; its name stands for the model in the reports.
        progress: show a bar; None shows it on a terminal only.
    """
    # The pairs come first: where they cannot be drawn, nothing is measured.
    pairs = _pairs(evaluation, _data(encoder, evaluation)) if evaluation.pairs else ()
    reports = {suite: _suite(encoder, suite, evaluation, folder) for suite in evaluation.suites}
    document = _trace(encoder, pairs, folder, progress) if pairs else None
    return Measurements(reports=reports, document=document)


def _trace(
    encoder: Encoder, pairs: Sequence[Pair], folder: Path, progress: bool | None
) -> Document:
    path = folder / f"{DIRECTION}.json"
    if path.is_file():
        return read_json(path)
    [document] = run_trace(
        encoder, folder, pairs, directions=(DIRECTION,), formats=("png",), progress=progress
    )
    return document


def _data(encoder: Encoder, evaluation: Evaluation) -> str | Path:
    """Return the data of the suites. Synthetic radiographs say little about other models."""
    return evaluation.data or ("phantom" if encoder.trained_on_phantom else "text")


def _pairs(evaluation: Evaluation, data: str | Path) -> Sequence[Pair]:
    if not isinstance(evaluation.pairs, int):
        return evaluation.pairs
    if data == "phantom":
        return phantom_pairs(evaluation.pairs, seed=evaluation.seed)
    return sample(radiology_pairs(), evaluation.pairs, seed=evaluation.seed)


def _suite(encoder: Encoder, suite: str, evaluation: Evaluation, folder: Path) -> Report:
    path = folder / f"{suite}-{folder.name}.json"
    if path.is_file():
        return bench.read_report(path)
    data = _data(encoder, evaluation)
    config = bench.BenchConfig(suite=suite, data=data, count=evaluation.count, seed=evaluation.seed)
    [report] = bench.run(encoder, config)
    report = replace(report, model={**report.model, "name": folder.name})
    write_report(report, path)
    return report
