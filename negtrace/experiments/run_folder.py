"""An output folder belongs to one run: the same again goes on, another one is refused."""

__all__ = ["RUN", "claim_folder"]

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from negtrace._files import canonical, require_writable, write_bytes
from negtrace._messages import listed
from negtrace.errors import OutputError

RUN = "run.json"


def claim_folder(folder: Path, run: Mapping[str, Any], *, write: bool = True) -> None:
    """Write what decides a run's result into its folder, or see that it is the same run.

    Raises:
        OutputError: when the folder holds another run, or cannot be written.
    """
    path, wanted = folder / RUN, json.loads(canonical(run))
    if path.is_file():
        held = json.loads(path.read_text("utf-8"))
        differs = [key for key in sorted({*held, *wanted}) if held.get(key) != wanted.get(key)]
        if differs:
            raise OutputError(
                f"{folder} holds another run: its {listed(differs)} differ(s); name another "
                "folder, or give the settings that it was started with to go on"
            )
        return
    if (folder / "checkpoints").exists():
        raise OutputError(f"{folder} has checkpoints, but no {RUN} says of what; name another")
    if write:
        require_writable(folder)
        write_bytes(path, (json.dumps(wanted, indent=1) + "\n").encode())
