"""Studies of structured records: claims as JSONL, and the entities of CAD-Chest."""

__all__ = ["cad_chest", "claims"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from negtrace.datasets.config import Config
from negtrace.datasets.note import Note
from negtrace.datasets.readers.files import objects
from negtrace.datasets.study import Study, finding_of, stated
from negtrace.errors import LanguageError
from negtrace.language.claims import (
    CERTAINTIES,
    SEVERITIES,
    SIDES,
    ZONES,
    Claim,
    attribute_words,
    check_claim,
)
from negtrace.language.findings import VOCABULARY

_VALUES: Mapping[str, Sequence[str]] = {
    "side": SIDES,
    "zone": ZONES,
    "severity": SEVERITIES,
    "certainty": CERTAINTIES,
}

_LEVELS: Mapping[str, str] = {
    **dict.fromkeys(("mild", "small", "trace", "minor", "minimal", "minimally"), "small"),
    **dict.fromkeys(("subtle", "mildly"), "small"),
    **dict.fromkeys(("moderate", "moderately"), "moderate"),
    **dict.fromkeys(("severe", "massive", "large"), "large"),
}
"""CAD-Chest's levels, grouped as its authors do; "acute", "increasing" and spans say no size."""

Build = Callable[[dict[str, Any], Path, int, Config], Study]


class _Unusable(Exception):  # noqa: N818
    """Why a record cannot be used: a code and what came."""


def claims(path: Path, config: Config) -> Iterator[Study | Note]:
    """Yield the studies of a JSONL file of claims.

    A line is `{"patient": "p1", "image": "a.png", "claims": [{"finding": "effusion", "present":
    true, "side": "left", "severity": "small"}]}`, optionally with `study`, and `text` for `image`.
    A claim may have side, zone, severity and certainty; its finding may be a CheXpert or NIH label.

    Raises:
        DatasetError: for a file that cannot be read.
    """
    return _built(path, config, _claimed)


def cad_chest(path: Path, config: Config) -> Iterator[Study | Note]:
    """Yield the studies of CAD-Chest (Zhang et al. 2023, doi 10.13026/44pd-vz36).

    Each record has `study_id`, `subject_id`, `dicom_id` and `entity`; an entity has `location`
    and `level`, lists of words or null, and `probability_score`: 3 is present, 2 probable, 1
    possible, 0 not assessed, -2 unlikely, -3 absent. A second finding of the same name, as in
    `location2`, makes where and how much ambiguous: then neither is stated.

    Raises:
        DatasetError: for a file that cannot be read.
    """
    return _built(path, config, _annotated)


def _built(path: Path, config: Config, build: Build) -> Iterator[Study | Note]:
    for row, record in objects(path):
        if isinstance(record, Note):
            yield record
            continue
        try:
            yield build(record, path, row, config)
        except _Unusable as error:
            code, detail = error.args
            yield Note(file=path.name, row=row, code=code, detail=detail)


def _claimed(record: dict[str, Any], path: Path, row: int, config: Config) -> Study:
    patient = _named(record, config.patient or "patient")
    found = record.get("claims", [record] if "finding" in record else None)
    if not isinstance(found, list) or not found:
        raise _Unusable("claim", "no list of claims")
    image, text = (record.get(key) for key in ("image", "text"))
    if not all(
        value is None or (isinstance(value, str) and value.strip()) for value in (image, text)
    ):
        raise _Unusable("no_anchor", "image and text must be words, or left out")
    made = [_claim(one) for one in found]
    key = str(record.get("study", f"{path.name}:{row}"))
    return _study("claims", path, row, (key, patient), made, image, text)


def _claim(row: Any) -> Claim:
    if not isinstance(row, dict):
        raise _Unusable("claim", f"a claim of type {type(row).__name__}; expected an object")
    name, present = row.get("finding"), row.get("present")
    stated = [row.get(key) for key in _VALUES]
    if not isinstance(present, bool) or not all(isinstance(v, str | None) for v in (name, *stated)):
        raise _Unusable("claim", "a claim needs words, and `present` true or false")
    return _checked(name or "", present, *stated)


@lru_cache(maxsize=4096)
def _checked(name: str, present: bool, *stated: str | None) -> Claim:
    finding = finding_of(name)
    if finding is None:
        raise _Unusable("claim", f"the finding {name!r} is not in the vocabulary")
    said: dict[str, Any] = dict(zip(_VALUES, stated, strict=True))
    for key, value in said.items():
        if value is not None and value not in _VALUES[key]:
            raise _Unusable("claim", f"{key} is {value!r}; expected {', '.join(_VALUES[key])}")
    try:
        return check_claim(Claim(finding=finding, present=present, **said))
    except LanguageError as error:
        raise _Unusable("claim", str(error)) from error


def _annotated(record: dict[str, Any], path: Path, row: int, config: Config) -> Study:
    patient, study = _named(record, config.patient or "subject_id"), _named(record, "study_id")
    entities = record.get("entity")
    if not isinstance(entities, dict) or not all(isinstance(e, dict) for e in entities.values()):
        raise _Unusable("claim", "no object `entity` of objects")
    named = [(finding_of(str(e.get("entity_name") or name)), e) for name, e in entities.items()]
    found = [_entity(finding, entity) for finding, entity in named if finding]
    made = [claim for claim in found if claim]
    view = record.get("dicom_id")
    image = f"p{patient[:2]}/p{patient}/s{study}/{view}.jpg" if view else None
    unknown = len(named) - len(found)
    return _study("cad-chest", path, row, (study, patient), made, image, None, unknown)


def _entity(finding: str, entity: Mapping[str, Any]) -> Claim | None:
    score = entity.get("probability_score")
    if score not in (-3, -2, 1, 2, 3):
        return None
    if score == -3:
        return Claim(finding=finding, present=False)
    doubt: dict[str, Any] = {"certainty": {1: "possible", 2: "probable", -2: "possible"}.get(score)}
    return Claim(finding=finding, present=True, **doubt, **_attributes(finding, entity))


def _attributes(finding: str, entity: Mapping[str, Any]) -> dict[str, Any]:
    """Return what side, zone and severity an entity states without ambiguity."""
    if any(entity.get(f"{key}2") for key in ("location", "level", "post_location")):
        return {}
    words = " ".join([*_words(entity.get("location")), *_words(entity.get("post_location"))])
    found: dict[str, set[str]] = {"side": set(), "zone": set(), "severity": set()}
    for word in words.casefold().replace("bibasilar", "bilateral basilar").split():
        attribute, value = attribute_words().get(word, ("", ""))
        found.get(attribute, set()).add(value)
    found["severity"] = {_LEVELS.get(word, "") for word in _words(entity.get("level"))}
    if found["side"] >= {"left", "right"}:
        found["side"] = {"bilateral"}
    allowed = VOCABULARY[finding].allowed
    return {k: min(v) for k, v in found.items() if k in allowed and len(v) == 1 and min(v)}


def _words(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _named(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str | int) or not str(value).strip():
        raise _Unusable("no_study", f"no {key}")
    return str(value).strip()


def _study(
    source: str,
    path: Path,
    row: int,
    names: tuple[str, str],
    made: Sequence[Claim],
    image: str | None,
    text: str | None,
    unknown: int = 0,
) -> Study:
    kept, doubted, contradicted = stated(made)
    return Study(
        id=f"{path.name}:{row}",
        file=path.name,
        row=row,
        source=source,
        key=names[0],
        patient=names[1],
        claims=tuple(made[place] for place in kept),
        image=image,
        text=text,
        uncertain=doubted,
        contradicted=contradicted,
        unknown=unknown,
    )
