"""Draw a sheet of radiographs with their reports.

Run `python -m negtrace.experiments.train_phantom.sheet`.
"""

__all__ = ["draw", "main"]

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


def chosen(count: int) -> list[Patient]:
    """Return held-out studies with different findings, one normal, in order of their seeds."""
    picked: list[Patient] = []
    seen: set[frozenset[str]] = set()
    for seed in HELD_OUT_SEEDS:
        patient = draw_patient(seed)
        found = frozenset(claim.finding for claim in patient.present)
        if found not in seen and len(found) <= 3:
            seen.add(found)
            picked.append(patient)
        if len(picked) == count:
            break
    return picked


def fullest(patient: Patient) -> str:
    """Return the longest of a few dictations, which deny as seldom as the training reports do."""
    return max((report(patient, seed=draw) for draw in range(6)), key=len)


def draw(studies: Sequence[Patient], *, size: int = 256) -> Figure:
    """Return a figure of the radiographs, each above its report."""
    rows = -(-len(studies) // COLUMNS)
    figure = Figure(figsize=(3.3 * COLUMNS, 4.4 * rows + 0.6), layout="constrained")
    figure.suptitle(
        "Synthetic chest radiographs and reports of the phantom: drawn by arithmetic, no patient",
        fontsize=13,
    )
    for place, patient in enumerate(studies):
        axes = figure.add_subplot(rows, COLUMNS, place + 1)
        axes.imshow(patient.image(size), cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.text(8, 18, "synthetic", color="white", fontsize=7, alpha=0.8)
        axes.text(size - 8, 18, "L", color="white", fontsize=11, ha="right", va="center")
        text = "\n".join(textwrap.wrap(fullest(patient), WRAP))
        axes.text(0, size * 1.03, text, fontsize=7.5, va="top")
    return figure


def main() -> None:
    """Write the sheet to the file that the command names."""
    parser = argparse.ArgumentParser(
        prog="python -m negtrace.experiments.train_phantom.sheet", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=Path("figures/phantom_sheet.png"))
    parser.add_argument("--count", type=int, default=12, help="how many radiographs")
    options = parser.parse_args()
    drawn = io.BytesIO()
    draw(chosen(options.count)).savefig(drawn, dpi=100)
    # A sheet of films has no colour: one channel is a third of the file.
    Image.open(drawn).convert("L").save(options.out, optimize=True)


if __name__ == "__main__":
    main()
