"""Readers of source files: every layout is read, and bad rows are noted."""

import csv
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import source_files
from every_claim import every_claim
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from negtrace import build_dataset, read_pairs
from negtrace.datasets import SPLITS, Card, DatasetConfig
from negtrace.datasets.claim_sets import read_claim_sets
from negtrace.datasets.note import Note
from negtrace.datasets.readers.base import layout_of
from negtrace.datasets.readers.cad_chest import CadChest
from negtrace.datasets.readers.chexpert import CHEXPERT_LABELS, CheXpert
from negtrace.datasets.readers.csv import CsvRow, csv_rows
from negtrace.datasets.readers.files import json_objects
from negtrace.datasets.readers.records import ClaimRecords
from negtrace.datasets.study import Study, certain_claims
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim
from negtrace.language.findings import VOCABULARY
from negtrace.language.parse import parse_claims

ROW = "train/patient{n:05d}/study1/view1_frontal.jpg,Female,61,Frontal,AP,,"
ALL = ",".join(["1.0"] * 13)


def everything(folder: Path, kind: str = "claims") -> list[dict[str, Any]]:
    return [row for split in SPLITS for row in source_files.lines(folder, kind, split)]


def rows_by_code(card: Card) -> dict[str, list[list[Any]]]:
    return {code: [row for _, row in rows] for code, rows in card.examples.items()}


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("chexpert.csv", "chexpert"),
        ("nih.csv", "nih"),
        ("claims.jsonl", "claims"),
        ("cad.json", "cad-chest"),
        ("reports.jsonl", "reports"),
    ],
)
def test_a_layout_is_recognised(name: str, layout: str, tmp_path: Path) -> None:
    make = {
        "chexpert": source_files.chexpert,
        "nih": source_files.nih,
        "claims": source_files.claims,
    }
    make |= {"cad-chest": source_files.cad_chest, "reports": source_files.reports}
    assert layout_of(make[layout](tmp_path / name, 5), DatasetConfig()).name == layout


def test_an_unknown_layout_is_refused_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("height,weight\n1,2\n")
    with pytest.raises(DatasetError, match=r"a.csv has height, weight; it looks like none"):
        build_dataset(tmp_path / "a.csv", tmp_path / "out")
    for layout, expected in (
        ("chexpert", "expected Path"),
        ("nih", "expected Finding Labels, Image Index and Patient ID"),
        ("reports", "expected text in one of report, text"),
    ):
        with pytest.raises(DatasetError, match=f"height, weight; {expected}|{expected}"):
            build_dataset(tmp_path / "a.csv", tmp_path / layout, DatasetConfig(layout=layout))
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(DatasetError, match=r"b.csv has no header of distinct columns"):
        build_dataset(tmp_path / "b.csv", tmp_path / "out")
    (tmp_path / "r.csv").write_text("report\nNo mass.\n")
    with pytest.raises(DatasetError, match="expected patient in one of mrn"):
        build_dataset(tmp_path / "r.csv", tmp_path / "out", DatasetConfig(patient="mrn"))


def test_every_bad_row_of_a_label_file_is_noted(tmp_path: Path) -> None:
    rows = [ROW.format(n=n) + ALL for n in range(100, 104)]
    bad = {
        ROW.format(n=100) + ALL: "duplicate_study",
        ROW.format(n=105) + ALL[:-3] + "2": "label",
        ROW.format(n=106) + "yes" + ALL[3:]: "label",
        ROW.format(n=107) + ALL[:-4]: "columns",
        ROW.format(n=108) + ALL + ",1.0": "columns",
        '"' + ROW.format(n=109) + ALL: "stray_quote",
        ROW.format(n=110).replace("Female", "FÃ©male") + ALL: "mojibake",
        ROW.format(n=111) + "," * 12: "nothing_to_say",
        "," * 5 + "," + ALL: "no_study",
    }
    source = source_files.chexpert(tmp_path / "train.csv", 0, rows=[*rows, *bad])
    with source.open("ab") as file:
        file.write(b"\xff" + ROW.format(n=112).encode() + ALL.encode() + b"\n")
        file.write(b'"' + ROW.format(n=113).replace(",", '\n",', 1).encode() + ALL.encode())
    card = build_dataset(source, tmp_path / "out", DatasetConfig(per_study=0))
    expected: dict[str, list[int]] = {}
    for row, code in enumerate([*bad.values(), "mojibake"], start=6):
        expected.setdefault(code, []).append(row)
    assert rows_by_code(card) == expected
    assert card.skipped == {code: len(rows) for code, rows in expected.items()}
    assert card.counts["records/used"] == 5
    assert len(everything(tmp_path / "out")) == 5 * 13


