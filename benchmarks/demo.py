"""Wall time of `negtrace demo` and `negtrace --help`, each as a whole process.

python benchmarks/demo.py --out benchmarks/results/demo.json
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import machine, record


def seconds(*command: str) -> float:
    """Return the wall time of one run of negtrace, with imports and figures."""
    start = time.perf_counter()
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "negtrace", *command], check=True, capture_output=True
    )
    return time.perf_counter() - start


def main() -> None:
    """Run each command a few times, and record the median wall times and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        demo = [seconds("demo", "--out", folder) for _ in range(options.repeats)]
        help_ = [seconds("--help") for _ in range(options.repeats)]
    figures = {
        **machine(),
        "demo_s": statistics.median(demo),
        "demo_peak_memory_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "help_s": statistics.median(help_),
    }
    record(figures, options.out)


if __name__ == "__main__":
    main()
