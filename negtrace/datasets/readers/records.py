"""Structured claims as JSONL, and what readers of JSON records share."""

__all__ = ["ClaimRecords", "UnusableRecord", "name_in", "read_records", "study_of_record"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from negtrace._messages import excerpt
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.files import is_json, json_objects
from negtrace.datasets.study import Study, certain_claims, finding_named
from negtrace.errors import LanguageError
from negtrace.language.claims import Claim, check_claim

JsonObject = Mapping[str, Any]

_VALUES: Mapping[str, Sequence[str]] = {
    name: get_args(get_args(kind)[0])
    for name, kind in get_type_hints(Claim).items()
    if name not in ("finding", "present")
}
"""Values of each attribute of a claim."""

_FIELDS = ("finding", "present", *_VALUES)
"""Every field of a claim. A record may give each of them."""

_BESIDE = ("patient", "study", "image", "text")
"""Keys that may stand beside the fields of a claim in a record of one claim."""


class UnusableRecord(Exception):  # noqa: N818
    """A record that cannot be used: the code and the detail of its note."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def read_records(path: Path, study: Callable[[JsonObject, int], Study]) -> Iterator[Study | Note]:
    """Yield the study that `study` makes of each JSON object and its row, or a note.

    Raises:
        DatasetError: for a file that cannot be read.
    """
    for row, record in json_objects(path):
        if isinstance(record, Note):
            yield record
            continue
        try:
            yield study(record, row)
        except UnusableRecord as error:
            yield Note(file=path.name, row=row, code=error.code, detail=error.detail)


def name_in(record: JsonObject, key: str) -> str:
    """Return a name that a record must have, such as the patient's; it may be a number.

    Raises:
        UnusableRecord: for a record without it.
    """
    value = record.get(key)
    if not isinstance(value, str | int) or not str(value).strip():
        raise UnusableRecord("no_study", f"no {key}")
    return str(value).strip()


def study_of_record(claims: Sequence[Claim], **fields: Any) -> Study:
    """Return a study of the claims that are certain; `fields` are its other fields."""
    kept, doubted, contradicted = certain_claims(claims)
    return Study(
        claims=tuple(claims[position] for position in kept),
        uncertain=doubted,
        contradicted=contradicted,
        **fields,
    )


@LAYOUTS.register("claims")
class ClaimRecords(Layout):
    """Structured claims as JSONL.

    A line is `{"patient": "p1", "image": "a.png", "claims": [{"finding": "effusion", "present":
    true, "side": "left", "severity": "small"}]}`, optionally with `study`, and `text` for `image`.
    A claim may have side, zone, severity, certainty and denied. Its finding may be a key, a name,
    or a label of CheXpert or NIH. A claim with another key is left out, and the note names the key.
    """

    name = "claims"

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether JSON objects have `claims` or `finding`."""
        return is_json(path) and bool({"claims", "finding"} & set(columns))

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each JSON object.

        Raises:
            DatasetError: for a file that cannot be read.
        """
        patient = config.patient or "patient"
        return read_records(path, lambda record, row: _study(record, path.name, row, patient))


def _study(record: JsonObject, file: str, row: int, patient_key: str) -> Study:
    patient = name_in(record, patient_key)
    image, text = (record.get(key) for key in ("image", "text"))
    if not all(
        value is None or (isinstance(value, str) and value.strip()) for value in (image, text)
    ):
        raise UnusableRecord("no_anchor", "image and text must be words, or left out")
    return study_of_record(
        _claims(record, patient_key),
        file=file,
        row=row,
        source=ClaimRecords.name,
        key=str(record.get("study", f"{file}:{row}")),
        patient=patient,
        image=image,
        text=text,
    )


def _claims(record: JsonObject, patient_key: str) -> list[Claim]:
    """Return the claims in a record's list, or the one that the record itself is."""
    if "claims" not in record:
        beside = (patient_key, *_BESIDE)
        return [_claim({key: value for key, value in record.items() if key not in beside})]
    rows = record["claims"]
    if not isinstance(rows, list) or not rows:
        raise UnusableRecord("claim", "no list of claims")
    if astray := [key for key in _FIELDS if key in record and key != patient_key]:
        raise UnusableRecord("claim", f"{excerpt(astray[0])} stands beside `claims`; put it inside")
    return [_claim(row) for row in rows]


def _claim(row: Any) -> Claim:
    if not isinstance(row, dict):
        raise UnusableRecord("claim", f"a claim of type {type(row).__name__}; expected an object")
    if unknown := [key for key in row if key not in _FIELDS]:
        raise UnusableRecord(
            "claim", f"the key {excerpt(unknown[0])} is unknown; a claim has {', '.join(_FIELDS)}"
        )
    name, present = row.get("finding"), row.get("present")
    values = [row.get(key) for key in _VALUES]
    if not isinstance(present, bool) or not all(isinstance(v, str | None) for v in (name, *values)):
        raise UnusableRecord("claim", "a claim needs words, and `present` true or false")
    return _checked(name or "", present, *values)


@lru_cache(maxsize=4096)
def _checked(name: str, present: bool, *values: str | None) -> Claim:
    finding = finding_named(name)
    if finding is None:
        raise UnusableRecord("claim", f"the finding {excerpt(name)} is not in the vocabulary")
    attributes: dict[str, Any] = dict(zip(_VALUES, values, strict=True))
    for key, value in attributes.items():
        if value is not None and value not in _VALUES[key]:
            expected = ", ".join(_VALUES[key])
            raise UnusableRecord("claim", f"{key} is {excerpt(value)}; expected {expected}")
    try:
        return check_claim(Claim(finding=finding, present=present, **attributes))
    except LanguageError as error:
        raise UnusableRecord("claim", str(error)) from error
