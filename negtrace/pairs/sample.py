"""Fair samples of pairs, and what a set of pairs is made of."""

__all__ = ["FIELDS", "Composition", "composition", "sample"]

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations
from numbers import Integral
from typing import Any

from negtrace._messages import excerpt, one_of
from negtrace.errors import PairError
from negtrace.pairs.pair import Pair

FIELDS = ("condition", "finding", "template")
"""Fields that a sample is balanced by, the most important first. The condition says which statement
is true: the negated or the affirmative one. The finding is the tag of that name, or else the
subject. The template is the tag of that name."""

CONDITIONS = ("negated", "affirmative")
"""The statement that is true."""


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Number of pairs by condition, finding and template.

    >>> from negtrace.pairs import radiology_pairs, sample
    >>> print(composition(sample(radiology_pairs(), 12)))
    12 pairs: 6 negated, 6 affirmative; 12 findings (1 each); 5 templates (2 to 3 each)
    """

    n: int
    """Number of pairs."""
    counts: Mapping[str, Mapping[str, int]]
    """Number of pairs by field and value; a field that no pair has is left out."""

    def __str__(self) -> str:
        parts = [self._part(field) for field in self.counts]
        return f"{self.n} {'pair' if self.n == 1 else 'pairs'}: {'; '.join(parts)}"

    def _part(self, field: str) -> str:
        counts = self.counts[field]
        if field == "condition":
            return ", ".join(f"{count} {value}" for value, count in counts.items())
        least, most = min(counts.values()), max(counts.values())
        each = f"{most}" if least == most else f"{least} to {most}"
        return f"{len(counts)} {field}{'' if len(counts) == 1 else 's'} ({each} each)"

    def to_json(self) -> dict[str, Any]:
        """Return the counts for an export, without names that come from the pairs.

        The condition has its counts; every other field says how many values it has, and the least
        and the largest number of pairs that share one.
        """
        described: dict[str, Any] = {"pairs": self.n}
        for field, counts in self.counts.items():
            numbers = counts.values()
            spread = {"values": len(counts), "least": min(numbers), "most": max(numbers)}
            described[field] = dict(counts) if field == "condition" else spread
        return described


def composition(pairs: Iterable[Pair], by: Sequence[str] = FIELDS) -> Composition:
    """Count pairs by condition, finding and template, or by other tags.

    Raises:
        PairError: when there is no pair.
        UnknownNameError: for a tag that no pair has.
    """
    n, tags = 0, set[str]()
    counters: dict[str, Counter[str]] = {field: Counter() for field in by}
    for pair in pairs:
        n += 1
        tags.update(pair.tags)
        for field, counter in counters.items():
            counter[_value(pair, field)] += 1
    if not n:
        raise PairError("no pairs to count; pass at least one")
    counts = {field: _counts(counters[field], field) for field in _known(tags, by)}
    return Composition(
        n=n, counts={field: named for field, named in counts.items() if set(named) != {""}}
    )


def sample(pairs: Sequence[Pair], n: int, by: Sequence[str] = FIELDS, seed: int = 0) -> list[Pair]:
    """Draw `n` pairs that are made up as all pairs are; all of them where there are no more.

    Pairs that agree in every field are one stratum. A stratum gets its share of `n`, rounded down
    or up. The values of the first field that lack most pairs are rounded up first, then those of
    the second field, and so on: conditions are balanced before findings, findings before templates.
    Then two fields are crossed: each template is balanced in its conditions, as far as `n` allows.
    Both conditions are drawn if both are there and `n` is 2 or more. The draw depends on ids and
    seed alone, not on the order of the pairs.

    Args:
        pairs: the pairs, with unique ids.
        n: the number of pairs to draw.
        by: the fields: `condition`, `finding`, `template`, or any tag.
        seed: the seed of the draw.

    Returns:
        The pairs drawn, in their order.

    Raises:
        PairError: when `n` is no whole number or below 1, or an id occurs twice.
        UnknownNameError: for a tag that no pair has.

    >>> from negtrace.pairs import radiology_pairs
    >>> drawn = sample(radiology_pairs(), 8)
    >>> sum(pair.negated == "true" for pair in drawn), len({pair.subject for pair in drawn})
    (4, 8)
    """
    if not isinstance(n, Integral):
        raise PairError(f"a sample of {excerpt(n)} pairs; expected a whole number")
    if n < 1:
        raise PairError(f"a sample of {n} pairs; expected 1 or more")
    if len({pair.id for pair in pairs}) < len(pairs):
        raise PairError("an id occurs twice; a sample needs pairs of unique id")
    fields = _known({tag for pair in pairs for tag in pair.tags}, by) if pairs else tuple(by)
    if n >= len(pairs):
        return list(pairs)
    strata: dict[tuple[str, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        strata.setdefault(tuple(_value(pair, field) for field in fields), []).append(index)
    keys = sorted(strata, key=lambda key: _draw(seed, *key))
    whole = fields.index("condition") if "condition" in fields else None
    sizes = _shares(keys, [len(strata[key]) for key in keys], n, whole)
    drawn: list[int] = []
    for key, size in zip(keys, sizes, strict=True):
        drawn += sorted(strata[key], key=lambda index: _draw(seed, pairs[index].id))[:size]
    return [pairs[index] for index in sorted(drawn)]


def _shares(
    keys: Sequence[tuple[str, ...]], sizes: Sequence[int], n: int, whole: int | None
) -> list[int]:
    """Share `n` out to strata in proportion to their sizes, each rounded down or up.

    Numbers of pairs are counted in units of 1 / total, so that all of this is exact.

    Args:
        keys: the values of the fields, by stratum.
        sizes: the number of pairs of each stratum.
        n: the number to share out.
        whole: a field of which every value gets one at least, if there are enough.
    """
    import numpy as np

    size, total = np.array(sizes), sum(sizes)
    shares, rest = np.divmod(size * n, total)
    open_ = rest > 0
    codes = [np.unique(column, return_inverse=True)[1] for column in zip(*keys, strict=True)]
    values = np.zeros_like(size) if whole is None else codes[whole]
    crossed = [one * len(size) + other for one, other in combinations(codes, 2)]
    codes += [np.unique(column, return_inverse=True)[1] for column in crossed]
    lacking = [np.bincount(c, weights=rest).astype(int) for c in codes]
    for left in range(n - int(shares.sum()), 0, -1):
        missing = np.bincount(values, weights=shares) == 0
        # The last ones go to values that have none yet.
        reserved = missing.sum() == left < n
        chosen = np.flatnonzero(open_ & missing[values] if reserved else open_)
        for code, lack in zip(codes, lacking, strict=True):
            needs = lack[code[chosen]]
            chosen = chosen[needs == needs.max()]
        best = chosen[np.argmax(rest[chosen])]
        shares[best] += 1
        open_[best] = False
        for code, lack in zip(codes, lacking, strict=True):
            lack[code[best]] -= total
    return [int(share) for share in shares]


def _counts(counts: Counter[str], field: str) -> dict[str, int]:
    """Return the counts in order; both conditions are listed, also where one has no pair."""
    values = CONDITIONS if field == "condition" else sorted(counts)
    return {value: counts[value] for value in values}


def _known(tags: Set[str], by: Sequence[str]) -> tuple[str, ...]:
    """Return the fields, after a check that each is a field of all pairs or one of their tags."""
    for field in by:
        one_of("field of these pairs", field, (*FIELDS, *sorted(tags - set(FIELDS))))
    return tuple(by)


def _value(pair: Pair, field: str) -> str:
    if field == "condition":
        return CONDITIONS[pair.negated == "false"]
    if field == "finding" and "finding" not in pair.tags:
        return (pair.subject or "").casefold()
    return pair.tags.get(field, "")


def _draw(seed: int, *names: str) -> bytes:
    """Return a place in the order of the draw that depends on seed and names alone."""
    return hashlib.sha256(repr((seed, *names)).encode()).digest()
