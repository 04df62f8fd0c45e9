"""What is trained on: claim sets about an anchor, given, read from a file, or ready-made."""

__all__ = ["BUILT_IN", "phantom_training_sets", "text_training_sets", "training_sets", "usable"]

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from negtrace._registry import Registry
from negtrace.datasets.claim_sets import ClaimSet, read_claim_sets, wrongs
from negtrace.encoders.base import Encoder
from negtrace.errors import FinetuneError, NegtraceWarning
from negtrace.language.claims import Claim
from negtrace.language.findings import FINDINGS
from negtrace.language.wording import phrase, realize, sentence
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import PHANTOM_FINDINGS, TRAIN_SEEDS, Patient, patient_with
from negtrace.phantom.reports import report

SETS = 6000
"""How many ready-made sets there are."""

DENYING = 0.5
"""Share of the ready-made captions that deny what is absent."""

FRAMES: tuple[str, ...] = ("Findings: {}.", "The study shows {}.", "Seen are {}.", "There is {}.")
"""Lists of findings for training; the benchmark's questions are in other words."""

SENTENCES = 0.5
"""Share of statements on several findings that take a sentence for each."""

TEXT_ANCHORED = 1 / 3
"""Share of the phantom's sets that have a text for an anchor."""

WRONGS = 3
"""Most wrong statements of a ready-made set."""

BUILT_IN: Registry[Callable[[int, int], list[ClaimSet]]] = Registry("training data")
"""Ready-made data: from how many sets, and a seed."""


