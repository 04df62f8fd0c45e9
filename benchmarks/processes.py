"""Time a trace in one process and in two, and with and without a checkpoint.

    python benchmarks/processes.py --out benchmarks/results/processes.json

Every process has one thread. Two processes run a shard each; then the merge reads what they have
finished, and writes the results. Its time counts. The scores must be the same bytes.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from record import machine, record
from safetensors.numpy import load_file

from negtrace.encoders.base import Encoder
from negtrace.encoders.load import load
from negtrace.experiments.trace import run_shard, run_trace
from negtrace.pairs.pair import Pair
from negtrace.pairs.phantom import phantom_pairs
from negtrace.tracing.shard import Shard
from negtrace.tracing.trace import trace

DIRECTIONS = ("noising",)


def seconds(work: Callable[..., object], *args: object, **options: object) -> float:
    """Return how long some work takes."""
    begun = time.perf_counter()
    work(*args, **options)
    return time.perf_counter() - begun


def alone(encoder: Encoder, pairs: list[Pair], out: Path) -> None:
    """Trace in this process."""
    run_trace(encoder, out, pairs, directions=DIRECTIONS, formats=(), progress=False)


def shared(encoder: Encoder, pairs: list[Pair], out: Path) -> None:
    """Trace in two forked processes, and merge in this one."""
    children = []
    for number in (1, 2):
        if not (pid := os.fork()):
            status = 1
            try:
                run_shard(
                    encoder,
                    out,
                    pairs,
                    shard=Shard(number, 2),
                    directions=DIRECTIONS,
                    progress=False,
                )
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    if any(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children):
        raise SystemExit("a shard failed")
    alone(encoder, pairs, out)


def main() -> None:
    """Take the best of several runs of each way in turns, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=480)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder, pairs = load("phantom"), phantom_pairs(args.pairs)
    trace(encoder, pairs[:8], progress=False)
    times: dict[str, list[float]] = {"one": [], "two": [], "bare": [], "checkpoint": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for repeat in range(args.repeats):
            one, two = (folder / f"{way}-{repeat}" for way in ("one", "two"))
            saved = folder / f"{repeat}.partial"
            times["one"].append(seconds(alone, encoder, pairs, one))
            times["two"].append(seconds(shared, encoder, pairs, two))
            for way, checkpoint in (("bare", None), ("checkpoint", saved)):
                times[way].append(
                    seconds(trace, encoder, pairs, checkpoint=checkpoint, progress=False)
                )
        first, second = (load_file(way / "noising.safetensors") for way in (one, two))
    same = all(first[key].tobytes() == second[key].tobytes() for key in first)
    best = {way: min(taken) for way, taken in times.items()}
    found = {
        "pairs": args.pairs,
        "seconds": best,
        "speed_up": best["one"] / best["two"],
        "checkpoint_overhead": best["checkpoint"] / best["bare"] - 1,
        "identical": same,
    }
    record({**machine(threads=1), **found}, args.out)
    if not same:
        raise SystemExit("two processes gave other scores than one")


if __name__ == "__main__":
    main()
