"""Claim ranking: one right claim among some that are wrong in one attribute.

After the claims of NAST (arXiv 2602.12498). Every other set is about an absent finding, where a
denial is right; else whoever prefers affirmation would always win on existence.
"""

__all__ = [
    "ATTRIBUTES",
    "WHOLE",
    "ClaimSet",
    "phantom_sets",
    "read_sets",
    "text_sets",
    "wrongs",
]

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from negtrace.bench.cases import data_name, require_images
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item
from negtrace.bench.multiple_choice import answer_items
from negtrace.bench.pictures import look
from negtrace.bench.result import SuiteResult
from negtrace.bench.suites import SUITES
from negtrace.bench.tables import json_lines
from negtrace.datasets.note import NOWHERE, Note, Origin
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError, PairError
from negtrace.language.claims import Claim
from negtrace.language.counterfactuals import ASPECTS, contradictions
from negtrace.language.findings import FINDINGS
from negtrace.language.realize import sentence
from negtrace.pairs.anchor import Anchor
from negtrace.phantom.patients import HELD_OUT, PHANTOM_FINDINGS, patient_with

ATTRIBUTES = ("existence", "location", "severity")

WHOLE = "all of them"
"""What results call a whole set."""


@dataclass(frozen=True, kw_only=True)
class ClaimSet:
    """A right statement about an anchor, and wrong ones by the attribute they are wrong in."""

    id: str
    anchor: Anchor
    right: str
    wrong: tuple[tuple[str, str], ...]
    """Attribute and statement."""
    group: str
    """Sets of one group share statements, and are drawn together by the bootstrap."""
    source: Origin = NOWHERE
    """Where it stands, for notes."""
    caption: str = ""
    """What else is true of the anchor, for training; blank where that is the right statement."""

    @property
    def statements(self) -> tuple[str, ...]:
        """The right one, then the wrong ones."""
        return self.right, *(text for _, text in self.wrong)

    def items(self, rng: Random) -> Iterator[Item]:
        """Yield the whole set, then the right statement against the wrong ones of each attribute.

        The whole is tagged `all of them`, the others by their attribute; places are shuffled.
        """
        attributes = dict.fromkeys(attribute for attribute, _ in self.wrong)
        for level in (*attributes, WHOLE):
            texts = [self.right, *(text for a, text in self.wrong if level in (a, WHOLE))]
            rng.shuffle(texts)
            yield Item(
                id=f"{self.id}-{level}",
                anchor=self.anchor,
                texts=tuple(texts),
                answer=texts.index(self.right),
                group=self.group,
                tags={"attribute": (level,)},
                source=self.source,
            )


def wrongs(claim: Claim) -> Iterator[tuple[str, Claim]]:
    """Yield the claims that are wrong where `claim` is right, by one attribute.

    >>> [name for name, _ in wrongs(Claim(finding="effusion", present=True, side="left"))]
    ['existence', 'location']
    """
    return ((ASPECTS[wrong.changed], wrong.claim) for wrong in contradictions(claim))


def _set(name: str, anchor: Anchor, claim: Claim, *, seed: int, group: str) -> ClaimSet:
    told = [(attribute, sentence(other, seed=seed)) for attribute, other in wrongs(claim)]
    return ClaimSet(
        id=name,
        anchor=anchor,
        right=sentence(claim, seed=seed),
        wrong=tuple(dict.fromkeys(told)),
        group=group,
    )


def phantom_sets(count: int, *, seed: int, size: int = 48) -> list[ClaimSet]:
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
        sick = patient_with({finding: True}, HELD_OUT, rng)
        healthy = patient_with({finding: False}, HELD_OUT, rng)
        claim = sick.claim(finding)
        for there, patient, right in (("", sick, claim), ("no-", healthy, claim.negate())):
            anchor = Anchor(image=patient.image(size))
            name = f"phantom-{number}-{there}{finding}"
            sets.append(_set(name, anchor, right, seed=draw, group=str(number)))
    return sets


def text_sets(count: int, *, seed: int) -> list[ClaimSet]:
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


def read_sets(path: Path | str) -> tuple[list[ClaimSet], list[Note]]:
    """Read claim sets from JSONL; image files are relative to the file's folder.

    A line is `{"anchor": {"image": "a.png"} or {"text": ...}, "right": ..., "wrong":
    [{"text": ..., "attribute": "severity"}, ...]}`, optionally with `id` and `caption`. A line
    that cannot be used is left out and noted.

    Raises:
        BenchError: for a file that cannot be read, or of which no line is usable.
    """
    path = Path(path)
    sets: dict[str, ClaimSet] = {}
    noted: list[Note] = []
    for row, line in json_lines(path):
        try:
            one = _parsed(json.loads(line.decode()), path.parent, (path.name, row))
            if one.id in sets:
                raise BenchError(f"the id {one.id!r} occurs before")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            noted.append(Note(file=path.name, row=row, code="claim_set", detail=repr(error)))
            continue
        image = one.anchor.image
        note = look(image, file=path.name, row=row) if isinstance(image, Path) else None
        noted += [note] if note is not None else []
        if note is None or not note.skipped:
            sets[one.id] = one
    if not sets:
        raise BenchError(
            f"no claim set in {path.name}; expected objects of anchor, right and wrong, one a line"
        )
    return list(sets.values()), noted


def _parsed(row: Mapping[str, Any], folder: Path, source: Origin) -> ClaimSet:
    given = row["anchor"]
    anchor = (
        Anchor(text=given["text"]) if "text" in given else Anchor(image=folder / given["image"])
    )
    wrong = tuple((str(other["attribute"]), str(other["text"])) for other in row["wrong"])
    texts = [str(row["right"]), *(text for _, text in wrong)]
    if not wrong or len(set(texts)) < len(texts) or not all(map(str.strip, texts)):
        raise PairError("wrong statements must be there, distinct and not blank")
    name = str(row.get("id", f"{source[0]}:{source[1]}"))
    return ClaimSet(
        id=name,
        anchor=anchor,
        right=texts[0],
        wrong=wrong,
        group=name,
        source=source,
        caption=str(row.get("caption") or ""),
    )


def items_of(sets: Sequence[ClaimSet], *, seed: int) -> list[Item]:
    """Return every set, and its part of each attribute, as items."""
    rng = Random(f"places {seed}")  # noqa: S311
    return [item for one in sets for item in one.items(rng)]


@SUITES.register("claims")
def claims_suite(encoder: Encoder, config: BenchConfig) -> SuiteResult:
    """One right claim among claims that are wrong in existence, location or severity."""
    data = data_name(encoder, config)
    notes: list[Note] = []
    if data == "phantom":
        sets = phantom_sets(config.count, seed=config.seed)
    elif data == "text":
        sets = text_sets(config.count, seed=config.seed)
    else:
        sets, notes = read_sets(data)
        sets = sets[: config.count]
        if any(one.anchor.text is None for one in sets):
            require_images(encoder)
    result = answer_items(
        encoder,
        items_of(sets, seed=config.seed),
        config,
        name=Path(data).name,
        series="claims",
        axes=("attribute",),
        notes=notes,
    )
    # Accuracy over all items would count every claim set more than once.
    return replace(result, rows=tuple(row for row in result.rows if row.axis == "attribute"))
