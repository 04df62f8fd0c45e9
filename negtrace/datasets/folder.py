"""The folder of a data set. Files are written in `.partial` and moved when all are complete."""

__all__ = ["DatasetFolder", "Progress"]

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from negtrace._files import require_writable, write_bytes
from negtrace.datasets.splits import stable_hash
from negtrace.errors import OutputError

CARD = "card.json"
PARTIAL = ".partial"


@dataclass(kw_only=True)
class Progress:
    """State of an unfinished data set, from which a later run goes on."""

    done: int = 0
    """Number of records that have been gone through."""
    counts: Counter[str] = field(default_factory=Counter)
    """Counts of the card."""
    examples: dict[str, list[list[Any]]] = field(default_factory=dict)
    """File and row of the first notes of each code."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each file at the last checkpoint."""
    whole: bool = False
    """True once all records have been gone through, and only the files are left to move."""


class DatasetFolder:
    """Folder in which a data set is written; a context that closes its files.

    Raises:
        OutputError: when it cannot be written, or holds another data set or other files.
    """

    def __init__(self, out: Path, names: Iterable[str], identity: Mapping[str, Any]) -> None:
        self.out, self.partial = out, out / PARTIAL
        self.names = tuple(names)
        self.identity = identity
        self._open = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        self.progress = Progress()

    def card(self) -> dict[str, Any] | None:
        """Return the card of a data set that is complete, or None."""
        try:
            card = json.loads((self.out / CARD).read_bytes())
        except OSError:
            return None
        except ValueError as error:
            raise OutputError(f"{self.out / CARD} is no data card ({error}); {_WAY_OUT}") from error
        self._require_same(card.get("identity"))
        return dict(card)

    def __enter__(self) -> "DatasetFolder":
        require_writable(self.out)
        state = self.partial / "progress.json"
        if state.exists():
            progress = json.loads(state.read_bytes())
            self._require_same(progress.pop("identity"))
            self.progress = Progress(**{**progress, "counts": Counter(progress["counts"])})
        elif strays := [name for name in self.names if (self.out / name).exists()]:
            raise OutputError(f"{self.out} holds {strays[0]}, which has no data card; {_WAY_OUT}")
        else:
            shutil.rmtree(self.partial, ignore_errors=True)
            self.partial.mkdir()
        if not self.progress.whole:
            self._reopen()
            self.checkpoint(self.progress.done)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _require_same(self, identity: Any) -> None:
        """Raise an OutputError if the folder holds the data set of another identity."""
        if identity != json.loads(json.dumps(self.identity)):
            other = [k for k in self.identity if (identity or {}).get(k) != self.identity[k]]
            raise OutputError(
                f"{self.out} holds a data set of another {' and '.join(other) or 'kind'}; "
                f"{_WAY_OUT}"
            )

    def _reopen(self) -> None:
        """Open the files, and cut off what was written after the last checkpoint."""
        for name in self.names:
            file = self._open.enter_context((self.partial / name).open("ab", buffering=1 << 18))
            file.seek(file.truncate(self.progress.sizes.get(name, 0)))
            self._files[name] = file
        path = self.partial / "studies.sqlite"
        self._studies = sqlite3.connect(path, isolation_level=None)
        self._open.callback(self._studies.close)
        for line in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", _TABLE, "BEGIN"):
            self._studies.execute(line)

    def write(self, name: str, line: bytes) -> None:
        """Append to a file."""
        self._files[name].write(line)

    def is_new(self, number: int, *study: str) -> bool:
        """Tell whether the study of record `number` has not occurred in an earlier record."""
        key = stable_hash(*study) >> 193
        if self._studies.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, number)
        ).rowcount:
            return True
        # After a stop, the records since the last checkpoint come again.
        [first] = self._studies.execute("SELECT number FROM seen WHERE key = ?", (key,)).fetchone()
        return bool(first == number)

    def checkpoint(self, done: int, *, whole: bool = False) -> None:
        """Save the state of what was written so far."""
        for name, file in self._files.items():
            file.flush()
            self.progress.sizes[name] = file.tell()
        self._studies.execute("COMMIT")
        self._studies.execute("BEGIN")
        self.progress.done, self.progress.whole = done, whole
        state = {**vars(self.progress), "identity": self.identity}
        write_bytes(self.partial / "progress.json", json.dumps(state).encode())

    def current(self, name: str) -> Path:
        """Return the path of a file, before or after it was moved to its place."""
        path = self.partial / name
        return path if path.exists() else self.out / name

    def publish(self, extra: Iterable[str], card: bytes, text: str) -> None:
        """Move every file to its place, the card last, and remove `.partial`."""
        self._open.close()
        for name in (*self.names, *extra):
            # An earlier run that was stopped here has already moved some of them.
            if (self.partial / name).exists():
                (self.partial / name).replace(self.out / name)
        write_bytes(self.out / "card.md", text.encode())
        write_bytes(self.out / CARD, card)
        shutil.rmtree(self.partial)


_WAY_OUT = "name an empty folder, or delete this one"
_TABLE = "CREATE TABLE IF NOT EXISTS seen (key INTEGER PRIMARY KEY, number INTEGER) WITHOUT ROWID"
