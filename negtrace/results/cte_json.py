"""CTE JSON, version 2: effects, layer scores and provenance in a file that other tools can read.

The file holds no statement text and no image path unless asked to. The raw scores of every pair go
to a safetensors file beside it, which it names with its SHA-256. Derived numbers are rounded to the
decimals that do not depend on the number of threads, far below the width of any interval. The
schema is `cte-2.schema.json` beside this module.
"""

__all__ = ["Document", "read_json", "write_json"]

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from negtrace._files import as_json, canonical, pretty_json, read_bytes, sha256, write_bytes
from negtrace._messages import listed
from negtrace.errors import CTEError
from negtrace.results.cte import CTE
from negtrace.results.cte_schema import SCHEMA, VERSION, cte_document
from negtrace.results.effect import Effect, Reduction
from negtrace.results.heads import HeadEffect, head_effect
from negtrace.results.layer_scores import LayerScores, all_layer_scores, layer_scores
from negtrace.results.options import (
    CONDITIONS,
    SEGMENTS,
    ReduceOptions,
    flat_fields,
    reduce_options,
)
from negtrace.results.provenance import Dropped, Provenance
from negtrace.results.raw import sidecar_bytes
from negtrace.results.selection import FLOOR, above_floor

DECIMALS = {"values": 5, "alpha": 5, "low": 4, "high": 4, "p": 4, "q": 4, "rank_stability": 3}
"""Decimals of each kind of number: those in which runs with one and with two threads agree, with
single precision. Other numbers keep `OTHER`."""

OTHER = 10

ROUNDED_UP = ("p", "q")
"""A test never becomes clearer by rounding."""

TRACE = ("direction", "corruption", "unit", "positions", "window", "estimator")
"""Settings of the trace, which all results of a document share."""

COUNTS = ("n", "negated", "below_floor")
REDUCTION = (*[field.name for field in fields(ReduceOptions)], *COUNTS)
EFFECT = ("values", "low", "high", "p", "q", "counts", "axis", "labels")
SCORES = ("method", "values", "low", "high", "alpha", "rank_stability")


@dataclass(frozen=True, kw_only=True, eq=False)
class Document:
    """A CTE JSON as it was read. What it stores needs no raw file; anything else is computed.

    The options of its methods default to those that the document was written with.
    """

    path: Path
    options: ReduceOptions
    """Options of its methods where they are not told otherwise."""
    effects: tuple[Effect, ...]
    scores: tuple[LayerScores, ...]
    provenance: Provenance
    layers: tuple[str, ...]
    sites: tuple[str, ...]
    roles: tuple[str, ...]
    pairs: tuple[Mapping[str, Any], ...]
    """Pairs that were traced: id, negated, segment, below_floor; differing and texts if known."""
    dropped: tuple[Dropped, ...]
    segment_counts: Mapping[str, int]
    floor: float
    tau: float
    raw_file: str
    raw_sha256: str

    def effect(
        self, options: ReduceOptions | None = None, *, axis: str = "role", **changes: Any
    ) -> Effect:
        """Return the stored effect with these options, or compute it from the raw scores.

        Arguments are those of `CTE.effect`.

        Raises:
            CTEError: when it is not stored, and the raw file is missing or changed.
        """
        wanted = self._wanted(options, changes)
        for effect in self.effects:
            if (effect.options, effect.axis) == (wanted, axis):
                return effect
        return self._raw(f"effect by {axis}", wanted).effect(wanted, axis=axis)

    def layer_scores(
        self, method: str, options: ReduceOptions | None = None, **changes: Any
    ) -> LayerScores:
        """Return the stored layer scores of one method, or compute them from the raw scores.

        Arguments are those of `negtrace.layer_scores`.

        Raises:
            CTEError: when they are not stored, and the raw file is missing or changed.
        """
        wanted = self._wanted(options, changes)
        for scores in self.scores:
            if (scores.options, scores.method) == (wanted, method):
                return scores
        return layer_scores(self._raw(f"layer score {method!r}", wanted), method, wanted)

    def all_layer_scores(
        self, options: ReduceOptions | None = None, **changes: Any
    ) -> dict[str, LayerScores]:
        """Return the layer scores of every method that the trace allows, by name."""
        wanted = self._wanted(options, changes)
        if wanted.segment == "all" and any(effect.options == wanted for effect in self.effects):
            return {score.method: score for score in self.scores if score.options == wanted}
        return all_layer_scores(self._raw("layer scores", wanted), wanted)

    def head_effect(self, options: ReduceOptions | None = None, **changes: Any) -> HeadEffect:
        """Return the effect of every head; this needs the raw scores unless positions are `all`.

        Raises:
            CTEError: when no head was traced, or the raw file is needed and missing or changed.
        """
        wanted = self._wanted(options, changes)
        effect = self.effect(wanted)
        return head_effect(effect) if effect.labels == ("all",) else head_effect(self.cte(), wanted)

    def cte(self) -> CTE:
        """Return the raw scores, from the file beside this one.

        Raises:
            CTEError: when that file is missing or changed.
        """
        sidecar_bytes(self.path, self.raw_file, self.raw_sha256)
        return CTE.load(self.path.with_name(self.raw_file))

    def _wanted(self, options: ReduceOptions | None, changes: Mapping[str, Any]) -> ReduceOptions:
        wanted = reduce_options(self.options if options is None else options, **changes)
        floor = FLOOR[self.effects[0].unit] if wanted.floor is None else wanted.floor
        return replace(wanted, floor=float(floor))

    def _raw(self, kind: str, wanted: ReduceOptions) -> CTE:
        try:
            return self.cte()
        except CTEError as error:
            options = [result.options for result in (*self.effects, *self.scores)]
            stored = dict.fromkeys(f"{o.aggregate}/{o.segment}/{o.condition}" for o in options)
            raise CTEError(
                f"{self.path} stores no {kind} with {wanted}, only "
                f"{listed(list(stored), most=20)}; and it cannot be computed: {error}"
            ) from error


