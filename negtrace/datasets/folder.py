"""The folder of a data set. Files are written in `.partial` and moved when all are complete."""

__all__ = ["DatasetFolder", "Progress"]

import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from negtrace._files import canonical, sha256, write_bytes
from negtrace._json import parse_json
from negtrace.datasets.card import Card, card_from_json
from negtrace.datasets.splits import stable_hash
from negtrace.errors import OutputError
from negtrace.results.run_folder import RunFolder, require_same

CARD = "card.json"
PROGRESS = "progress.json"
PARTIAL = ".partial"


@dataclass(kw_only=True)
class Progress:
    """State of an unfinished data set, from which a later run goes on."""

    done: int = 0
    """Number of records that have been gone through."""
    counts: Counter[str] = field(default_factory=Counter)
    """Counts of the card."""
    examples: dict[str, list[list[Any]]] = field(default_factory=dict)
    """Source and row of the first notes of each code."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each file at the last checkpoint."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of these bytes."""
    whole: bool = False
    """True once all records have been gone through, and only the files are left to move."""


class DatasetFolder:
    """Folder in which a data set is written; a context that holds it and closes its files.

    Args:
        out: the folder.
        names: names of the files that grow.
        identity: JSON values of all that the bytes of the data set depend on.
        overwrite: start anew, and remove the data set that the folder holds.

    Raises:
        OutputError: when it cannot be written, holds another data set or other files, holds
            progress that is damaged, or another run is writing there.
    """

    def __init__(
        self,
        out: Path,
        names: Iterable[str],
        identity: Mapping[str, Any],
        *,
        overwrite: bool = False,
    ) -> None:
        self.out, self.partial = out, out / PARTIAL
        self.names = tuple(names)
        self.identity: dict[str, Any] = json.loads(canonical(identity))
        self.progress = Progress()
        self._overwrite = overwrite
        self._held = ExitStack()
        self._open = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        self._hashes: dict[str, Any] = {}

    def card(self) -> Card | None:
        """Return the card of a data set that is complete, or None."""
        if self._overwrite:
            return None
        try:
            card = card_from_json((self.out / CARD).read_bytes())
        except OSError:
            return None
        except ValueError as error:
            raise OutputError(f"{self.out / CARD} is no data card ({error}); {_WAY_OUT}") from error
        self._require_same(card.identity)
        self._tidy()
        return card

    def _tidy(self) -> None:
        """Remove what a run left that was killed behind its last file."""
        if self.partial.exists():
            with suppress(OutputError), RunFolder(self.out, "dataset").held():
                shutil.rmtree(self.partial, ignore_errors=True)

    def __enter__(self) -> "DatasetFolder":
        with ExitStack() as undo:
            undo.push(self.__exit__)
            self._held.enter_context(RunFolder(self.out, "dataset").held())
            with self._writing():
                self._begin()
            undo.pop_all()
        return self

    def _begin(self) -> None:
        """Read how far an earlier run came, and open the files."""
        state = self.partial / PROGRESS
        if self._overwrite:
            self._clear()
        if state.exists():
            self.progress = self._read(state)
        elif strays := [name for name in self.names if (self.out / name).exists()]:
            raise OutputError(f"{self.out} holds {strays[0]}, which has no data card; {_WAY_OUT}")
        else:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir()
        if not self.progress.whole:
            for name in self.names:
                self._reopen(name)
            self._connect()
            self.checkpoint(self.progress.done)

    def __exit__(
        self, kind: type[BaseException] | None, _: object, trace: TracebackType | None
    ) -> None:
        try:
            with self._writing():
                self._open.close()
        except OutputError:
            if kind is None:  # else the reason is known already
                raise
        finally:
            self._held.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an error of the disk into an OutputError."""
        try:
            yield
        except OutputError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise self._unwritten(error) from error

    def _unwritten(self, error: Exception) -> OutputError:
        return OutputError(
            f"cannot write into {self.out}: {getattr(error, 'strerror', None) or error}; make "
            "room there, and give the same command again to go on"
        )

    def _clear(self) -> None:
        """Remove the data set that the folder holds, the card first."""
        for name in (CARD, "card.md", *self.names):
            (self.out / name).unlink(missing_ok=True)
            (self.out / name).with_suffix(".parquet").unlink(missing_ok=True)
        shutil.rmtree(self.partial, ignore_errors=True)

    def _read(self, state: Path) -> Progress:
        """Return the progress of an earlier run of the same identity."""
        try:
            stored = parse_json(state.read_bytes())
            checksum = stored.pop("checksum")
            if checksum != sha256(canonical(stored)):
                raise ValueError("its checksum is another")
            identity, counts = stored.pop("identity"), Counter(stored.pop("counts"))
            progress = Progress(**stored, counts=counts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(PROGRESS, str(error)) from error
        self._require_same(identity)
        return progress

    def _require_same(self, identity: Any) -> None:
        """Raise an OutputError if the folder holds the data set of another identity."""
        there = identity if isinstance(identity, dict) else {}
        require_same(self.out, there, self.identity, _WAY_OUT)

    def _reopen(self, name: str) -> None:
        """Open a file behind what stood in it at the last checkpoint; cut off what follows."""
        path, size = self.partial / name, self.progress.sizes.get(name, 0)
        path.touch()
        file = self._open.enter_context(path.open("r+b", buffering=1 << 18))
        hashed, left = hashlib.sha256(), size
        while left and (part := file.read(min(left, 1 << 20))):
            hashed.update(part)
            left -= len(part)
        if left:
            raise self._damaged(name, f"it has {size - left} bytes, expected {size}")
        if size and hashed.hexdigest() != self.progress.digests.get(name):
            raise self._damaged(name, "its checksum is another")
        file.seek(file.truncate(size))
        self._files[name], self._hashes[name] = file, hashed

    def _connect(self) -> None:
        """Open the table of the studies that have occurred."""
        path = self.partial / "studies.sqlite"
        try:
            self._studies = sqlite3.connect(path, isolation_level=None)
            self._open.callback(self._studies.close)
            # Committed at checkpoints only, so that waiting for the disk costs nothing.
            for line in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"):
                self._studies.execute(line)
            if self.progress.done:
                self._studies.execute("SELECT 1 FROM seen LIMIT 1")
                [(state,)] = self._studies.execute("PRAGMA quick_check(1)").fetchall()
                if state != "ok":
                    raise self._damaged(path.name, state.splitlines()[0])
            for line in (_TABLE, "BEGIN"):
                self._studies.execute(line)
        except sqlite3.DatabaseError as error:
            raise self._damaged(path.name, str(error)) from error

    def _damaged(self, name: str, reason: str) -> OutputError:
        return OutputError(
            f"{self.partial / name} is damaged ({reason}), so the build cannot go on; delete "
            f"{self.partial} to start anew"
        )

    def write(self, name: str, line: bytes) -> None:
        """Append to a file.

        Raises:
            OutputError: when it cannot be written.
        """
        # Without a context manager, since this is done for every line.
        try:
            self._files[name].write(line)
        except OSError as error:
            raise self._unwritten(error) from error
        self._hashes[name].update(line)

    def is_new(self, number: int, *study: str) -> bool:
        """Tell whether the study of record `number` has not occurred in an earlier record."""
        key = stable_hash(*study) >> 193
        try:
            if self._studies.execute(
                "INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, number)
            ).rowcount:
                return True
            # After a stop, the records since the last checkpoint come again.
            found = self._studies.execute("SELECT number FROM seen WHERE key = ?", (key,))
            return bool(found.fetchone() == (number,))
        except sqlite3.Error as error:
            raise self._unwritten(error) from error

    def checkpoint(self, done: int, *, whole: bool = False) -> None:
        """Save the state of what was written so far, once that is on the disk.

        Raises:
            OutputError: when it cannot be written.
        """
        with self._writing():
            for name, file in self._files.items():
                file.flush()
                os.fsync(file.fileno())
                self.progress.sizes[name] = file.tell()
                self.progress.digests[name] = self._hashes[name].hexdigest()
            self._studies.execute("COMMIT")
            self._studies.execute("BEGIN")
        self.progress.done, self.progress.whole = done, whole
        state = {**vars(self.progress), "identity": self.identity}
        write_bytes(
            self.partial / PROGRESS, canonical({**state, "checksum": sha256(canonical(state))})
        )

    def current(self, name: str) -> Path:
        """Return the path of a file, before or after it was moved to its place."""
        path = self.partial / name
        return path if path.exists() else self.out / name

    def publish(self, extra: Iterable[str], card: bytes, text: str) -> None:
        """Move every file to its place, the card last, and remove `.partial`.

        Raises:
            OutputError: when that fails; the same run again goes on.
        """
        with self._writing():
            self._open.close()
            for name in (*self.names, *extra):
                # An earlier run that was stopped here has already moved some of them.
                if (self.partial / name).exists():
                    (self.partial / name).replace(self.out / name)
            write_bytes(self.out / "card.md", text.encode())
            write_bytes(self.out / CARD, card)
            shutil.rmtree(self.partial)


_WAY_OUT = "name another folder, or overwrite it (--overwrite)"
_TABLE = "CREATE TABLE IF NOT EXISTS seen (key INTEGER PRIMARY KEY, number INTEGER) WITHOUT ROWID"
