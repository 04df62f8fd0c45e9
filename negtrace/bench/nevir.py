"""NevIR suite: two queries that differ by a negation, and the document that answers each."""

__all__ = ["nevir_suite"]

from negtrace.bench.config import BenchConfig
from negtrace.bench.result import SuiteResult
from negtrace.bench.squares import ask_squares
from negtrace.bench.suites import SUITES
from negtrace.bench.text_files import data_file, read_nevir
from negtrace.encoders.base import Encoder


@SUITES.register("nevir")
def nevir_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """NevIR: two queries, two documents, and which document answers which query."""
    path = data_file(config, "nevir", "NevIR's JSONL")
    squares, notes = read_nevir(path)
    return ask_squares(encoder, squares[: config.count], config, name=path.name, notes=notes)
