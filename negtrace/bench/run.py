"""Run a suite on one model or several, and write a report for each."""

__all__ = ["run"]

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from negtrace._files import require_writable
from negtrace.bench.config import BenchConfig
from negtrace.bench.report import Report, write_report
from negtrace.bench.result import SuiteResult
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
        encoders: models to measure.
        config: settings; the polarity suite with its defaults when not given.
        out: folder to write `<suite>-<model>.json` into, as soon as each model is measured;
            nothing is written when not given.

    Returns:
        One report for each model, in order.

    Raises:
        UnknownNameError: for a suite that is not registered.
        BenchError: for data that cannot be used. No report of that model is written.
        OutputError: when `out` cannot be written. It is raised before anything is measured.
    """
    config = config or BenchConfig()
    suite = SUITES[config.suite]
    if out is not None:
        require_writable(Path(out))
    models = [encoders] if isinstance(encoders, Encoder) else list(encoders)
    reports = []
    for encoder, name in zip(models, _file_names(models), strict=True):
        report = _report(encoder, config, suite(encoder, config))
        reports.append(report)
        if out is not None:
            path = Path(out) / f"{config.suite}-{name}.json"
            write_report(report, path, include_text=config.include_text)
    return reports


def _file_names(models: Sequence[Encoder]) -> list[str]:
    """File name for each model. Models with the same name are numbered."""
    safe = [
        "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in model.name)
        for model in models
    ]
    return [name if safe.count(name) == 1 else f"{name}-{k}" for k, name in enumerate(safe, 1)]


def _report(encoder: Encoder, config: BenchConfig, result: SuiteResult) -> Report:
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
        data=result.data,
        config=settings,
        rows=result.rows,
        notes=result.notes,
        items=result.items,
        made={
            "package_version": __version__,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )
