"""Share of the phantom's polarity gap that fine-tuning closes, over training seeds, and its cost.

    python benchmarks/finetune.py --out benchmarks/results/finetune.json

All weights of the text blocks are trained on the ready-made sets, with a multiplier of 1. After
every training, the model answers three times 600 polarity questions and searches three galleries of
300, all about held-out radiographs (question seeds 0, 1, 2). `seconds` is the time of a whole run,
data and training. `--weighting` takes another weighting, and `--method` the layer scores for it.
"""

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from record import machine, record

import negtrace
from negtrace import bench
from negtrace.encoders.base import Encoder
from negtrace.errors import NegtraceWarning
from negtrace.experiments import selective_finetune
from negtrace.experiments.before_after import Measurements
from negtrace.pairs.phantom import phantom_pairs
from negtrace.results.layer_scores import LayerScores
from negtrace.training import FinetuneConfig

SETTINGS = FinetuneConfig(adapter="full", steps=700, rate=8e-4, balance=0.2, keep=15.0)

Figures = dict[str, float]


def headlines(encoder: Encoder, seed: int) -> Figures:
    """Return the main figures of a model for one question seed; R@5 is the mean of both ways."""
    reports = [
        bench.run(encoder, bench.BenchConfig(suite=suite, count=600, seed=seed, resamples=1))[0]
        for suite in ("polarity", "retrieval")
    ]
    by_suite = {report.suite: report for report in reports}
    figures = Measurements(reports=by_suite, document=None).headlines()
    recalls = [figures[f"R@5 {way}, affirmative"] for way in ("anchor to text", "text to anchor")]
    return {
        "affirmative": figures["accuracy, affirmative wording"],
        "negated": figures["accuracy, negated wording"],
        "gap": figures["gap"],
        "R@5": float(np.mean(recalls)),
    }


def layer_scores(method: str) -> LayerScores:
    """Return layer scores of the phantom before training."""
    cte = negtrace.trace(
        negtrace.load("phantom"),
        phantom_pairs(96),
        sites=["resid", "attn_out", "mlp_out"],
        direction="noising",
    )
    return negtrace.layer_scores(cte, method)


def mean(rows: Sequence[Figures]) -> Figures:
    """Return the mean of every figure."""
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def main() -> None:
    """Train with every seed, measure before and after, and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--questions", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--method", default="transport")
    parser.add_argument("--weighting", default="uniform")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    # A ranking that is not stable does not matter when all multipliers are 1.
    warnings.simplefilter("ignore", NegtraceWarning)
    scores = layer_scores(options.method)
    before = [headlines(negtrace.load("phantom"), seed) for seed in options.questions]
    runs = []
    for seed in options.seeds:
        encoder = negtrace.load("phantom")
        start = time.perf_counter()
        selective_finetune(
            encoder, "phantom", scores, SETTINGS, seed=seed, weighting=options.weighting
        )
        seconds = time.perf_counter() - start
        after = [headlines(encoder, questions) for questions in options.questions]
        closed = 1 - mean(after)["gap"] / mean(before)["gap"]
        cost = {"seed": seed, "seconds": seconds, "closed": closed}
        runs.append({**cost, **mean(after), "by_questions": after})
        print(runs[-1], flush=True)
    chosen = {"questions": options.questions, "weighting": options.weighting}
    figures = {"before": mean(before), "before_by_questions": before, "runs": runs}
    record({**machine(threads=torch.get_num_threads()), **chosen, **figures}, options.out)


if __name__ == "__main__":
    main()
