"""Finished scores of a sweep on disk, so that an interrupted trace can be resumed."""

__all__ = ["Checkpoint"]

import time
import warnings
from pathlib import Path

import numpy as np

from negtrace._files import pack, unpack, write_bytes
from negtrace.errors import CTEError, NegtraceWarning
from negtrace.tracing.engines.sweep import ContrastScores

SECONDS_BETWEEN_WRITES = 15.0
"""The most work that an interruption loses."""


class Checkpoint:
    """The finished scores of one sweep, in one safetensors file.

    A resumed sweep repeats its batches as they were and leaves out those that are done as a whole,
    so its result is identical.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        """Digest of everything the scores depend on. A file with another key is not resumed."""
        self.done = self._read()
        self._written = time.monotonic()

    def _read(self) -> dict[int, ContrastScores]:
        if not self._path.exists():
            return {}
        try:
            arrays, header = unpack(self._path.read_bytes())
        except CTEError:
            header = {}
        if header.get("key") != self._key:
            self._warn()
            return {}
        return {
            index: ContrastScores(
                index=index, clean=clean, corrupt=corrupt, patched=arrays[str(index)]
            )
            for index, clean, corrupt in header["done"]
        }

    def forget(self) -> None:
        """Leave out everything that was read, and warn of it."""
        self.done = {}
        self._warn()

    def _warn(self) -> None:
        warnings.warn(
            f"{self._path} holds the progress of another trace; it starts anew",
            NegtraceWarning,
            stacklevel=3,
        )

    def add(self, scores: ContrastScores) -> None:
        """Add the scores of one contrast; write the file if the last write is some time ago."""
        self.done[scores.index] = scores
        if time.monotonic() - self._written > SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self) -> None:
        """Write all finished scores.

        Raises:
            OutputError: when the file cannot be written.
        """
        arrays = {str(index): np.asarray(scores.patched) for index, scores in self.done.items()}
        rows = [[scores.index, scores.clean, scores.corrupt] for scores in self.done.values()]
        write_bytes(self._path, pack(arrays, {"key": self._key, "done": rows}))
        self._written = time.monotonic()