def test_missing_labels_are_allowed_and_other_columns_noted(tmp_path: Path) -> None:
    source = tmp_path / "few.csv"
    source.write_text("subject_id,study_id,dicom_id,Edema,Weight\n10000032,5,a-b,1.0,80\n", "utf-8")
    card = build_dataset(source, tmp_path / "out", DatasetConfig(images=tmp_path / "files"))
    assert card.of("records/noted") == {"unknown_column": 1}
    [row] = everything(tmp_path / "out")
    assert row["anchor"] == {"image": "../files/p10/p10000032/s5/a-b.jpg"}
    assert [wrong["attribute"] for wrong in row["wrong"]] == ["existence"]


@pytest.mark.parametrize("ending", ["jpg", "jpeg", "png"])
def test_mimic_images_are_found_by_their_study(ending: str, tmp_path: Path) -> None:
    folder = tmp_path / "files" / "p10" / "p10000032" / "s50414267"
    folder.mkdir(parents=True)
    for name in ("b.jpg", f"a.{ending}", "0.txt"):
        (folder / name).touch()
    header = "subject_id,study_id,Atelectasis,Cardiomegaly,Edema"
    rows = ["10000032,50414267,1.0,0.0,-1.0", "10000032,50414268,1.0,,"]
    source = tmp_path / "mimic-cxr-2.0.0-chexpert.csv"
    source.write_text("\n".join([header, *rows]) + "\n")
    card = build_dataset(source, tmp_path / "out", DatasetConfig(images=tmp_path / "files"))
    assert card.skipped == {"no_anchor": 1}
    assert card.of("findings") == {"uncertain": 1}
    [row] = everything(tmp_path / "out")
    assert row["anchor"]["image"].endswith(f"s50414267/a.{ending}")
    card = build_dataset(source, tmp_path / "texts", DatasetConfig(anchors="text"))
    assert card.counts["records/used"] == 2


def test_chexperts_own_folder_is_left_out_of_paths(tmp_path: Path) -> None:
    root = tmp_path / "CheXpert-v1.0-small"
    image = root / "train" / "patient00001" / "study1" / "view1_frontal.jpg"
    image.parent.mkdir(parents=True)
    Image.new("L", (4, 4)).save(image)
    source = source_files.chexpert(
        root / "train.csv", 0, rows=[f"{root.name}/{ROW.format(n=1)}{ALL}"]
    )
    build_dataset(source, tmp_path / "out", DatasetConfig(check_images=True))
    [row] = everything(tmp_path / "out")
    split = next(s for s in SPLITS if source_files.lines(tmp_path / "out", "claims", s))
    assert (tmp_path / "out" / row["anchor"]["image"]).resolve() == image.resolve()
    assert len(read_claim_sets(tmp_path / "out" / f"claims-{split}.jsonl")[0]) == 1
    assert len(read_pairs(tmp_path / "out" / f"pairs-{split}.jsonl")) == 1


def test_the_folder_of_images_may_have_another_name(tmp_path: Path) -> None:
    """The second path names an image that exists, so it decides for all that follow."""
    folder = tmp_path / "renamed"
    rows = [f"CheXpert-v1.0/{ROW.format(n=n)}{ALL}" for n in (1, 2, 3)]
    source = source_files.chexpert(tmp_path / "train.csv", 0, rows=rows)
    image = folder / ROW.format(n=2).partition(",")[0]
    image.parent.mkdir(parents=True)
    image.touch()
    studies = CheXpert().read(source, DatasetConfig(images=folder))
    paths = [study.image for study in studies if isinstance(study, Study)]
    assert [path and path.partition("/")[0] for path in paths] == [
        "CheXpert-v1.0",
        "train",
        "train",
    ]
    studies = CheXpert().read(source, DatasetConfig(images=folder, anchors="text"))
    assert all(study.image.startswith("CheXpert") for study in studies if isinstance(study, Study))


