"""Training data: claim sets that are given, read from a file, or ready-made.

To add ready-made data, register a function of a count and a seed in `TRAINING_DATA`.
"""

__all__ = [
    "TRAINING_DATA",
    "caption_of",
    "phantom_training_sets",
    "text_training_sets",
    "training_sets",
    "usable",
    "worded",
]

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from negtrace._registry import Registry
from negtrace.datasets.claim_sets import ClaimSet, read_claim_sets, wrongs
from negtrace.errors import FinetuneError, NegtraceWarning
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.wording import affirmative_sentence, list_of_claims, realize, sentence
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import PHANTOM_FINDINGS, TRAIN_SEEDS, Patient, patient_with
from negtrace.phantom.reports import report

if TYPE_CHECKING:
    from negtrace.encoders.base import Encoder

SETS = 6000
"""Number of ready-made sets."""

DENYING = 0.5
"""Share of the ready-made captions that deny absent findings."""

FRAMES: tuple[str, ...] = (
    "Findings: {}.",
    "The study shows {}.",
    "The film demonstrates {}.",
    "Imaging reveals {}.",
)
"""Frames of lists of findings; the benchmark's questions use other frames."""

SENTENCES = 0.5
"""Share of statements about several findings that are a sentence each, not a list."""

TEXT_ANCHORED = 1 / 3
"""Share of the phantom's sets whose anchor is a text."""

WRONGS = 3
"""Most wrong statements of a ready-made set."""

TRAINING_DATA: Registry[Callable[[int, int], list[ClaimSet]]] = Registry("training data")
"""Ready-made data by name, as in `negtrace finetune --data NAME`: a function of the number of sets
and a seed."""


@TRAINING_DATA.register("phantom")
def phantom_training_sets(
    count: int = SETS, seed: int = 0, findings: Sequence[str] = PHANTOM_FINDINGS
) -> list[ClaimSet]:
    """Return claim sets on the phantom's training studies, none of them a held-out study.

    - A right statement is about one to three findings of a study, in a sentence each or in a list.
      Each finding is present as often as absent, whatever the others are.
    - A wrong statement has one attribute of one finding changed.
    - Half of the captions deny absent findings in the same words. The others are reports without
      a denial.
    - A third of the sets has a text as anchor instead of the radiograph. The text says the same
      without a denial ("normal heart size").

    The frames of the polarity benchmark's questions (`language.templates.CAPTIONS`) never hold a
    denial here.

    Args:
        count: number of sets.
        seed: seed of the draws.
        findings: findings that the sets are about; the others are never mentioned.
    """
    rng = Random(f"finetune {seed}")  # noqa: S311
    return [_phantom_set(number, rng, findings) for number in range(count)]


