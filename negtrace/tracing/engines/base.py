"""The contract of an engine, and the registry of all engines.

Light on purpose: the command line reads names from here before torch is imported.
"""

__all__ = ["ENGINES", "Engine", "engine_named"]

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from negtrace._registry import Registry

if TYPE_CHECKING:
    from negtrace.encoders.base import Encoder
    from negtrace.tracing.engines.sweep import ContrastScores, Sweep
    from negtrace.tracing.plan import Plan


class Engine(ABC):
    """A way to compute the score of every patched cell.

    A subclass is a frozen dataclass; its fields are its settings, each with a default.
    """

    name: ClassVar[str]
    estimator: ClassVar[str] = "exact"
    """`exact` when every score is that of a patched forward; otherwise the name of the
    approximation, which every output repeats."""

    @abstractmethod
    def run(self, sweep: "Sweep") -> "Iterator[ContrastScores]":
        """Yield the scores of every contrast of the sweep, in any order.

        The model is in eval mode, and gradients are off. The engine leaves the model as it found
        it, also after an exception. Contrasts in `sweep.done` may be left out.

        Raises:
            SiteError: when the model does not offer a site.
            TraceError: when the engine cannot run such a sweep.
        """

    def require(self, encoder: "Encoder", plan: "Plan") -> None:  # noqa: B027 - most can run all
        """Refuse what the engine cannot run, before any work; most engines run every plan.

        Args:
            encoder: the model.
            plan: the sites, and the number of layers that a cell patches at once.

        Raises:
            TraceError: with the reason, and the way out.
        """


_HERE = "negtrace.tracing.engines"

ENGINES: Registry[type[Engine]] = Registry(
    "method",
    {
        "exact": f"{_HERE}.exact",
        "attribution": f"{_HERE}.attribution",
        "integrated_gradients": f"{_HERE}.attribution",
        "transformer_lens": f"{_HERE}.transformer_lens",
        "nnsight": f"{_HERE}.nnsight",
    },
)
"""The engines by name, as in `negtrace trace --method NAME`."""


def engine_named(name: str, *, steps: int) -> Engine:
    """Return the engine called `name`; `steps` is for an engine that has a field of that name.

    Raises:
        UnknownNameError: when no engine has that name.
    """
    kind = ENGINES[name]
    has_steps = "steps" in {field.name for field in fields(kind)}  # type: ignore[arg-type]
    settings: dict[str, Any] = {"steps": steps} if has_steps else {}
    return kind(**settings)
