"""Suites of questions, by name.

A suite is a function of an encoder and a `BenchConfig` that returns a `SuiteResult`. Register it
under a name, and `run` and `negtrace bench --suite NAME` know it.
"""

__all__ = ["SUITES", "Suite"]

from typing import TYPE_CHECKING, Protocol

from negtrace._registry import Registry

if TYPE_CHECKING:
    from negtrace.bench.config import BenchConfig
    from negtrace.bench.result import SuiteResult
    from negtrace.encoders.base import Encoder


class Suite(Protocol):
    """Function that asks one model the questions of a suite."""

    def __call__(self, encoder: "Encoder", config: "BenchConfig") -> "SuiteResult":
        """Ask the questions and return the result.

        Args:
            encoder: model to measure. Its scores are in its own unit, so compare them only with
                each other.
            config: settings. A suite that has no use for one, such as `data`, ignores it.

        Raises:
            BenchError: for data that cannot be used, or a model that cannot be asked.
        """


SUITES: Registry[Suite] = Registry(
    "suite",
    {
        **{
            name: f"negtrace.bench.{name}"
            for name in (
                "answers",
                "auc",
                "claims",
                "collapse",
                "negbench",
                "nevir",
                "polarity",
                "retrieval",
            )
        },
        "two-by-two": "negtrace.bench.two_by_two",
        "lm-negation": "negtrace.bench.completions",
        "factor": "negtrace.bench.completions",
    },
)
"""Suites by name, as in `negtrace bench --suite NAME`."""
