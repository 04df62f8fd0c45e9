"""The contract of a corruption, and the registry of all corruptions.

Light on purpose: the command line reads names from here before torch is imported.
"""

__all__ = ["CORRUPTIONS", "Corruption", "corruption_named"]

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from negtrace._registry import Registry
from negtrace.errors import TraceError

if TYPE_CHECKING:
    from negtrace.encoders.base import Encoder
    from negtrace.pairs.pair import Pair
    from negtrace.pairs.tokens import Tokens
    from negtrace.tracing.corruptions.contrast import Contrast


class Corruption(ABC):
    """A way to destroy the negation in the true statement of a pair.

    A subclass is a frozen dataclass. Its fields are its settings: each has a default, and all of
    them go into the provenance of a result. A field with `compare=False` is not a setting: it
    holds what `prepared` computed from the pairs.
    """

    name: ClassVar[str]

    @abstractmethod
    def contrasts(
        self, pair: "Pair", true: "Tokens", false: "Tokens", encoder: "Encoder"
    ) -> "list[Contrast]":
        """Return the clean and the corrupted run of a pair.

        Args:
            pair: the pair to corrupt.
            true: the tokens of its true statement.
            false: the tokens of its false statement.
            encoder: the model that will run them.

        Returns:
            One contrast, or several random samples of one, whose scores are averaged.

        Raises:
            AlignmentError: when this pair cannot be corrupted. The reason is exported, so it must
                hold no statement text.
            TraceError: when no pair can be corrupted with this encoder.
        """

    def prepared(self, pairs: "Sequence[Pair]", encoder: "Encoder") -> "Corruption":
        """Return this corruption, with what it needs to know about all pairs of the trace.

        Called once, before `contrasts`. The result has the same settings as this corruption and
        does not depend on the order of the pairs.

        Raises:
            TraceError: when these pairs are not enough.
        """
        return self

    def settings(self) -> dict[str, object]:
        """Return the name and every setting, for the provenance."""
        values = {field.name: getattr(self, field.name) for field in _settings(type(self))}
        return {"name": self.name, **values}


_HERE = "negtrace.tracing.corruptions"

CORRUPTIONS: Registry[type[Corruption]] = Registry(
    "corruption",
    {
        name: f"{_HERE}.{name}"
        for name in ("swap", "neutral", "mask", "resample", "noise", "mean", "zero")
    },
)
"""The corruptions by name, as in `negtrace trace --corruption NAME`."""


def corruption_named(name: str, settings: Mapping[str, object] | None = None) -> Corruption:
    """Return the corruption called `name`, with these settings.

    Raises:
        UnknownNameError: when no corruption has that name.
        TraceError: for a setting that the corruption does not have, or a value of the wrong type.
    """
    kind = CORRUPTIONS[name]
    defaults = {field.name: field.default for field in _settings(kind)}
    values: dict[str, object] = {}
    for setting, value in (settings or {}).items():
        if setting not in defaults:
            raise TraceError(
                f"corruption {name!r} has no setting {setting!r}; "
                f"its settings are: {', '.join(defaults) or 'none'}"
            )
        expected = type(defaults[setting])
        values[setting] = float(value) if expected is float and isinstance(value, int) else value
        if type(values[setting]) is not expected:
            raise TraceError(f"{setting} of {name!r} is {value!r}; expected {expected.__name__}")
    return kind(**values)


def _settings(kind: type[Corruption]) -> list[Field[Any]]:
    return [field for field in fields(kind) if field.compare]  # type: ignore[arg-type]
