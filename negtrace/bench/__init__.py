"""The polarity benchmark: does an encoder know what a statement denies?

Five suites over any encoder: polarity questions, claim ranking, retrieval, collapse, and the files
of NegBench and VALSE. Every suite names chance and sets a scorer that sees the statements alone
beside the model, so that a shortcut shows.
"""

__all__ = ["SUITES", "Config", "Report", "read_report", "run"]

from typing import TYPE_CHECKING

from negtrace.lazy import lazily

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

__getattr__ = lazily(__name__, _HOMES)
