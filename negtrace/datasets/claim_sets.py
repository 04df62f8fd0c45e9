"""Claim sets: a right statement about an anchor, and statements that are wrong in one attribute.

`read_claim_sets` and `write_claim_sets` use JSONL files. The benchmark asks a model to rank the
statements of a set, and fine-tuning trains on them.
"""

__all__ = ["ClaimSet", "read_claim_sets", "write_claim_sets", "wrongs"]

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from negtrace._files import write_bytes
from negtrace._messages import excerpt
from negtrace.datasets.note import NOWHERE, Note, Origin, image_note
from negtrace.datasets.readers.files import json_objects
from negtrace.errors import DatasetError, PairError
from negtrace.language.claims import Claim
from negtrace.language.counterfactuals import ASPECTS, contradictions
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.jsonl import anchor_as_json


@dataclass(frozen=True, kw_only=True)
class ClaimSet:
    """A right statement about an anchor, and wrong ones by the attribute they are wrong in.

    >>> edema = ClaimSet(
    ...     id="a",
    ...     anchor=Anchor(text="The lungs are clear."),
    ...     right="There is no edema.",
    ...     wrong=(("existence", "There is edema."),),
    ...     group="a",
    ... )
    >>> edema.statements
    ('There is no edema.', 'There is edema.')
    """

    id: str
    anchor: Anchor
    right: str
    """The statement that is true of the anchor."""
    wrong: tuple[tuple[str, str], ...]
    """Attribute (existence, location, severity) and text of each wrong statement."""
    group: str
    """Sets of one group share statements. The bootstrap draws them together."""
    source: Origin = NOWHERE
    """File and line of the set, for notes."""
    caption: str = ""
    """Another true text about the anchor, for training; blank to use the right statement."""

    @property
    def statements(self) -> tuple[str, ...]:
        """The right statement, then the wrong ones."""
        return self.right, *(text for _, text in self.wrong)


@lru_cache(maxsize=2048)
def wrongs(claim: Claim) -> tuple[tuple[str, Claim], ...]:
    """Return the claims that are wrong if `claim` is right, each with the attribute it gets wrong.

    >>> [name for name, _ in wrongs(Claim(finding="effusion", present=True, side="left"))]
    ['existence', 'location']
    >>> [name for name, _ in wrongs(Claim(finding="edema", present=True, severity="large",
    ...     denied="severity"))]
    ['severity']
    """
    if claim.denied:
        return (("severity" if claim.denied == "severity" else "location", claim.negate()),)
    return tuple((ASPECTS[wrong.changed], wrong.claim) for wrong in contradictions(claim))


def read_claim_sets(path: Path | str) -> tuple[list[ClaimSet], list[Note]]:
    """Read claim sets from JSONL; image files are relative to the file's folder.

    A line is `{"anchor": {"image": "a.png"} or {"text": ...}, "right": ..., "wrong":
    [{"text": ..., "attribute": "severity"}, ...]}`, optionally with `id` and `caption`. A line
    that cannot be used is left out and noted.

    Raises:
        DatasetError: for a file that cannot be read, or of which no line is usable.
    """
    path = Path(path)
    sets: dict[str, ClaimSet] = {}
    notes: list[Note] = []
    for row, record in json_objects(path):
        if isinstance(record, Note):
            notes.append(record)
            continue
        try:
            claim_set = _claim_set(record, path.parent, (path.name, row))
            if claim_set.id in sets:
                raise DatasetError(
                    f"the id {excerpt(claim_set.id)} occurs before; make each id unique"
                )
        except (DatasetError, PairError) as error:
            notes.append(Note(file=path.name, row=row, code="claim_set", detail=str(error)))
            continue
        image = claim_set.anchor.image
        note = image_note(image, file=path.name, row=row) if isinstance(image, Path) else None
        notes += [note] if note else []
        if not (note and note.skipped):
            sets[claim_set.id] = claim_set
    if not sets:
        raise DatasetError(
            f"no claim set in {path.name}; expected objects of anchor, right and wrong, one a line"
        )
    return list(sets.values()), notes


def _claim_set(record: Mapping[str, Any], folder: Path, origin: Origin) -> ClaimSet:
    """Return the claim set of a line; raise a DatasetError or PairError if there is none."""
    name = str(record.get("id", f"{origin[0]}:{origin[1]}"))
    wrong = _wrong(record.get("wrong"))
    right = str(record.get("right") or "")
    texts = [right, *(text for _, text in wrong)]
    if not all(map(str.strip, texts)):
        raise DatasetError("the right and the wrong statements must be texts that are not blank")
    if len(set(texts)) < len(texts):
        raise DatasetError("two statements are equal; the right and the wrong ones must differ")
    return ClaimSet(
        id=name,
        anchor=_anchor(record.get("anchor"), folder),
        right=right,
        wrong=wrong,
        group=name,
        source=origin,
        caption=str(record.get("caption") or ""),
    )


def _wrong(value: Any) -> tuple[tuple[str, str], ...]:
    """Return attribute and text of each wrong statement."""
    wanted = {"attribute", "text"}
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(wrong, dict) and wanted <= set(wrong) for wrong in value)
    ):
        raise DatasetError(
            '`wrong` must be a list of one or more {"text": ..., "attribute": ...} objects'
        )
    return tuple((str(wrong["attribute"]), str(wrong["text"])) for wrong in value)


def _anchor(value: Any, folder: Path) -> Anchor:
    match value:
        case {"text": str(text)}:
            return Anchor(text=text)
        case {"image": str(image)}:
            return Anchor(image=folder / image)
    raise DatasetError('`anchor` must be {"text": ...} or {"image": "path"}')


def write_claim_sets(sets: Iterable[ClaimSet], path: str | Path) -> None:
    """Write claim sets in the format of `read_claim_sets`.

    Images in memory become PNG files in `<stem>_images/` beside the file.

    Raises:
        DatasetError: for no sets, or an id that occurs twice.
        OutputError: when the file or an image cannot be written.
    """
    path, sets = Path(path), list(sets)
    ids = {claim_set.id for claim_set in sets}
    if len(ids) < len(sets) or not sets:
        trouble = "an id occurs twice" if sets else "there is none"
        raise DatasetError(f"{len(sets)} claim sets cannot be written: {trouble}")
    lines = [json.dumps(_as_json(claim_set, path), ensure_ascii=False) for claim_set in sets]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _as_json(claim_set: ClaimSet, path: Path) -> dict[str, Any]:
    wrong = [{"text": text, "attribute": attribute} for attribute, text in claim_set.wrong]
    return {
        "id": claim_set.id,
        "anchor": anchor_as_json(claim_set.anchor, path),
        "right": claim_set.right,
        "wrong": wrong,
        **({"caption": claim_set.caption} if claim_set.caption else {}),
    }
