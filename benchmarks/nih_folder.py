"""Write radiographs of NIH ChestX-ray14 as a folder of PNG files with a CheXpert-style CSV.

python benchmarks/nih_folder.py --source nih_starter_64.npz --out nih
negtrace bench phantom --data nih/train.csv --out bench-nih

The archive holds `images` [image, row, column], `names`, `labels` [image, label] and
`label_names`. Labels that CheXpert has no name for are left out.
"""

import argparse
import csv
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

CHEXPERT = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Nodule": "Nodule",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Pleural_Thickening": "Pleural Other",
}
"""CheXpert's label by the label of NIH ChestX-ray14."""

SEEN = ("Cardiomegaly", "Pleural Effusion", "Nodule", "Pneumothorax", "Consolidation", "Edema")
"""The labels among these that the phantom was trained on."""


def as_folder(
    source: Path, folder: Path, labels: Collection[str] = tuple(CHEXPERT.values())
) -> Path:
    """Write the radiographs and a CSV file of the given labels; return the CSV file."""
    with np.load(source) as stored:
        images, names, labelled = stored["images"], stored["names"], stored["labels"]
        columns = {CHEXPERT.get(str(name), ""): k for k, name in enumerate(stored["label_names"])}
    columns = {name: k for name, k in columns.items() if name in labels}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["Path", "Frontal/Lateral", *columns])
        for image, name, row in zip(images, names, labelled, strict=True):
            Image.fromarray(image).save(folder / str(name))
            table.writerow([str(name), "Frontal", *(f"{row[k]:.1f}" for k in columns.values())])
    return path


def main() -> None:
    """Write the folder and print the path of its CSV file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="nih_starter_64.npz")
    parser.add_argument("--out", type=Path, required=True, help="the folder")
    parser.add_argument("--labels", nargs="*", default=SEEN, choices=list(CHEXPERT.values()))
    options = parser.parse_args()
    print(as_folder(options.source, options.out, options.labels))


if __name__ == "__main__":
    main()
