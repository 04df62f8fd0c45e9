"""A suite run on models; what it finds is written and drawn."""

__all__ = ["run"]

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from negtrace._files import require_writable
from negtrace.bench.config import BenchConfig
from negtrace.bench.report import Report, write_report
from negtrace.bench.result import Work
from negtrace.bench.suites import SUITES
from negtrace.encoders.base import Encoder
from negtrace.version import __version__


def run(
    encoders: Encoder | Sequence[Encoder],
    config: BenchConfig | None = None,
    *,
    out: Path | str | None = None,
) -> list[Report]:
    """Run a suite on one model or several.

    Args:
        encoders: what to measure.
        config: the settings; polarity questions on the phantom when not given.
        out: folder for `<suite>-<model>.json`, each written as soon as it is there;
            nothing is written when not given.

    Raises:
        UnknownNameError: for a suite that is not registered.
        BenchError: for data that cannot be used; nothing has been written for that model.
        OutputError: when `out` cannot be written; nothing has been measured then.
    """
    config = config or BenchConfig()
    suite = SUITES[config.suite]
    if out is not None:
        require_writable(Path(out))
    given = [encoders] if isinstance(encoders, Encoder) else list(encoders)
    names = _names([encoder.name for encoder in given])
    reports = []
    for encoder, name in zip(given, names, strict=True):
        report = _report(encoder, config, suite(encoder, config))
        reports.append(report)
        if out is not None:
            path = Path(out) / f"{config.suite}-{name}.json"
            write_report(report, path, include_text=config.include_text)
    return reports


def _names(names: Sequence[str]) -> list[str]:
    """Return a file name for each model, distinct also where models are called alike."""
    safe = ["".join(c if c.isalnum() or c in "-_." else "-" for c in name) for name in names]
    return [name if safe.count(name) == 1 else f"{name}-{k}" for k, name in enumerate(safe, 1)]


def _report(encoder: Encoder, config: BenchConfig, work: Work) -> Report:
    settings = asdict(config)
    for name in ("data", "images", "anchors"):
        if settings[name] is not None:
            settings[name] = Path(settings[name]).name
    return Report(
        suite=config.suite,
        model={
            "name": encoder.name,
            "family": encoder.family,
            "revision": encoder.revision,
            "weights_digest": encoder.digest,
            "tokenizer": encoder.tokenizer_name,
            "unit": encoder.unit,
        },
        data=work.data,
        config=settings,
        rows=work.rows,
        noted=work.noted,
        items=work.items,
        made={
            "package_version": __version__,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )
