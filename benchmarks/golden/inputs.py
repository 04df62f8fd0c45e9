"""Inputs of jobs: public files, and label files, reports and radiographs that a job writes.

Short files that are written by hand are in the folder `files`.
"""

import csv
import io
import json
import runpy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from stored_form import INPUTS, write

PUBLIC = f"{INPUTS}/data"
"""Folder of public files."""

VALSE = f"{PUBLIC}/valse/existence_part.json"

MINILM = "all-MiniLM-L6-v2"
MODELS = {"phantom": "phantom", "minilm": f"{INPUTS}/{MINILM} --name {MINILM}"}
"""Arguments that choose a model on the command line."""

METHODS = ("nast", "std", "cue", "transport", "component")
"""Methods of layer scores."""

LABELS = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion"),
    *("Pleural Other", "Fracture", "Support Devices"),
)
"""Label columns of CheXpert and MIMIC-CXR."""

REPORTS = (
    "FINDINGS: There is a small left pleural effusion. No pneumothorax.\nHeart size is normal.",
    "No focal consolidation. Moderate edema, no large effusion on the right.",
    "Possible pneumonia in the right upper lobe. No rib fracture is seen.",
    "No evidence of free air under the diaphragm.",
    "Large right upper lobe mass without pleural effusion or pneumothorax.",
    "The effusion is absent. Clear lungs, normal mediastinum; a pacemaker is in place.",
)


def text_file(name: str, text: str) -> str:
    """Write an input file and return its path."""
    write(Path(INPUTS, name), text)
    return f"{INPUTS}/{name}"


def json_lines(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as JSON lines and return the path of the file."""
    return text_file(name, "".join(json.dumps(row) + "\n" for row in rows))


def csv_file(name: str, rows: Sequence[Sequence[str]]) -> str:
    """Write rows as CSV and return the path of the file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text_file(name, text.getvalue())


def chexpert(name: str, count: int) -> str:
    """Write a label file in the columns of CheXpert, with some rows that cannot be used."""
    rng = Random(0)  # noqa: S311
    rows = [["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", *LABELS]]
    for index in range(count):
        image = f"train/patient{index // 2:05d}/study{index % 2 + 1}/view1_frontal.jpg"
        marks = [rng.choice(["", "1.0", "0.0", "0.0", "-1.0"]) for _ in LABELS]
        rows.append([image, "Female", "61", "Frontal", "AP", "", *marks])
    repeated, unknown_mark, too_short = rows[1], [*rows[2][:-1], "2"], rows[3][:-1]
    cut_path = [rows[4][0][:-20], *[""] * 18]
    return csv_file(name, [*rows, repeated, unknown_mark, too_short, cut_path])


def mimic(name: str, count: int) -> str:
    """Write a label file in the columns of MIMIC-CXR."""
    rng = Random(1)  # noqa: S311
    rows = [["subject_id", "study_id", "dicom_id", *LABELS]]
    for index in range(count):
        marks = [rng.choice(["", "1.0", "0.0", "-1.0"]) for _ in LABELS]
        rows.append([str(10_000_000 + index // 2), str(50_000_000 + index), f"d{index}", *marks])
    return csv_file(name, rows)


def cad_chest(name: str, count: int) -> str:
    """Write a JSON array in the layout of CAD-Chest."""
    rng = Random(2)  # noqa: S311
    entities = ("pneumothorax", "pleural effusion", "lung opacity", "scoliosis", "edema")
    rows = [
        {
            "study_id": str(50_000_000 + index),
            "subject_id": str(10_000_000 + index // 2),
            "dicom_id": f"d{index}",
            "view": "antero-posterior",
            "entity": {entity: _entity(entity, rng) for entity in entities},
        }
        for index in range(count)
    ]
    return text_file(name, json.dumps(rows, indent=1))


def _entity(name: str, rng: Random) -> dict[str, Any]:
    score = rng.choice([-3, -3, 1, 2, 3, 3])
    return {
        "id": 0,
        "entity_name": name,
        "report_name": name,
        "location": rng.choice([None, ["left"], ["right", "lower"], ["bilateral"]]),
        "post_location": rng.choice([None, None, ["base"]]),
        "type": None,
        "level": rng.choice([None, ["small"], ["moderate"], ["increasing"], ["acute"]]),
        "infer": [],
        "derived_from": [],
        "probability": {-3: "no ", 1: "may", 2: "likely", 3: "positive"}[score],
        "probability_score": score,
    }


def claims(name: str, count: int) -> str:
    """Write studies with structured claims as JSON lines; the last two cannot be used."""
    rng, rows = Random(3), []  # noqa: S311
    for index in range(count):
        some = [claim for claim in _study_claims(rng) if rng.random() < 0.6]
        anchor = {"image": f"{index}.png"} if index % 3 else {"text": f"Film {index}."}
        if some:
            rows.append({"patient": f"p{index // 2}", **anchor, "claims": some})
    unknown = {"patient": "p", "text": "A film.", "finding": "gout", "present": True}
    return json_lines(name, [*rows, unknown, {"a": 1}])


def _study_claims(rng: Random) -> Iterator[dict[str, Any]]:
    """Yield claims about a random study; together they use every attribute."""
    side = rng.choice(["left", "right", "bilateral"])
    zone = rng.choice(["upper", "middle", "lower"])
    size = rng.choice(["small", "moderate", "large"])
    yield {"finding": "effusion", "present": True, "side": side, "severity": size}
    yield {"finding": "Edema", "present": rng.random() < 0.5, "severity": size}
    yield {"finding": "mass", "present": True, "side": side, "zone": zone, "severity": size}
    yield {"finding": "pneumothorax", "present": False, "side": rng.choice([None, "left"])}
    yield {"finding": "device", "present": rng.random() < 0.5}
    yield {"finding": "pneumonia", "present": True, "certainty": rng.choice(["possible", None])}


def reports(name: str, count: int) -> str:
    """Write reports as JSON lines; some of them are equal."""
    rng = Random(4)  # noqa: S311
    texts = [" ".join(rng.sample(REPORTS, 2)) for _ in range(count)]
    return json_lines(
        name, [{"report": text, "patient_id": f"p{n // 2}"} for n, text in enumerate(texts)]
    )


def radiographs(count: int) -> str:
    """Write real radiographs; return a label file, in the columns of CheXpert, of the first."""
    script = runpy.run_path(str(Path(__file__).absolute().parents[1] / "nih_folder.py"))
    source = Path(PUBLIC, "nih_cxr14_starter", "nih_starter_64.npz")
    all_labels: Path = script["as_folder"](source, Path(INPUTS, "nih"))
    rows = list(csv.reader(all_labels.read_text("utf-8").splitlines()))
    all_labels.unlink()
    return csv_file("nih/some.csv", rows[: count + 1])
