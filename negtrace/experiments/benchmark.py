"""Benchmark of one model or several in a folder: a report for each model, one figure of all."""

__all__ = ["run_benchmark"]

from collections.abc import Sequence
from pathlib import Path

from negtrace.bench.config import BenchConfig
from negtrace.bench.report import Report
from negtrace.bench.run import run
from negtrace.encoders.base import Encoder
from negtrace.plots.bench import draw


def run_benchmark(
    encoders: Encoder | Sequence[Encoder],
    config: BenchConfig,
    out: Path,
    *,
    formats: Sequence[str] = ("png",),
) -> list[Report]:
    """Run a suite, write `<suite>-<model>.json` for each model and draw `<suite>.<format>`.

    Args:
        encoders: models to measure.
        config: the suite and its settings.
        out: folder to write into.
        formats: of the figure: png, svg, pdf.

    Raises:
        UnknownNameError: for a suite that is not registered.
        BenchError: for data that cannot be used; nothing has been written for that model.
        OutputError: when `out` cannot be written; nothing has been measured then.
    """
    reports = run(encoders, config, out=out)
    draw(reports, out / config.suite, formats)
    return reports
