"""The pairs of a result that a reduction counts, read some at a time."""

__all__ = ["KeptPairs", "kept_pairs", "selected"]

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int
from typing_extensions import override

from negtrace._messages import one_of, tally
from negtrace.errors import CTEError
from negtrace.results.effect import Groups, Reduction, gather, role_groups, token_groups
from negtrace.results.options import CONDITIONS, SEGMENTS, ReduceOptions
from negtrace.results.selection import FLOOR, above_floor
from negtrace.results.statistics import AGGREGATES, AT_ONCE, CellSums, PairSums

if TYPE_CHECKING:
    from negtrace.results.cte import CTE


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptPairs:
    """Some pairs of a result in an order of their own, without a copy of their scores."""

    whole: "CTE"
    order: Int[np.ndarray, " kept"]
    """Indices of the pairs."""

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def cte(self) -> "CTE":
        """The result of these pairs alone: a copy."""
        return self.whole.take(self.order)

    def parts(self) -> Iterator[slice]:
        """Yield the places of some pairs at a time."""
        for start in range(0, len(self), AT_ONCE):
            yield slice(start, min(start + AT_ONCE, len(self)))

    @property
    def roles(self) -> Int[np.ndarray, "kept position"]:
        """Index of each position's role; -1 where there is none."""
        return np.asarray(self.whole.roles[self.order])

    def is_role(self, role: str) -> Bool[np.ndarray, "kept position"]:
        """Return the positions that have a role."""
        names = self.whole.role_names
        return np.asarray(self.roles == (names.index(role) if role in names else len(names)))

    def cells(self, among: Bool[np.ndarray, "kept position"]) -> Bool[np.ndarray, "site layer"]:
        """Return the sites and layers that have a cell at some of these positions, in any pair."""
        cells = np.zeros(self.whole.patched.shape[1:3], dtype=bool)
        for part in self.parts():
            patched = self.whole.patched[self.order[part]]
            cells |= (~np.isnan(patched) & among[part, None, None]).any(axis=(0, 3))
        return cells

    def groups(self, axis: str) -> Groups:
        """Group tokens as `CTE.groups` does."""
        one_of("axis", axis, ("role", "token"))
        patched = (self.whole.patched[self.order[part]] for part in self.parts())
        untouched = np.concatenate([np.isnan(part).all(axis=(1, 2)) for part in patched])
        roles = np.where(self.is_role("pad") & untouched, -1, self.roles)
        return (role_groups if axis == "role" else token_groups)(roles, self.whole.role_names)

    def sums(self, groups: Groups, sites: Sequence[int] | None = None) -> CellSums:
        """Return the sums of each pair's cells over the tokens of each group.

        Args:
            groups: the groups of the tokens of these pairs.
            sites: indices of the sites, in their order; None takes all.
        """
        return _Gathered(kept=self, groups=groups, sites=sites)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Gathered(CellSums):
    """Sums that are computed anew from the scores of some pairs at a time."""

    kept: KeptPairs
    groups: Groups
    sites: Sequence[int] | None

    @property
    @override
    def n(self) -> int:
        return len(self.kept)

    @override
    def parts(self) -> Iterator[PairSums]:
        cte, sites = self.kept.whole, self.sites
        for part in self.kept.parts():
            rows = self.kept.order[part]
            patched = cte.patched[rows if sites is None else np.ix_(rows, np.array(sites))]
            groups = replace(self.groups, member=self.groups.member[part])
            yield gather(cte.numerators_of(patched, rows), cte.d[rows], groups)


def selected(
    cte: "CTE", mask: Bool[np.ndarray, " pair"] | None, segment: str, condition: str | None
) -> Int[np.ndarray, " chosen"]:
    """Return the indices of the pairs of a result that `CTE.select` selects."""
    one_of("segment", segment, SEGMENTS)
    one_of("condition", condition, CONDITIONS)
    chosen = np.ones(len(cte), dtype=bool) if mask is None else mask
    if segment != "all":
        chosen = chosen & (np.array(cte.segments) == segment)
    if condition is not None:
        chosen = chosen & (cte.negated == (condition == "negated"))
    if not chosen.any():
        raise CTEError(
            f"none of the {len(cte)} pairs is left: segment {segment!r}, condition "
            f"{condition!r}; segments hold {tally(cte.segment_counts)} (tau {cte.tau:g} "
            f"{cte.unit}), the negated statement is true in {int(cte.negated.sum())}; select "
            "another segment or condition"
        )
    return np.flatnonzero(chosen)


def kept_pairs(cte: "CTE", options: ReduceOptions) -> tuple[KeptPairs, Reduction]:
    """Return the pairs that a reduction counts, ordered by name, and the facts of the reduction.

    Raises:
        CTEError: as `CTE.keep` does.
        UnknownNameError: as `CTE.keep` does.
    """
    AGGREGATES[options.aggregate]  # an unknown name is refused before any work
    chosen = selected(cte, None, options.segment, options.condition)
    floor = float(FLOOR[cte.unit] if options.floor is None else options.floor)
    d = cte.d[chosen]
    above = above_floor(d, floor)
    if not above.any():
        raise CTEError(
            f"nothing to reduce: all {len(chosen)} selected pairs have |d| below the floor "
            f"of {floor:g} {cte.unit} (largest |d| {np.abs(d).max():.3g}), so the "
            "model hardly tells their statements apart; trace others, or pass a lower floor"
        )
    names = cte.names
    by_name = np.argsort(np.array([names[index] for index in chosen.tolist()]))
    order = chosen[by_name[above[by_name]]]
    return KeptPairs(whole=cte, order=order), Reduction(
        model=cte.provenance.model,
        direction=cte.direction,
        corruption=cte.corruption,
        unit=cte.unit,
        positions=cte.positions,
        window=cte.window,
        estimator=cte.estimator,
        options=replace(options, floor=floor),
        n=len(order),
        negated=int(cte.negated[order].sum()),
        below_floor=len(chosen) - len(order),
        dropped=len(cte.dropped),
    )
