"""Command that runs a benchmark suite on models."""

__all__ = ["Bench"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional

from negtrace.bench.config import BenchConfig
from negtrace.cli.models import Correcting, Loading
from negtrace.cli.names import named
from negtrace.cli.printing import say, say_written
from negtrace.errors import BenchError
from negtrace.plots.save import Format

if TYPE_CHECKING:
    from negtrace.bench import Report, ReportRow


@dataclass(frozen=True, kw_only=True)
class BenchOptions(BenchConfig):
    """Settings of the benchmark: the suite, its data and its intervals."""

    suite: Annotated[str, named("negtrace.bench:SUITES")] = BenchConfig.suite
    """Suite to run."""


@dataclass(frozen=True, kw_only=True)
class Bench(Correcting, Loading):
    """Measure how well models read negation: run a benchmark suite on one or several."""

    models: Positional[tuple[str, ...]] = ("phantom",)
    """Models to measure. Several are compared in one figure; each is loaded with the options that
    apply to it."""
    names: tuple[str, ...] = ()
    """Names of the models in the reports, in order; names of their folders when not given."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    formats: tuple[Format, ...] = ("png",)
    """Formats of the figure."""
    overwrite: bool = False
    """Measure again, and replace reports that the folder holds."""
    config: OmitArgPrefixes[BenchOptions] = field(default_factory=BenchOptions)

    def run(self) -> None:
        """Run the suite, write reports and figure, and print the numbers."""
        from negtrace._files import require_writable
        from negtrace.experiments.benchmark import run_benchmark

        require_writable(self.out)
        if self.names and len(self.names) != len(self.models):
            raise BenchError(
                f"{len(self.names)} names for {len(self.models)} models; give one for each"
            )
        encoders = self.load_all(self.models, self.names)
        if self.correct is not None or self.strength is not None:
            encoders = [each for model in encoders for each in (model, self.corrected(model))]
        reports = run_benchmark(
            encoders, self.config, self.out, formats=self.formats, overwrite=self.overwrite
        )
        for report in reports:
            _print_report(report)
        say_written(self.out)


def _print_report(report: "Report") -> None:
    """Print the model's own numbers, and how many rows of the data have notes."""
    say(f"{report.model['name']}: {report.suite}, {report.data['items']} items")
    for row in report.rows:
        if row.scorer == "model" and row.axis not in ("finding", "negated_findings"):
            _print_row(row)
    if report.counts:
        counts = ", ".join(f"{code} {count}" for code, count in report.counts.items())
        say(f"  noted rows: {counts}")


def _print_row(row: "ReportRow") -> None:
    parts = dict.fromkeys((row.series, row.axis, row.level))
    label = " ".join(part for part in parts if part not in ("all", "claims", "questions"))
    chance = "" if row.chance is None else f", chance {row.chance:.3f}"
    say(f"  {row.measure:10} {label:42} {row.estimate:.3f} {row.interval}{chance}")
