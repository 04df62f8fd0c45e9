"""A file of records that grows by appending; each record has a checksum."""

__all__ = ["RecordFile"]

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from negtrace._files import write_bytes
from negtrace.errors import OutputError

LENGTH = 8
"""Bytes of a record's length."""

CHECKSUM = hashlib.sha256().digest_size


class RecordFile:
    """A file of records: length, SHA-256 and content of each. A context that closes it.

    A record that was being written when its process ended is left out. So is everything from a
    record on that is not as it was written.

    Args:
        path: the file.
        first: the first record of a file that is missing or empty.

    Raises:
        OutputError: when the file cannot be opened for writing.
    """

    def __init__(self, path: Path, first: bytes) -> None:
        self._path = path
        self._end = 0
        self.damaged = False
        """True if a record was read that is not as it was written."""
        if not path.exists() or not path.stat().st_size:
            write_bytes(path, _framed(first))
        try:
            # Not buffered: what could not be written is not tried again when the file is closed.
            self._file = path.open("r+b", buffering=0)
        except OSError as error:
            raise self._failed(error) from error

    def __enter__(self) -> "RecordFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def records(self) -> Iterator[bytes]:
        """Yield every record from the first one on, up to a damaged one."""
        self._end = 0
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while len(head := file.read(LENGTH + CHECKSUM)) == LENGTH + CHECKSUM:
                length = int.from_bytes(head[:LENGTH], "big")
                if length > size - file.tell():  # cut off, or the length itself is damaged
                    return
                record = file.read(length)
                if hashlib.sha256(record).digest() != head[LENGTH:]:
                    self.damaged = True
                    return
                self._end = file.tell()
                yield record

    def append(self, record: bytes) -> None:
        """Write a record behind those that were read or written, and wait until it is on the disk.

        Raises:
            OutputError: when it cannot be written; the records before it are kept.
        """
        framed = _framed(record)
        try:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            left = memoryview(framed)
            while left:
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error
        self._end += len(framed)

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write {self._path}: {error.strerror or error}; choose another path"
        )


def _framed(record: bytes) -> bytes:
    return len(record).to_bytes(LENGTH, "big") + hashlib.sha256(record).digest() + record
