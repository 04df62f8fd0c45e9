"""Splits of patients and of statements.

Both depend on the seed alone, so no memory of earlier records is needed. The split of a statement
depends on its *frame*: the statement without its words for polarity, side, zone and severity. So a
statement and its contradiction by one of these words are always in one split, and no statement is
in two splits. `Splits` gives every finding frames of every kind in every split.
"""

__all__ = ["SPLITS", "Split", "Splits", "frame", "stable_hash"]

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, get_args

from negtrace.datasets.names import NamedClaim, every_name, under_name
from negtrace.language.claims import Claim, attribute_words
from negtrace.language.findings import VOCABULARY, Finding
from negtrace.language.twins import claim_twins
from negtrace.language.wording import phrasings

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)

_WORD = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*")
_FILLERS = frozenset(
    """
    a an the some no not with without present absent positive negative is are has have do does
    in on at both side sides zone zones lobe lobes lung lungs apex apices base bases
    """.split()  # noqa: SIM905
).union(attribute_words())


def stable_hash(*parts: object) -> int:
    """Return a number of 256 bits that depends on `parts` alone, on every computer.

    >>> stable_hash("patient", 1) == stable_hash("patient", 1) != stable_hash("patient", 2)
    True
    """
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=32).digest())


def frame(text: str) -> str:
    """Return a statement in lower case, without its words for polarity, side, zone and severity.

    >>> frame("There is a large left pleural effusion.") == frame("There is no pleural effusion.")
    True
    >>> frame("No small effusion at the right base."), frame("No!")
    ('effusion', 'no')
    """
    words = _WORD.findall(text.casefold())
    return " ".join([word for word in words if word not in _FILLERS] or words)


class Splits:
    """The three splits, for given shares and a seed."""

    def __init__(self, *, seed: int, val: float, test: float) -> None:
        self.seed = seed
        self._limits = {"test": test, "val": test + val}
        self.names = tuple(s for s, share in zip(SPLITS, (1, val, test), strict=True) if share)
        self._assigned: Mapping[str, Split] = self._assign_frames()

    def of_patient(self, patient: str) -> Split:
        """Return the split of a patient."""
        return self._by_hash(stable_hash("patient", self.seed, patient))

    def of_statement(self, text: str) -> Split:
        """Return the split of a statement, whichever patient it is about."""
        return self._of_frame(frame(text))

    def phrasings(self, split: Split, claim: Claim) -> Iterator[tuple[str, ...]]:
        """Yield the phrasings of a claim that a split may use.

        A claim of a report is phrased under the name that the report uses. In others, names that
        mean only a kind of the finding are left out.
        """
        return (texts for texts in _wide(claim) if self.of_statement(texts[0]) == split)

    def twins(self, split: Split, claim: Claim) -> Iterator[tuple[str, str]]:
        """Yield the twins on a present finding and its absence that a split may use."""
        return (twins for twins in _wide_twins(claim) if self.of_statement(twins[0]) == split)

    def _of_frame(self, key: str) -> Split:
        return self._assigned.get(key) or self._by_hash(stable_hash("frame", self.seed, key))

    def _by_hash(self, bits: int) -> Split:
        share = bits / 2**256
        if share < self._limits["test"]:
            return "test"
        return "val" if share < self._limits["val"] else "train"

    def _assign_frames(self) -> dict[str, Split]:
        """Return splits of some frames, so that every split has two of each pool.

        One frame words a statement, and another one the anchor. A pool of few frames gives each
        split one of them first.
        """
        assigned: dict[str, Split] = {}
        pools = sorted(_pools(), key=lambda pool: (len(pool), pool))
        order = {
            key: stable_hash(self.seed, key) for key in {key for pool in pools for key in pool}
        }
        for wanted, names in ((1, self.names[::-1]), (2, self.names)):
            for pool in pools:
                have = Counter(assigned[key] for key in pool if key in assigned)
                free = sorted((key for key in pool if key not in assigned), key=order.__getitem__)
                for split in names:
                    if have[split] < wanted and free:
                        assigned[free.pop()] = split
                        have[split] += 1
        return assigned


@lru_cache(maxsize=1)
def _pools() -> tuple[tuple[str, ...], ...]:
    """Return the frames of each kind of claim and of twins, of every finding and every name."""
    pools = [
        pool
        for finding in VOCABULARY.values()
        for claim in _kinds_of_claims(finding)
        for pool in (_frames(claim), _twin_frames(claim))
    ]
    for finding, name, present in (
        (key, name, present)
        for key in VOCABULARY
        for name in every_name(key)
        for present in (True, False)
    ):
        claim = NamedClaim(finding=finding, present=present, name=name)
        pools += [_frames(claim), _twin_frames(claim)]
    return tuple(dict.fromkeys(pool for pool in pools if pool))


def _kinds_of_claims(finding: Finding) -> Iterator[Claim]:
    """Yield a claim of each kind that a finding can have, with few and with many attributes."""
    plain = Claim(finding=finding.key, present=True)
    graded = [plain, *([replace(plain, severity="small")] if "severity" in finding.allowed else [])]
    sided = [replace(c, side="bilateral") for c in graded if "side" in finding.allowed]
    for claim in (*graded, *sided):
        yield claim
        yield claim.negate()
        yield replace(claim, certainty="possible")
        yield replace(claim, certainty="probable")
        if claim.severity:
            yield replace(claim, denied="severity")
        if claim.side:
            # "Not bilateral" and "not on the left" have templates of their own.
            yield replace(claim, denied="place")
            yield replace(claim, side="left", denied="place")


def _wide(claim: Claim) -> Iterator[tuple[str, ...]]:
    """Yield phrasings under a claim's own name, or else without names of a kind of the finding."""
    if not isinstance(claim, NamedClaim) or not claim.name:
        return (texts for texts in phrasings(claim) if not _narrow(claim, texts[0]))
    return filter(None, (_renamed(claim, texts) for texts in phrasings(claim)))


def _wide_twins(claim: Claim) -> Iterator[tuple[str, str]]:
    pairs = claim_twins(claim, claim.negate())
    if not isinstance(claim, NamedClaim) or not claim.name:
        return (twins for twins in pairs if not _narrow(claim, twins[0]))
    texts = (_renamed(claim, twins) for twins in pairs)
    return ((twins[0], twins[1]) for twins in texts if twins)


def _renamed(claim: NamedClaim, texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts under a claim's own name; none if it cannot be put into one of them."""
    new = [under_name(claim.finding, claim.name, text) for text in texts]
    return tuple(text for text in new if text) if all(new) else ()


def _narrow(claim: Claim, text: str) -> bool:
    """Tell whether a text names only a kind of the finding, such as "pacemaker" for a device."""
    return any(name in text.casefold() for name in VOCABULARY[claim.finding].narrower)


def _frames(claim: Claim) -> tuple[str, ...]:
    return _distinct_frames(texts[0] for texts in _wide(claim))


def _twin_frames(claim: Claim) -> tuple[str, ...]:
    if claim.certainty or claim.denied or not claim.present:
        return ()
    return _distinct_frames(affirmative for affirmative, _ in _wide_twins(claim))


def _distinct_frames(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({frame(text) for text in texts}))
