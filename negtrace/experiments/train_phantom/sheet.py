"""Draw a sheet of radiographs with their reports.

Run it as `python -m negtrace.experiments.train_phantom.sheet`.
"""

__all__ = ["chosen_patients", "draw_sheet"]

import argparse
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from negtrace.phantom.patients import HELD_OUT_SEEDS, Patient, draw_patient
from negtrace.phantom.reports import report

COLUMNS = 4
WRAP = 44


def chosen_patients(count: int) -> list[Patient]:
    """Return held-out patients with at most three findings each, no two with the same findings."""
    chosen: dict[frozenset[str], Patient] = {}
    for seed in HELD_OUT_SEEDS:
        if len(chosen) == count:
            break
        patient = draw_patient(seed)
        findings = frozenset(claim.finding for claim in patient.present)
        if len(findings) <= 3:
            chosen.setdefault(findings, patient)
    return list(chosen.values())


def _longest_report(patient: Patient) -> str:
    """Return the longest of six reports. They deny findings as rarely as the training reports."""
    return max((report(patient, seed=seed) for seed in range(6)), key=len)


def draw_sheet(patients: Sequence[Patient], *, size: int = 256) -> Figure:
    """Return a figure of radiographs, each above its report."""
    rows = -(-len(patients) // COLUMNS)
    figure = Figure(figsize=(3.3 * COLUMNS, 4.4 * rows + 0.6), layout="constrained")
    figure.suptitle(
        "Synthetic chest radiographs and reports of the phantom: drawn by arithmetic, no patient",
        fontsize=13,
    )
    for index, patient in enumerate(patients):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        axes.imshow(patient.image(size), cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.text(8, 18, "synthetic", color="white", fontsize=7, alpha=0.8)
        axes.text(size - 8, 18, "L", color="white", fontsize=11, ha="right", va="center")
        text = "\n".join(textwrap.wrap(_longest_report(patient), WRAP))
        axes.text(0, size * 1.03, text, fontsize=7.5, va="top")
    return figure


def main() -> None:
    """Draw the sheet and write it to the file given on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m negtrace.experiments.train_phantom.sheet", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("figures/phantom_sheet.png"))
    parser.add_argument("--count", type=int, default=12, help="how many radiographs")
    options = parser.parse_args()
    buffer = io.BytesIO()
    draw_sheet(chosen_patients(options.count)).savefig(buffer, dpi=100)
    # The sheet has no colour; one channel makes the file a third as large.
    Image.open(buffer).convert("L").save(options.out, optimize=True)


if __name__ == "__main__":
    main()
