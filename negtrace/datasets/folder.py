"""The folder of a data set: what is being written stands apart until all of it is there."""

__all__ = ["Folder", "Progress"]

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
from negtrace.datasets.splits import draw
from negtrace.errors import OutputError

CARD = "card.json"
PARTIAL = ".partial"


@dataclass(kw_only=True)
class Progress:
    """How far a data set is: all that a run that goes on must know."""

    done: int = 0
    """Records of the sources that are dealt with."""
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[list[Any]]] = field(default_factory=dict)
    """File and row of the first remarks of each code."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each file that count."""
    whole: bool = False
    """Whether every record is dealt with, and the files wait to be put in place."""


class Folder:
    """Where a data set is written; a context that leaves nothing open.

    Raises:
        OutputError: when the place cannot be written, or holds another data set or other files.
    """

    def __init__(self, out: Path, names: Iterable[str], identity: Mapping[str, Any]) -> None:
        self.out, self.partial = out, out / PARTIAL
        self.names = tuple(names)
        self.identity = identity
        self._open = ExitStack()
        self._files: dict[str, BinaryIO] = {}
        self.progress = Progress()

    def card(self) -> dict[str, Any] | None:
        """Return the card of the data set that is there in full, or None."""
        try:
            found = json.loads((self.out / CARD).read_bytes())
        except OSError:
            return None
        except ValueError as error:
            raise OutputError(f"{self.out / CARD} is no data card ({error}); {_WAY}") from error
        self._require_same(found.get("identity"))
        return dict(found)

    def __enter__(self) -> "Folder":
        require_writable(self.out)
        state = self.partial / "progress.json"
        if state.exists():
            found = json.loads(state.read_bytes())
            self._require_same(found.pop("identity"))
            self.progress = Progress(**{**found, "counts": Counter(found["counts"])})
        elif strays := [name for name in self.names if (self.out / name).exists()]:
            raise OutputError(f"{self.out} holds {strays[0]}, which has no data card; {_WAY}")
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

    def _require_same(self, found: Any) -> None:
        if found != json.loads(json.dumps(self.identity)):
            told = [k for k in self.identity if (found or {}).get(k) != self.identity[k]]
            raise OutputError(
                f"{self.out} holds a data set of another {' and '.join(told) or 'kind'}; {_WAY}"
            )

    def _reopen(self) -> None:
        """Open the files where they were last known to be good; what follows is cut off."""
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
        """Tell whether a study, met as record `number`, was not met in an earlier record."""
        key = draw(*study) >> 193
        if self._studies.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, number)
        ).rowcount:
            return True
        # A run that goes on may meet again what it met after its last checkpoint.
        [first] = self._studies.execute("SELECT number FROM seen WHERE key = ?", (key,)).fetchone()
        return bool(first == number)

    def checkpoint(self, done: int, *, whole: bool = False) -> None:
        """Make good what was written so far."""
        for name, file in self._files.items():
            file.flush()
            self.progress.sizes[name] = file.tell()
        self._studies.execute("COMMIT")
        self._studies.execute("BEGIN")
        self.progress.done, self.progress.whole = done, whole
        state = {**vars(self.progress), "identity": self.identity}
        write_bytes(self.partial / "progress.json", json.dumps(state).encode())

    def whole(self, name: str) -> Path:
        """Return where a file is, before or after it was put in its place."""
        path = self.partial / name
        return path if path.exists() else self.out / name

    def publish(self, extra: Iterable[str], card: bytes, text: str) -> None:
        """Put every file in its place, the card last, and take away what was needed for it."""
        self._open.close()
        for name in (*self.names, *extra):
            # A run that was stopped right here has moved some of them.
            if (self.partial / name).exists():
                (self.partial / name).replace(self.out / name)
        write_bytes(self.out / "card.md", text.encode())
        write_bytes(self.out / CARD, card)
        shutil.rmtree(self.partial)


_WAY = "name an empty folder, or delete this one"
_TABLE = "CREATE TABLE IF NOT EXISTS seen (key INTEGER PRIMARY KEY, number INTEGER) WITHOUT ROWID"