def _phantom_set(number: int, rng: Random, findings: Sequence[str]) -> ClaimSet:
    first = findings[number // 2 % len(findings)]
    others = [finding for finding in findings if finding != first]
    about = [first, *rng.sample(others, min(rng.choice((0, 1, 2)), len(others)))]
    labels = {finding: rng.random() < 0.5 for finding in about} | {first: number % 2 == 0}
    patient = patient_with(labels, TRAIN_SEEDS, rng)
    claims = [patient.claim(finding) for finding in rng.sample(about, len(about))]
    draw = rng.getrandbits(32)
    name = f"phantom-{number}"
    if rng.random() < TEXT_ANCHORED:
        anchor = Anchor(text=realize(claims, wording="equivalent", seed=draw))
        return _claim_set(name, anchor, claims, caption=worded(claims, draw), rng=rng)
    known = replace(patient, claims=tuple(patient.claim(finding) for finding in findings))
    caption = report(known, seed=draw, rate=0.0)
    if rng.random() < DENYING:
        further = _further(known, claims, rng.choice((2, 3, 4)) - len(claims), rng)
        caption = worded([*claims, *further], draw)
    return _claim_set(name, Anchor(image=patient.image()), claims, caption=caption, rng=rng)


def _further(patient: Patient, claims: Sequence[Claim], count: int, rng: Random) -> list[Claim]:
    """Draw further claims of a study, present findings as likely as absent ones.

    In the studies, findings are more often absent. A model that learned this would deny findings
    that are hard to see without looking.
    """
    left = [[c for c in side if c not in claims] for side in (patient.present, patient.absent)]
    drawn = []
    for _ in range(min(count, sum(map(len, left)))):
        side = rng.choice([remaining for remaining in left if remaining])
        drawn.append(side.pop(rng.randrange(len(side))))
    return drawn


def worded(claims: Sequence[Claim], seed: int) -> str:
    """Return claims in words, as a list or a sentence each; a claim's words depend on its index."""
    rng = Random(seed)  # noqa: S311
    if len(claims) == 1 or rng.random() < SENTENCES:
        return " ".join(sentence(claim, seed=8 * seed + k) for k, claim in enumerate(claims))
    return rng.choice(FRAMES).format(list_of_claims(claims, seed=seed))


@TRAINING_DATA.register("text")
def text_training_sets(
    count: int = SETS, seed: int = 0, findings: Sequence[str] = tuple(FINDINGS)
) -> list[ClaimSet]:
    """Return claim sets for encoders that do not read images.

    The anchor is a text that says one to three findings, or their absence, without naming them and
    without a denial. The right statement says the same findings by name, in a sentence each or in a
    list. So does the caption, in half of the sets with denials. As in `phantom_training_sets`, the
    benchmark's frames never hold a denial.

    Args:
        count: number of sets.
        seed: seed of the draws.
        findings: findings that the sets are about; the others are never mentioned.
    """
    rng = Random(f"finetune text {seed}")  # noqa: S311
    return [_text_set(number, rng, findings) for number in range(count)]


def _text_set(number: int, rng: Random, findings: Sequence[str]) -> ClaimSet:
    about = rng.sample(list(findings), min(rng.choice((1, 2, 3)), len(findings)))
    claims = [Claim(finding=key, present=rng.random() < 0.5) for key in about]
    affirmed = [affirmative_sentence(claim) for claim in claims]
    denying, draw = rng.random() < DENYING, rng.getrandbits(32)
    caption = worded(claims, draw) if denying else realize(claims, wording="equivalent", seed=draw)
    anchor = Anchor(text=" ".join(rng.sample(affirmed, len(affirmed))))
    return _claim_set(f"text-{number}", anchor, claims, caption=caption, rng=rng)


def _claim_set(
    name: str, anchor: Anchor, claims: Sequence[Claim], *, caption: str, rng: Random
) -> ClaimSet:
    """Return the statement of some claims with statements that are wrong in one attribute."""
    draw = rng.getrandbits(32)
    right = worded(claims, draw)
    attribute_of: dict[str, str] = {}
    for index, claim in enumerate(claims):
        for attribute, wrong_claim in wrongs(claim):
            text = worded([*claims[:index], wrong_claim, *claims[index + 1 :]], draw)
            attribute_of.setdefault(text, attribute)
    attribute_of.pop(right, None)
    # The presence of every finding comes first; other attributes fill the rest.
    texts = rng.sample(sorted(attribute_of), len(attribute_of))
    texts.sort(key=lambda text: attribute_of[text] != "existence")
    wrong = tuple((attribute_of[text], text) for text in texts[:WRONGS])
    return ClaimSet(id=name, anchor=anchor, right=right, wrong=wrong, group=name, caption=caption)


def training_sets(data: str | Path | Sequence[ClaimSet], *, seed: int = 0) -> list[ClaimSet]:
    """Return claim sets by the name of ready-made data, from a JSONL file, or as given.

    Args:
        data: a name in `TRAINING_DATA`, the path of a JSONL file of claim sets, or claim sets.
        seed: seed of ready-made data.

    Raises:
        FinetuneError: for a name that is neither a file nor ready-made data.
        DatasetError: for a file without a usable line.
    """
    if isinstance(data, str) and data in TRAINING_DATA:
        return TRAINING_DATA[data](SETS, seed)
    if not isinstance(data, str | Path):
        return list(data)
    if not Path(data).is_file():
        raise FinetuneError(
            f"no training data {str(data)!r}: it is neither a file nor the name of ready-made data "
            f"({', '.join(TRAINING_DATA)})"
        )
    sets, notes = read_claim_sets(data)
    skipped = sum(note.skipped for note in notes)
    if skipped:
        _warn(f"{skipped} line(s) of {Path(data).name} cannot be used and are left out")
    return sets


def usable(sets: Sequence[ClaimSet], encoder: "Encoder", *, balance: float) -> list[ClaimSet]:
    """Return the sets that the losses can use, with a warning about those that are left out.

    Args:
        sets: claim sets.
        encoder: the encoder to train.
        balance: weight of the contrastive loss, 0 .. 1. Below 1, sets need a wrong claim.

    Raises:
        FinetuneError: when no set is left, an anchor cannot be read, or the contrastive loss is
            used and all captions are the same.
    """
    sets = list(sets)
    if not encoder.reads_images and any(one.anchor.text is None for one in sets):
        raise FinetuneError(f"{encoder.name} sees no images, but an anchor is one; give texts")
    if balance < 1:
        sets = _filtered(sets, [bool(one.wrong) for one in sets], _NO_WRONG)
    fits = [_longest(one, encoder) <= encoder.max_tokens for one in sets]
    reads = f"are longer than the {encoder.max_tokens} tokens that {encoder.name} reads"
    sets = _filtered(sets, fits, reads)
    if balance > 0 and len({caption_of(one) for one in sets}) < 2:
        raise FinetuneError(
            f"all {len(sets)} captions are the same, so the contrastive loss has nothing to tell "
            "apart; give captions, or set balance=0 for claims alone"
        )
    return sets


_NO_WRONG = (
    "have no wrong claim, so the claims' loss has nothing to tell the right one from (make some "
    "with negtrace.counterfactuals, or set balance=1 for the contrastive loss alone)"
)


def caption_of(claim_set: ClaimSet) -> str:
    """Return the text that the contrastive loss compares with the anchor of a set."""
    return claim_set.caption or claim_set.right


def _longest(claim_set: ClaimSet, encoder: "Encoder") -> int:
    """Return the number of tokens of the longest text of a set."""
    texts = [caption_of(claim_set), *claim_set.statements]
    texts += [claim_set.anchor.text] if claim_set.anchor.text else []
    return max(map(len, encoder.tokenize(texts)))


def _filtered(sets: Sequence[ClaimSet], keep: Sequence[bool], reason: str) -> list[ClaimSet]:
    """Return the sets to keep, with a warning about the others, and an error if none is left."""
    kept = [claim_set for claim_set, wanted in zip(sets, keep, strict=True) if wanted]
    if not kept:
        raise FinetuneError(f"all {len(sets)} claim sets {reason}")
    if len(kept) < len(sets):
        _warn(f"{len(sets) - len(kept)} of {len(sets)} claim sets {reason}; they are left out")
    return kept


def _warn(message: str) -> None:
    warnings.warn(message, NegtraceWarning, stacklevel=3)
