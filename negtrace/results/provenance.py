"""Where a result comes from, and which pairs it lacks."""

__all__ = ["Dropped", "Provenance"]

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from negtrace.errors import CTEError


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A pair that was not traced, and why. Exported: it must hold no statement text."""

    id: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What made a result. Exported: it must hold no statement text and no image path.

    Raises:
        CTEError: when `config` holds anything but JSON values.
    """

    package_version: str
    time: str
    """When the trace ended, ISO 8601."""
    model: str
    family: str
    revision: str | None
    weights_digest: str
    tokenizer: str
    pairs_digest: str
    config: Mapping[str, Any]
    """The trace's settings; kept as what JSON makes of them, so tuples become lists."""

    def __post_init__(self) -> None:
        try:
            config = json.loads(json.dumps(dict(self.config), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise CTEError(f"a trace's config must hold JSON values only: {error}") from error
        object.__setattr__(self, "config", config)
