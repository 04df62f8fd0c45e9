"""Import open_clip from a folder of its own, outside the environment.

open_clip needs torchvision, and torchvision has no build for a torch without CUDA: installed in the
environment, it breaks every import of transformers. So both are in a folder that only these tests
import from. Two operators that torchvision expects are declared; no test calls them.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from filelock import FileLock

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "open_clip_requirements.txt"
FOLDER = HERE.parent / ".pytest_cache" / "open_clip"


@cache
def open_clip() -> ModuleType:
    """Return open_clip, installed on first use; $NEGTRACE_OPEN_CLIP may name a ready folder."""
    folder = Path(os.environ.get("NEGTRACE_OPEN_CLIP", FOLDER))
    FOLDER.parent.mkdir(exist_ok=True)
    with FileLock(FOLDER.with_suffix(".lock")):  # tests may run in several processes
        if not (folder / "open_clip").is_dir():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            into = ["--target", str(folder), "-r", str(REQUIREMENTS)]
            subprocess.run([*pip, *into], check=True)  # noqa: S603
    _declare_operators()
    sys.path.append(str(folder))
    import open_clip as package

    return package


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    _LIBRARIES.append(library)  # the declarations end with the last reference to it
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_LIBRARIES: list[torch.library.Library] = []
