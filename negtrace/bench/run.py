"""Run a suite on one model or several, and write a report for each."""

__all__ = ["run"]

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from negtrace._files import sha256
from negtrace.bench.config import BenchConfig
from negtrace.bench.report import Report, read_report, write_report
from negtrace.bench.result import SuiteResult
from negtrace.bench.suites import SUITES
from negtrace.encoders.base import Encoder
from negtrace.results.run_folder import RunFolder
from negtrace.version import __version__


def run(
    encoders: Encoder | Sequence[Encoder],
    config: BenchConfig | None = None,
    *,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> list[Report]:
    """Run a suite on one model or several.

    After an interruption, run the same again: a report that is finished is read.

    Args:
        encoders: models to measure.
        config: settings; the polarity suite with its defaults when not given.
        out: folder to write `<suite>-<model>.json` into, as soon as each model is measured;
            nothing is written when not given.
        overwrite: measure again, and replace reports that the folder holds.

    Returns:
        One report for each model, in order.

    Raises:
        UnknownNameError: for a suite that is not registered.
        BenchError: for data that cannot be used. No report of that model is written.
        OutputError: when `out` cannot be written, holds a report of another model or of other
            settings under the same name (the differences are shown), or another run is writing
            there. It is raised before anything is measured.
    """
    config = config or BenchConfig()
    suite = SUITES[config.suite]  # an unknown name is refused before any work
    models = [encoders] if isinstance(encoders, Encoder) else list(encoders)
    if out is None:
        return [_report(encoder, config, suite(encoder, config)) for encoder in models]
    places = [Path(out) / f"{config.suite}-{name}.json" for name in _file_names(models)]
    with RunFolder(Path(out), "bench").held():
        runs = [_run(encoder, config) for encoder in models]
        if not overwrite:
            for path, wanted in zip(places, runs, strict=True):
                _folder(path).require(wanted, [path.name])
        return [
            _reported(encoder, config, path, wanted, overwrite=overwrite)
            for encoder, path, wanted in zip(models, places, runs, strict=True)
        ]


def _reported(
    encoder: Encoder, config: BenchConfig, path: Path, run: dict[str, Any], *, overwrite: bool
) -> Report:
    """Return the report in a file; measure the model and write it if there is none."""
    if path.is_file() and not overwrite:
        return read_report(path)
    report = _report(encoder, config, SUITES[config.suite](encoder, config))
    _folder(path).reserve(run, [path.name], overwrite=overwrite)
    write_report(report, path, include_text=config.include_text)
    return report


def _folder(path: Path) -> RunFolder:
    """Return the folder of a report, as that of the report's own run."""
    return RunFolder(path.parent, f"bench {path.stem}")


def _run(encoder: Encoder, config: BenchConfig) -> dict[str, Any]:
    """Return everything that decides a report, as JSON values."""
    files = {name: getattr(config, name) for name in ("data", "anchors")}
    return {
        "version": __version__,
        "model": encoder.name,
        "weights_digest": encoder.digest,
        "reading": encoder.reading,
        "config": _settings(config),
        "files": {
            name: sha256(Path(path).read_bytes())
            for name, path in files.items()
            if path is not None and Path(path).is_file()
        },
    }


def _file_names(models: Sequence[Encoder]) -> list[str]:
    """File name for each model. Models with the same name are numbered."""
    safe = [
        "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in model.name)
        for model in models
    ]
    return [name if safe.count(name) == 1 else f"{name}-{k}" for k, name in enumerate(safe, 1)]


def _settings(config: BenchConfig) -> dict[str, Any]:
    """Return every setting, with file names without their folders."""
    settings = asdict(config)
    for name in ("data", "images", "anchors"):
        if settings[name] is not None:
            settings[name] = Path(settings[name]).name
    return settings


def _report(encoder: Encoder, config: BenchConfig, result: SuiteResult) -> Report:
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
        config=_settings(config),
        rows=result.rows,
        notes=result.notes,
        items=result.items,
        made={
            "package_version": __version__,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )
