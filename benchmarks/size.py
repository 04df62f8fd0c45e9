"""Measure CPU time and peak memory of a trace of many pairs, from file to results.

    python benchmarks/size.py --pairs 1000 10000 100000 --out benchmarks/results/size.json

Every size runs the command in a process of its own: both statements of every pair, every cell, the
intervals, CTE JSON and raw scores; no figures. `imports` is the peak of a process that only loads
the model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from record import machine, record

import negtrace


def write_pairs(path: Path, count: int) -> None:
    """Write `count` pairs: the built-in ones again and again, each about another study."""
    pairs = negtrace.radiology_pairs()
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            pair = pairs[number % len(pairs)]
            row = {
                "id": f"study-{number}",
                "true": pair.true,
                "false": pair.false,
                "anchor": {"text": f"{pair.anchor.text} Study {number}."},
                "tags": dict(pair.tags),
            }
            file.write(json.dumps(row) + "\n")


def measured(command: Sequence[str]) -> dict[str, float]:
    """Return CPU seconds and peak memory, in MiB, of a process."""
    code = "import sys, negtrace.cli; sys.exit(negtrace.cli.main(sys.argv[1:]))"
    pid = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, *command], stdout=subprocess.DEVNULL
    ).pid
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    kib = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    seconds = usage.ru_utime + usage.ru_stime
    return {"seconds": round(seconds, 1), "mib": round(kib / 1024)}


def main() -> None:
    """Measure every size, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--model", default="toy")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        imports = measured(["check", args.model])
        for count in args.pairs:
            pairs = Path(folder) / f"{count}.jsonl"
            write_pairs(pairs, count)
            command = ["trace", args.model, "--pairs", str(pairs), "--direction", "noising"]
            out = str(Path(folder) / f"out-{count}")
            rows.append({"pairs": count, **measured([*command, "--out", out, "--formats", "png"])})
            print(rows[-1], file=sys.stderr)
    record({**machine(), "model": args.model, "imports": imports, "rows": rows}, args.out)


if __name__ == "__main__":
    main()
