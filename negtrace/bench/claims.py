"""Claims suite: one right claim among claims that are wrong in one attribute.

It follows the claims of NAST (arXiv 2602.12498). Half of the claim sets are about an absent
finding, for which the denial is right. Otherwise a model that always prefers affirmation would be
right about existence.
"""

__all__ = ["ATTRIBUTES", "WHOLE_SET", "claim_items", "claims_suite", "phantom_test_sets"]

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from negtrace.bench.cases import data_name, require_images
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item
from negtrace.bench.multiple_choice import answer_items
from negtrace.bench.result import SuiteResult
from negtrace.bench.suites import SUITES
from negtrace.datasets.claim_sets import ClaimSet, read_claim_sets, wrongs
from negtrace.datasets.note import Note
from negtrace.encoders.base import Encoder
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.wording import sentence
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import HELD_OUT_SEEDS, PHANTOM_FINDINGS, patient_with

ATTRIBUTES = ("existence", "location", "severity")

WHOLE_SET = "all of them"
"""Level of the items that compete with every wrong claim of their set."""


@SUITES.register("claims")
def claims_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """One right claim among claims that are wrong in existence, location or severity."""
    data = data_name(encoder, config)
    notes: list[Note] = []
    if data == "phantom":
        sets = phantom_test_sets(config.count, seed=config.seed)
    elif data == "text":
        sets = text_test_sets(config.count, seed=config.seed)
    else:
        sets, notes = read_claim_sets(data)
        sets = sets[: config.count]
        if any(claim_set.anchor.text is None for claim_set in sets):
            require_images(encoder)
    result = answer_items(
        encoder,
        claim_items(sets, seed=config.seed),
        config,
        name=Path(data).name,
        series="claims",
        axes=("attribute",),
        notes=notes,
    )
    # Accuracy over all items would count the same claim set several times.
    return replace(result, rows=tuple(row for row in result.rows if row.axis == "attribute"))


def phantom_test_sets(count: int, *, seed: int, size: int = 48) -> list[ClaimSet]:
    """Draw at least `count` claim sets about held-out radiographs, in pairs.

    The first set of a pair is about a radiograph with a finding. The second is about one without
    it, and the same claim is denied. On existence both ask about the same two statements, so a
    scorer of words alone is right once. The findings take turns.

    Args:
        count: number of sets, rounded up to an even number.
        seed: seed of the draw.
        size: width and height of the radiographs in pixels.
    """
    rng = Random(f"claims {seed}")  # noqa: S311
    sets = []
    for number in range(-(-count // 2)):
        finding = PHANTOM_FINDINGS[number % len(PHANTOM_FINDINGS)]
        draw = rng.getrandbits(32)
        sick = patient_with({finding: True}, HELD_OUT_SEEDS, rng)
        healthy = patient_with({finding: False}, HELD_OUT_SEEDS, rng)
        claim = sick.claim(finding)
        for prefix, patient, right in (("", sick, claim), ("no-", healthy, claim.negate())):
            anchor = Anchor(image=patient.image(size))
            name = f"phantom-{number}-{prefix}{finding}"
            sets.append(_claim_set(name, anchor, right, seed=draw, group=str(number)))
    return sets


def text_test_sets(count: int, *, seed: int) -> list[ClaimSet]:
    """Write at least `count` claim sets about texts, in pairs: a finding present, then absent.

    The texts state no side, zone or severity, so these sets ask about existence alone.

    Args:
        count: number of sets, rounded up to an even number.
        seed: seed of the wording.
    """
    rng = Random(f"claims {seed}")  # noqa: S311
    findings = list(FINDINGS.values())
    sets = []
    for number in range(-(-count // 2)):
        finding, draw = findings[number % len(findings)], rng.getrandbits(32)
        for present, text in ((True, finding.abnormal), (False, finding.normal)):
            claim = Claim(finding=finding.key, present=present)
            name = f"text-{number}-{'' if present else 'no-'}{finding.key}"
            sets.append(_claim_set(name, Anchor(text=text), claim, seed=draw, group=str(number)))
    return sets


def _claim_set(name: str, anchor: Anchor, claim: Claim, *, seed: int, group: str) -> ClaimSet:
    wrong = [(attribute, sentence(other, seed=seed)) for attribute, other in wrongs(claim)]
    return ClaimSet(
        id=name,
        anchor=anchor,
        right=sentence(claim, seed=seed),
        wrong=tuple(dict.fromkeys(wrong)),
        group=group,
    )


def claim_items(sets: Sequence[ClaimSet], *, seed: int) -> list[Item]:
    """Items of every claim set: one for each attribute, and one for the whole set.

    Args:
        sets: the claim sets.
        seed: seed of the order of the statements.
    """
    rng = Random(f"places {seed}")  # noqa: S311
    return [item for claim_set in sets for item in _items(claim_set, rng)]


def _items(claim_set: ClaimSet, rng: Random) -> Iterator[Item]:
    right = claim_set.right
    attributes = dict.fromkeys(attribute for attribute, _ in claim_set.wrong)
    for level in (*attributes, WHOLE_SET):
        wrong = [text for attribute, text in claim_set.wrong if level in (attribute, WHOLE_SET)]
        texts = [right, *wrong]
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
