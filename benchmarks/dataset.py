"""Measure how many records a second the data set builder reads, and its peak memory.

python benchmarks/dataset.py --out benchmarks/results/dataset.json
"""

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from record import machine, record

from negtrace.datasets import DatasetConfig, build_dataset
from negtrace.datasets.readers.chexpert import CHEXPERT_LABELS

LABELS = [label for label in CHEXPERT_LABELS if label != "Nodule"]
SIDES = ("left", "right", "bilateral")
ZONES = ("upper", "middle", "lower")
SIZES = ("small", "moderate", "large")


def labels(rng: random.Random, records: int) -> Iterator[str]:
    """Yield a label file in CheXpert's columns, three studies a patient."""
    yield ",".join(["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", *LABELS])
    for number in range(records):
        cells = ",".join(rng.choice(("", "", "1.0", "0.0", "-1.0")) for _ in LABELS)
        folder = f"patient{number // 3:06d}/study{number % 3 + 1}"
        yield f"CheXpert-v1.0/train/{folder}/view1_frontal.jpg,Male,60,Frontal,AP,,{cells}"


def claims(rng: random.Random, records: int) -> Iterator[str]:
    """Yield structured claims with every attribute."""
    for number in range(records):
        stated = [
            {"finding": "effusion", "present": True, "side": rng.choice(SIDES)},
            {"finding": "mass", "present": True, "zone": rng.choice(ZONES)},
            {"finding": "edema", "present": rng.random() < 0.5},
            {"finding": "pneumothorax", "present": False},
        ]
        for claim in stated[: 1 + (rng.random() < 0.5)]:
            claim["severity"] = rng.choice(SIZES)
        yield json.dumps({"patient": number // 3, "image": f"{number}.png", "claims": stated})


def reports(rng: random.Random, records: int) -> Iterator[str]:
    """Yield reports of four sentences, two of which occur in no other report."""
    common = [
        f"{start} {finding}{end}"
        for finding in ("pleural effusion", "pneumothorax", "pulmonary edema", "consolidation")
        for start, end in (("No", "."), ("There is", " on the left."), ("No evidence of", "."))
    ]
    for number in range(records):
        repeated = rng.sample(common, 2)
        unique = [
            f"Compared with study {number}, there is no nodule in the {rng.choice(ZONES)} lobe.",
            f"A {rng.choice(SIZES)} mass of {number} mm lies in the {rng.choice(SIDES)} lung.",
        ]
        text = " ".join([repeated[0], *unique, repeated[1]])
        yield json.dumps({"patient_id": number // 3, "report": text, "image": f"{number}.png"})


SOURCES: dict[str, tuple[str, Callable[[random.Random, int], Iterator[str]]]] = {
    "labels": ("train.csv", labels),
    "claims": ("claims.jsonl", claims),
    "reports": ("reports.jsonl", reports),
}


def measure(source: Path, out: Path) -> dict[str, float]:
    """Build a data set in this process, and return its time, memory and size."""
    start, used = time.perf_counter(), time.process_time()
    card = build_dataset(source, out, DatasetConfig())
    wall, used = time.perf_counter() - start, time.process_time() - used
    records = card.counts["records/read"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "records": records,
        "seconds": round(wall, 1),
        "records_per_second": round(records / wall),
        "records_per_processor_second": round(records / used),
        "peak_mib": round(peak / 1024, 1),
        "rows_written": sum(
            sum(card.of(kind).values()) for kind in ("claims", "captions", "pairs")
        ),
        "mib_written": round(sum(file["bytes"] for file in card.files.values()) / 2**20),
    }


def measure_in_subprocess(kind: str, records: int, folder: Path) -> dict[str, float]:
    """Write a source, and measure how it is built in a process with its own peak memory."""
    name, make = SOURCES[kind]
    folder = folder / f"{kind}-{records}"
    folder.mkdir()
    rng = random.Random(0)  # noqa: S311
    with (folder / name).open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in make(rng, records))
    command = [sys.executable, __file__, "--one", str(folder / name), str(folder / "out")]
    shown = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return dict(json.loads(shown.stdout))


def main() -> None:
    """Print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--records", type=int, nargs="+", default=[100_000, 1_000_000], help="labels and reports"
    )
    parser.add_argument("--claims", type=int, default=100_000, help="structured claims; 0 for none")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(*options.one)))
        return
    plan = [(kind, records) for kind in ("labels", "reports") for records in options.records]
    plan += [("claims", options.claims)] if options.claims else []
    figures: dict[str, object] = {
        "python": platform.python_version(),
        "load_at_the_start": round(os.getloadavg()[0], 2),
    }
    for kind, records in plan:
        with tempfile.TemporaryDirectory() as folder:
            figures[f"{kind}_{records}"] = measure_in_subprocess(kind, records, Path(folder))
        print(kind, records, json.dumps(figures[f"{kind}_{records}"]), file=sys.stderr)
    # Last, because it loads torch, and a process starts with the peak memory of its parent.
    record({**machine(threads=1), **figures}, options.out)


if __name__ == "__main__":
    main()
