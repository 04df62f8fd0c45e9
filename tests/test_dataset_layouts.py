"""Layouts of public data that is not at hand, on files made after its descriptions."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from source_files import lines

from negtrace import build_dataset
from negtrace.datasets import SPLITS, DatasetConfig, Note
from negtrace.datasets.readers.base import layout_of
from negtrace.datasets.readers.chexpert import CHEXPERT_LABELS
from negtrace.datasets.study import Study
from negtrace.errors import DatasetError
from negtrace.language.claims import Claim

XML = """<?xml version="1.0" encoding="utf-8"?>
<eCitation>
   <meta type="rr"/>
   <uId id="{name}"/>
   <MedlineCitation><Article><Abstract>
      <AbstractText Label="COMPARISON">None.</AbstractText>
      <AbstractText Label="INDICATION">Pneumonia?</AbstractText>
      <AbstractText Label="FINDINGS">{findings}</AbstractText>
      <AbstractText Label="IMPRESSION">{impression}</AbstractText>
   </Abstract></Article></MedlineCitation>
   <MeSH><major>normal</major></MeSH>
   <parentImage id="{name}_IM-0001-3001"><figureId>F1</figureId><caption>PA</caption></parentImage>
   <parentImage id="{name}_IM-0001-4001"><figureId>F2</figureId><caption>L</caption></parentImage>
</eCitation>
"""


def studies(path: Path, config: DatasetConfig | None = None) -> list[Study | Note]:
    """Return what the layout that is recognised reads."""
    config = config or DatasetConfig()
    return list(layout_of(path, config).read(path, config))


def contents(study: Study | Note) -> set[tuple[Any, ...]]:
    """Return what the claims of a study say, under whichever name."""
    assert isinstance(study, Study)
    return {(c.finding, c.present, c.side, c.zone, c.severity) for c in study.claims}


def open_i(folder: Path, name: str, findings: str, impression: str = "") -> Path:
    """Write a report as Open-i publishes it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.xml"
    path.write_text(XML.format(name=f"CXR{name}", findings=findings, impression=impression))
    return path


def test_open_i_reads_findings_and_impression_of_each_report(tmp_path: Path) -> None:
    folder = tmp_path / "ecgen-radiology"
    open_i(folder, "1", "Small left effusion. No pneumothorax &amp; no mass.", "Edema.")
    open_i(folder, "2", "", "Clear lungs, no edema.")
    open_i(folder, "3", "")
    (folder / "4.xml").write_text("<eCitation><unclosed>")
    (folder / "5.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><eCitation>&b;</eCitation>')
    (folder / "CXR1_IM-0001-4001.png").touch()
    first, second, *others = studies(folder)
    assert isinstance(first, Study)
    assert contents(first) == {
        ("effusion", True, "left", None, "small"),
        ("pneumothorax", False, None, None, None),
        ("mass", False, None, None, None),
        ("edema", True, None, None, None),
    }
    assert (first.source, first.key, first.patient) == ("open-i", "CXR1", "CXR1")
    assert first.image == "CXR1_IM-0001-4001.png"
    assert isinstance(second, Study)
    assert second.image is None
    codes = [(note.code, note.file) for note in others if isinstance(note, Note)]
    assert codes == [
        ("empty_report", "ecgen-radiology/3.xml"),
        ("xml", "ecgen-radiology/4.xml"),
        ("xml", "ecgen-radiology/5.xml"),
    ]
    [alone] = studies(folder / "1.xml")
    assert contents(alone) == contents(first)


def test_a_change_of_a_report_in_a_folder_is_another_source(tmp_path: Path) -> None:
    folder = tmp_path / "ecgen-radiology"
    open_i(folder, "1", "No mass. Small effusion.")
    config = DatasetConfig(val=0.0, test=0.0)
    card = build_dataset(folder, tmp_path / "out", config)
    open_i(folder, "1", "No mass. Large effusion.")
    other = build_dataset(folder, tmp_path / "out", config, overwrite=True)
    assert card.identity["sources"] != other.identity["sources"]


def test_mimics_sections_are_read_as_one_report(tmp_path: Path) -> None:
    path = tmp_path / "mimic_cxr_sectioned.csv"
    path.write_text(
        "study,impression,findings,last_paragraph,comparison\n"
        's50414267,No pneumothorax.,"Small left effusion.\nNo mass.",,None.\n'
        "s50414268,,,There is no edema.,\n"
        "s50414269,,,,Mild cardiomegaly.\n"
        "s50414270,,,,\n"
    )
    warning, first, second, third, empty = studies(path)
    assert isinstance(warning, Note)
    assert (warning.code, warning.skipped) == ("no_patients", False)
    assert contents(first) == {
        ("effusion", True, "left", None, "small"),
        ("mass", False, None, None, None),
        ("pneumothorax", False, None, None, None),
    }
    assert isinstance(first, Study)
    assert (first.key, first.patient, first.source) == ("s50414267", "", "mimic-sections")
    assert contents(second) == {("edema", False, None, None, None)}
    assert contents(third) == {("cardiomegaly", True, None, None, "small")}
    assert isinstance(empty, Note)
    assert empty.code == "empty_report"


def test_mimics_sections_take_patients_from_a_joined_column(tmp_path: Path) -> None:
    path = tmp_path / "joined.csv"
    header = "study,impression,findings,last_paragraph,comparison"
    path.write_text(f"{header},subject_id\ns1,No mass.,,,,10000032\n")
    [study] = studies(path)
    assert isinstance(study, Study)
    assert study.patient == "10000032"
    path.write_text(f"{header}\ns1,No mass.,,,\n")
    with pytest.raises(DatasetError, match="expected study, impression and findings, and mrn"):
        studies(path, DatasetConfig(patient="mrn"))


@pytest.mark.parametrize("column", ["Report Impression", "Reports"])
def test_labelled_reports_are_statements_about_a_report(column: str, tmp_path: Path) -> None:
    path = tmp_path / "labeled_reports.csv"
    labels = [label for label in CHEXPERT_LABELS if label != "Nodule"]
    values = {"Pleural Effusion": "1.0", "Edema": "0.0", "Pneumonia": "-1.0"}
    cells = ",".join(values.get(label, "") for label in labels)
    path.write_text(
        f"{column},{','.join(labels)},No Finding\n"
        f'"Effusion, no edema.\nPneumonia?",{cells},\n'
        f"Another report.,{'2,' * len(labels)}\n"
        f",{cells},\n"
    )
    study, *notes = studies(path)
    assert isinstance(study, Study)
    assert study.claims == (
        Claim(finding="effusion", present=True),
        Claim(finding="edema", present=False),
    )
    assert (study.uncertain, study.source) == (1, "labelled-reports")
    assert study.text == "Effusion, no edema. Pneumonia?"
    assert [note.code for note in notes if isinstance(note, Note)] == ["label", "empty_report"]
    build_dataset(path, tmp_path / "out", DatasetConfig(val=0.0, test=0.0, per_study=0))
    rows = lines(tmp_path / "out", "claims", "train")
    assert {row["anchor"]["text"] for row in rows} == {study.text}


def test_negbios_labels_of_mimic_are_chexperts_layout(tmp_path: Path) -> None:
    path = tmp_path / "mimic-cxr-2.0.0-negbio.csv"
    path.write_text("subject_id,study_id,Atelectasis,Edema,No Finding\n1,2,1.0,-1.0,\n")
    [study] = studies(path, DatasetConfig(anchors="text"))
    assert isinstance(study, Study)
    assert (study.source, study.uncertain) == ("chexpert", 1)
    assert contents(study) == {("atelectasis", True, None, None, None)}


def entity(tokens: str, label: str, *relations: list[str]) -> dict[str, Any]:
    """Return an entity as RadGraph writes it; where it stands does not matter here."""
    place = {"start_ix": 0, "end_ix": 0}
    return {"tokens": tokens, "label": label, **place, "relations": list(relations)}


GRAPH: Mapping[str, Mapping[str, Any]] = {
    "1": entity("small", "OBS-DP", ["modify", "3"]),
    "2": entity("left", "ANAT-DP", ["modify", "4"]),
    "3": entity("effusion", "OBS-DP", ["located_at", "4"]),
    "4": entity("pleural", "ANAT-DP"),
    "5": entity("pneumothorax", "OBS-DA"),
    "6": entity("acute", "OBS-DA", ["modify", "7"]),
    "7": entity("fracture", "OBS-DA"),
    "8": entity("pneumonia", "OBS-U", ["located_at", "9"]),
    "9": entity("base", "ANAT-DP"),
    "10": entity("focal", "OBS-DA", ["modify", "11"]),
    "11": entity("consolidation", "OBS-DA"),
    "12": entity("enlarged", "OBS-DP", ["located_at", "13"]),
    "13": entity("heart", "ANAT-DP"),
    "14": entity("clips", "OBS-DP"),
    "15": entity("resolved", "OBS-DP", ["modify", "16"]),
    "16": entity("edema", "OBS-DP"),
}
SAID = {
    ("effusion", True, "left", None, "small"),
    ("pneumothorax", False, None, None, None),
    ("consolidation", False, None, None, None),
    ("cardiomegaly", True, None, None, None),
}


@pytest.mark.parametrize("indent", [None, 1])
def test_radgraphs_observations_are_claims(indent: int | None, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    report = {"text": "A report .", "entities": GRAPH, "data_source": "MIMIC-CXR"}
    two = {"text": "A report .", "labeler_1": {"entities": GRAPH}, "labeler_2": {"entities": {}}}
    bad = {"text": "x", "entities": {"1": {"tokens": 3}}}
    names = ["p10/p10000032/s50414267.txt", "two", "bad", "empty"]
    reports = dict(zip(names, [report, two, bad, {"entities": GRAPH}], strict=True))
    path.write_text(json.dumps(reports, indent=indent))
    first, second, *notes = studies(path)
    assert isinstance(first, Study)
    assert contents(first) == contents(second) == SAID
    assert (first.uncertain, first.unknown) == (1, 3)
    assert (first.patient, first.text, first.source) == ("10000032", "A report .", "radgraph")
    assert [n.code for n in notes if isinstance(n, Note)] == ["claim", "empty_report"]


def test_radgraph_xls_labels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "inference.json"
    long = {"OBS-DP": "definitely present", "OBS-DA": "definitely absent", "OBS-U": "uncertain"}
    graph = {
        key: {**e, "label": f"Observation::{long[e['label']]}"}
        if e["label"] in long
        else {**e, "label": "Anatomy::definitely present"}
        for key, e in GRAPH.items()
    }
    path.write_text(json.dumps({"0": {"text": "A report .", "entities": graph}}))
    [study] = studies(path)
    assert contents(study) == SAID
    path.write_text(path.read_text()[:-1])
    *_, note = studies(path, DatasetConfig(layout="radgraph"))
    assert isinstance(note, Note)
    assert note.code == "json"


def test_rows_of_each_layout_are_built(tmp_path: Path) -> None:
    graphs = {f"p10/p1000003{n}/s{n}.txt": {"text": f"R {n}.", "entities": GRAPH} for n in range(9)}
    (tmp_path / "graphs.json").write_text(json.dumps(graphs))
    for number in range(9):
        open_i(tmp_path / "xml", str(number), f"Small left effusion. No mass. Film {number}.")
    sections = [f"s{n},No pneumothorax.,Mild edema.,,{n}\n" for n in range(9)]
    header = "study,impression,findings,last_paragraph,comparison\n"
    (tmp_path / "sections.csv").write_text(header + "".join(sections))
    sources = [tmp_path / name for name in ("graphs.json", "xml", "sections.csv")]
    card = build_dataset(sources, tmp_path / "out", DatasetConfig(val=0.2, test=0.2))
    read = {name for split in SPLITS for name in card.of(f"claims/{split}/source")}
    assert read == {"radgraph", "open-i", "mimic-sections"}
    assert card.counts["records/used"] == 27
