"""Fuzzing: whatever a file holds, its reader gives a value or raises a NegtraceError."""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import pytest
from damage import changed, damaged_json, torn
from golden.results import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from negtrace._files import canonical, pack, sha256, unpack
from negtrace.bench.collapse import read_triples
from negtrace.bench.question_files import read_candidates, read_choices, read_valse
from negtrace.bench.report import read_report
from negtrace.bench.text_files import read_factor, read_lm_negation, read_nevir
from negtrace.cli.cue_files import cue_rows
from negtrace.cli.settings import settings as setting_values
from negtrace.datasets.card import read_card
from negtrace.datasets.claim_sets import read_claim_sets
from negtrace.datasets.config import DatasetConfig
from negtrace.datasets.folder import DatasetFolder
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import layout_of
from negtrace.datasets.readers.files import (
    _Bounded,
    _OutOfBoundsError,
    _ValidUtf8,
    json_objects,
    read_table,
)
from negtrace.errors import NegtraceError, NegtraceWarning
from negtrace.language.lexicon import load_lexicon
from negtrace.language.words import split
from negtrace.pairs.jsonl import read_pairs
from negtrace.pairs.valse import valse_pairs
from negtrace.results.cte import CTE
from negtrace.results.cte_json import read_json
from negtrace.results.run_folder import RunFolder

SEEDS = 25
"""Draws of hypothesis for each reader. They are the same in every run."""


@dataclass(frozen=True)
class Reader:
    """A reader, the name of its file, damaged contents, and how many of them each seed gives."""

    file: str
    read: Callable[[Path], Any]
    damaged: Callable[[Random], bytes]
    inputs: int = 30


@cache
def golden_document() -> Any:
    document = json.loads(GOLDEN.read_bytes())
    for name in ("effects", "layer_scores"):
        document[name] = document[name][:1]
    return document


def cte_json(rng: Random) -> bytes:
    document = golden_document()
    if rng.random() < 0.5:
        return damaged_json(rng, document)
    # The checksum fits, so that what lies behind it is reached too.
    document = changed(rng, document)
    if isinstance(document, dict):
        try:
            document["checksum"] = sha256(canonical({**document, "checksum": 0}))
            rest = {name: value for name, value in document.items() if name != "checksum"}
            document["checksum"] = sha256(canonical(rest))
        except ValueError:
            pass
    return json.dumps(document).encode()


def raw(rng: Random) -> bytes:
    data = GOLDEN.with_suffix(".safetensors").read_bytes()
    if rng.random() < 0.3:
        return torn(rng, data)
    arrays, header = unpack(data)
    if rng.random() < 0.3:
        name = rng.choice(list(arrays))
        array = arrays.pop(name)
        kind = rng.randrange(5)
        if kind < 3:
            arrays[name] = (array[..., None], array[..., :1], array.astype("float16"))[kind]
        elif kind == 3:
            arrays[name] = array.reshape(-1)[:1].reshape(())
        return pack(arrays, header)
    return safetensors(arrays, damaged_json(rng, header))


def safetensors(arrays: Any, header: bytes) -> bytes:
    """Return a raw file whose header need not be JSON."""
    from safetensors.numpy import save

    return bytes(save(arrays, metadata={"negtrace": header.decode("utf-8", "replace")}))


def json_file(value: Any) -> Callable[[Random], bytes]:
    """Return what draws damaged files of one JSON value."""
    return partial(damaged_json, value=value)


def json_lines(*values: Any) -> Callable[[Random], bytes]:
    """Return what draws JSONL files with one damaged line, or damaged as a whole."""

    def damaged(rng: Random) -> bytes:
        lines = [json.dumps(value).encode() for value in values]
        if rng.random() < 0.2:
            return torn(rng, b"\n".join(lines))
        index = rng.randrange(len(lines))
        lines[index] = damaged_json(rng, values[index])
        return b"\n".join(lines)

    return damaged


def json_array(*values: Any) -> Callable[[Random], bytes]:
    """Return what draws JSON arrays that are damaged as a whole or in one element."""
    lines = json_lines(*values)
    return lambda rng: b"[" + lines(rng).replace(b"\n", b",") + b"]"


def bytes_of(data: str) -> Callable[[Random], bytes]:
    """Return what draws damaged files of a text. Its brackets are read as words, which is slow."""
    return lambda rng: torn(rng, data.encode(), levels=300)


