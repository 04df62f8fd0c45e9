"""A folder with open_clip, apart from the environment, and the import of it.

open_clip imports torchvision, of which there is no build for a CPU torch: installed beside it, it
breaks every import of transformers. So it stays in a folder that only these tests look into; with
two operators declared that no test calls, it imports.
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
    import open_clip as found

    return found


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    _LIBRARIES.append(library)  # gone with its last reference
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_LIBRARIES: list[torch.library.Library] = []
