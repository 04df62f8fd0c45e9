"""What a fine-tuning is judged by: the benchmark and a trace, before and after."""

__all__ = ["NO_EVALUATION", "PARTS", "Evaluation", "Measurements", "measure"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from negtrace import bench
from negtrace.bench.report import Report, write_report
from negtrace.encoders.base import Encoder
from negtrace.experiments.trace import run as run_trace
from negtrace.pairs.pair import Pair
from negtrace.pairs.phantom import phantom_pairs
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.cte_json import Document, read_json

DIRECTION: Literal["noising"] = "noising"
"""Of the second trace: what is needed, which is the paper's."""

PARTS = ("polarity", "claims", "retrieval", "collapse")
"""The suites of the benchmark that are run."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured before and after."""

    suites: tuple[str, ...] = PARTS
    """Of the benchmark; none to leave it out."""
    data: str | Path | None = None
    """What the benchmark asks about, as in `bench.BenchConfig`; where it is not said, the phantom
    is asked about its radiographs, and every other model about texts."""
    count: int = 600
    """Questions, claim sets and statements."""
    pairs: int | Sequence[Pair] = 48
    """Pairs of the second trace, or about how many of the built-in ones; 0 to leave it out."""
    seed: int = 0


NO_EVALUATION = Evaluation(suites=(), pairs=0)
"""Neither benchmark nor trace."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """What was measured of a model."""

    reports: Mapping[str, Report]
    """By suite."""
    document: Document | None
    """The trace, noising."""

    def numbers(self) -> dict[str, float]:
        """The headline figures that were measured, by name."""
        return {
            name: row.estimate
            for name, suite, wanted in _HEADLINES
            if suite in self.reports
            for row in self.reports[suite].rows
            if all(getattr(row, field) == value for field, value in wanted.items())
        }


def _accuracy(series: str, axis: str = "all", level: str = "all") -> dict[str, str]:
    return {
        "measure": "accuracy",
        "scorer": "model",
        "series": series,
        "axis": axis,
        "level": level,
    }


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


def measure(
    encoder: Encoder, evaluation: Evaluation, folder: Path, *, progress: bool | None = None
) -> Measurements:
    """Measure a model; what is in `folder` already is read and not measured again.

    The trace is made by `negtrace.experiments.trace`: fine-tuning itself reads layer scores alone.
    """
    reports = {suite: _suite(encoder, suite, evaluation, folder) for suite in evaluation.suites}
    document = _traced(encoder, evaluation, folder, progress) if evaluation.pairs else None
    return Measurements(reports=reports, document=document)


def _traced(
    encoder: Encoder, evaluation: Evaluation, folder: Path, progress: bool | None
) -> Document:
    path = folder / f"{DIRECTION}.json"
    if path.is_file():
        return read_json(path)
    pairs = _pairs(evaluation, _asked(encoder, evaluation))
    [document] = run_trace(
        encoder, folder, pairs, directions=(DIRECTION,), formats=("png",), progress=progress
    )
    return document


def _asked(encoder: Encoder, evaluation: Evaluation) -> str | Path:
    """Return what is asked about: synthetic films would say nothing of a model of real ones."""
    return evaluation.data or ("phantom" if encoder.name == "phantom" else "text")


def _pairs(evaluation: Evaluation, asked: str | Path) -> Sequence[Pair]:
    if not isinstance(evaluation.pairs, int):
        return evaluation.pairs
    if asked == "phantom":
        return phantom_pairs(evaluation.pairs, seed=evaluation.seed)
    pairs = radiology_pairs()
    return pairs[:: -(-len(pairs) // evaluation.pairs)]


def _suite(encoder: Encoder, suite: str, evaluation: Evaluation, folder: Path) -> Report:
    path = folder / f"{suite}-{folder.name}.json"
    if path.is_file():
        return bench.read_report(path)
    asked = _asked(encoder, evaluation)
    config = bench.BenchConfig(
        suite=suite, data=asked, count=evaluation.count, seed=evaluation.seed
    )
    [report] = bench.run(encoder, config)
    report = replace(report, model={**report.model, "name": folder.name})
    write_report(report, path)
    return report
