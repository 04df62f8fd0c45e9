"""How far fine-tuning closes the phantom's polarity gap, over training seeds, and what it costs.

    python benchmarks/finetune.py --out benchmarks/results/finetune.json

Whole text blocks, all multipliers 1, the ready-made sets. Every training is asked three times 600
polarity questions and searches three galleries of 300, all of held-out radiographs (question seeds
0, 1, 2). `seconds` is a whole run: data, training and nothing else. `--weighting` takes a control
or, with `--method`, a layer score.
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


def asked(encoder: Encoder, seeds: Sequence[int]) -> list[Figures]:
    """Return what the benchmark finds with each question seed; R@5 is the mean of both ways."""
    return [headlines(encoder, seed) for seed in seeds]


def headlines(encoder: Encoder, seed: int) -> Figures:
    """Return the figures by which a fine-tuning is judged, of one question seed."""
    asked_of = [
        bench.run(encoder, bench.BenchConfig(suite=suite, count=600, seed=seed, resamples=1))[0]
        for suite in ("polarity", "retrieval")
    ]
    found = Measurements(
        reports={report.suite: report for report in asked_of}, document=None
    ).headlines()
    ways = [found[f"R@5 {way}, affirmative"] for way in ("anchor to text", "text to anchor")]
    return {
        "affirmative": found["accuracy, affirmative wording"],
        "negated": found["accuracy, negated wording"],
        "gap": found["gap"],
        "R@5": float(np.mean(ways)),
    }


def layer_scores(method: str) -> LayerScores:
    """Return a layer score of the phantom before training."""
    cte = negtrace.trace(
        negtrace.load("phantom"),
        phantom_pairs(96),
        sites=["resid", "attn_out", "mlp_out"],
        direction="noising",
    )
    return negtrace.layer_scores(cte, method)


def mean(found: Sequence[Figures]) -> Figures:
    """Return the mean of every figure."""
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def main() -> None:
    """Train with every seed, ask before and after, and record."""
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
    # An unstable ranking is no matter where all multipliers are 1.
    warnings.simplefilter("ignore", NegtraceWarning)
    scores = layer_scores(options.method)
    before = asked(negtrace.load("phantom"), options.questions)
    runs = []
    for seed in options.seeds:
        encoder = negtrace.load("phantom")
        start = time.perf_counter()
        selective_finetune(
            encoder, "phantom", scores, config=SETTINGS, seed=seed, weighting=options.weighting
        )
        seconds = time.perf_counter() - start
        after = asked(encoder, options.questions)
        closed = 1 - mean(after)["gap"] / mean(before)["gap"]
        cost = {"seed": seed, "seconds": seconds, "closed": closed}
        runs.append({**cost, **mean(after), "by_questions": after})
        print(runs[-1], flush=True)
    told = {"questions": options.questions, "weighting": options.weighting}
    figures = {"before": mean(before), "before_by_questions": before, "runs": runs}
    record({**machine(threads=torch.get_num_threads()), **told, **figures}, options.out)


if __name__ == "__main__":
    main()