def write_json(
    cte: CTE,
    path: Path | str,
    options: ReduceOptions | None = None,
    *,
    include_text: bool = False,
    aggregates: Sequence[str] = (),
    axes: Sequence[str] = ("role",),
    **changes: Any,
) -> Path:
    """Write `path`, a CTE JSON, and its raw file of the same name ending in `.safetensors`.

    The document holds the effect of every segment and condition that has a pair, and the layer
    scores of every condition.

    Args:
        cte: result of a trace.
        path: name of the file, ending in `.json`.
        options: options of the reductions, as of `CTE.effect`; None takes the defaults. Segment
            and condition are left out, since all of them are written.
        include_text: write the statements too, where the result has them.
        aggregates: aggregates to write, by name; none given takes that of the options alone.
        axes: `role`, and `token` where the pairs share one template.
        **changes: single options by name.

    Raises:
        CTEError: when nothing can be reduced (the raw file is written all the same), or for a name
            or an option that does not fit.
        OutputError: when the files cannot be written.
        UnknownNameError: for an unknown option, aggregate or axis.
    """
    path = Path(path)
    if path.suffix != ".json":
        raise CTEError(f"a CTE JSON's name must end in .json, not {path.name!r}")
    options = reduce_options(options, **changes)
    if (options.segment, options.condition) != ("all", None):
        raise CTEError(
            f"a CTE JSON holds every segment and condition, not only {options.segment!r} and "
            f"{options.condition!r}; leave both out, or write cte.select(...) instead"
        )
    raw, digest = _written_raw(cte, path.with_suffix(".safetensors"), include_text=include_text)
    every = [replace(options, aggregate=name) for name in aggregates or (options.aggregate,)]
    try:
        content = _content(cte, every, axes, include_text=include_text)
    except CTEError as error:
        raise CTEError(f"{error} (the raw scores are safe in {raw})") from error
    content["raw"] = {"file": raw.name, "sha256": digest}
    content["checksum"] = sha256(canonical(content))
    return write_bytes(path, pretty_json(content))


def _written_raw(cte: CTE, path: Path, *, include_text: bool) -> tuple[Path, str]:
    """Write the raw file, and return its path and digest; its bytes are let go of."""
    data = cte.to_bytes(include_text=include_text)
    return write_bytes(path, data), sha256(data)


def _content(
    cte: CTE, every: Sequence[ReduceOptions], axes: Sequence[str], *, include_text: bool
) -> dict[str, Any]:
    """Return the content of a CTE JSON, without the raw file's name and the checksum."""
    effects, scores = [], []
    for options in every:
        for selected in _selections(cte, options):
            effects += [cte.effect(selected, axis=axis) for axis in axes]
            if selected.segment == "all":
                scores += list(all_layer_scores(cte, selected).values())
    floor = effects[0].options.floor or 0.0
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "provenance": asdict(cte.provenance),
        "trace": {name: getattr(cte, name) for name in TRACE},
        "axes": {"sites": cte.sites, "layers": cte.layers, "roles": cte.role_names},
        "pairs": {
            "kept": _pairs(cte, floor, include_text=include_text),
            "dropped": [drop.to_json() for drop in cte.dropped],
            "segments": cte.segment_counts,
            "floor": floor,
            "tau": cte.tau,
        },
        "effects": [{**_entry(effect, EFFECT), "note": effect.too_few} for effect in effects],
        "layer_scores": [
            {**_entry(score, SCORES), "stable": score.stable, "note": score.note}
            for score in scores
        ],
    }


def _selections(cte: CTE, options: ReduceOptions) -> Iterator[ReduceOptions]:
    """Yield the options of every segment and condition in which a pair counts.

    All pairs come first, also where none counts, so that an empty result is an error.
    """
    usable = above_floor(cte.d, FLOOR[cte.unit] if options.floor is None else options.floor)
    truth, segments = np.where(cte.negated, "negated", "affirmative"), np.array(cte.segments)
    for condition in CONDITIONS:
        for segment in SEGMENTS:
            chosen = usable & (condition is None or truth == condition)
            chosen &= segment == "all" or segments == segment
            if chosen.any() or (segment, condition) == ("all", None):
                yield replace(options, segment=segment, condition=condition)


