"""Free-text reports. Negation cues and the vocabulary give their claims."""

__all__ = ["LONGEST_REPORT", "PATIENTS", "Reports", "first_column", "study_of_report"]

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.names import with_names
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import LAYOUTS, Layout
from negtrace.datasets.readers.csv import garbled
from negtrace.datasets.readers.files import is_json, is_table, json_objects, open_table
from negtrace.datasets.study import NegatedSentence, Study, certain_claims
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim
from negtrace.language.parse import read_sentence, sentence_spans
from negtrace.language.words import Span

TEXTS = ("report", "text", "caption", "findings", "impression", "sentence")
"""Columns that hold the text, in order of preference; case does not matter."""

PATIENTS = ("patient", "patient_id", "patient id", "subject_id", "report no.")
STUDIES = ("study", "study_id", "id", "uid")
IMAGES = ("image", "image_path", "path", "file", "filename", "image index")

LONGEST_REPORT = 20_000
"""Most lines of a report in a CSV cell."""

LONGEST_SENTENCE = 600
"""Characters of the longest sentence that becomes a statement or an anchor."""

_DIGIT = re.compile(r"\d")

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
"""Half of a character beyond U+FFFF, as JSON can write it."""


@LAYOUTS.register("reports")
class Reports(Layout):
    """Reports in a CSV, TSV or JSONL file, in a text file, or in a folder of text files.

    A text file is one report. Its patient is the folder `p10000032` that it lies in, as in
    MIMIC-CXR. Without a patient, the split of a report depends on its words, so equal reports stay
    in one split.
    """

    name = "reports"
    fallback = True

    def matches(self, path: Path, columns: Sequence[str], config: DatasetConfig) -> bool:
        """Tell whether there is a column of texts; text files and folders always match."""
        if not (is_table(path) or is_json(path)):
            return True
        return first_column(columns, (config.column,) if config.column else TEXTS) is not None

    def read(self, path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
        """Yield a study for each report.

        Raises:
            DatasetError: for a file that cannot be read, or without a column of texts.
        """
        if path.is_dir():
            for file in sorted(path.rglob("*.txt")):
                yield _text_file(file, f"{path.name}/{file.relative_to(path).as_posix()}")
        elif is_table(path):
            yield from _table(path, config)
        elif is_json(path):
            yield from _records(path, config)
        else:
            yield _text_file(path, path.name)


def _text_file(path: Path, name: str) -> Study | Note:
    try:
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        detail = f"not UTF-8 at byte {error.start}"
        return Note(file=name, row=1, code="mojibake", detail=detail)
    except OSError as error:
        raise DatasetError(f"{name} cannot be read ({error.strerror}); give a file") from error
    folder = path.parent.name
    patient = folder[1:] if folder[:1] == "p" and folder[1:].isdigit() else ""
    return study_of_report(name, 1, text, {"patient": patient, "study": path.stem})


def _table(path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
    with open_table(path, longest=LONGEST_REPORT) as table:
        columns = _columns(path, table.columns, config)
        positions = {field: table.columns.index(column) for field, column in columns.items()}
        for row, cells in table.rows():
            if isinstance(cells, Note):
                yield cells
            else:
                fields = {field: cells[position] for field, position in positions.items()}
                yield study_of_report(table.file, row, fields.pop("text"), fields)


def _records(path: Path, config: DatasetConfig) -> Iterator[Study | Note]:
    columns: Mapping[str, str] = {}
    keys: Sequence[str] = ()
    for row, record in json_objects(path):
        if isinstance(record, Note):
            yield record
            continue
        try:
            # Nearly all records have the keys of the one before.
            if not columns or keys != list(record):
                keys = list(record)
                columns = _columns(path, keys, config)
        except DatasetError as error:
            columns = {}
            yield Note(file=path.name, row=row, code="columns", detail=str(error))
            continue
        values: dict[str, Any] = {field: record[key] for field, key in columns.items()}
        text = values.pop("text")
        fields = {field: "" if value is None else str(value) for field, value in values.items()}
        yield study_of_report(path.name, row, text if isinstance(text, str) else "", fields)


def _columns(path: Path, columns: Sequence[str], config: DatasetConfig) -> dict[str, str]:
    """Return the column of the text, and those of patient, study and image if there are any."""
    wanted = {
        "text": (config.column,) if config.column else TEXTS,
        "patient": (config.patient,) if config.patient else PATIENTS,
        "study": STUDIES,
        "image": IMAGES,
    }
    chosen = {field: first_column(columns, names) for field, names in wanted.items()}
    if chosen["text"] is None or (config.patient and chosen["patient"] is None):
        missing = "patient" if chosen["text"] else "text"
        raise DatasetError(
            f"{path.name} has {', '.join(columns)[:200]}; expected {missing} in one of "
            f"{', '.join(filter(None, wanted[missing]))}; name another with `column` or `patient`"
        )
    return {field: column for field, column in chosen.items() if column is not None}


def first_column(columns: Sequence[str], names: Sequence[str | None]) -> str | None:
    """Return the column with the first of these names that there is; case does not matter."""
    folded = {column.casefold(): column for column in reversed(columns)}
    return next((folded[n.casefold()] for n in names if n and n.casefold() in folded), None)


def study_of_report(
    file: str, row: int, text: str, fields: Mapping[str, str], *, source: str = "reports"
) -> Study | Note:
    """Return the study of a report, or a note if it cannot be used.

    Args:
        file: file name without its folder.
        row: line, or position in the source, from 1.
        text: the report.
        fields: patient, study and image, as far as they are known.
        source: name of the layout.
    """
    if not text.strip():
        return Note(file=file, row=row, code="empty_report", detail="no words")
    if not text.isascii() and (garbled(text) or _HALF_CHARACTER.search(text)):
        return Note(file=file, row=row, code="mojibake", detail="decoded with a wrong encoding")
    stated, negated = _read(text)
    kept, doubted, contradicted = certain_claims([claim for claim, _ in stated])
    unsettled = {claim.finding for claim, _ in stated} - {stated[n][0].finding for n in kept}
    unsure = {sentence for claim, sentence in stated if claim.finding in unsettled}
    return Study(
        file=file,
        row=row,
        source=source,
        key=fields.get("study", "").strip() or f"{file}:{row}",
        patient=fields.get("patient", "").strip(),
        claims=tuple(stated[position][0] for position in kept),
        image=fields.get("image", "").strip() or None,
        text=" ".join(text.split()),
        sentences=tuple(stated[position][1] for position in kept),
        negated_sentences=tuple(s for s in negated if s.text not in unsure),
        uncertain=doubted,
        contradicted=contradicted,
    )


def _read(text: str) -> tuple[list[tuple[Claim, str]], list[NegatedSentence]]:
    """Return the claims of a report with their sentences, and its negated sentences."""
    stated: list[tuple[Claim, str]] = []
    negated: dict[str, NegatedSentence] = {}
    for start, end in sentence_spans(text):
        sentence = " ".join(text[start:end].split())
        claims, negation = _sentence(sentence)
        if len(sentence) > LONGEST_SENTENCE:
            # Too long to be quoted; nothing that it speaks of is certain.
            unread = (Claim(finding=c.finding, present=True, certainty="possible") for c in claims)
            stated += [(claim, sentence) for claim in unread]
            continue
        stated += [(claim, sentence) for claim in claims]
        if negation:
            negated[sentence] = negation
    return stated, list(negated.values())


def _sentence(sentence: str) -> tuple[Sequence[Claim], NegatedSentence | None]:
    """Return the claims of a sentence, and the sentence itself if it denies something."""
    # Sentences that differ in numbers alone, as in a size or a date, say the same of findings.
    claims, cue, finding = _said(_DIGIT.sub("0", sentence))
    return claims, NegatedSentence(text=sentence, cue=cue, finding=finding) if cue else None


@lru_cache(maxsize=1 << 14)
def _said(sentence: str) -> tuple[Sequence[Claim], Span | None, str]:
    """Return the claims of a sentence, the characters of its cue, and the finding that it denies.

    Reports repeat sentences, so the last ones are kept.
    """
    read, reading = read_sentence(sentence)
    claims = with_names(read, sentence)
    cue = next((cue for cue in reading.cues if cue.scope[0] < cue.scope[1]), None)
    denied = [claim.finding for claim in claims if not claim.present or claim.denied]
    finding = denied[0] if len(denied) == 1 else ""
    return claims, (cue.start, cue.end) if cue else None, finding
