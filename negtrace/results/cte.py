"""The result of a trace: raw scores of every pair and cell, with named axes and provenance."""

__all__ = ["CTE", "FLOOR", "SEGMENTS", "TAU", "Dropped", "Provenance"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from jaxtyping import Bool, Float, Int

from negtrace._files import read_bytes, write_bytes
from negtrace._messages import one_of
from negtrace.errors import CTEError
from negtrace.pairs.roles import ROLES
from negtrace.results.checks import check_names, check_scores, check_shapes
from negtrace.results.effect import (
    Effect,
    Groups,
    Reducing,
    Reduction,
    estimate,
    role_groups,
    token_groups,
)
from negtrace.results.provenance import Dropped, Provenance
from negtrace.results.raw import ARRAYS, from_bytes, sidecar_bytes, sidecar_of, to_bytes
from negtrace.results.selection import (
    FLOOR,
    SEGMENTS,
    TAU,
    above_floor,
    chosen,
    counts_of,
    segments_of,
)
from negtrace.results.statistics import AGGREGATES
from negtrace.results.union import united

DIRECTIONS = ("denoising", "noising")


@dataclass(frozen=True, kw_only=True, eq=False)
class CTE:
    """Causal tracing effect of every cell, as raw scores; ratios are derived.

    With d = clean - corrupt, the effect of a cell is (patched - corrupt) / d when `denoising` and
    (clean - patched) / d when `noising`: 0 is none, 1 the full one, signs kept, nothing clipped.

    Raises:
        CTEError: when shapes, names or scores do not make a result.
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
    """What is patched at once: `token`, `role`, `all`, the roles chosen, or `given`."""
    window: int = 1
    """How many layers are patched at once."""
    estimator: str = "exact"
    """`exact`, or the approximation that the scores come from."""
    role_names: tuple[str, ...] = ROLES
    dropped: tuple[Dropped, ...] = ()
    texts: tuple[tuple[str, str], ...] | None = None
    """True and false statement of each pair; None unless asked for."""

    def __post_init__(self) -> None:
        one_of("direction", self.direction, DIRECTIONS)
        one_of("unit", self.unit, TAU)
        check_names(self.ids, self.layers, self.sites, self.dropped)
        arrays = {name: getattr(self, name) for name in ARRAYS}
        check_shapes(
            arrays,
            pairs=len(self.ids),
            sites=len(self.sites),
            layers=len(self.layers),
            role_names=len(self.role_names),
        )
        check_scores(arrays, self.ids)
        if self.texts is not None and len(self.texts) != len(self.ids):
            raise CTEError(f"texts hold {len(self.texts)} pairs, expected {len(self.ids)}")
        for name in ARRAYS:  # read-only views, so that the caller's own arrays stay writable
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def d(self) -> Float[np.ndarray, " pair"]:
        """Clean minus corrupt; in `unit`."""
        return np.asarray(self.clean.astype(float) - self.corrupt)

    @property
    def numerators(self) -> Float[np.ndarray, "pair site layer position"]:
        """Patched minus corrupt (denoising) or clean minus patched (noising); in `unit`."""
        patched = self.patched.astype(float)
        if self.direction == "denoising":
            return np.asarray(patched - self.corrupt[:, None, None, None])
        return np.asarray(self.clean[:, None, None, None] - patched)

    @property
    def tau(self) -> float:
        """From |d| = tau on a pair counts as told apart; in `unit`."""
        return TAU[self.unit]

    @property
    def segments(self) -> tuple[str, ...]:
        """Each pair's segment: `correct`, `ambiguous` or `incorrect`."""
        return segments_of(self.d, self.tau)

    @property
    def segment_counts(self) -> dict[str, int]:
        """Number of pairs in each segment."""
        return counts_of(self.segments)

    def _take(self, places: Int[np.ndarray, " kept"]) -> "CTE":
        kept = places.tolist()
        return replace(
            self,
            **{name: getattr(self, name)[places] for name in ARRAYS},
            ids=tuple(self.ids[place] for place in kept),
            texts=None if self.texts is None else tuple(self.texts[place] for place in kept),
        )

    def select(
        self,
        mask: Bool[np.ndarray, " pair"] | None = None,
        *,
        segment: str = "all",
        condition: str | None = None,
    ) -> "CTE":
        """The result of the pairs under `mask`, in `segment` and of `condition`.

        Raises:
            CTEError: when no pair is left.
            UnknownNameError: when there is no such segment or condition.
        """
        keep = chosen(
            self.d, self.negated, mask, unit=self.unit, segment=segment, condition=condition
        )
        return self._take(np.flatnonzero(keep))

    def keep(
        self,
        *,
        aggregate: str = "ratio_of_means",
        segment: str = "all",
        condition: str | None = None,
        floor: float | None = None,
        confidence: float = 0.95,
        resamples: int = 1000,
        seed: int = 0,
    ) -> tuple["CTE", Reduction]:
        """The pairs that a reduction keeps, ordered by id, and its description.

        The order makes a seeded bootstrap independent of the order of pairs. `effect` says what
        the options mean.

        Raises:
            CTEError: when |d| of every selected pair is 0 or below the floor.
        """
        AGGREGATES[aggregate]
        selected = self.select(segment=segment, condition=condition)
        floor = FLOOR[self.unit] if floor is None else floor
        above = above_floor(selected.d, floor, self.unit)
        order = [place for place in np.argsort(np.array(selected.ids)) if above[place]]
        return selected._take(np.array(order)), Reduction(
            model=self.provenance.model,
            direction=self.direction,
            corruption=self.corruption,
            unit=self.unit,
            positions=self.positions,
            window=self.window,
            estimator=self.estimator,
            aggregate=aggregate,
            segment=segment,
            condition=condition,
            floor=float(floor),
            n=len(order),
            below_floor=len(selected) - len(order),
            dropped=len(self.dropped),
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )

    def groups(self, axis: str) -> Groups:
        """Tokens by `role`, or one by one as `token`; padding that no cell touches is left out.

        Raises:
            CTEError: when the pairs do not share one row of roles and `axis` is `token`.
        """
        one_of("axis", axis, ("role", "token"))
        roles = self.roles
        if "pad" in self.role_names:
            untouched = np.isnan(self.patched).all(axis=(1, 2))
            pad = self.role_names.index("pad")
            roles = np.where((roles == pad) & untouched, -1, roles)
        return (role_groups if axis == "role" else token_groups)(roles, self.role_names)

    def effect(self, *, axis: str = "role", **how: Unpack[Reducing]) -> Effect:
        """The effect over pairs, with bootstrap intervals over pairs.

        Args:
            axis: `role` pools tokens of one role, weighted by their number; `token` keeps them.
            **how: any of

                * aggregate: `ratio_of_means` (the default; each pair oriented by the sign of its
                  own d), `mean_of_ratios` or `median`;
                * segment: `all` (the default), `correct`, `ambiguous` or `incorrect`;
                * condition: which statement is true: `negated`, `affirmative`, None for both;
                * floor: pairs with a smaller |d| are left out and counted; None takes `FLOOR`;
                * confidence: of the percentile interval, .95;
                * resamples: bootstrap draws, 1000; 0 gives no intervals;
                * seed: of the draws, 0.

        Raises:
            CTEError: when no pair is left, or the pairs' tokens cannot be matched one by one.
            UnknownNameError: when a name is not known.
        """
        kept, reduction = self.keep(**how)
        return estimate(
            reduction,
            numerators=kept.numerators,
            d=kept.d,
            groups=kept.groups(axis),
            axis=axis,
            layers=self.layers,
            sites=self.sites,
        )

    def to_dataframe(self) -> Any:
        """A tidy pandas.DataFrame: a row per pair, site, layer and token.

        `effect` is NaN where there is no cell, or d is 0.
        """
        import pandas as pd

        pair, site, layer, position = np.nonzero(
            np.broadcast_to((self.roles >= 0)[:, None, None], self.patched.shape)
        )
        d = np.where(self.d == 0, np.nan, self.d)
        columns = {
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
        return pd.DataFrame(columns)

    @staticmethod
    def concat(results: "Sequence[CTE]") -> "CTE":
        """One result of the pairs of several like ones; texts are kept where every one has them.

        Raises:
            CTEError: when the results differ in model, axes or settings, or share a pair.
        """
        return CTE(**united([vars(result) for result in results]))

    def save(self, path: Path | str, *, include_text: bool = False) -> Path:
        """Write everything to one `.safetensors` file; statements only with `include_text`.

        Raises:
            CTEError: when `include_text` is asked for and the result holds no statements.
            OutputError: when the place cannot be written.
        """
        if include_text and self.texts is None:
            raise CTEError("this result holds no statements to include; trace with them kept")
        return write_bytes(Path(path), to_bytes(vars(self), include_text=include_text))

    @staticmethod
    def load(path: Path | str) -> "CTE":
        """Read what `save` wrote, bit for bit, or the raw file that a CTE JSON names.

        Raises:
            CTEError: when a file is missing, changed, or no result of negtrace.
        """
        path = Path(path)
        data = read_bytes(path)
        if path.suffix == ".json":
            name, digest = sidecar_of(path, data)
            path, data = path.with_name(name), sidecar_bytes(path, name, digest)
        return CTE(**from_bytes(data, path))