def _pairs(cte: CTE, floor: float, *, include_text: bool) -> list[dict[str, Any]]:
    below = (~above_floor(cte.d, floor)).tolist()
    columns: dict[str, Sequence[Any]] = {"id": cte.names, "negated": cte.negated.tolist()}
    columns |= {"segment": cte.segments, "below_floor": below}
    if cte.differing is not None:
        columns["differing"] = cte.differing
    if include_text and cte.texts is not None:
        columns["texts"] = [{"true": true, "false": false} for true, false in cte.texts]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _entry(result: Reduction, names: Sequence[str]) -> dict[str, Any]:
    named = flat_fields(result)
    return {name: _rounded(name, named[name]) for name in (*REDUCTION, *names)}


def _rounded(name: str, value: Any) -> Any:
    """Return a field as JSON holds it."""
    decimals = DECIMALS.get(name, OTHER)
    if name in ROUNDED_UP:
        # What is a multiple already, but for its own rounding, stays.
        value = np.ceil(value * 10.0**decimals - 1e-6) / 10.0**decimals
    return as_json(value, decimals)


def read_json(path: Path | str) -> Document:
    """Read and verify a CTE JSON; its raw file is not needed.

    Raises:
        CTEError: when the file is missing, no CTE JSON, of another version, against the schema, or
            changed since it was written.
    """
    path = Path(path)
    content = cte_document(path, read_bytes(path))
    pairs, axes = content["pairs"], content["axes"]
    model, dropped = content["provenance"]["model"], len(pairs["dropped"])
    shared = {**content["trace"], "model": model, "dropped": dropped}
    layers, sites = tuple(axes["layers"]), tuple(axes["sites"])
    effects = tuple(
        _effect(f"{path} at $.effects[{index}]", {**entry, **shared}, layers, sites)
        for index, entry in enumerate(content["effects"])
    )
    return Document(
        path=path,
        options=replace(effects[0].options, segment="all", condition=None),
        effects=effects,
        scores=tuple(
            _scores(f"{path} at $.layer_scores[{index}]", {**entry, **shared}, layers[1:])
            for index, entry in enumerate(content["layer_scores"])
        ),
        provenance=Provenance(**content["provenance"]),
        layers=layers,
        sites=sites,
        roles=tuple(axes["roles"]),
        pairs=tuple(pairs["kept"]),
        dropped=tuple(Dropped(**drop) for drop in pairs["dropped"]),
        segment_counts=pairs["segments"],
        floor=float(pairs["floor"]),
        tau=float(pairs["tau"]),
        raw_file=content["raw"]["file"],
        raw_sha256=content["raw"]["sha256"],
    )


def _reduction_fields(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a reduction, with its options as one of them."""
    options = {field.name: entry[field.name] for field in fields(ReduceOptions)}
    named = {field.name: entry[field.name] for field in fields(Reduction) if field.name in entry}
    return {**named, "options": ReduceOptions(**{**options, "floor": float(options["floor"])})}


def _effect(
    place: str, entry: dict[str, Any], layers: tuple[str, ...], sites: tuple[str, ...]
) -> Effect:
    shape = (len(sites), len(layers), len(entry["labels"]))
    arrays = {name: _array(place, name, entry, shape) for name in EFFECT[:5]}
    return Effect(
        **_reduction_fields(entry),
        **arrays,
        counts=_counts(place, entry, shape),
        axis=entry["axis"],
        labels=tuple(entry["labels"]),
        layers=layers,
        sites=sites,
    )


def _scores(place: str, entry: dict[str, Any], blocks: tuple[str, ...]) -> LayerScores:
    names = ("values", "low", "high", "alpha")
    stability = entry["rank_stability"]
    return LayerScores(
        **_reduction_fields(entry),
        **{name: _array(place, name, entry, (len(blocks),)) for name in names},
        method=entry["method"],
        layers=blocks,
        rank_stability=float("nan") if stability is None else float(stability),
    )


def _array(place: str, name: str, entry: dict[str, Any], shape: tuple[int, ...]) -> Any:
    try:
        array = np.array(entry[name], dtype=float)  # null becomes NaN
    except ValueError:  # a ragged list
        array = np.array(())
    if array.shape != shape:
        raise CTEError(f"{place}.{name} does not have the shape {shape} that the axes say")
    return array


def _counts(place: str, entry: dict[str, Any], shape: tuple[int, ...]) -> Any:
    array = _array(place, "counts", entry, shape)
    if (array > min(entry["n"], 2**53)).any():
        raise CTEError(f"{place}.counts has more than the {entry['n']} pairs that were reduced")
    return array.astype(int)