def test_images_are_checked_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:2000])
    Image.fromarray(noise).convert("RGBA").save(tmp_path / "clear.png")
    Image.fromarray(noise.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.new("L", (200, 200)).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    names = ["good", "cut", "clear", "deep", "vast", "gone"]
    stated = [{"finding": "mass", "present": True}]
    rows = [{"patient": name, "image": f"{name}.png", "claims": stated} for name in names]
    source = tmp_path / "c.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    card = build_dataset(source, tmp_path / "out", DatasetConfig(check_images=True))
    assert card.skipped == {"huge_image": 1, "missing_image": 1, "unreadable_image": 1}
    assert card.of("records/noted") == {"sixteen_bit": 1, "transparent": 1}
    assert rows_by_code(card)["unreadable_image"] == [2]
    assert sorted(row["anchor"]["image"] for row in everything(tmp_path / "out")) == [
        "../clear.png",
        "../deep.png",
        "../good.png",
    ]
    card = build_dataset(source, tmp_path / "unchecked")
    assert card.counts["records/used"] == 6


def test_bad_claims_are_noted(tmp_path: Path) -> None:
    good = {"patient": 7, "text": "A film.", "finding": "Pleural_Thickening", "present": True}
    bad: list[Any] = [
        {**good, "finding": "gout"},
        {**good, "present": "yes"},
        {**good, "side": "up"},
        {**good, "side": ["left"]},
        {**good, "finding": "edema", "zone": "lower"},
        {**good, "claims": []},
        {**good, "claims": [3]},
        {**good, "patient": None},
        {**good, "text": " "},
        {"patient": "p", "claims": [{"finding": "mass", "present": True}]},
        {**good, "text": "\ud800"},
        [1],
    ]
    lines = [json.dumps(row) for row in (good, *bad)]
    source = tmp_path / "c.jsonl"
    source.write_text("\n".join([*lines, "{", "[" * 100_000, ""]), "utf-8")
    with source.open("ab") as file:
        file.write(b'{"patient": "\xff"}\n')
    card = build_dataset(source, tmp_path / "out", DatasetConfig(layout="claims"))
    assert card.counts["records/used"] == 1
    assert rows_by_code(card) == {
        "claim": [2, 3, 4, 5, 6, 7, 8],
        "no_study": [9],
        "no_anchor": [10, 11],
        "mojibake": [12, 16],
        "json": [13, 14, 15],
    }
    [row] = everything(tmp_path / "out")
    assert row["finding"] == "thickening"


@pytest.mark.parametrize("layout", ["list", "flat"])
@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"negated": True}, "the key 'negated' is unknown; a claim has finding, present, side,"),
        ({"Side": "left"}, "the key 'Side' is unknown"),
        ({"denied": "side"}, "denied is 'side'; expected place, severity"),
        ({"denied": "place"}, "the place of 'effusion' is denied but not stated"),
        ({"denied": True}, "a claim needs words"),
    ],
)
def test_a_key_of_a_claim_is_read_or_refused_by_its_name(
    layout: str, stated: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    claim = {"finding": "effusion", "present": True, **stated}
    record = {"patient": "p", "text": "A film.", "study": "s"}
    record |= claim if layout == "flat" else {"claims": [claim]}
    source = tmp_path / "c.jsonl"
    source.write_text(json.dumps(record))
    [note] = ClaimRecords().read(source, DatasetConfig())
    assert isinstance(note, Note)
    assert (note.code, note.detail[: len(reason)]) == ("claim", reason)


def test_fields_of_a_claim_beside_a_list_of_claims_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "c.jsonl"
    claims = [{"finding": "effusion", "present": True}]
    source.write_text(json.dumps({"patient": "p", "text": "x", "claims": claims, "side": "left"}))
    [note] = ClaimRecords().read(source, DatasetConfig())
    assert isinstance(note, Note)
    assert note.detail == "'side' stands beside `claims`; put it inside"


@pytest.mark.parametrize("key", VOCABULARY)
def test_every_claim_can_be_given_with_every_field(key: str, tmp_path: Path) -> None:
    stated = list(every_claim(key))
    rows = [{"patient": n, "text": "A film.", "claims": [vars(c)]} for n, c in enumerate(stated)]
    source = tmp_path / "c.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    for study, claim in zip(ClaimRecords().read(source, DatasetConfig()), stated, strict=True):
        assert isinstance(study, Study)
        assert study.claims == (() if claim.certainty else (claim,))


def test_a_denied_place_is_a_right_statement_and_the_place_a_wrong_one(tmp_path: Path) -> None:
    denied = {"finding": "effusion", "present": True, "side": "left", "denied": "place"}
    rows = [{"patient": n, "image": f"{n}.png", "claims": [denied]} for n in range(30)]
    source = tmp_path / "c.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    card = build_dataset(source, tmp_path / "out", DatasetConfig(val=0.2, test=0.2))
    sets = everything(tmp_path / "out")
    assert len(sets) == card.counts["records/used"] == 30
    for row in sets:
        assert parse_claims(row["right"]) == (Claim(**denied),)
        [wrong] = row["wrong"]
        assert wrong["attribute"] == "location"
        assert parse_claims(wrong["text"]) == (Claim(**denied).negate(),)
    captions = everything(tmp_path / "out", "captions")
    assert {row["denied"] for row in captions} == {"place denied"}


@pytest.mark.parametrize(
    ("first", "second", "agree"),
    [
        ({"side": "left", "denied": "place"}, {"side": "left"}, False),
        ({"side": "left", "denied": "place"}, {"side": "bilateral"}, False),
        ({"side": "left", "denied": "place"}, {"side": "right"}, True),
        ({"severity": "large", "denied": "severity"}, {"severity": "large"}, False),
        ({"severity": "large", "denied": "severity"}, {"side": "left"}, True),
        ({"present": False}, {"side": "left", "denied": "place"}, False),
        ({"present": False, "side": "left"}, {"side": "left", "denied": "place"}, True),
        ({"present": False, "side": "left"}, {"side": "bilateral"}, False),
        ({"present": False, "severity": "large"}, {"severity": "small"}, True),
    ],
)
def test_a_finding_that_is_stated_and_denied_is_left_out(
    first: dict[str, Any], second: dict[str, Any], agree: bool
) -> None:
    claims = [Claim(**{"finding": "effusion", "present": True, **c}) for c in (first, second)]
    for both in (claims, claims[::-1]):
        assert certain_claims(both) == (([0, 1], 0, 0) if agree else ([], 0, 1))


def test_contradictory_and_uncertain_claims_are_left_out(tmp_path: Path) -> None:
    stated = [
        {"finding": "mass", "present": True, "side": "left"},
        {"finding": "mass", "present": False},
        {"finding": "effusion", "present": True, "side": "left"},
        {"finding": "effusion", "present": False, "side": "right"},
        {"finding": "edema", "present": True, "certainty": "probable"},
        {"finding": "effusion", "present": True, "side": "left"},
    ]
    source = tmp_path / "c.jsonl"
    source.write_text(json.dumps({"patient": "p", "text": "A film.", "claims": stated}))
    [study] = ClaimRecords().read(source, DatasetConfig())
    assert isinstance(study, Study)
    assert study.claims == (
        Claim(finding="effusion", present=True, side="left"),
        Claim(finding="effusion", present=False, side="right"),
    )
    assert (study.uncertain, study.contradicted) == (1, 1)


def test_cad_chest_is_read_as_published(tmp_path: Path) -> None:
    plain = {"type": None, "level": None, "location": None, "infer": [], "derived_from": []}
    entities = {
        "pneumothorax": {**plain, "probability": "no ", "probability_score": -3},
        "pleural effusion": {
            **plain,
            "location": ["left", "basilar"],
            "level": ["small"],
            "probability": "positive",
            "probability_score": 3,
        },
        "lung opacity": {**plain, "location": ["left", "right"], "probability_score": 3},
        "consolidation": {**plain, "location2": ["right"], "level": ["mild"]},
        "atelectasis": {**plain, "post_location": "in the right lower lobe", "level": ["mild"]},
        "edema": {**plain, "level": ["mild to moderate"], "probability_score": 3},
        "pneumonia": {**plain, "probability": "may", "probability_score": 1},
        "fracture": {**plain, "probability": "unlikely", "probability_score": -2},
        "hernia": {**plain, "probability": "cannot be assessed", "probability_score": 0},
        "scoliosis": {**plain, "probability_score": 3},
    }
    for name in ("consolidation", "atelectasis"):
        entities[name]["probability_score"] = 3
    record = {"study_id": "58729526", "subject_id": "18936629", "dicom_id": "58c", "view": None}
    source = tmp_path / "cad_disease.json"
    text = json.dumps([{**record, "entity": entities}, {**record, "study_id": "5", "entity": {}}])
    source.write_text(text)
    study, empty = CadChest().read(source, DatasetConfig())
    assert isinstance(study, Study)
    assert study.claims == (
        Claim(finding="pneumothorax", present=False),
        Claim(finding="effusion", present=True, side="left", zone="lower", severity="small"),
        Claim(finding="opacity", present=True, side="bilateral"),
        Claim(finding="consolidation", present=True),
        Claim(finding="atelectasis", present=True, side="right", zone="lower", severity="small"),
        Claim(finding="edema", present=True),
    )
    assert (study.uncertain, study.unknown, study.patient) == (2, 1, "18936629")
    assert study.image == "p18/p18936629/s58729526/58c.jpg"
    assert isinstance(empty, Study)
    assert not empty.claims


def test_a_broken_array_is_read_up_to_the_error(tmp_path: Path) -> None:
    source = source_files.cad_chest(tmp_path / "cad.json", 3000)
    assert source.stat().st_size > 1 << 20
    assert len(list(CadChest().read(source, DatasetConfig()))) == 3000
    text = source.read_text()
    source.write_text(text[:-2])
    items = list(CadChest().read(source, DatasetConfig()))
    assert len(items) == 3001
    assert isinstance(items[-1], Note)
    assert (items[-1].code, items[-1].row) == ("json", 3001)
    source.write_text(text.replace('"d1500"', "d1500"))
    items = list(CadChest().read(source, DatasetConfig()))
    assert [type(item) for item in items] == [Study] * 1500 + [Note]


def test_an_array_keeps_large_numbers_and_replaces_bad_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf [{"a": 123456789012345678901}, 3, {"a": "\xff"}, {"a": 1} x')
    items = [item for _, item in json_objects(path)]
    assert items[0] == {"a": 123456789012345678901}
    assert items[2] == {"a": "\ufffd"}
    assert [item.code for item in items if isinstance(item, Note)] == ["json", "json"]
    assert [row for row, _ in json_objects(path)] == [1, 2, 3, 4, 5]


def test_nih_labels_that_are_not_listed_are_absent(tmp_path: Path) -> None:
    header = "Image Index,Finding Labels,Patient ID"
    rows = ["a.png,Effusion|Mass,1", "b.png,No Finding,2", "c.png,Gout,3", "a.png,Mass,1"]
    source = tmp_path / "Data_Entry_2017.csv"
    source.write_text("\n".join([header, *rows]))
    card = build_dataset(source, tmp_path / "out", DatasetConfig(per_study=0))
    assert card.skipped == {"duplicate_study": 1, "label": 1}
    rows = everything(tmp_path / "out")
    assert len(rows) == 28
    assert {row["finding"] for row in rows if row["present"]} == {"effusion", "mass"}


def test_reports_of_every_kind_are_read(tmp_path: Path) -> None:
    texts = ["No pneumothorax.\nThere is a large left effusion.", 'He said "no mass" is seen.']
    with (tmp_path / "r.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["patient_id", "report"], *enumerate(texts)])
    with (tmp_path / "r.TSV").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["patient", "caption"], *enumerate(texts)])
    lines = [json.dumps({"subject_id": n, "text": text}) for n, text in enumerate(texts)]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    folder = tmp_path / "r" / "p10"
    for number, text in enumerate(texts):
        (folder / f"p{number}").mkdir(parents=True)
        (folder / f"p{number}" / f"s{number}.txt").write_text(text)
    quotes = []
    for name in ("r.csv", "r.TSV", "r.jsonl", "r"):
        config = DatasetConfig(per_study=0, val=0.0, test=0.0)
        card = build_dataset(tmp_path / name, tmp_path / f"out-{name}", config)
        assert card.counts["records/used"] == 2
        rows = everything(tmp_path / f"out-{name}", "captions")
        quotes.append(sorted(row["caption"] for row in rows if row["denied"] == "report"))
    assert quotes == [sorted(["No pneumothorax.", texts[1]])] * 4


def test_bad_reports_are_noted_and_the_rest_is_used(tmp_path: Path) -> None:
    vast = "The heart is normal. " * 24_000 + "There is no effusion.\n" * 2_000
    assert len(vast.split()) > 100_000
    rows = [
        ["a", "No mass is seen."],
        ["b", " \n "],
        ["c", "naÃ¯ve: no mass"],
        ["d", "No nodule,\nno \"mass\"\nis seen."],
        ["e", vast],
        ["f", "لا يوجد انصباب جنبي"],
        ["g", "没有气胸。心脏大小正常。"],
        ["h", "Пневмоторакса нет."],
        ["i", "No edema."],
    ]  # fmt: skip
    source = tmp_path / "r.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["patient", "report"], *rows])
        file.write('j,"a quote that never closes\n')
        file.write("k,No fracture.\n")
    start = time.perf_counter()
    config = DatasetConfig(per_study=0, val=0.0, test=0.0)
    card = build_dataset(source, tmp_path / "out", config)
    assert time.perf_counter() - start < 60
    assert card.skipped == {
        "empty_report": 1,
        "mojibake": 1,
        "nothing_to_say": 3,
        "stray_quote": 1,
    }
    # Letters of another script make no cue.
    quoted = {r["caption"] for r in everything(tmp_path / "out", "captions")}
    assert all(text.isascii() for text in quoted)
    assert {"No mass is seen.", 'No nodule, no "mass" is seen.', "No edema."} <= quoted
    assert card.counts["records/used"] == 5


def test_a_long_sentence_makes_no_statement(tmp_path: Path) -> None:
    source = tmp_path / "r.txt"
    source.write_text("No mass " + "and no nodule " * 200 + "is seen.")
    with pytest.raises(DatasetError, match=r"no row can be made of 1 records; .* nothing_to_say 1"):
        build_dataset(source, tmp_path / "out")
    assert not (tmp_path / "out" / "card.json").exists()


def test_real_labels_captions_and_sentences(data_dir: Path, tmp_path: Path) -> None:
    nih = build_dataset(data_dir / "nih_cxr14_starter" / "labels.csv", tmp_path / "nih")
    assert nih.counts["records/used"] == 621
    assert not nih.skipped
    roco = build_dataset(data_dir / "roco" / "captions_ccby_part.tsv", tmp_path / "roco")
    assert roco.of("captions/train/polarity")["report"] > 100
    assert roco.skipped["nothing_to_say"] < 650
    config = DatasetConfig(column="Sentence", patient="Report No.")
    negex = build_dataset(data_dir / "negex" / "annotations_part.tsv", tmp_path / "negex", config)
    assert negex.counts["records/read"] == 1188
    assert sum(negex.of("captions").values()) > 150


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(alphabet='a,"\n1é', max_size=20), max_size=12))
def test_any_lines_are_read_or_noted(lines: list[str]) -> None:
    content = "\n".join(["x,y", *lines]).encode()
    rows = list(csv_rows(content.splitlines(keepends=True)))
    assert rows[0] == CsvRow(1, ["x", "y"])
    assert [row.row for row in rows] == sorted({row.row for row in rows})
    assert all((row.cells is None) == bool(row.trouble) for row in rows)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cells=st.lists(st.lists(st.sampled_from(["1", "0.0", "-1", "", "2", " 1.0", "x"]),
                               min_size=12, max_size=14), max_size=8))  # fmt: skip
def test_rows_are_used_or_counted(
    cells: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    cells = [["1.0"] * 13, *cells]  # at least one row is good
    rows = [ROW.format(n=n) + ",".join(row) for n, row in enumerate(cells)]
    card = build_dataset(source_files.chexpert(folder / "t.csv", 0, rows=rows), folder / "out")
    assert card.counts.get("records/read", 0) == len(rows)
    assert card.counts.get("records/used", 0) + sum(card.skipped.values()) == len(rows)
    bad = sum(len(row) == 13 and bool({"2", "x"} & set(row)) for row in cells)
    assert card.skipped.get("label", 0) == bad
    assert len(CHEXPERT_LABELS) == 14
