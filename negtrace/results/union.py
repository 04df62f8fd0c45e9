"""The union of several results: what they must share, and how their pairs become one."""

__all__ = ["united"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from negtrace._files import sha256
from negtrace.errors import CTEError
from negtrace.results.provenance import Provenance
from negtrace.results.raw import NAMES


def united(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of one result with the pairs of several like ones, given as their fields.

    Raises:
        CTEError: when there is none, or they differ in model, axes or settings.
    """
    if not results:
        raise CTEError("no results to combine; pass at least one")
    first = results[0]
    for place, other in enumerate(results[1:], start=1):
        _refuse_unlike(first, other, place)
    width = max(result["roles"].shape[1] for result in results)
    texts = [result["texts"] for result in results]
    joined: dict[str, Any] = {
        name: np.concatenate([result[name] for result in results])
        for name in ("clean", "corrupt", "negated")
    }
    for name, fill in (("patched", np.nan), ("roles", -1)):
        joined[name] = np.concatenate([_widen(result[name], width, fill) for result in results])
    return {
        **first,
        **joined,
        "ids": tuple(name for result in results for name in result["ids"]),
        "dropped": tuple(dict.fromkeys(drop for r in results for drop in r["dropped"])),
        "texts": None if None in texts else tuple(pair for some in texts for pair in some),
        "provenance": _provenance([result["provenance"] for result in results]),
    }


def _provenance(made: Sequence[Provenance]) -> Provenance:
    digests = sorted({one.pairs_digest for one in made})
    digest = digests[0] if len(digests) == 1 else sha256("\n".join(digests).encode())
    return replace(made[0], time=max(one.time for one in made), pairs_digest=digest)


def _refuse_unlike(first: Mapping[str, Any], other: Mapping[str, Any], place: int) -> None:
    ours, theirs = _identity(first), _identity(other)
    unlike = [f"{key}: {ours[key]!r} / {theirs[key]!r}" for key in ours if ours[key] != theirs[key]]
    if unlike:
        raise CTEError(
            f"results 0 and {place} are not alike and cannot be combined; they differ in "
            f"{'; '.join(unlike)}"
        )


def _identity(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What results must share to be combined."""
    provenance = fields["provenance"]
    made = {name: getattr(provenance, name) for name in ("weights_digest", "tokenizer")}
    named = {name: fields[name] for name in NAMES if name != "ids"}
    return {**made, **named, "config": provenance.config}


def _widen(array: np.ndarray, width: int, fill: float | int) -> np.ndarray:
    missing = width - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)], constant_values=fill)
