"""Finished work of a sweep on disk, so that an interrupted trace goes on where it stopped."""

__all__ = ["Checkpoint"]

import time
import warnings
from pathlib import Path

import numpy as np

from negtrace._files import pack, unpack, write_bytes
from negtrace.errors import CTEError, NegtraceWarning
from negtrace.tracing.engines.exact import Swept

EVERY = 15.0
"""Seconds between writes: what is lost at most, and a small price against the work."""


class Checkpoint:
    """The contrasts of one sweep that are done, kept in one safetensors file.

    The sweep repeats its batches as they were and leaves out those that are done whole, so a
    resumed trace has the identical result.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        """Digest of everything the scores depend on; another trace's file is not resumed."""
        self.done = self._read()
        self._written = time.monotonic()

    def _read(self) -> dict[int, Swept]:
        if not self._path.exists():
            return {}
        try:
            arrays, header = unpack(self._path.read_bytes())
        except CTEError:
            header = {}
        if header.get("key") != self._key:
            warnings.warn(
                f"{self._path} holds the progress of another trace; it starts anew",
                NegtraceWarning,
                stacklevel=2,
            )
            return {}
        return {
            index: Swept(index=index, clean=clean, corrupt=corrupt, patched=arrays[str(index)])
            for index, clean, corrupt in header["done"]
        }

    def keep(self, swept: Swept) -> None:
        """Add one finished contrast; write now and then."""
        self.done[swept.index] = swept
        if time.monotonic() - self._written > EVERY:
            self.write()

    def write(self) -> None:
        """Write what is done.

        Raises:
            OutputError: when the place cannot be written.
        """
        arrays = {str(index): np.asarray(swept.patched) for index, swept in self.done.items()}
        rows = [[swept.index, swept.clean, swept.corrupt] for swept in self.done.values()]
        write_bytes(self._path, pack(arrays, {"key": self._key, "done": rows}))
        self._written = time.monotonic()
