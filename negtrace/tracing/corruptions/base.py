"""How the negation is destroyed: a corruption turns a pair into clean and corrupted runs."""

__all__ = [
    "CORRUPTIONS",
    "Contrast",
    "Corruption",
    "Run",
    "Sources",
    "corruption_named",
    "generator_of",
]

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, ClassVar

import torch

from negtrace._registry import Registry
from negtrace.encoders.base import Encoder
from negtrace.errors import TraceError
from negtrace.pairs.pair import Pair
from negtrace.pairs.tokens import Tokens
from negtrace.tracing.corruptions.contrast import Contrast, Run, Sources


class Corruption(ABC):
    """A way to destroy the negation in the true statement of a pair.

    A subclass is a frozen dataclass: its fields are its settings, and part of the provenance. A
    field with `compare=False` is no setting: it holds what `prepared` found in the pairs.
    """

    name: ClassVar[str]

    @abstractmethod
    def contrasts(
        self, pair: Pair, true: Tokens, false: Tokens, encoder: Encoder
    ) -> list[Contrast]:
        """Return one contrast, or several samples of one, whose scores are averaged.

        Raises:
            AlignmentError: when this pair cannot be corrupted so; its reason is text-free.
            TraceError: when no pair can be, with this encoder.
        """

    def prepared(self, pairs: Sequence[Pair], encoder: Encoder) -> "Corruption":
        """Return this corruption with what it needs to know of all the pairs of a trace.

        Called once, before `contrasts`. What comes back has the same settings, and does not depend
        on the order of the pairs.

        Raises:
            TraceError: when these pairs do not give what is needed.
        """
        return self

    def settings(self) -> dict[str, object]:
        """Return the name and every setting, for the provenance."""
        found = {field.name: getattr(self, field.name) for field in _settings(type(self))}
        return {"name": self.name, **found}


CORRUPTIONS: Registry[type[Corruption]] = Registry("corruption")
"""The corruptions by name, as in `negtrace trace --corruption NAME`."""


def corruption_named(name: str, settings: Mapping[str, object] | None = None) -> Corruption:
    """Return the corruption called `name`, made with `settings`.

    Raises:
        UnknownNameError: for a name that is not registered.
        TraceError: for a setting the corruption does not have, or a value of another type.
    """
    kind = CORRUPTIONS[name]
    usual = {field.name: field.default for field in _settings(kind)}
    made: dict[str, object] = {}
    for setting, value in (settings or {}).items():
        if setting not in usual:
            raise TraceError(
                f"corruption {name!r} has no setting {setting!r}; "
                f"its settings are: {', '.join(usual) or 'none'}"
            )
        wanted = type(usual[setting])
        made[setting] = float(value) if wanted is float and isinstance(value, int) else value
        if type(made[setting]) is not wanted:
            raise TraceError(f"{setting} of {name!r} is {value!r}; expected {wanted.__name__}")
    return kind(**made)


def generator_of(pair: Pair, seed: int, sample: int) -> torch.Generator:
    """Return a random generator that depends on the pair's content, the seed and the sample only.

    It lives on the CPU, so that every device draws the same.
    """
    key = hashlib.sha256(f"{pair.digest}|{seed}|{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))


def _settings(kind: type[Corruption]) -> list[Field[Any]]:
    return [field for field in fields(kind) if field.compare]  # type: ignore[arg-type]
