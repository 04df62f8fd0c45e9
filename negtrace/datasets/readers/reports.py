"""Studies of free-text reports, read by the cue finder and the vocabulary."""

__all__ = ["TEXTS", "reports", "table_of_reports"]

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from negtrace.datasets.config import Config
from negtrace.datasets.note import Note
from negtrace.datasets.readers.csv import garbled
from negtrace.datasets.readers.files import objects, opened
from negtrace.datasets.study import Said, Study, stated
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim
from negtrace.language.parse import read_sentence, sentence_spans

TEXTS = ("report", "text", "caption", "findings", "impression", "sentence")
"""Columns that hold the text, the first that is there; case aside."""

PATIENTS = ("patient", "patient_id", "patient id", "subject_id", "report no.")
STUDIES = ("study", "study_id", "id", "uid")
IMAGES = ("image", "image_path", "path", "file", "filename", "image index")

LONGEST = 20_000
"""Lines that a report in a CSV cell may have."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half a character, as JSON can spell it."""

SENTENCE = 600
"""Characters of the longest sentence that becomes a statement or an anchor."""


def reports(path: Path, config: Config) -> Iterator[Study | Note]:
    """Yield the reports of a CSV, TSV or JSONL file, of a text file, or of a folder of such.

    A text file is one report; its patient is the folder `p10000032` that it lies in, as in
    MIMIC-CXR, or else itself. Without a patient, equal reports count as one patient's.

    Raises:
        DatasetError: for a file that cannot be read, or without a column of texts.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*.txt")):
            yield from _whole(file, f"{path.name}/{file.relative_to(path).as_posix()}")
    elif path.suffix.lower() in (".csv", ".tsv"):
        yield from _cells(path, config)
    elif path.suffix.lower() in (".jsonl", ".json"):
        yield from _records(path, config)
    else:
        yield from _whole(path, path.name)


def table_of_reports(columns: Sequence[str], config: Config) -> bool:
    """Tell whether a file with these columns holds reports."""
    return _first(columns, (config.column,) if config.column else TEXTS) is not None


def _whole(path: Path, name: str) -> Iterator[Study | Note]:
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        told = f"not UTF-8 at byte {error.start}"
        yield Note(file=name, row=1, code="mojibake", detail=told)
        return
    except OSError as error:
        raise DatasetError(f"{name} cannot be read ({error.strerror}); give a file") from error
    folder = path.parent.name
    known = folder[:1] == "p" and folder[1:].isdigit()
    yield _study(name, 1, text, {"patient": folder[1:] if known else "", "study": path.stem})


def _cells(path: Path, config: Config) -> Iterator[Study | Note]:
    with opened(path, longest=LONGEST) as table:
        places = _places(path, table.columns, config)
        for row, cells in table.rows():
            if isinstance(cells, Note):
                yield cells
            else:
                found = {what: cells[table.columns.index(c)] for what, c in places.items()}
                yield _study(table.file, row, found.pop("text"), found)


def _records(path: Path, config: Config) -> Iterator[Study | Note]:
    for row, record in objects(path):
        if isinstance(record, Note):
            yield record
            continue
        try:
            places = _places(path, list(record), config)
        except DatasetError as error:
            yield Note(file=path.name, row=row, code="columns", detail=str(error))
            continue
        found: dict[str, Any] = {what: record[key] for what, key in places.items()}
        text = found.pop("text")
        names = {what: "" if value is None else str(value) for what, value in found.items()}
        yield _study(path.name, row, text if isinstance(text, str) else "", names)


def _places(path: Path, columns: Sequence[str], config: Config) -> dict[str, str]:
    """Return the columns that hold the text and, where there are any, patient, study and image."""
    wanted = {
        "text": (config.column,) if config.column else TEXTS,
        "patient": (config.patient,) if config.patient else PATIENTS,
        "study": STUDIES,
        "image": IMAGES,
    }
    found = {what: _first(columns, names) for what, names in wanted.items()}
    if found["text"] is None or (config.patient and found["patient"] is None):
        missing = "patient" if found["text"] else "text"
        raise DatasetError(
            f"{path.name} has {', '.join(columns)[:200]}; expected {missing} in one of "
            f"{', '.join(filter(None, wanted[missing]))}; name another with `column` or `patient`"
        )
    return {what: column for what, column in found.items() if column is not None}


def _first(columns: Sequence[str], names: Sequence[str | None]) -> str | None:
    folded = {column.casefold(): column for column in reversed(columns)}
    return next((folded[n.casefold()] for n in names if n and n.casefold() in folded), None)


def _study(file: str, row: int, text: str, names: Mapping[str, str]) -> Study | Note:
    if not text.strip():
        return Note(file=file, row=row, code="empty_report", detail="no words")
    if not text.isascii() and (garbled(text) or _HALF.search(text)):
        return Note(file=file, row=row, code="mojibake", detail="decoded with a wrong encoding")
    made, said = _read(text)
    kept, doubted, contradicted = stated([claim for claim, _ in made])
    patient = names.get("patient", "").strip()
    return Study(
        id=f"{file}:{row}",
        file=file,
        row=row,
        source="reports",
        key=names.get("study", "").strip() or f"{file}:{row}",
        # Without a patient, a report goes where its words go, so equal reports are never parted.
        patient=patient,
        claims=tuple(made[place][0] for place in kept),
        image=names.get("image", "").strip() or None,
        text=" ".join(text.split()),
        sentences=tuple(made[place][1] for place in kept),
        said=tuple(said),
        uncertain=doubted,
        contradicted=contradicted,
    )


def _read(text: str) -> tuple[list[tuple[Claim, str]], list[Said]]:
    """Return the claims of a report with their sentences, and its negated sentences."""
    made: list[tuple[Claim, str]] = []
    said: dict[str, Said] = {}
    for start, end in sentence_spans(text):
        sentence = " ".join(text[start:end].split())
        if len(sentence) > SENTENCE:
            continue
        found, denial = _sentence(sentence)
        made += [(claim, sentence) for claim in found]
        if denial:
            said[sentence] = denial
    return made, list(said.values())


@lru_cache(maxsize=4096)
def _sentence(sentence: str) -> tuple[tuple[Claim, ...], Said | None]:
    """Return the claims of a sentence, and itself if it denies something.

    Reports say many things in the same words, so the last ones are kept.
    """
    claims, reading = read_sentence(sentence)
    cue = next((cue for cue in reading.cues if cue.scope[0] < cue.scope[1]), None)
    if cue is None:
        return claims, None
    denied = [claim.finding for claim in claims if not claim.present or claim.denied]
    finding = denied[0] if len(denied) == 1 else ""
    return claims, Said(text=sentence, cue=(cue.start, cue.end), finding=finding)