PAIR = {
    "id": "a",
    "true": "There is no effusion.",
    "false": "There is an effusion.",
    "anchor": {"text": "Clear lungs."},
    "subject": "effusion",
    "negated": "true",
    "cue": [9, 11],
    "tags": {"finding": "effusion"},
}
IMAGE_PAIR = {**PAIR, "id": "b", "anchor": {"image": "a.png"}}
CLAIMS = {
    "patient": "p1",
    "study": 7,
    "image": "a.png",
    "text": None,
    "claims": [{"finding": "effusion", "present": True, "side": "left", "severity": "small"}],
}
CLAIM_SET = {
    "id": "a",
    "anchor": {"text": "Clear lungs."},
    "right": "There is no edema.",
    "wrong": [{"text": "There is edema.", "attribute": "existence"}],
    "caption": "No edema.",
}
TRIPLE = {"caption": "A cat.", "negation": "No cat.", "paraphrase": "A photo of a cat."}
REPORT = {"patient": "p1", "study_id": 3, "text": "No effusion. Small nodule, left.", "age": 3.5}
CAD_CHEST = {
    "subject_id": "1",
    "study_id": "2",
    "dicom_id": "a",
    "entity": {
        "opacity": {"probability_score": 3, "location": ["left lower lobe"], "level": ["mild"]},
        "edema": {"entity_name": "edema", "probability_score": -3, "post_location": None},
    },
}
VALSE = {
    "a": {
        "caption": "There are two cats.",
        "foil": "There are no cats.",
        "image_file": "a.jpg",
        "provenance_of_foils": "something_to_zero",
        "mturk": {"caption": 3},
    },
    "b": {
        "caption": "There are no dogs.",
        "foil": "There are dogs.",
        "image_file": "b.jpg",
        "provenance_of_foils": "zero_to_something",
        "mturk": {"caption": 2},
    },
}
CARD = {
    "identity": {
        "version": "1",
        "config": {"seed": 0},
        "key": "a",
        "sources": [{"source": 1, "layout": "claims", "digest": "b"}],
    },
    "counts": {"records/read": 2, "records/skipped/json": 1, "claims/train": 1, "pairs/val": 0},
    "examples": {"json": [[1, 3], [1, "p"]]},
    "files": {"claims-train.jsonl": {"bytes": 3, "sha256": "c"}},
}
RUN = {"trace": {"config": {"seed": 1}, "pairs": [{"id": 1}]}, "bench": {}}
CHOICES = (
    "image_path,correct_answer,correct_answer_template,caption_0,caption_1,caption_2,caption_3\n"
    'a.jpg,0,positive,"a cat, and",no cat,a dog,no dog\n'
    "b.jpg,2,negative,a,b,c,d\n"
)
TWO_CHOICES = (
    "image_path,caption_0,caption_1,correct_answer\n"
    'a.jpg,"a cat, and",no cat,0\nb.jpg,a cat,no cat,1\n'
)
NEVIR = {"id": "1", "WorkerId": 0, "q1": "Why?", "q2": "Why not?", "doc1": "So.", "doc2": "No."}
LM_NEGATION = {
    "prompt_number": 0,
    "negative_q": "Things that are not red:",
    "negative_a": ["grass", "sky"],
    "positive_q": "Things that are indeed red:",
    "positive_a": "blood",
}
FACTOR = (
    ",full_prefix,doc_id,completion,contradiction_0,contradiction_1,contradiction_2,"
    "turncated_prefixes\n"
    '0,"It is.\nSo ",3,it stays.,"it goes, and",it comes.,it is gone.,So \n'
)
CANDIDATES = (
    "filepath,captions,positive_objects\n"
    "a.jpg,\"['a cat', 'no dog']\",\"['cat', 'oven']\"\n"
    "b.jpg,\"['no cat']\",\"['dog']\"\n"
)
TABLE = 'patient,text\n1,"No effusion,\nno nodule."\n2,Small effusion.\n'
CHEXPERT = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Cardiomegaly,Edema,Pleural Effusion\n"
    "CheXpert/train/patient00001/study1/view1.jpg,F,68,Frontal,AP,1.0,0.0,,-1.0\n"
    "CheXpert/train/patient00002/study1/view1.jpg,M,30,Frontal,PA,,1.0,0.0,1.0\n"
)
NIH = (
    "Image Index,Finding Labels,Follow-up #,Patient ID\n"
    "00000001_000.png,Cardiomegaly|Effusion,0,1\n00000002_000.png,No Finding,0,2\n"
)
OPEN_I = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR1"/><MedlineCitation><Article><Abstract>
<AbstractText Label="INDICATION">Cough</AbstractText>
<AbstractText Label="FINDINGS">No effusion &amp; no mass. Small nodule.</AbstractText>
<AbstractText Label="IMPRESSION">Nodule.</AbstractText>
</Abstract></Article></MedlineCitation><parentImage id="a"><caption>PA</caption></parentImage>
</eCitation>
"""
MIMIC_SECTIONS = (
    "study,impression,findings,last_paragraph,comparison,subject_id\n"
    's1,No mass.,"No effusion,\nsmall nodule.",,,1\ns2,,,Clear lungs.,,1\n'
)
LABELLED = (
    "Report Impression,Cardiomegaly,Edema,Pleural Effusion,No Finding\n"
    '"No effusion,\nno edema.",,0.0,0.0,\nLarge heart.,1.0,-1.0,,\n'
)
RADGRAPH = {
    "p10/p10000032/s1.txt": {
        "text": "Small left effusion . No mass .",
        "entities": {
            "1": {"tokens": "small", "label": "OBS-DP", "relations": [["modify", "3"]]},
            "2": {"tokens": "left", "label": "ANAT-DP", "relations": []},
            "3": {"tokens": "effusion", "label": "OBS-DP", "relations": [["located_at", "2"]]},
            "4": {"tokens": "mass", "label": "OBS-DA", "relations": []},
        },
    },
    "s2.txt": {"text": "Edema ?", "labeler_1": {"entities": {}}, "labeler_2": {"entities": {}}},
}
TOML = """# a lexicon
before = ["no", "[no] evidence_of", "[without] any?|some? sign|signs of"]
after = ["[is|are absent]", "#"]
pseudo = ["not [only]", "no $"]
terminating = ["but"]
abbreviations = ["dr."]
"""
SETTINGS = {"samples": 8, "bf16": True, "word": "a", "layers": [1, 2], "nested": {"a": 0.5}}


def every(rows: Callable[[Path], Iterable[Any]]) -> Callable[[Path], None]:
    """Return a reader that goes through all rows of another one."""

    def read(path: Path) -> None:
        for _ in rows(path):
            pass

    return read


def layout(name: str) -> Callable[[Path], None]:
    """Return a reader of sources of data sets, in one layout."""
    config = DatasetConfig(layout=name)
    return every(lambda path: layout_of(path, config).read(path, config))


skipping = partial(read_pairs, on_error="skip")
cues = every(partial(cue_rows, column="text"))


def card(path: Path) -> None:
    read_card(path).as_text()


def card_of_folder(path: Path) -> None:
    DatasetFolder(path.parent, [], CARD["identity"]).card()


def run_folder(path: Path) -> None:
    (path.parent / "denoising.json").touch()
    RunFolder(path.parent, "trace").require({"config": {"seed": 1}}, ["*.json"])


def set_options(path: Path) -> None:
    """Read each line as an option of the command line."""
    options = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    setting_values(options)


def options(rng: Random) -> bytes:
    name = rng.choice(list(SETTINGS))
    return name.encode() + b"=" + damaged_json(rng, {"a": SETTINGS[name]})[6:-1]


def lexicon(path: Path) -> None:
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return
    load_lexicon(text).matches(split("There is no evidence of any sign."))


def toml(rng: Random) -> bytes:
    long = [
        b"x = " + b"1" * 5_000,
        b"x = " + b"[" * 100_000,
        b"x = 1e999\n",
        b"before = 1979-05-27",
    ]
    return rng.choice(long) if rng.random() < 0.1 else torn(rng, TOML.encode(), levels=1_500)


def questions(path: Path) -> None:
    read_choices(path, anchors=path.with_name("anchors.csv"))


def bench_report(rng: Random) -> bytes:
    row = {"measure": "gap", "scorer": "model", "series": "s", "axis": "all", "level": "all"}
    row |= {"estimate": 0.5, "low": None, "high": 0.75, "n": 80, "chance": None}
    document = {
        "schema": "negtrace.bench",
        "version": 1,
        "suite": "polarity",
        "made": {"package_version": "1", "time": "2026"},
        "model": dict.fromkeys(
            ("name", "family", "revision", "weights_digest", "tokenizer", "unit"), "a"
        ),
        "data": {"name": "a", "anchors": "text", "digest": "b", "items": 1},
        "config": {"seed": 0},
        "rows": [row],
        "counts": {"json": 1},
        "noted": [{"file": "a", "row": 1, "code": "json", "skipped": True, "detail": "b"}],
        "items": [{"id": "a", "answer": 0, "right": {"model": True}, "texts": {"options": ["a"]}}],
    }
    return damaged_json(rng, document)


READERS: dict[str, Reader] = {
    "CTE JSON": Reader("a.json", read_json, cte_json, 15),
    "raw file": Reader("a.safetensors", CTE.load, raw),
    "pairs": Reader("a.jsonl", read_pairs, json_lines(PAIR, IMAGE_PAIR)),
    "pairs, skipped": Reader(
        "a.jsonl", partial(read_pairs, on_error="skip"), json_lines(PAIR, PAIR)
    ),
    "VALSE": Reader("a.json", valse_pairs, json_file(VALSE)),
    "VALSE, benchmark": Reader("a.json", read_valse, json_file(VALSE)),
    "NegBench choices": Reader("a.csv", questions, bytes_of(CHOICES)),
    "NegBench, two choices": Reader("a.csv", questions, bytes_of(TWO_CHOICES)),
    "NevIR": Reader("a.jsonl", read_nevir, json_lines(NEVIR, NEVIR)),
    "LM_Negation": Reader("a.json", read_lm_negation, json_array(LM_NEGATION, LM_NEGATION)),
    "FACTOR": Reader("a.csv", read_factor, bytes_of(FACTOR)),
    "NegBench candidates": Reader("a.csv", read_candidates, bytes_of(CANDIDATES)),
    "claims": Reader("a.jsonl", layout("claims"), json_lines(CLAIMS, CLAIMS)),
    "claims, array": Reader("a.json", layout("claims"), json_array(CLAIMS, CLAIMS)),
    "reports": Reader("a.jsonl", layout("reports"), json_lines(REPORT, REPORT)),
    "reports, array": Reader("a.json", layout("reports"), json_array(REPORT, REPORT)),
    "reports, table": Reader("a.csv", layout("reports"), bytes_of(TABLE)),
    "reports, text": Reader("a.txt", layout("reports"), bytes_of(REPORT["text"])),
    "CAD-Chest": Reader("a.json", layout("cad-chest"), json_array(CAD_CHEST)),
    "CheXpert": Reader("a.csv", layout("chexpert"), bytes_of(CHEXPERT)),
    "NIH": Reader("a.csv", layout("nih"), bytes_of(NIH)),
    "Open-i": Reader("a.xml", layout("open-i"), bytes_of(OPEN_I)),
    "MIMIC-CXR, sections": Reader("a.csv", layout("mimic-sections"), bytes_of(MIMIC_SECTIONS)),
    "labelled reports": Reader("a.csv", layout("labelled-reports"), bytes_of(LABELLED)),
    "RadGraph": Reader("a.json", layout("radgraph"), json_file(RADGRAPH)),
    "table": Reader("a.tsv", read_table, bytes_of(TABLE.replace(",", "\t"))),
    "claim sets": Reader("a.jsonl", read_claim_sets, json_lines(CLAIM_SET, CLAIM_SET)),
    "triples": Reader("a.jsonl", read_triples, json_lines(TRIPLE, TRIPLE)),
    "data card": Reader("card.json", card, json_file(CARD)),
    "data card of a folder": Reader("card.json", card_of_folder, json_file(CARD)),
    "run.json": Reader("run.json", run_folder, json_file(RUN)),
    "benchmark report": Reader("a.json", read_report, bench_report, 10),
    "cues, JSONL": Reader("a.jsonl", cues, json_lines(REPORT)),
    "cues, table": Reader("a.csv", cues, bytes_of(TABLE)),
    "cues, text": Reader("a.txt", every(cue_rows), bytes_of(REPORT["text"])),
    "lexicon": Reader("a.toml", lexicon, toml, 15),
    "--set": Reader("a", set_options, options),
}


TOLERANT = (
    *("claims", "claims, array", "reports", "reports, array", "reports, table", "reports, text"),
    *("CAD-Chest", "Open-i", "RadGraph", "cues, text"),
)
"""Readers that note what they cannot use, or take any text."""


def test_there_are_enough_inputs() -> None:
    assert SEEDS * sum(reader.inputs for reader in READERS.values()) >= 20_000


@pytest.mark.parametrize("name", READERS)
def test_a_reader_gives_a_value_or_a_negtrace_error(name: str) -> None:
    reader = READERS[name]
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as folder:
        path = Path(folder) / reader.file
        (path.parent / "anchors.csv").write_text(CANDIDATES, "utf-8")
        Image.new("L", (4, 4)).save(path.parent / "a.png")

        @settings(max_examples=SEEDS, derandomize=True, deadline=None, database=None)
        @given(st.integers(0, 2**32 - 1))
        def run(seed: int) -> None:
            rng = Random(seed)  # noqa: S311
            for _ in range(reader.inputs):
                counts.update(["inputs"])
                path.write_bytes(data := reader.damaged(rng))
                try:
                    reader.read(path)
                except NegtraceError:
                    counts.update(["refused"])
                except Exception as error:
                    error.add_note(f"{name}: {data[:3000]!r}")
                    raise

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NegtraceWarning)
            run()
    assert counts["inputs"] >= SEEDS * reader.inputs
    if name not in TOLERANT:
        assert counts["inputs"] > counts["refused"] > counts["inputs"] / 20


JSON_VALUES = st.recursive(
    st.none() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text('a"\\é[{1'),
    lambda parts: st.lists(parts) | st.dictionaries(st.text('k"\\]1'), parts),
    max_leaves=20,
)


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.lists(JSON_VALUES), st.integers(1, 40), st.sampled_from([None, 2]))
def test_bounds_leave_json_as_it_is(values: list[Any], size: int, indent: int | None) -> None:
    data = json.dumps(values, ensure_ascii=False, indent=indent).encode()
    with TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        bounded = _Bounded(_ValidUtf8(file))
        parts = list(iter(lambda: bounded.read(size), b""))
    assert b"".join(parts) == data
    assert json.loads(b"".join(parts)) == values


@settings(max_examples=500, derandomize=True, deadline=None, database=None)
@given(
    st.lists(st.sampled_from([b"[", b"]", b"{", b'"', b"\\", b"a", b"1", b"[" * 60, b"1" * 60]))
    .map(b"".join)
    .filter(bool),
    st.integers(1, 200),
)
def test_bounds_are_the_same_chunk_by_chunk_and_token_by_token(data: bytes, size: int) -> None:
    def read(*, by_token: bool) -> tuple[bytes, str]:
        content = b""
        with TemporaryFile() as file:
            file.write(data)
            file.seek(0)
            bounded = _Bounded(_ValidUtf8(file))
            if by_token:
                bounded._passed = lambda _: False
            try:
                while part := bounded.read(size):
                    content += part
            except _OutOfBoundsError as error:
                return content, str(error)
            return content, ""

    assert read(by_token=False) == read(by_token=True)


OUT_OF_BOUNDS = {
    "levels": (b"[" * 100, "more than 100 levels"),
    "many levels": (b"[" * 100_000, "more than 100 levels"),
    "objects": (b'{"a":' * 100, "more than 100 levels"),
    "digits": (b"1" * 101, "a number of more than 100 characters"),
    "many digits": (b"-0." + b"1" * 5_000, "a number of more than 100 characters"),
}


@pytest.mark.parametrize("space", [0, 65_500, 65_530, 131_000])
@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_an_array_is_read_up_to_what_is_out_of_bounds(
    name: str, space: int, tmp_path: Path
) -> None:
    text, reason = OUT_OF_BOUNDS[name]
    (tmp_path / "a.json").write_bytes(b'[{"id": 1},' + b" " * space + text)
    first, note = json_objects(tmp_path / "a.json")
    assert first == (1, {"id": 1})
    assert isinstance(note[1], Note)
    assert reason in note[1].detail


@pytest.mark.parametrize("text", [b"[" * 99 + b"]" * 99, b"1" * 100, b'"%s"' % (b"1[{" * 200)])
def test_an_array_is_read_up_to_its_bounds(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"id": 1},' + text + b',{"id": 2}]')
    values = [value for _, value in json_objects(tmp_path / "a.json")]
    assert len(values) == 3
    assert values[::2] == [{"id": 1}, {"id": 2}]
