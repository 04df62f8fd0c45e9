"""Record of a benchmark: its figures with the machine, the versions and the command."""

__all__ = ["machine", "record"]

import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path


def machine(*, threads: int | None = None) -> dict[str, object]:
    """Return the command, the machine and the versions that figures depend on.

    Args:
        threads: number of threads, if the benchmark sets it.
    """
    import torch

    described: dict[str, object] = {
        "command": " ".join(["python", *sys.argv]),
        "machine": f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "negtrace": version("negtrace"),
    }
    return described if threads is None else {**described, "threads": threads}


def record(figures: Mapping[str, object], out: Path | None) -> None:
    """Print figures as JSON, and write them to a file if there is a path for it."""
    text = json.dumps(figures, indent=2) + "\n"
    sys.stdout.write(text)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, "utf-8")
