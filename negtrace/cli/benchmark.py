"""The command that asks models what statements deny."""

__all__ = ["Bench"]

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import OmitArgPrefixes, Positional

from negtrace.bench.config import BenchConfig
from negtrace.cli.models import Loading
from negtrace.cli.printing import say, say_written
from negtrace.errors import BenchError

if TYPE_CHECKING:
    from negtrace.bench import Report


@dataclass(frozen=True, kw_only=True)
class Bench(Loading):
    """Ask models what statements deny: polarity, claims, retrieval, collapse, negbench."""

    models: Positional[tuple[str, ...]] = ("phantom",)
    """One model, or several to compare in one figure, all loaded in the same way."""
    names: tuple[str, ...] = ()
    """What to call the models, in order; their folders' or the hub's names when not given."""
    out: Path = Path("negtrace-out")
    """Folder to write into."""
    formats: tuple[Literal["png", "svg", "pdf"], ...] = ("png",)
    """Formats of the figure."""
    config: OmitArgPrefixes[BenchConfig] = field(default_factory=BenchConfig)

    def run(self) -> None:
        """Ask, write the reports and the figure, and say what was found and where it is."""
        from negtrace._files import require_writable
        from negtrace.experiments.benchmark import run_benchmark

        require_writable(self.out)
        if self.names and len(self.names) != len(self.models):
            raise BenchError(
                f"{len(self.names)} names for {len(self.models)} models; give one for each"
            )
        names = self.names or (None,) * len(self.models)
        encoders = [self.loaded(*both) for both in zip(self.models, names, strict=True)]
        for report in run_benchmark(encoders, self.config, self.out, formats=self.formats):
            _say(report)
        say_written(self.out)


def _say(report: "Report") -> None:
    """Say the model's own figures, and how many rows were left out."""
    say(f"{report.model['name']}: {report.suite}, {report.data['items']} items")
    for row in report.rows:
        if row.scorer == "model" and row.axis not in ("finding", "negated_findings"):
            what = " ".join(dict.fromkeys(filter(_told, (row.series, row.axis, row.level))))
            ends = f"[{row.low:.3f}, {row.high:.3f}]"
            chance = "" if row.chance is None else f", chance {row.chance:.3f}"
            say(f"  {row.measure:10} {what:42} {row.estimate:.3f} {ends}{chance}")
    if report.counts:
        counts = ", ".join(f"{code} {count}" for code, count in report.counts.items())
        say(f"  noted rows: {counts}")


def _told(part: str) -> bool:
    return part not in ("all", "claims", "questions")
