"""Cues of a file: a row for each cue, words only on request, bad records named by line."""

import csv
import json
from pathlib import Path

import pytest

from negtrace.cli.cue_files import cue_rows
from negtrace.errors import LanguageError


def test_a_text_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "reports.txt"
    path.write_text("\ufeffA mass.\n\nNo effusion. Possible edema.\nClear.\n", "utf-8")
    negated, doubted = cue_rows(path, include_text=True)
    assert (negated.line, negated.category, negated.start, negated.end) == (3, "before", 0, 2)
    assert (negated.text, negated.scope_text, negated.reason) == ("No", "effusion", "before: no")
    assert (doubted.category, doubted.scope_text) == ("uncertain", "edema")


def test_rows_contain_no_words_of_the_file_unless_requested(tmp_path: Path) -> None:
    path = tmp_path / "reports.txt"
    path.write_text("No xanthoma.\n", "utf-8")
    [row] = cue_rows(path)
    assert row.text is None
    assert "xanthoma" not in repr(row)


def test_csv_tsv_and_jsonl_give_the_same_rows(tmp_path: Path) -> None:
    reports = ["No mass,\nno 'effusion'", "Clear.", "Mass is absent", "x " * 100_000 + "no mass"]
    for suffix, mark in ((".csv", ","), (".tsv", "\t")):
        with (tmp_path / f"r{suffix}").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=mark).writerows([["id", "report"], *enumerate(reports)])
    lines = [json.dumps({"report": report}) for report in reports]
    (tmp_path / "r.jsonl").write_text("\n".join(lines), "utf-8")
    rows = [
        [(row.start, row.end, row.scope, row.reason) for row in cue_rows(path, column="report")]
        for path in (tmp_path / "r.csv", tmp_path / "r.tsv", tmp_path / "r.jsonl")
    ]
    assert rows[0] == rows[1] == rows[2]
    assert len(rows[0]) == 4
    assert [row.line for row in cue_rows(tmp_path / "r.csv", column="report")] == [3, 3, 5, 6]


def test_the_file_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"t": "No mass."}\n[1]\n', "utf-8")
    rows = cue_rows(path, column="t")
    assert next(rows).line == 1
    with pytest.raises(LanguageError, match=r"r\.jsonl, line 2: no text under 't'"):
        next(rows)


@pytest.mark.parametrize(
    ("name", "content", "column", "message"),
    [
        ("r.csv", "id,report\n1\n", "report", r"r\.csv, line 2: 1 cells"),
        ("r.csv", "id,report\n", "text", r"no column 'text'; it has id, report"),
        ("r.csv", "", "text", "no column 'text'; it has none"),
        ("r.csv", "a,b\n", None, "name the column or key of the text with `column`"),
        ("r.jsonl", "{", "t", r"r\.jsonl, line 1: not JSON"),
        ("r.jsonl", '{"t": 3}', "t", "no text under 't'"),
    ],
)
def test_a_bad_file_is_refused_with_the_line(
    tmp_path: Path, name: str, content: str, column: str | None, message: str
) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(LanguageError, match=message):
        list(cue_rows(tmp_path / name, column=column))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match="cannot be read"):
        list(cue_rows(tmp_path / "none.txt"))


def test_bytes_that_are_not_utf8_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_bytes(b"\xff\xfe\x00 caf\xe9\nNo mass.\n")
    assert [row.line for row in cue_rows(path)] == [2]
