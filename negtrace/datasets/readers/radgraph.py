"""RadGraph: entities of a report and their relations (Jain et al. 2021, arXiv 2106.14463)."""

__all__ = ["RadGraph"]

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.names import with_names
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.files import is_json, json_entries
from negtrace.datasets.readers.records import UnusableRecord, study_of_record
from negtrace.datasets.study import Study, finding_named
from negtrace.language.claims import Claim, attribute_words
from negtrace.language.findings import VOCABULARY

_STATUS: Mapping[str, str] = {
    "OBS-DP": "present",
    "OBS-DA": "absent",
    "OBS-U": "uncertain",
    "Observation::definitely present": "present",
    "Observation::definitely absent": "absent",
    "Observation::uncertain": "uncertain",
}
"""Status of an observation by its label, in RadGraph and in RadGraph-XL."""

_PATIENT = re.compile(r"p(\d{8})(?=/)")
"""Patient in the name of a report of MIMIC-CXR, as in `p10/p10000032/s50414267.txt`."""

_LOOSE = frozenset(["evidence", "focal", "definite", "obvious"])
"""Modifiers without which a denial says no more."""

_GONE = frozenset(["resolved", "removed", "cleared"])
"""Modifiers of what is not there any more."""

JsonObject = Mapping[str, Any]


@LAYOUTS.register("radgraph")
class RadGraph(Layout):
    """RadGraph's JSON: one object with a report for each key.

    A report has `text` and `entities`. An entity has `tokens`, a `label` and `relations` to other
    entities. An observation on a known finding is a claim: present (OBS-DP), absent (OBS-DA) or in
    doubt (OBS-U: left out). Its side and zone come from the anatomy that it is `located_at`, its
    severity from what `modify`s it. A denial with a modifier that the vocabulary does not know, as
    in "no new effusion", is left out. Of two annotators the first is read.
    """

    name = "radgraph"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether the first value of a JSON object has entities."""
        if not is_json(path):
            return False
        first = next(json_entries(path), None)
        return first is not None and isinstance(first[2], dict) and _entities(first[2]) is not None

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each report.

        Raises:
            DatasetError: for a file that cannot be read.
        """
        for row, key, report in json_entries(path):
            if isinstance(report, Note):
                yield report
                continue
            try:
                yield _study(report, path.name, row, key)
            except UnusableRecord as error:
                yield Note(file=path.name, row=row, code=error.code, detail=error.detail)


def _entities(report: JsonObject) -> Any:
    """Return the entities of a report, or those of its first annotator."""
    annotator = report.get("labeler_1")
    annotated = annotator.get("entities") if isinstance(annotator, dict) else None
    return report.get("entities", annotated)


def _study(report: JsonObject, file: str, row: int, key: str) -> Study:
    text, entities = report.get("text"), _entities(report)
    if not isinstance(text, str) or not text.strip():
        raise UnusableRecord("empty_report", "no words")
    if not isinstance(entities, dict) or not all(map(_usable, entities.values())):
        raise UnusableRecord("claim", "expected entities of tokens, label and relations")
    observed = [e for e in entities.items() if _STATUS.get(e[1]["label"])]
    claims = [_claim(*observation, entities) for observation in observed]
    unknown = [e for claim, (_, e) in zip(claims, observed, strict=True) if claim is None]
    patient = _PATIENT.search(key)
    return study_of_record(
        [claim for claim in claims if claim],
        file=file,
        row=row,
        source=RadGraph.name,
        key=key,
        patient=patient[1] if patient else "",
        text=" ".join(text.split()),
        unknown=sum(all(name != "modify" for name, _ in e["relations"]) for e in unknown),
    )


def _usable(entity: Any) -> bool:
    if not isinstance(entity, dict):
        return False
    relations = entity.get("relations")
    return (
        isinstance(entity.get("tokens"), str)
        and isinstance(entity.get("label"), str)
        and isinstance(relations, list)
        and all(isinstance(r, list) and list(map(type, r)) == [str, str] for r in relations)
    )


def _claim(key: str, entity: JsonObject, entities: Mapping[str, JsonObject]) -> Claim | None:
    """Return the claim of an observation; None if the vocabulary cannot say it."""
    located = [to for name, to in entity["relations"] if name == "located_at" and to in entities]
    modifiers = _modifiers(key, entities)
    around = [*modifiers, *located, *(m for place in located for m in _modifiers(place, entities))]
    phrases = [entities[other]["tokens"].casefold() for other in around]
    name = _name(entity["tokens"].casefold(), phrases)
    finding = finding_named(name)
    said = {entities[other]["tokens"].casefold() for other in modifiers}
    if finding is None or said & _GONE:
        return None
    status = _STATUS[entity["label"]]
    if status == "absent" and not said <= {*attribute_words(), *_LOOSE, *name.split()}:
        return None
    values = _values(finding, [word for phrase in phrases for word in phrase.split()])
    if status == "uncertain":
        return Claim(finding=finding, present=True, certainty="possible", **values)
    return with_names([Claim(finding=finding, present=status == "present", **values)], name)[0]


def _modifiers(key: str, entities: Mapping[str, JsonObject]) -> list[str]:
    """Return the keys of the entities that modify an entity."""
    return [other for other, e in entities.items() if ["modify", key] in e["relations"]]


def _name(tokens: str, around: Sequence[str]) -> str:
    """Return the name of an observation, with a phrase around it if they are the name of a finding.

    >>> _name("effusion", ["small", "pleural"]), _name("enlarged", ["heart"]), _name("mass", [])
    ('pleural effusion', 'enlarged heart', 'mass')
    """
    longer = [name for phrase in around for name in (f"{phrase} {tokens}", f"{tokens} {phrase}")]
    return next(filter(finding_named, longer), tokens)


def _values(finding: str, words: Sequence[str]) -> dict[str, Any]:
    """Return side, zone and severity, each if exactly one is stated; left and right are both."""
    values: dict[str, set[str]] = {"side": set(), "zone": set(), "severity": set()}
    for word in words:
        if meaning := attribute_words().get(word):
            values[meaning[0]].add(meaning[1])
    if values["side"] >= {"left", "right"}:
        values["side"] = {"bilateral"}
    allowed = VOCABULARY[finding].allowed
    return {key: min(v) for key, v in values.items() if key in allowed and len(v) == 1}
