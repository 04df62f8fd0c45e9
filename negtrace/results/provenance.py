"""Provenance of a result, and the pairs that it lacks."""

__all__ = ["Dropped", "Provenance", "combined", "dropped_pair", "settings_of"]

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from negtrace._files import sha256
from negtrace.errors import CTEError
from negtrace.pairs.pair import Pair


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """A pair that was not traced, and the reason. It is exported: keep statement text out of it."""

    id: str
    code: str
    """Reason, for programs."""
    reason: str
    """Reason, in words."""
    public_id: str = ""
    """Name of the pair in files; by default, the id."""

    def to_json(self) -> dict[str, str]:
        """Return what files hold of it."""
        return {"id": self.public_id or self.id, "code": self.code, "reason": self.reason}


def dropped_pair(pair: Pair, code: str, reason: str) -> Dropped:
    """Return the entry of a pair that was not traced."""
    return Dropped(id=pair.id, code=code, reason=reason, public_id=pair.public_id)


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


MEASURED = ("alignment", "self_check")
"""Entries of the config that a trace measures on its pairs; the others are settings."""


def settings_of(provenance: Provenance) -> dict[str, Any]:
    """Return the config without what was measured on the pairs."""
    return {key: value for key, value in provenance.config.items() if key not in MEASURED}


def combined(parts: Sequence[Provenance]) -> Provenance:
    """Return the provenance of results put together: the latest time, one digest of all pairs.

    The composition of one part alone is not that of all of them, so it is left out. Alignments are
    counted over all pairs, and the largest gap of the self-checks is kept.
    """
    by_digest = {part.pairs_digest: part for part in parts}  # parts of one trace count once
    digests = sorted(by_digest)
    digest = digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode())
    time = max(part.time for part in parts)
    composition = parts[0].composition if len(parts) == 1 else None
    measured = _measured([part.config for part in by_digest.values()])
    return replace(
        parts[0],
        time=time,
        pairs_digest=digest,
        composition=composition,
        config=settings_of(parts[0]) | measured,
    )


def _measured(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what several traces measured on their pairs; left out where one did not."""
    merged: dict[str, Any] = {}
    if all("alignment" in config for config in configs):
        counts: Counter[str] = Counter()
        for config in configs:
            counts.update(config["alignment"])
        merged["alignment"] = dict(counts)
    if all("self_check" in config for config in configs):
        checks = [config["self_check"] for config in configs]
        merged["self_check"] = {
            "cells": sum(check["cells"] for check in checks),
            "largest_gap": max(check["largest_gap"] for check in checks),
            "route": "; ".join(dict.fromkeys(check["route"] for check in checks)),
        }
    return merged
