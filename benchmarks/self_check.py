"""Time what the self-check of a trace costs: the same trace with it and without it, in turn.

    python benchmarks/self_check.py --out benchmarks/results/self_check.json

A fresh encoder is traced every time, since the check is done once for each encoder. It was loaded
as usual, so its structure was checked then. Times are those of the processor; the least of all
rounds counts.
"""

import argparse
import time
from pathlib import Path

import torch
from record import machine, record

import negtrace

SIZES = (8, 12, 24, 70, 140)
"""Numbers of pairs: the smallest is hardly a trace, the largest are all built-in ones."""


def seconds(model: str, pairs: list[negtrace.Pair], *, self_check: bool) -> float:
    """Return the processor's seconds of one trace by a fresh encoder."""
    encoder = negtrace.load(model)
    start = time.process_time()
    negtrace.trace(encoder, pairs, self_check=self_check, progress=False)
    return time.process_time() - start


def measured(model: str, size: int, rounds: int) -> dict[str, object]:
    """Return the least time with and without the self-check, and the share that it adds."""
    pairs = negtrace.sample(negtrace.radiology_pairs(), size)
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for self_check in (False, True):
            times[self_check].append(seconds(model, pairs, self_check=self_check))
    with_it, without = min(times[True]), min(times[False])
    return {
        "model": model,
        "pairs": size,
        "seconds": round(without, 4),
        "with_self_check": round(with_it, 4),
        "share": round(with_it / without - 1, 4),
    }


def main() -> None:
    """Measure every size and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [measured(args.model, size, args.rounds) for size in SIZES]
    record({**machine(threads=args.threads), "rounds": args.rounds, "rows": rows}, args.out)


if __name__ == "__main__":
    main()
