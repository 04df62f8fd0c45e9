"""Claim ranking: one right claim among some that are wrong in one attribute.

After the claims of NAST (arXiv 2602.12498). Every other set is about an absent finding, where a
denial is right; else whoever prefers affirmation would always win on existence.
"""

__all__ = ["ATTRIBUTES", "WHOLE", "items_of", "phantom_test_sets", "results", "text_test_sets"]

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import numpy as np
from jaxtyping import Float

from negtrace.bench.items import Item
from negtrace.bench.rates import Bootstrap, by_tag
from negtrace.bench.report import Row
from negtrace.datasets.claim_sets import ClaimSet, wrongs
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.wording import sentence
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import HELD_OUT_SEEDS, PHANTOM_FINDINGS, patient_with

ATTRIBUTES = ("existence", "location", "severity")

WHOLE = "all of them"
"""What results call a whole set."""


def _set(name: str, anchor: Anchor, claim: Claim, *, seed: int, group: str) -> ClaimSet:
    told = [(attribute, sentence(other, seed=seed)) for attribute, other in wrongs(claim)]
    return ClaimSet(
        id=name,
        anchor=anchor,
        right=sentence(claim, seed=seed),
        wrong=tuple(dict.fromkeys(told)),
        group=group,
    )


def phantom_test_sets(count: int, *, seed: int, size: int = 48) -> list[ClaimSet]:
    """Return at least `count` sets on held-out radiographs, in pairs; findings take turns.

    The first of a pair is about a study that has the finding, the second about one that has not,
    where the same claim is denied: on existence both put the same two statements, so that words
    alone are right once.
    """
    rng = Random(f"claims {seed}")  # noqa: S311
    sets = []
    for number in range(-(-count // 2)):
        finding = PHANTOM_FINDINGS[number % len(PHANTOM_FINDINGS)]
        draw = rng.getrandbits(32)
        sick = patient_with({finding: True}, HELD_OUT_SEEDS, rng)
        healthy = patient_with({finding: False}, HELD_OUT_SEEDS, rng)
        claim = sick.claim(finding)
        for there, patient, right in (("", sick, claim), ("no-", healthy, claim.negate())):
            anchor = Anchor(image=patient.image(size))
            name = f"phantom-{number}-{there}{finding}"
            sets.append(_set(name, anchor, right, seed=draw, group=str(number)))
    return sets


def text_test_sets(count: int, *, seed: int) -> list[ClaimSet]:
    """Return at least `count` sets, in pairs, on texts that affirm what is so.

    The texts say nothing of side, zone and severity, so they ask about existence alone.
    """
    rng = Random(f"claims {seed}")  # noqa: S311
    findings = list(FINDINGS.values())
    sets = []
    for number in range(-(-count // 2)):
        finding, draw = findings[number % len(findings)], rng.getrandbits(32)
        for there, text in ((True, finding.abnormal), (False, finding.normal)):
            claim = Claim(finding=finding.key, present=there)
            name = f"text-{number}-{'' if there else 'no-'}{finding.key}"
            sets.append(_set(name, Anchor(text=text), claim, seed=draw, group=str(number)))
    return sets


def items_of(sets: Sequence[ClaimSet], *, seed: int) -> list[Item]:
    """Return every set, and its part of each attribute, as items."""
    rng = Random(f"places {seed}")  # noqa: S311
    return [item for claim_set in sets for item in _items(claim_set, rng)]


def _items(claim_set: ClaimSet, rng: Random) -> Iterator[Item]:
    """Yield the whole set, then the right statement against the wrong ones of each attribute.

    The whole is tagged `all of them`, the others by their attribute. Positions are shuffled.
    """
    right = claim_set.right
    attributes = dict.fromkeys(attribute for attribute, _ in claim_set.wrong)
    for level in (*attributes, WHOLE):
        texts = [right, *(text for a, text in claim_set.wrong if level in (a, WHOLE))]
        rng.shuffle(texts)
        yield Item(
            id=f"{claim_set.id}-{level}",
            anchor=claim_set.anchor,
            texts=tuple(texts),
            answer=texts.index(right),
            group=claim_set.group,
            tags={"attribute": (level,)},
            source=claim_set.source,
        )


def results(
    items: Sequence[Item], right: Mapping[str, Float[np.ndarray, " item"]], bootstrap: Bootstrap
) -> list[Row]:
    """Return each scorer's accuracy over whole sets and by attribute.

    Args:
        items: what was asked.
        right: by scorer, 1 for each item that it got right, else 0.
        bootstrap: how intervals are made.
    """
    rows: list[Row] = []
    for scorer, own in right.items():
        found = by_tag(items, own, bootstrap, scorer=scorer, series="claims", axes=("attribute",))
        rows += [row for row in found if row.axis == "attribute"]
    return rows
