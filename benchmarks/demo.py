"""Time `negtrace demo` as a newcomer runs it: a whole process, imports and figures included.

python benchmarks/demo.py --out benchmarks/results/demo.json
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run the demo a few times; print, and write, the median wall time and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    times = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            subprocess.run(  # noqa: S603
                [sys.executable, "-m", "negtrace", "demo", "--out", folder],
                check=True,
                capture_output=True,
            )
            times.append(time.perf_counter() - start)
    figures = {
        "machine": f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores",
        "wall_s": statistics.median(times),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }
    text = json.dumps(figures, indent=2) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
