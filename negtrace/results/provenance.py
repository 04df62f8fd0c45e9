"""Provenance of a result, and the pairs that it lacks."""

__all__ = ["Dropped", "Provenance", "combined"]

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from negtrace._files import sha256
from negtrace.errors import CTEError


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A pair that was not traced, and the reason. It is exported: keep statement text out of it."""

    id: str
    code: str
    """Reason, for programs."""
    reason: str
    """Reason, in words."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Origin of a result. It is exported: keep statement text and image paths out of it.

    Raises:
        CTEError: when `config` holds anything but JSON values.
    """

    package_version: str
    time: str
    """End of the trace, ISO 8601."""
    model: str
    family: str
    revision: str | None
    weights_digest: str
    tokenizer: str
    pairs_digest: str
    config: Mapping[str, Any]
    """Settings of the trace, as JSON holds them: tuples become lists."""
    composition: Mapping[str, Any] | None = None
    """Number of pairs by condition, finding and template, as of `Composition.to_json`; None if
    unknown."""

    def __post_init__(self) -> None:
        try:
            config = json.loads(json.dumps(dict(self.config), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise CTEError(f"a trace's config must hold JSON values only: {error}") from error
        object.__setattr__(self, "config", config)


def combined(parts: Sequence[Provenance]) -> Provenance:
    """Return the provenance of results put together: the latest time, one digest of all pairs.

    The composition of one part alone is not that of all of them, so it is left out.
    """
    digests = sorted({part.pairs_digest for part in parts})
    digest = digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode())
    time = max(part.time for part in parts)
    composition = parts[0].composition if len(parts) == 1 else None
    return replace(parts[0], time=time, pairs_digest=digest, composition=composition)
