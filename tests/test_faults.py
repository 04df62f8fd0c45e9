"""Faults: runs that are killed or whose disk fills up go on to the same results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "faults.py"


@pytest.mark.parametrize("command", ["trace", "heads", "bench", "dataset", "finetune"])
def test_a_command_survives_a_kill_and_a_full_disk(command: str, tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    call = [sys.executable, SCRIPT, "--trials", "1", "--faults", "kill", "disk", "--out", out]
    # In a process of its own: it forks, and this one has threads.
    ended = subprocess.run(  # noqa: S603
        [*call, "--commands", command], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    [row] = json.loads(out.read_text("utf-8"))["commands"].values()
    assert row["survived"] == row["trials"] == {"kill": 1, "disk": 1}
