"""Small source files of every built-in layout."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from negtrace.datasets.readers.chexpert import CHEXPERT_LABELS
from negtrace.datasets.readers.nih import NIH_LABELS

LABELS = [label for label in CHEXPERT_LABELS if label != "Nodule"]
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", *LABELS]
REPORTS = [
    "FINDINGS: There is a small left pleural effusion. No pneumothorax.\nHeart size is normal.",
    "No focal consolidation. Moderate edema, no large effusion on the right.",
    "Possible pneumonia in the right upper lobe. No rib fracture is seen.",
    "No evidence of free air under the diaphragm.",
    "Large right upper lobe mass without pleural effusion or pneumothorax.",
]


def chexpert(path: Path, count: int, *, seed: int = 0, rows: Sequence[str] = ()) -> Path:
    """Write a label file in CheXpert's columns, two studies a patient."""
    rng = Random(seed)  # noqa: S311
    lines = [",".join(HEADER)]
    for number in range(count):
        labels = [rng.choice(["", "1.0", "0.0", "0.0", "-1.0"]) for _ in LABELS]
        image = f"train/patient{number // 2:05d}/study{number % 2 + 1}/view1_frontal.jpg"
        lines.append(f"{image},Female,61,Frontal,AP,,{','.join(labels)}")
    path.write_text("\n".join([*lines, *rows]) + "\n", "utf-8")
    return path


def claims(path: Path, count: int, *, seed: int = 0) -> Path:
    """Write structured claims with every attribute."""
    rng = Random(seed)  # noqa: S311
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            stated = [claim for claim in _claims(rng) if rng.random() < 0.5]
            row = {"patient": f"p{number // 2}", "image": f"{number}.png", "claims": stated}
            if stated:
                file.write(json.dumps(row) + "\n")
    return path


def _claims(rng: Random) -> Iterator[dict[str, Any]]:
    side, zone = (
        rng.choice(["left", "right", "bilateral"]),
        rng.choice(["upper", "middle", "lower"]),
    )
    size = rng.choice(["small", "moderate", "large", None])
    yield {"finding": "effusion", "present": True, "side": side, "severity": size}
    yield {"finding": "Edema", "present": rng.random() < 0.5, "severity": size}
    yield {"finding": "mass", "present": True, "side": side, "zone": zone, "severity": size}
    yield {"finding": "pneumothorax", "present": False, "side": rng.choice([None, "left"])}
    yield {"finding": "device", "present": rng.random() < 0.5}
    yield {"finding": "pneumonia", "present": True, "certainty": "possible"}


def nih(path: Path, count: int, *, seed: int = 0) -> Path:
    """Write a label list in the columns of Data_Entry_2017.csv."""
    rng = Random(seed)  # noqa: S311
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender"]
    for number in range(count):
        labels = "|".join(sorted(rng.sample(list(NIH_LABELS), rng.randrange(3)))) or "No Finding"
        lines.append(f"{number:08d}_000.png,{labels},0,{number // 2},58,M")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def cad_chest(path: Path, count: int, *, seed: int = 0) -> Path:
    """Write a JSON array in the layout of CAD-Chest."""
    rng = Random(seed)  # noqa: S311
    rows = [
        {
            "study_id": str(50_000_000 + number),
            "subject_id": str(10_000_000 + number // 2),
            "dicom_id": f"d{number}",
            "view": "antero-posterior",
            "entity": {
                name: _entity(name, rng)
                for name in ("pneumothorax", "pleural effusion", "lung opacity", "scoliosis")
            },
        }
        for number in range(count)
    ]
    path.write_text(json.dumps(rows, indent=1), "utf-8")
    return path


def _entity(name: str, rng: Random) -> dict[str, Any]:
    words = {-3: "no ", 1: "may", 2: "likely", 3: "positive"}
    score = rng.choice([-3, -3, 1, 2, 3, 3])
    return {
        "id": 0,
        "entity_name": name,
        "report_name": name,
        "location": rng.choice([None, ["left"], ["right", "lower"], ["bilateral"]]),
        "type": None,
        "level": rng.choice([None, ["small"], ["moderate"], ["increasing"]]),
        "infer": [],
        "derived_from": [],
        "probability": words[score],
        "probability_score": score,
    }


def reports(path: Path, count: int, *, seed: int = 0) -> Path:
    """Write reports as JSONL, some of them alike."""
    rng = Random(seed)  # noqa: S311
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = " ".join(rng.sample(REPORTS, 2))
            file.write(json.dumps({"report": text, "patient_id": f"p{number // 2}"}) + "\n")
    return path


def lines(folder: Path, kind: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of one file of a data set."""
    text = (folder / f"{kind}-{split}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by its name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


MAKERS: dict[str, tuple[str, Callable[..., Path]]] = {
    "cad-chest": ("cad.json", cad_chest),
    "chexpert": ("chexpert.csv", chexpert),
    "claims": ("claims.jsonl", claims),
    "nih": ("nih.csv", nih),
    "reports": ("reports.jsonl", reports),
}
"""File name and function that writes a source, by layout."""
