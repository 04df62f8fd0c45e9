"""Run a benchmark suite on models, and write reports and one figure into a folder."""

__all__ = ["run_benchmark"]

from collections.abc import Sequence
from pathlib import Path

from negtrace.bench.config import BenchConfig
from negtrace.bench.report import Report
from negtrace.bench.run import run
from negtrace.encoders.base import Encoder
from negtrace.plots.bench import bench_figure
from negtrace.plots.save import require_formats, save_figure


def run_benchmark(
    encoders: Encoder | Sequence[Encoder],
    config: BenchConfig,
    out: Path,
    *,
    formats: Sequence[str] = ("png",),
    overwrite: bool = False,
) -> list[Report]:
    """Run a suite, write `<suite>-<model>.json` for each model and draw `<suite>.<format>`.

    Args:
        encoders: models to measure.
        config: suite and settings.
        out: folder to write into.
        formats: formats of the figure: png, svg, pdf.
        overwrite: measure again, and replace reports that the folder holds.

    Returns:
        One report for each model, in order.

    Raises:
        UnknownNameError: for a suite that is not registered, or an unknown format. It is raised
            before anything is measured.
        BenchError: for data that cannot be used. No report of that model is written.
        OutputError: as for `negtrace.bench.run`. It is raised before anything is measured.
    """
    require_formats(formats)
    reports = run(encoders, config, out=out, overwrite=overwrite)
    save_figure(bench_figure(reports), out / config.suite, formats)
    return reports
