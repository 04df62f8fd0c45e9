"""Compare the cost that `--estimate` says with what the trace then takes.

    python benchmarks/cost.py --out benchmarks/results/cost.json

Every number comes from a process of its own. FLOPs are those of all batches, counted by torch.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from record import machine, record
from torch.utils.flop_counter import FlopCounterMode

import negtrace
from negtrace.pairs.phantom import phantom_pairs
from negtrace.tracing.cost import cost_of_trace, peak_memory


def one(kind: str, model: str, count: int) -> dict[str, Any]:
    """Return what one process measures: the estimate, the trace, or its FLOPs."""
    encoder = negtrace.load(model)
    pairs = phantom_pairs(n=count, seed=0)
    if kind == "estimate":
        cost = cost_of_trace(encoder, pairs)
        return {"seconds": cost.seconds, "mib": cost.mebibytes, "flops": cost.flops}
    if kind == "flops":
        with FlopCounterMode(display=False) as counter:
            negtrace.trace(encoder, pairs, self_check=False, progress=False)
        return {"flops": counter.get_total_flops()}
    start = time.perf_counter()
    negtrace.trace(encoder, pairs, progress=False)
    return {"seconds": time.perf_counter() - start, "mib": peak_memory()}


def measured(kind: str, model: str, count: int) -> dict[str, Any]:
    """Return what `one` gives in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, "--model", model, "--pairs", str(count)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))  # noqa: S603
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def main() -> None:
    """Measure every size, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[24, 240, 2400])
    parser.add_argument("--model", default="phantom")
    parser.add_argument("--one", choices=["estimate", "trace", "flops"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.model, args.pairs[0])))
        return
    rows = []
    for count in args.pairs:
        kinds = ("estimate", "trace", "flops")
        estimate, trace, flops = (measured(kind, args.model, count) for kind in kinds)
        rows.append({"pairs": count, "estimate": estimate, "trace": {**trace, **flops}})
        print(rows[-1], file=sys.stderr)
    record({**machine(), "model": args.model, "rows": rows}, args.out)


if __name__ == "__main__":
    main()
