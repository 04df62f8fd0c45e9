"""Which split a patient is in, and which split a statement is in.

Both are functions of the seed alone, so they need no memory of what was seen. A statement's split
hangs on its *frame*: the statement without the words for polarity, side, zone and severity. So a
statement and what contradicts it by one of these words are always in one split, and no statement is
in two. `Splits` sees to it that each finding has frames of every kind in every split.
"""

__all__ = ["SPLITS", "Split", "Splits", "draw", "frame"]

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, get_args

from negtrace.language.claims import Claim, attribute_words
from negtrace.language.findings import VOCABULARY, Finding
from negtrace.language.twins import claim_twins
from negtrace.language.wording import phrasings

Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = get_args(Split)

_WORD = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*")
_FILLERS = frozenset(
    """
    a an the some no not with without present absent is are has have do does in on at both
    side sides zone zones lobe lobes lung lungs apex apices base bases
    """.split()  # noqa: SIM905
).union(attribute_words())


def draw(*what: object) -> int:
    """Return 256 bits that hang on `what` and on nothing else.

    >>> draw("patient", 1) == draw("patient", 1) != draw("patient", 2)
    True
    """
    text = "\x1f".join(map(str, what)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=32).digest())


def frame(text: str) -> str:
    """Return a statement in lower case, without the words for polarity, side, zone and severity.

    >>> frame("There is a large left pleural effusion.") == frame("There is no pleural effusion.")
    True
    >>> frame("No small effusion at the right base."), frame("No!")
    ('effusion', 'no')
    """
    words = _WORD.findall(text.casefold())
    return " ".join([word for word in words if word not in _FILLERS] or words)


class Splits:
    """The three splits, by their shares and a seed."""

    def __init__(self, *, seed: int, val: float, test: float) -> None:
        self.seed = seed
        self._held = {"test": test, "val": test + val}
        self.names = tuple(s for s, share in zip(SPLITS, (1, val, test), strict=True) if share)
        self._dealt: Mapping[str, Split] = {}
        self._dealt = dict(self._deal())

    def of_patient(self, patient: str) -> Split:
        """Return the split of a patient, and of all that is known of them."""
        return self._cut(draw("patient", self.seed, patient))

    def says(self, split: Split, claim: Claim) -> Iterator[tuple[str, ...]]:
        """Yield the phrasings of a claim that a split may use, in names as wide as the finding."""
        return (texts for texts in _wide(claim) if self.of_statement(texts[0]) == split)

    def twins(self, split: Split, claim: Claim) -> Iterator[tuple[str, str]]:
        """Yield twins on a finding that is there and its absence that a split may use, likewise."""
        return (t for t in _wide_twins(claim) if self.of_statement(t[0]) == split)

    def of_statement(self, text: str) -> Split:
        """Return the split that a statement may be in, whoever it is about."""
        return self._of_frame(frame(text))

    def _of_frame(self, key: str) -> Split:
        return self._dealt.get(key) or self._cut(draw("frame", self.seed, key))

    def _cut(self, bits: int) -> Split:
        place = bits / 2**256
        if place < self._held["test"]:
            return "test"
        return "val" if place < self._held["val"] else "train"

    def _deal(self) -> Iterator[tuple[str, Split]]:
        """Yield frames whose split is set, so that every finding has some of every kind in each."""
        dealt: dict[str, Split] = {}
        for pool in sorted(_pools(), key=lambda pool: (len(pool), pool)):
            there = {dealt[key] for key in pool if key in dealt}
            free = sorted((k for k in pool if k not in dealt), key=lambda k: draw(self.seed, k))
            for split in reversed(self.names):
                if split not in there and free:
                    dealt[free.pop()] = split
        return iter(dealt.items())


@lru_cache(maxsize=1)
def _pools() -> tuple[tuple[str, ...], ...]:
    """Return the frames of every finding, of each kind of claim and of twins."""
    pools = [
        pool
        for finding in VOCABULARY.values()
        for claim in _shapes(finding)
        for pool in (_frames(claim), _twin_frames(claim))
    ]
    return tuple(dict.fromkeys(pool for pool in pools if pool))


def _shapes(finding: Finding) -> Iterator[Claim]:
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
            yield replace(claim, denied="place")


def _wide(claim: Claim) -> Iterator[tuple[str, ...]]:
    """Yield phrasings without those whose name means a kind of the finding only."""
    return (texts for texts in phrasings(claim) if not _narrow(claim, texts[0]))


def _wide_twins(claim: Claim) -> Iterator[tuple[str, str]]:
    told = claim_twins(claim, claim.negate())
    return (twins for twins in told if not _narrow(claim, twins[0]))


def _narrow(claim: Claim, text: str) -> bool:
    return any(name in text.casefold() for name in VOCABULARY[claim.finding].narrower)


def _frames(claim: Claim) -> tuple[str, ...]:
    return _distinct(together[0] for together in _wide(claim))


def _twin_frames(claim: Claim) -> tuple[str, ...]:
    if claim.certainty or claim.denied or not claim.present:
        return ()
    return _distinct(one for one, _ in _wide_twins(claim))


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({frame(text) for text in texts}))
