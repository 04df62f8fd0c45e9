"""The contract of a correction, and the registry of all corrections.

Light on purpose: the command line reads names from here before torch is imported.
"""

__all__ = ["CORRECTIONS", "NEUTRAL", "Correct", "Correction", "correction_named"]

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from negtrace._files import canonical, sha256
from negtrace._registry import Registry
from negtrace.errors import EncoderError
from negtrace.language.denials import Denials

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

NEUTRAL = ("Frontal view of the chest.", "A chest radiograph.", "An image.")
"""Statements that claim nothing. Their mean stands for a text of which nothing else is left."""

Correct = Callable[["Float[Tensor, 'row dim']"], "Float[Tensor, 'row dim']"]
"""Function from embeddings of a statement, as the tower gives them, to corrected ones."""


@dataclass(frozen=True, kw_only=True)
class Correction(ABC):
    """A way to correct the embedding of a statement that denies something, without training.

    A subclass is a frozen dataclass. Its fields are its settings, each with a default.

    Raises:
        EncoderError: for a strength that is negative, or no neutral statement.
    """

    name: ClassVar[str]

    strength: float = 1.0
    """Distance that the embedding is moved; 0 is the least."""
    neutral: tuple[str, ...] = NEUTRAL
    """Statements that claim nothing, whose mean embedding stands for a text that says nothing."""

    def __post_init__(self) -> None:
        if not self.strength >= 0:
            raise EncoderError(f"strength is {self.strength}; expected 0 or more")
        if not self.neutral:
            raise EncoderError("no neutral statement; give one or more")

    @abstractmethod
    def texts(self, denials: Denials) -> tuple[str, ...]:
        """Return the texts whose embeddings the correction of a statement needs; "" is neutral."""

    @abstractmethod
    def correct(
        self,
        statement: "Float[Tensor, ' dim']",
        texts: "Float[Tensor, 'text dim']",
        neutral: "Float[Tensor, ' dim']",
    ) -> Correct:
        """Return the correction of one statement.

        Args:
            statement: its embedding by the tower as it is.
            texts: unit embeddings of its `texts`.
            neutral: unit embedding that stands for a text that says nothing.
        """

    def settings(self) -> dict[str, object]:
        """Return the name and every setting as JSON values, for the provenance of a result.

        Statements stand there as their digest, since a result holds no text.
        """
        neutral = sha256(canonical(list(self.neutral)))
        return {"name": self.name, **asdict(self), "neutral": neutral}


CORRECTIONS: Registry[type[Correction]] = Registry(
    "correction",
    {name: f"negtrace.correction.{name}" for name in ("reflection", "projection")},
)
"""The corrections by name, as in `negtrace correct MODEL --method NAME`."""


def correction_named(name: str, strength: float | None = None) -> Correction:
    """Return the correction called `name`.

    Args:
        name: of the correction.
        strength: its strength; the correction's own when not given.

    Raises:
        UnknownNameError: when no correction has that name.
        EncoderError: for a negative strength.
    """
    kind = CORRECTIONS[name]
    return kind() if strength is None else kind(strength=strength)
