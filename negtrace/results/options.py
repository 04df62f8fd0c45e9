"""Options of a reduction: how the scores of many pairs become one number per cell."""

__all__ = [
    "CONDITIONS",
    "DIRECTIONS",
    "SEGMENTS",
    "Direction",
    "ReduceOptions",
    "Resampling",
    "flat_fields",
    "reduce_options",
]

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from negtrace._messages import one_of
from negtrace._settings import with_settings
from negtrace.errors import CTEError

Direction = Literal["denoising", "noising"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
"""Restore clean states in the corrupted run, or put corrupted states into the clean run."""

SEGMENTS = ("all", "correct", "ambiguous", "incorrect")
"""Selections of pairs by d = clean - corrupt; `all` first."""

CONDITIONS = (None, "negated", "affirmative")
"""Selections of pairs by their true statement; None, for both, first."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """Draws of pairs behind intervals, tests and rank stability.

    Raises:
        CTEError: when a value is out of range.
    """

    confidence: float = 0.95
    """Probability with which an interval covers the true value, between 0 and 1."""
    resamples: int = 1000
    """Number of bootstrap draws; 0 gives neither intervals nor tests."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise CTEError(f"confidence must lie between 0 and 1, not {self.confidence}")
        if self.resamples < 0:
            raise CTEError(f"resamples must be 0 (no intervals) or more, not {self.resamples}")


@dataclass(frozen=True, kw_only=True)
class ReduceOptions(Resampling):
    """Options of a reduction: the aggregate over pairs, the pairs that count, and the bootstrap.

    With d = clean - corrupt and n the numerator of a pair's effect (so its ratio is n / d), the
    built-in aggregates are `ratio_of_means` (sum of s n over sum of |d|, with s the sign of d),
    `mean_of_ratios` (mean of n / d) and `median` (median of n / d).

    Raises:
        CTEError: when a value is out of range.
        UnknownNameError: for an unknown segment or condition. An unknown aggregate is refused when
            it is used, so that results of other people's aggregates can be read.
    """

    aggregate: str = "ratio_of_means"
    """Aggregate over pairs, by name."""
    segment: str = "all"
    """Pairs to reduce, by d: all, correct (d >= tau), incorrect (d <= -tau) or ambiguous."""
    condition: str | None = None
    """Pairs to reduce, by their true statement: negated or affirmative; None for both."""
    floor: float | None = None
    """Pairs with |d| below this are left out and counted, in units of the score; None takes the
    floor of the unit (0.1 logit, 0.001 cosine)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("segment", self.segment, SEGMENTS)
        one_of("condition", self.condition, CONDITIONS)
        if self.floor is not None and not self.floor >= 0:
            raise CTEError(f"floor must be 0 or more, not {self.floor}")


def reduce_options(options: ReduceOptions | None = None, **changes: Any) -> ReduceOptions:
    """Return `options`, or the defaults, with some values changed.

    >>> reduce_options(ReduceOptions(seed=1), segment="correct").segment
    'correct'
    >>> reduce_options(agregate="median")
    Traceback (most recent call last):
    negtrace.errors.UnknownNameError: unknown reduce option 'agregate'; known: confidence, \
resamples, seed, aggregate, segment, condition, floor

    Raises:
        CTEError: when a value is out of range.
        UnknownNameError: for an unknown option, segment or condition.
    """
    return with_settings(options or ReduceOptions(), changes, "reduce option")


def flat_fields(result: Any) -> dict[str, Any]:
    """Return every field of a dataclass by name, with those of its options in their place."""
    named: dict[str, Any] = {}
    for field in fields(result):
        value = getattr(result, field.name)
        named |= asdict(value) if isinstance(value, Resampling) else {field.name: value}
    return named
