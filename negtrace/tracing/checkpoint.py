"""Finished scores of a sweep on disk, so that an interrupted trace can be resumed."""

__all__ = ["Checkpoint"]

import json
import time
import warnings
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from negtrace._files import canonical, locked, pack, unpack
from negtrace._json import parse_json
from negtrace.errors import NegtraceWarning, OutputError
from negtrace.results.run_folder import require_same
from negtrace.tracing.engines.sweep import ContrastScores
from negtrace.tracing.records import RecordFile

SECONDS_BETWEEN_WRITES = 15.0
"""The most work that an interruption loses."""

SECONDS_TO_HOLD = 1.0
"""Time to wait for a file: another process looks for what killed ones left beside it."""

FORMAT = {"format": "negtrace.progress", "version": 3}

_WAY_OUT = "or delete the file to start anew"


Finished = MutableMapping[int, ContrastScores]
"""Scores of contrasts by their index in the sweep."""


class Checkpoint:
    """The finished scores of one sweep, in one file that grows by appending.

    A resumed sweep repeats its batches as they were and leaves out those that are done as a whole,
    so its result is identical.

    Args:
        path: path of the file, for messages.
        file: the file.
        header: its first record, if it is of this sweep.
        done: the place for the scores in the file.

    Raises:
        OutputError: when the file holds the progress of another trace, or is no such file.
    """

    def __init__(self, path: Path, file: RecordFile, header: bytes, done: Finished) -> None:
        self.path, self.done, self._file = path, done, file
        self._new: list[ContrastScores] = []
        self._written = time.monotonic()
        records, count = file.records(), 0
        _require_same(path, next(records, b""), header)
        try:
            for record in records:
                for scores in _unpacked(record):
                    done[scores.index] = scores
                    count += 1
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(
                f"{path} holds a record that is no scores of a trace; name another file, {_WAY_OUT}"
            ) from error
        if file.damaged:
            warnings.warn(
                f"{path} is damaged behind {count} finished runs; they are kept, and the "
                "others are run again",
                NegtraceWarning,
                stacklevel=4,
            )

    @staticmethod
    @contextmanager
    def held(
        path: Path, trace: Mapping[str, Any], done: Finished | None = None
    ) -> Iterator["Checkpoint"]:
        """Hold a file for one trace at a time, and write what is finished in the end.

        Args:
            path: the file.
            trace: everything that the scores depend on, as JSON values.
            done: the place for the scores that the file holds.

        Raises:
            OutputError: when another trace holds the file, it holds the progress of another trace
                or something else, or it cannot be written.
        """
        header = canonical({**FORMAT, "trace": trace})
        with (
            locked(path.with_name(f".{path.name}.lock"), path, SECONDS_TO_HOLD),
            RecordFile(path, header) as file,
        ):
            checkpoint = Checkpoint(path, file, header, {} if done is None else done)
            try:
                yield checkpoint
            finally:
                checkpoint.write()

    def add(self, scores: ContrastScores) -> None:
        """Add the scores of one contrast; write them if the last write is some time ago."""
        self._new.append(scores)
        if time.monotonic() - self._written > SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self) -> None:
        """Append the scores that were added since the last write.

        Raises:
            OutputError: when they cannot be written.
        """
        if self._new:
            self._file.append(_packed(self._new))
        self._new = []
        self._written = time.monotonic()


def _packed(scores: Sequence[ContrastScores]) -> bytes:
    arrays = {str(each.index): np.asarray(each.patched) for each in scores}
    return pack(arrays, {"done": [[each.index, each.clean, each.corrupt] for each in scores]})


def _unpacked(record: bytes) -> Iterator[ContrastScores]:
    arrays, header = unpack(record)
    for index, clean, corrupt in header["done"]:
        yield ContrastScores(index=index, clean=clean, corrupt=corrupt, patched=arrays[str(index)])


def _require_same(path: Path, first: bytes, header: bytes) -> None:
    """Raise an OutputError unless a file begins with this header."""
    if first == header:
        return
    wanted, stored = json.loads(header), {}
    with suppress(ValueError):
        stored = parse_json(first)
    if not (
        isinstance(stored, dict)
        and all(stored.get(name) == FORMAT[name] for name in FORMAT)
        and isinstance(stored.get("trace"), dict)
    ):
        raise OutputError(
            f"{path} is damaged, or no progress of a trace by this version; name another file, "
            f"{_WAY_OUT}"
        )
    require_same(path, stored["trace"], wanted["trace"], _WAY_OUT)
