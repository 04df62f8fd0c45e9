"""The result of a trace: raw scores of every pair and cell, with named axes and provenance."""

__all__ = ["CTE"]

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from negtrace._files import read_bytes, write_bytes
from negtrace._messages import listed, one_of, tally
from negtrace.errors import CTEError
from negtrace.pairs.roles import ROLES
from negtrace.results.effect import Effect, Groups, Reduction, estimate
from negtrace.results.kept import KeptPairs, kept_pairs, selected
from negtrace.results.options import DIRECTIONS, ReduceOptions, reduce_options
from negtrace.results.provenance import Dropped, Provenance, combined, settings_of
from negtrace.results.raw import concatenated, from_bytes, sidecar_bytes, sidecar_of, to_bytes
from negtrace.results.selection import TAU, counts_of, segments_of

Texts = tuple[tuple[str, str], ...]

ARRAYS = ("clean", "corrupt", "patched", "roles", "negated")
COLUMNS = ("texts", "differing")  # an entry per pair, or None

FILL = {"patched": np.nan, "roles": -1}  # where a pair has no position

SETTINGS = (
    *("layers", "direction", "corruption", "unit", "sites"),
    *("positions", "window", "estimator", "role_names"),
)
"""Fields that results must share to be combined."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CTE:
    """Causal tracing effect of every pair and cell, kept as raw scores; ratios are derived.

    With d = clean - corrupt, the effect of a cell is (patched - corrupt) / d when `denoising` and
    (clean - patched) / d when `noising`. 0 is no effect, 1 the full one; nothing is clipped.

    Raises:
        CTEError: when shapes, names or scores cannot belong to one result.
    """

    clean: Float[np.ndarray, " pair"]
    """Score of the true statement; in `unit`."""
    corrupt: Float[np.ndarray, " pair"]
    """Score of the corrupted true statement; in `unit`."""
    patched: Float[np.ndarray, "pair site layer position"]
    """Score with one cell patched; in `unit`; NaN where there is no such cell. Positions are the
    tokens of the patched run (corrupted when denoising, clean when noising), or the groups of
    tokens that `positions` names."""
    roles: Int[np.ndarray, "pair position"]
    """Index of each position's role in `role_names`; -1 where there is none."""
    negated: Bool[np.ndarray, " pair"]
    """Whether the true statement is the negated one; the two are different experiments."""
    ids: tuple[str, ...]
    layers: tuple[str, ...]
    """`embed`, then the blocks as `named_modules()` calls them."""
    direction: str
    corruption: str
    unit: str
    provenance: Provenance
    sites: tuple[str, ...] = ("resid",)
    positions: str = "token"
    """Positions patched at once: `token`, `role`, `all`, the roles chosen, or `given`."""
    window: int = 1
    """Number of layers patched at once."""
    estimator: str = "exact"
    """`exact`, or the approximation that computed the scores."""
    role_names: tuple[str, ...] = ROLES
    dropped: tuple[Dropped, ...] = ()
    texts: Texts | None = None
    """True and false statement of each pair; None unless asked for."""
    differing: tuple[int, ...] | None = None
    """Number of words in which the two runs of each pair differ apart from the negation; None where
    that is not known."""
    public_ids: tuple[str, ...] | None = None
    """Name of each pair in files, which hold no id of the user's own; None where that is the id."""

    def __post_init__(self) -> None:
        one_of("direction", self.direction, DIRECTIONS)
        one_of("unit", self.unit, TAU)
        self._check_names()
        self._check_shapes()
        self._check_scores()
        for name in ARRAYS:  # read-only views, so that the caller's own arrays stay writable
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def _check_names(self) -> None:
        """Refuse a result without pairs or embedding, or with a name that occurs twice."""
        if not self.ids:
            reasons = tally(Counter(drop.code for drop in self.dropped))
            raise CTEError(f"a result needs at least one pair; dropped: {reasons or 'none'}")
        if len(self.layers) < 2 or self.layers[0] != "embed":
            raise CTEError(f"layers must be 'embed', then the blocks' names, not {self.layers}")
        for kind, names in (
            ("pair id", self.ids),
            ("public id of a pair", self.names),
            ("layer", self.layers),
            ("site", self.sites),
        ):
            if repeated := [name for name, count in Counter(names).items() if count > 1]:
                raise CTEError(f"every {kind} must occur once; repeated: {listed(repeated)}")
        for name in ("public_ids", *COLUMNS):
            column = getattr(self, name)
            if column is not None and len(column) != len(self):
                raise CTEError(f"{name} has {len(column)} entries, expected {len(self)}")

    def _check_shapes(self) -> None:
        """Refuse arrays whose axes are not as long as the names say."""
        pairs, positions = len(self), self.roles.shape[-1]
        expected = {
            "clean": (pairs,),
            "corrupt": (pairs,),
            "patched": (pairs, len(self.sites), len(self.layers), positions),
            "roles": (pairs, positions),
            "negated": (pairs,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise CTEError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        last = len(self.role_names) - 1
        if self.roles.size and (self.roles.min() < -1 or self.roles.max() > last):
            raise CTEError(f"roles must lie in -1 .. {last}, indices of role_names")

    def _check_scores(self) -> None:
        """Refuse pairs with a score that is no number, or that belongs to no token."""
        cells = ~np.isnan(self.patched)
        token = (self.roles >= 0)[:, None, None]
        finite = np.isfinite(self.clean) & np.isfinite(self.corrupt)
        wrong = {
            "a clean or corrupt score that is not finite": ~finite,
            "an infinite patched score": np.isinf(self.patched).any(axis=(1, 2, 3)),
            "a patched score where there is no token": (cells & ~token).any(axis=(1, 2, 3)),
            "no patched cell at all": ~cells.any(axis=(1, 2, 3)),
        }
        for problem, pairs in wrong.items():
            if pairs.any():
                named = listed([self.ids[index] for index in np.flatnonzero(pairs)])
                raise CTEError(
                    f"{pairs.sum()} of {len(self)} pairs have {problem}: {named}; drop them, or "
                    "trace in float32"
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each pair in files: its public id, or its id."""
        return self.ids if self.public_ids is None else self.public_ids

    @property
    def d(self) -> Float[np.ndarray, " pair"]:
        """Clean minus corrupt; in `unit`."""
        return np.asarray(self.clean.astype(float) - self.corrupt)

    @property
    def numerators(self) -> Float[np.ndarray, "pair site layer position"]:
        """Patched minus corrupt (denoising) or clean minus patched (noising); in `unit`."""
        return self.numerators_of(self.patched, np.arange(len(self)))

    def numerators_of(
        self,
        patched: Float[np.ndarray, "chosen site layer position"],
        rows: Int[np.ndarray, " chosen"],
    ) -> Float[np.ndarray, "chosen site layer position"]:
        """Return the numerators of some patched scores of the pairs at these indices; in `unit`."""
        patched = patched.astype(float)
        if self.direction == "denoising":
            return np.asarray(patched - self.corrupt[rows, None, None, None])
        return np.asarray(self.clean[rows, None, None, None] - patched)

    @property
    def tau(self) -> float:
        """Least |d| of a pair that the model tells apart; in `unit`."""
        return TAU[self.unit]

    @property
    def segments(self) -> tuple[str, ...]:
        """Segment of each pair: `correct`, `ambiguous` or `incorrect`."""
        return segments_of(self.d, self.tau)

    @property
    def segment_counts(self) -> dict[str, int]:
        """Number of pairs in each segment."""
        return counts_of(self.segments)

    def take(self, indices: Int[np.ndarray, " chosen"]) -> "CTE":
        """Return the result of the pairs at some indices, in that order."""
        columns = {name: getattr(self, name) for name in ("ids", "public_ids", *COLUMNS)}
        chosen: dict[str, Any] = {
            name: None if column is None else tuple(column[index] for index in indices.tolist())
            for name, column in columns.items()
        }
        return replace(self, **{name: getattr(self, name)[indices] for name in ARRAYS}, **chosen)

    def select(
        self,
        mask: Bool[np.ndarray, " pair"] | None = None,
        *,
        segment: str = "all",
        condition: str | None = None,
    ) -> "CTE":
        """Return the result of the pairs under `mask`, in `segment` and of `condition`.

        Raises:
            CTEError: when no pair is left.
            UnknownNameError: when there is no such segment or condition.
        """
        return self.take(selected(self, mask, segment, condition))

    def keep(self, options: ReduceOptions | None = None, **changes: Any) -> tuple["CTE", Reduction]:
        """Return the pairs that a reduction counts, ordered by name, and the reduction's facts.

        The order makes a seeded bootstrap independent of the order in which pairs were traced. The
        names are those in files, so that a result gives the same intervals after it was saved.

        Raises:
            CTEError: when |d| of every selected pair is 0 or below the floor.
            UnknownNameError: for an unknown option, aggregate, segment or condition.
        """
        kept, reduction = kept_pairs(self, reduce_options(options, **changes))
        return kept.cte, reduction

    def groups(self, axis: str) -> Groups:
        """Group tokens by `role`, or keep each `token`; padding without a cell is left out.

        Raises:
            CTEError: when the pairs do not share one sequence of roles and `axis` is `token`.
            UnknownNameError: for another axis.
        """
        return KeptPairs(whole=self, order=np.arange(len(self))).groups(axis)

    def effect(
        self, options: ReduceOptions | None = None, *, axis: str = "role", **changes: Any
    ) -> Effect:
        """Reduce pairs to the effect in each cell, with intervals over pairs and a test against 0.

        `cte.effect(aggregate="median")` is short for
        `cte.effect(ReduceOptions(aggregate="median"))`.

        Args:
            options: options of the reduction; None takes the defaults.
            axis: `role` pools the tokens of one role, weighted by their number; `token` keeps
                tokens apart.
            **changes: single options by name.

        Raises:
            CTEError: when no pair is left, or the pairs' tokens cannot be matched one by one.
            UnknownNameError: for an unknown option, aggregate, segment, condition or axis.
        """
        kept, reduction = kept_pairs(self, reduce_options(options, **changes))
        groups = kept.groups(axis)
        return estimate(
            reduction,
            kept.sums(groups),
            axis=axis,
            labels=groups.labels,
            layers=self.layers,
            sites=self.sites,
        )

    def to_dataframe(self) -> Any:
        """Return a tidy pandas.DataFrame with a row per pair, site, layer and token.

        `effect` is NaN where there is no cell, or d is 0.
        """
        import pandas as pd

        pair, site, layer, position = np.nonzero(
            np.broadcast_to((self.roles >= 0)[:, None, None], self.patched.shape)
        )
        d = np.where(self.d == 0, np.nan, self.d)
        return pd.DataFrame(
            {
                "id": np.array(self.ids, dtype=object)[pair],
                "negated": self.negated[pair],
                "segment": np.array(self.segments, dtype=object)[pair],
                "site": np.array(self.sites, dtype=object)[site],
                "layer": np.array(self.layers, dtype=object)[layer],
                "position": position,
                "role": np.array(self.role_names, dtype=object)[self.roles[pair, position]],
                "clean": self.clean[pair],
                "corrupt": self.corrupt[pair],
                "patched": self.patched[pair, site, layer, position],
                "effect": self.numerators[pair, site, layer, position] / d[pair],
            }
        )

    @staticmethod
    def concat(results: "Sequence[CTE]") -> "CTE":
        """Combine results of different pairs; texts are kept where every result has them.

        Raises:
            CTEError: when the results differ in model, axes or settings, or share a pair.
        """
        if not results:
            raise CTEError("no results to combine; pass at least one")
        for index, other in enumerate(results[1:], start=1):
            results[0]._require_alike(other, index)
        stacks = {name: [getattr(result, name) for result in results] for name in ARRAYS}
        arrays: dict[str, Any] = {n: concatenated(s, FILL.get(n)) for n, s in stacks.items()}
        return replace(
            results[0],
            **arrays,
            **{n: _joined([getattr(result, n) for result in results]) for n in ("ids", *COLUMNS)},
            public_ids=_joined_names(results),
            dropped=tuple(dict.fromkeys(chain.from_iterable(r.dropped for r in results))),
            provenance=combined([result.provenance for result in results]),
        )

    def _require_alike(self, other: "CTE", index: int) -> None:
        ours, theirs = self._identity(), other._identity()
        if unlike := [f"{k}: {ours[k]!r} / {theirs[k]!r}" for k in ours if ours[k] != theirs[k]]:
            raise CTEError(
                f"results 0 and {index} are not alike; they differ in {'; '.join(unlike)}"
            )

    def _identity(self) -> dict[str, Any]:
        return {
            "weights_digest": self.provenance.weights_digest,
            "tokenizer": self.provenance.tokenizer,
            **{name: getattr(self, name) for name in SETTINGS},
            "config": settings_of(self.provenance),
        }

    def save(self, path: Path | str, *, include_text: bool = False) -> Path:
        """Write the file of `to_bytes`; raise an OutputError when it cannot be written."""
        return write_bytes(Path(path), self.to_bytes(include_text=include_text))

    def to_bytes(self, *, include_text: bool = False) -> bytes:
        """Return everything as one safetensors file; statements only with `include_text`.

        A pair goes by its public id, which is its id after the file was loaded.

        Raises:
            CTEError: when `include_text` is asked for and the result holds no statements.
        """
        if include_text and self.texts is None:
            raise CTEError("this result holds no statements to include; trace with them kept")
        description = {
            "ids": self.names,
            **{name: getattr(self, name) for name in SETTINGS},
            "dropped": [drop.to_json() for drop in self.dropped],
            "provenance": asdict(self.provenance),
            "texts": self.texts if include_text else None,
            **({} if self.differing is None else {"differing": self.differing}),
        }
        return to_bytes({name: getattr(self, name) for name in ARRAYS}, description)

    @staticmethod
    def load(path: Path | str) -> "CTE":
        """Read a file of `save`, every number bit for bit, or the raw file that a CTE JSON names.

        Raises:
            CTEError: when a file is missing, changed, or no result of negtrace.
        """
        path = Path(path)
        data = read_bytes(path)
        if path.suffix == ".json":
            name, digest = sidecar_of(path, data)
            path, data = path.with_name(name), sidecar_bytes(path, name, digest)
        stored = from_bytes(data, path)
        return CTE(
            **{name: stored[name] for name in (*ARRAYS, "ids", *SETTINGS, *COLUMNS)},
            dropped=tuple(Dropped(**drop) for drop in stored["dropped"]),
            provenance=Provenance(**stored["provenance"]),
        )


def _joined_names(results: Sequence[CTE]) -> tuple[str, ...] | None:
    """Return the names of all pairs in files; None where every name is the id."""
    if all(result.public_ids is None for result in results):
        return None
    return tuple(chain.from_iterable(result.names for result in results))


def _joined(columns: Sequence[Any]) -> Any:
    return None if None in columns else tuple(chain.from_iterable(columns))
