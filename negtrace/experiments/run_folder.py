"""The output folder of a run: the same run again goes on, another run is refused."""

__all__ = ["RunFolder"]

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negtrace._files import canonical, require_writable, write_bytes
from negtrace._messages import listed
from negtrace.errors import OutputError

RUN = "run.json"
"""Name of the file that says which run a folder holds."""


@dataclass(frozen=True)
class RunFolder:
    """An output folder that belongs to one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the Trainer's checkpoints."""
        return self.path / "checkpoints"

    def lock(self, run: Mapping[str, Any], *, write: bool = True) -> None:
        """Reserve the folder for one run, or check that it is already reserved for the same run.

        Args:
            run: JSON values of everything that decides the result of the run.
            write: write `run.json`. Only one of several processes should.

        Raises:
            OutputError: when the folder holds another run, or cannot be written.
        """
        file, wanted = self.path / RUN, json.loads(canonical(run))
        if file.is_file():
            self._require_same(json.loads(file.read_text("utf-8")), wanted)
        elif self.checkpoints.exists():
            raise OutputError(
                f"{self.path} has checkpoints, but no {RUN} says of which run; name another folder"
            )
        elif write:
            require_writable(self.path)
            write_bytes(file, (json.dumps(wanted, indent=1) + "\n").encode())

    def _require_same(self, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        keys = sorted({*stored, *wanted})
        if differing := [key for key in keys if stored.get(key) != wanted.get(key)]:
            raise OutputError(
                f"{self.path} holds another run: its {listed(differing)} differ(s); name another "
                "folder, or give the settings that it was started with to go on"
            )
