"""Question files about texts alone: NevIR's JSONL, LM_Negation's JSON and FACTOR's CSV.

- NevIR (Weller et al. 2023, arXiv 2305.07614): `q1`, `q2`, `doc1`, `doc2`; the first document
  answers the first query alone, the second the second.
- LM_Negation (Zhou et al. 2026, ICML): `negative_q`, `negative_a`, `positive_q`, `positive_a`; an
  answer is one word, or a list of words.
- FACTOR (Muhlgay et al. 2023, arXiv 2307.06908): `turncated_prefixes` (so spelled) or
  `full_prefix`, `completion`, and `contradiction_0` to `contradiction_2`.
"""

__all__ = ["data_file", "read_factor", "read_lm_negation", "read_nevir"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negtrace._messages import excerpt
from negtrace.bench.config import BenchConfig
from negtrace.bench.items import Item
from negtrace.bench.squares import Square
from negtrace.datasets.note import Note, Origin
from negtrace.datasets.readers.files import Record, json_objects, read_table
from negtrace.errors import BenchError
from negtrace.pairs.anchor import Anchor

NEVIR = ("q1", "q2", "doc1", "doc2")
LM_NEGATION = ("negative_q", "negative_a", "positive_q", "positive_a")
PREFIXES = ("turncated_prefixes", "full_prefix")
"""Columns of a prefix; the first one that there is, as the authors' evaluation reads it."""
COMPLETIONS = ("completion", *(f"contradiction_{number}" for number in range(3)))


def data_file(config: BenchConfig, suite: str, expected: str) -> Path:
    """Path of the file that a suite reads.

    Raises:
        BenchError: when no file is given.
    """
    if config.data in (None, "text", "phantom"):
        raise BenchError(f"the suite {suite!r} reads a file; give {expected} as `data`")
    return Path(str(config.data))


def read_nevir(path: Path) -> tuple[list[Square], list[Note]]:
    """Read NevIR's JSONL: a square for each row, with its queries as anchors.

    Raises:
        BenchError: for a file without a usable row.
        DatasetError: for a file that cannot be read.
    """

    def square(row: Mapping[str, Any], source: Origin) -> Square:
        first, second, *documents = (_text(row, name) for name in NEVIR)
        return Square(
            id=f"{source[0]}:{source[1]}",
            anchors=(first, second),
            statements=((documents[0],), (documents[1],)),
            source=source,
        )

    return _squares(path, square, NEVIR, "NevIR")


def read_lm_negation(path: Path) -> tuple[list[Square], list[Note]]:
    """Read LM_Negation's JSON: a square for each entry, with its two prompts as anchors.

    An answer begins with a blank, since it goes on from its prompt.

    Raises:
        BenchError: for a file without a usable entry.
        DatasetError: for a file that cannot be read.
    """

    def square(row: Mapping[str, Any], source: Origin) -> Square:
        return Square(
            id=f"{source[0]}:{source[1]}",
            anchors=(_text(row, "negative_q"), _text(row, "positive_q")),
            statements=(_answers(row, "negative_a"), _answers(row, "positive_a")),
            source=source,
            levels=("negated", "affirmed"),
        )

    return _squares(path, square, LM_NEGATION, "LM_Negation")


def _squares(
    path: Path, square: Any, names: tuple[str, ...], benchmark: str
) -> tuple[list[Square], list[Note]]:
    squares: list[Square] = []
    notes: list[Note] = []
    for number, row in json_objects(path):
        if isinstance(row, Note):
            notes.append(row)
            continue
        try:
            squares.append(square(row, (path.name, number)))
        except BenchError as error:
            notes.append(Note(file=path.name, row=number, code="row", detail=str(error)))
    if not squares:
        raise BenchError(
            f"no usable row in {path.name}: {notes[0].detail if notes else 'it is empty'}. "
            f"{benchmark} has {', '.join(names)} in each row"
        )
    return squares, notes


def _text(row: Mapping[str, Any], name: str) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text.strip():
        raise BenchError(f"{name} is {excerpt(str(text))}; expected a text")
    return text.strip()


def _answers(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = row.get(name)
    answers = given if isinstance(given, list) else [given]
    if not answers:
        raise BenchError(f"{name} is an empty list; expected an answer")
    return tuple(dict.fromkeys(f" {_text({name: answer}, name)}" for answer in answers))


def read_factor(path: Path) -> tuple[list[Item], list[Note]]:
    """Read FACTOR's CSV: an item for each row, with the prefix as its anchor.

    Raises:
        BenchError: for a file with other columns, or without a usable row.
        DatasetError: for a file that cannot be read.
    """
    table = read_table(path)
    prefix = next((name for name in PREFIXES if name in table.columns), None)
    missing = [name for name in COMPLETIONS if name not in table.columns]
    if prefix is None or missing:
        raise BenchError(
            f"{path.name} lacks the columns {', '.join(missing or PREFIXES)}; FACTOR has "
            f"{' or '.join(PREFIXES)}, and {', '.join(COMPLETIONS)}"
        )
    items, notes = [], list(table.notes)
    for record in table.records:
        try:
            items.append(_factor_item(record, prefix, path.name))
        except BenchError as error:
            notes.append(Note(file=path.name, row=record.row, code="choices", detail=str(error)))
    if not items:
        reason = notes[-1].detail if notes else "it is empty"
        raise BenchError(f"no usable row in {path.name}: {reason}")
    return items, notes


def _factor_item(record: Record, prefix: str, file: str) -> Item:
    cells = record.cells
    before = cells[prefix]
    texts = [cells[name].strip() for name in COMPLETIONS]
    if not before.strip() or not all(texts):
        raise BenchError("a prefix or a completion is blank")
    # A blank between the two belongs to the first word of the completion.
    blank = " " if before.endswith(" ") else ""
    document = cells.get("doc_id", "").strip()
    return Item(
        id=f"{file}:{record.row}",
        anchor=Anchor(text=before.removesuffix(" ")),
        texts=tuple(blank + text for text in texts),
        answer=0,
        group=document or f"{file}:{record.row}",
        source=(file, record.row),
    )
