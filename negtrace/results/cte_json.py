"""CTE JSON, version 1: effects, layer scores and provenance as a file that other tools can read.

The file holds no statement text and no image path unless asked to. Raw scores of every pair go to
a safetensors file beside it, named and hashed in it. Derived numbers are rounded to ten decimals,
which is far below any interval and makes the bytes the same on every machine.
"""

__all__ = ["SCHEMA", "VERSION", "Document", "document_of", "read_json", "schema", "write_json"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from negtrace._files import canonical, read_bytes, sha256, write_bytes
from negtrace._messages import listed
from negtrace.errors import CTEError
from negtrace.results.cte import CTE, FLOOR, SEGMENTS
from negtrace.results.document import SCHEMA, VERSION, pretty, schema, verified
from negtrace.results.effect import Effect, Reduction
from negtrace.results.layer_scores import LayerScores, all_layer_scores
from negtrace.results.provenance import Dropped, Provenance
from negtrace.results.raw import sidecar_bytes
from negtrace.results.selection import CONDITIONS

DECIMALS = 10

TRACE = ("direction", "corruption", "unit", "positions", "window", "estimator")
"""What is said once of the whole trace."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    """A CTE JSON that was read: it draws and scores without its raw file."""

    path: Path
    effects: tuple[Effect, ...]
    scores: tuple[LayerScores, ...]
    provenance: Provenance
    layers: tuple[str, ...]
    sites: tuple[str, ...]
    roles: tuple[str, ...]
    pairs: tuple[Mapping[str, Any], ...]
    """Pairs kept: id, negated, segment, below_floor, and the statements if they were included."""
    dropped: tuple[Dropped, ...]
    segment_counts: Mapping[str, int]
    floor: float
    tau: float
    raw_file: str
    raw_sha256: str

    def effect(
        self,
        *,
        aggregate: str = "ratio_of_means",
        segment: str = "all",
        condition: str | None = None,
        axis: str = "role",
    ) -> Effect:
        """The effect that was stored for this selection.

        Raises:
            CTEError: when it was not stored.
        """
        wanted = {"aggregate": aggregate, "segment": segment, "condition": condition, "axis": axis}
        found: Effect = _find("effect", self.effects, wanted)
        return found

    def layer_scores(
        self, method: str, *, aggregate: str = "ratio_of_means", condition: str | None = None
    ) -> LayerScores:
        """The layer scores that were stored for `method`.

        Raises:
            CTEError: when they were not stored.
        """
        wanted = {"method": method, "aggregate": aggregate, "condition": condition}
        found: LayerScores = _find("layer score", self.scores, wanted)
        return found

    def cte(self) -> CTE:
        """The raw scores, from the file beside this one.

        Raises:
            CTEError: when that file is missing or changed.
        """
        sidecar_bytes(self.path, self.raw_file, self.raw_sha256)
        return CTE.load(self.path.with_name(self.raw_file))


def write_json(
    cte: CTE,
    path: Path | str,
    *,
    include_text: bool = False,
    aggregates: Sequence[str] = ("ratio_of_means",),
    axes: Sequence[str] = ("role",),
    floor: float | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Path:
    """Write `path`, a CTE JSON, and its raw file of the same name ending in `.safetensors`.

    Args:
        cte: the result.
        path: ends in `.json`.
        include_text: also write the statements, where the result has them.
        aggregates: one set of effects and layer scores for each.
        axes: `role`, and `token` where the pairs share one template.
        floor: as in `CTE.effect`; so are `confidence`, `resamples` and `seed`.
        confidence: of the intervals.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        CTEError: when nothing can be reduced; the raw file has then been written all the same.
        OutputError: when the place cannot be written.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise CTEError(f"a CTE JSON's name must end in .json, not {path.name!r}")
    raw = cte.save(path.with_suffix(".safetensors"), include_text=include_text)
    how: dict[str, Any] = {
        "floor": floor,
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
    }
    try:
        document = document_of(
            cte, aggregates=aggregates, axes=axes, include_text=include_text, **how
        )
    except CTEError as error:
        raise CTEError(f"{error} (the raw scores are safe in {raw})") from error
    document["raw"] = {"file": raw.name, "sha256": sha256(raw.read_bytes())}
    document["checksum"] = sha256(canonical(document))
    return write_bytes(path, pretty(document))


def document_of(
    cte: CTE, *, aggregates: Sequence[str], axes: Sequence[str], include_text: bool, **how: Any
) -> dict[str, Any]:
    """What `write_json` writes of `cte`, without the raw file's name and the checksum."""
    effects, scores = [], []
    for aggregate in aggregates:
        for segment, condition in _selections(cte, how["floor"]):
            chosen = {"aggregate": aggregate, "segment": segment, "condition": condition, **how}
            effects += [cte.effect(axis=axis, **chosen) for axis in axes]
            if segment == "all":
                scores += list(all_layer_scores(cte, **chosen).values())
    floor = effects[0].floor
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "provenance": asdict(cte.provenance),
        "trace": {name: getattr(cte, name) for name in TRACE},
        "axes": {"sites": cte.sites, "layers": cte.layers, "roles": cte.role_names},
        "pairs": {
            "kept": _pairs(cte, floor, include_text),
            "dropped": [asdict(drop) for drop in cte.dropped],
            "segments": cte.segment_counts,
            "floor": floor,
            "tau": cte.tau,
        },
        "effects": [_entry(effect) for effect in effects],
        "layer_scores": [
            {**_entry(score), "stable": score.stable, "note": score.note} for score in scores
        ],
    }


