"""The polarity benchmark: does an encoder know what a statement denies?

Five suites over any encoder: polarity questions, claim ranking, retrieval, collapse, and the files
of NegBench and VALSE. Every suite names chance and sets a scorer that sees the statements alone
beside the model, so that a shortcut shows.
"""

__all__ = ["SUITES", "Config", "Report", "read_report", "run"]

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from negtrace.bench.config import Config
    from negtrace.bench.report import Report, read_report
    from negtrace.bench.running import run
    from negtrace.bench.suites import SUITES

_HOMES = {
    "SUITES": "negtrace.bench.suites",
    "Config": "negtrace.bench.config",
    "Report": "negtrace.bench.report",
    "read_report": "negtrace.bench.report",
    "run": "negtrace.bench.running",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: reports open and draw without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'negtrace.bench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