@BUILT_IN.register("phantom")
def phantom_training_sets(
    count: int = SETS, seed: int = 0, findings: Sequence[str] = PHANTOM_FINDINGS
) -> list[ClaimSet]:
    """Return claim sets on the phantom's training studies, none of them a held-out one.

    Nothing is said of a finding that is not among `findings`.

    A right statement says one to three findings of a study, each of which is present as often as
    absent whatever the others are, in a sentence each or in a list; a wrong one has one attribute
    of one of them changed. Half of the captions deny what is absent in the same words, the others
    are reports that deny nothing. A third of the sets has a text in the place of the radiograph,
    which affirms the same ("normal heart size"). The frames of the polarity benchmark's questions
    (`language.wording.CAPTIONS`) never hold a denial here.
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
        told = Anchor(text=realize(claims, wording="equivalent", seed=draw))
        return claim_set(name, told, claims, caption=worded(claims, draw), rng=rng)
    known = replace(patient, claims=tuple(patient.claim(finding) for finding in findings))
    caption = report(known, seed=draw, rate=0.0)
    if rng.random() < DENYING:
        more = _others(known, claims, rng.choice((2, 3, 4)) - len(claims), rng)
        caption = worded([*claims, *more], draw)
    return claim_set(name, Anchor(image=patient.image()), claims, caption=caption, rng=rng)


def _others(patient: Patient, told: Sequence[Claim], count: int, rng: Random) -> list[Claim]:
    """Draw further claims of a study, the present ones as likely as the absent ones.

    Findings are more often absent: where they are hard to see, who knows that denies them blindly.
    """
    left = [[c for c in side if c not in told] for side in (patient.present, patient.absent)]
    drawn = []
    for _ in range(min(count, sum(map(len, left)))):
        side = rng.choice([claims for claims in left if claims])
        drawn.append(side.pop(rng.randrange(len(side))))
    return drawn


def worded(claims: Sequence[Claim], seed: int) -> str:
    """Return claims in words, in a list or a sentence each; the words of one are its own."""
    rng = Random(seed)  # noqa: S311
    if len(claims) == 1 or rng.random() < SENTENCES:
        return " ".join(sentence(claim, seed=8 * seed + k) for k, claim in enumerate(claims))
    frame = rng.choice(FRAMES)
    told = [phrase(claim, seed=8 * seed + k) for k, claim in enumerate(claims)]
    return frame.format(", ".join(told[:-1]) + " and " + told[-1])


@BUILT_IN.register("text")
def text_training_sets(
    count: int = SETS, seed: int = 0, findings: Sequence[str] = tuple(FINDINGS)
) -> list[ClaimSet]:
    """Return claim sets on texts that affirm what is so without naming a finding.

    For encoders that see no images. The right statement says the one to three findings that the
    anchor tells of, a sentence for each or in a list; so does the caption, in half of the sets by
    denials. As in `phantom_training_sets`, the benchmark's frames never hold a denial.
    """
    rng = Random(f"finetune text {seed}")  # noqa: S311
    return [_text_set(number, rng, findings) for number in range(count)]


def _text_set(number: int, rng: Random, findings: Sequence[str]) -> ClaimSet:
    about = rng.sample(list(findings), min(rng.choice((1, 2, 3)), len(findings)))
    claims = [Claim(finding=key, present=rng.random() < 0.5) for key in about]
    said = [_affirmed(claim) for claim in claims]
    denying, draw = rng.random() < DENYING, rng.getrandbits(32)
    told = worded(claims, draw) if denying else realize(claims, wording="equivalent", seed=draw)
    anchor = Anchor(text=" ".join(rng.sample(said, len(said))))
    return claim_set(f"text-{number}", anchor, claims, caption=told, rng=rng)


def _affirmed(claim: Claim) -> str:
    finding = FINDINGS[claim.finding]
    return finding.abnormal if claim.present else finding.normal


def claim_set(
    name: str, anchor: Anchor, claims: Sequence[Claim], *, caption: str, rng: Random
) -> ClaimSet:
    """Return claims in words beside such as are wrong by one attribute of one of them."""
    draw = rng.getrandbits(32)
    right = worded(claims, draw)
    told: dict[str, str] = {}
    for place, claim in enumerate(claims):
        for attribute, other in wrongs(claim):
            text = worded([*claims[:place], other, *claims[place + 1 :]], draw)
            told.setdefault(text, attribute)
    told.pop(right, None)
    # Every finding's presence is asked about; of the rest as many as there is room for.
    texts = rng.sample(sorted(told), len(told))
    texts.sort(key=lambda text: told[text] != "existence")
    wrong = tuple((told[text], text) for text in texts[:WRONGS])
    return ClaimSet(id=name, anchor=anchor, right=right, wrong=wrong, group=name, caption=caption)


def training_sets(data: str | Path | Sequence[ClaimSet], *, seed: int = 0) -> list[ClaimSet]:
    """Return the sets of a ready-made name, of a JSONL file of claim sets, or as given.

    Raises:
        DatasetError: for a file that cannot be read, or of which no line is usable.
    """
    if isinstance(data, str) and data in BUILT_IN:
        return BUILT_IN[data](SETS, seed)
    if not isinstance(data, str | Path):
        return list(data)
    sets, noted = read_claim_sets(data)
    skipped = sum(note.skipped for note in noted)
    if skipped:
        _warn(f"{skipped} line(s) of {Path(data).name} cannot be used and are left out")
    return sets


def usable(sets: Sequence[ClaimSet], encoder: Encoder, *, balance: float) -> list[ClaimSet]:
    """Return the sets that the losses can be taken of, saying how many are left out and why.

    Raises:
        FinetuneError: when none is left, no set has a wrong claim to tell the right one from, or
            all captions are one and the same.
    """
    sets = list(sets)
    if not encoder.reads_images and any(one.anchor.text is None for one in sets):
        raise FinetuneError(f"{encoder.name} sees no images, but an anchor is one; give texts")
    if balance < 1:
        sets = _kept(sets, [bool(one.wrong) for one in sets], _NO_WRONG)
    longest = [_longest(one, encoder) for one in sets]
    reads = f"are longer than the {encoder.max_tokens} tokens that {encoder.name} reads"
    sets = _kept(sets, [length <= encoder.max_tokens for length in longest], reads)
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


def caption_of(one: ClaimSet) -> str:
    """Return what the contrastive loss is told of a set's anchor."""
    return one.caption or one.right


def _longest(one: ClaimSet, encoder: Encoder) -> int:
    texts = [caption_of(one), *one.statements]
    texts += [one.anchor.text] if one.anchor.text else []
    return max(map(len, encoder.tokenize(texts)))


def _kept(sets: Sequence[ClaimSet], keep: Sequence[bool], why: str) -> list[ClaimSet]:
    kept = [one for one, wanted in zip(sets, keep, strict=True) if wanted]
    if not kept:
        raise FinetuneError(f"all {len(sets)} claim sets {why}")
    if len(kept) < len(sets):
        _warn(f"{len(sets) - len(kept)} of {len(sets)} claim sets {why}; they are left out")
    return kept


def _warn(message: str) -> None:
    warnings.warn(message, NegtraceWarning, stacklevel=3)