def _selections(cte: CTE, floor: float | None) -> Iterator[tuple[str, str | None]]:
    """Every selection that keeps a pair; the first one always, so that none at all is an error."""
    size = np.abs(cte.d)
    usable = (size >= (FLOOR[cte.unit] if floor is None else floor)) & (size > 0)
    truth = np.where(cte.negated, "negated", "affirmative")
    for condition in CONDITIONS:
        for segment in SEGMENTS:
            keep = usable & (condition is None or truth == condition)
            keep &= segment == "all" or np.array(cte.segments) == segment
            if keep.any() or (segment, condition) == ("all", None):
                yield segment, condition


def _pairs(cte: CTE, floor: float, include_text: bool) -> list[dict[str, Any]]:
    below = ((np.abs(cte.d) < floor) | (cte.d == 0)).tolist()
    columns = zip(cte.ids, cte.negated.tolist(), cte.segments, below, strict=True)
    names = ("id", "negated", "segment", "below_floor")
    rows = [dict(zip(names, row, strict=True)) for row in columns]
    if include_text and cte.texts is not None:
        for row, (true, false) in zip(rows, cte.texts, strict=True):
            row["texts"] = {"true": true, "false": false}
    return rows


# Said once for the whole document, under `provenance`, `trace`, `axes` and `pairs`.
_SHARED = (*TRACE, "model", "dropped", "layers", "sites")


def _entry(reduced: Reduction) -> dict[str, Any]:
    named = {one.name: getattr(reduced, one.name) for one in fields(reduced)}
    return {name: _plain(value) for name, value in named.items() if name not in _SHARED}


def _plain(value: Any) -> Any:
    """JSON's form of a field: NaN is null, numbers are rounded."""
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if np.isnan(value) else round(value, DECIMALS) + 0.0  # no minus zero
    return value


def read_json(path: Path | str) -> Document:
    """Read and verify a CTE JSON; its raw file is not needed.

    Raises:
        CTEError: when it is missing, no CTE JSON, of another version, against the schema, or
            changed since it was written.
    """
    path = Path(path)
    return _document(path, verified(path, read_bytes(path)))


def _document(path: Path, found: dict[str, Any]) -> Document:
    pairs, axes = found["pairs"], found["axes"]
    shared = {
        **found["trace"],
        "model": found["provenance"]["model"],
        "dropped": len(pairs["dropped"]),
    }
    layers, sites = tuple(axes["layers"]), tuple(axes["sites"])
    return Document(
        path=path,
        effects=tuple(
            _effect(f"{path} at $.effects[{place}]", {**one, **shared}, layers, sites)
            for place, one in enumerate(found["effects"])
        ),
        scores=tuple(
            _scores(f"{path} at $.layer_scores[{place}]", {**one, **shared}, layers[1:])
            for place, one in enumerate(found["layer_scores"])
        ),
        provenance=Provenance(**found["provenance"]),
        layers=layers,
        sites=sites,
        roles=tuple(axes["roles"]),
        pairs=tuple(pairs["kept"]),
        dropped=tuple(Dropped(**drop) for drop in pairs["dropped"]),
        segment_counts=pairs["segments"],
        floor=float(pairs["floor"]),
        tau=float(pairs["tau"]),
        raw_file=found["raw"]["file"],
        raw_sha256=found["raw"]["sha256"],
    )


def _effect(
    where: str, entry: dict[str, Any], layers: tuple[str, ...], sites: tuple[str, ...]
) -> Effect:
    shape = (len(sites), len(layers), len(entry["labels"]))
    arrays = {name: _array(where, name, entry, shape) for name in ("values", "low", "high")}
    counts = _array(where, "counts", entry, shape).astype(int)
    labels = tuple(entry["labels"])
    return Effect(
        **{**entry, **arrays, "counts": counts, "labels": labels}, layers=layers, sites=sites
    )


def _scores(where: str, entry: dict[str, Any], blocks: tuple[str, ...]) -> LayerScores:
    names = ("values", "low", "high", "alpha")
    arrays = {name: _array(where, name, entry, (len(blocks),)) for name in names}
    stability = entry["rank_stability"]
    stability = float("nan") if stability is None else float(stability)
    rest = {name: value for name, value in entry.items() if name not in ("stable", "note")}
    return LayerScores(**{**rest, **arrays, "rank_stability": stability}, layers=blocks)


def _array(where: str, name: str, entry: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.array(entry[name], dtype=float)  # null becomes NaN
    except ValueError:  # a ragged list
        array = np.array(())
    if array.shape != shape:
        raise CTEError(f"{where}.{name} does not have the shape {shape} that the axes say")
    return array


def _find(kind: str, stored: Sequence[Any], wanted: dict[str, Any]) -> Any:
    for one in stored:
        if all(getattr(one, name) == value for name, value in wanted.items()):
            return one
    known = ["/".join(str(getattr(one, name)) for name in wanted) for one in stored]
    raise CTEError(
        f"this document has no {kind} with {wanted}; it has {listed(known, most=20)}; load its raw "
        "scores with .cte() to compute another"
    )
