"""CAD-Chest: findings of MIMIC-CXR reports with place, level and certainty (Zhang et al. 2023)."""

__all__ = ["CadChest"]

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.files import is_json
from negtrace.datasets.readers.records import (
    UnusableRecord,
    name_in,
    read_records,
    study_of_record,
)
from negtrace.datasets.study import Study, finding_named
from negtrace.language.claims import Claim, attribute_words
from negtrace.language.findings import VOCABULARY

_SEVERITIES: Mapping[str, str] = {
    **dict.fromkeys(("mild", "small", "trace", "minor", "minimal", "minimally"), "small"),
    **dict.fromkeys(("subtle", "mildly"), "small"),
    **dict.fromkeys(("moderate", "moderately"), "moderate"),
    **dict.fromkeys(("severe", "massive", "large"), "large"),
}
"""CAD-Chest's levels, grouped as its authors do; "acute", "increasing" and ranges say no size."""

_CERTAINTIES: Mapping[int, str] = {1: "possible", 2: "probable", -2: "possible"}
"""Certainty by CAD-Chest's score, where the score is neither 3 (present) nor -3 (absent)."""


@LAYOUTS.register("cad-chest")
class CadChest(Layout):
    """CAD-Chest (Zhang et al. 2023, doi 10.13026/44pd-vz36).

    Each record has `study_id`, `subject_id`, `dicom_id` and `entity`. An entity has `location` and
    `level`, lists of words or null, and `probability_score`: 3 is present, 2 probable, 1 possible,
    0 not assessed, -2 unlikely, -3 absent. If a second finding of the same name follows, as in
    `location2`, place and size are ambiguous and neither is stated.
    """

    name = "cad-chest"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether JSON objects have `entity`."""
        return is_json(path) and "entity" in columns

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each record.

        Raises:
            DatasetError: for a file that cannot be read.
        """
        patient = config.patient or "subject_id"
        return read_records(path, lambda record, row: _study(record, path.name, row, patient))


def _study(record: Mapping[str, Any], file: str, row: int, patient_key: str) -> Study:
    patient, study = name_in(record, patient_key), name_in(record, "study_id")
    entities = record.get("entity")
    if not isinstance(entities, dict) or not all(isinstance(e, dict) for e in entities.values()):
        raise UnusableRecord("claim", "no object `entity` of objects")
    named = [(finding_named(str(e.get("entity_name") or name)), e) for name, e in entities.items()]
    known = [(finding, entity) for finding, entity in named if finding]
    claims = [claim for finding, entity in known if (claim := _claim(finding, entity))]
    view = record.get("dicom_id")
    return study_of_record(
        claims,
        file=file,
        row=row,
        source=CadChest.name,
        key=study,
        patient=patient,
        image=f"p{patient[:2]}/p{patient}/s{study}/{view}.jpg" if view else None,
        unknown=len(named) - len(known),
    )


def _claim(finding: str, entity: Mapping[str, Any]) -> Claim | None:
    """Return the claim of an entity, or None if it was not assessed."""
    score = entity.get("probability_score")
    if score not in (-3, -2, 1, 2, 3):
        return None
    if score == -3:
        return Claim(finding=finding, present=False)
    certainty: Any = _CERTAINTIES.get(score)
    attributes: Mapping[str, Any] = _attributes(finding, entity)
    return Claim(finding=finding, present=True, certainty=certainty, **attributes)


def _attributes(finding: str, entity: Mapping[str, Any]) -> dict[str, str]:
    """Return side, zone and severity as far as an entity states them without ambiguity."""
    if any(entity.get(f"{key}2") for key in ("location", "level", "post_location")):
        return {}
    places = " ".join([*_words(entity.get("location")), *_words(entity.get("post_location"))])
    values: dict[str, set[str]] = {"side": set(), "zone": set(), "severity": set()}
    for word in places.casefold().replace("bibasilar", "bilateral basilar").split():
        attribute, value = attribute_words().get(word, ("", ""))
        values.get(attribute, set()).add(value)
    values["severity"] = {_SEVERITIES.get(word, "") for word in _words(entity.get("level"))}
    if values["side"] >= {"left", "right"}:
        values["side"] = {"bilateral"}
    allowed = VOCABULARY[finding].allowed
    return {k: min(v) for k, v in values.items() if k in allowed and len(v) == 1 and min(v)}


def _words(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return [value]
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
