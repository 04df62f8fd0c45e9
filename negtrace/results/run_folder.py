"""The folder that a run writes into: one run at a time, and the same run again goes on."""

__all__ = ["RunFolder", "require_same"]

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from negtrace._files import canonical, locked, remove_leftovers, require_writable, write_bytes
from negtrace._json import parse_json
from negtrace._messages import listed
from negtrace.errors import OutputError

RUN = "run.json"
"""Name of the file that says which runs a folder holds, by command."""

LOCK = ".lock"

LONGEST = 40
"""Characters of a value in a message."""


@dataclass(frozen=True)
class RunFolder:
    """A folder that belongs to one run of each command."""

    path: Path
    command: str
    """Command whose run it is, such as `trace`. A folder can hold one run of each command."""

    @contextmanager
    def held(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the folder during a run, and remove what killed runs left half written.

        Args:
            wait: seconds to wait for another run.

        Raises:
            OutputError: when another run holds it, or it cannot be written.
        """
        require_writable(self.path)
        with locked(self.path / LOCK, self.path, wait):
            remove_leftovers(self.path)
            yield

    def reserve(
        self, run: Mapping[str, Any], files: Sequence[str], *, overwrite: bool = False
    ) -> None:
        """Reserve the folder for one run, or check that it is already reserved for the same run.

        Args:
            run: JSON values of everything that decides the result of the run.
            files: patterns of the files and folders that a run of this command writes.
            overwrite: start anew, and remove what a run of this command has written.

        Raises:
            OutputError: when the folder holds another run of this command and `overwrite` is not
                set, or files of it and no word of which run; or when it cannot be written.
        """
        wanted, stored = json.loads(canonical(run)), self._runs()
        found = self._found(files)
        if not overwrite:
            self._require_same(stored.get(self.command), wanted, found)
            if stored.get(self.command) == wanted:
                return
        self._remove(found, ours=self.command in stored)
        runs = {**stored, self.command: wanted}
        write_bytes(self.path / RUN, (json.dumps(runs, indent=1) + "\n").encode())

    def require(self, run: Mapping[str, Any], files: Sequence[str]) -> None:
        """Raise an OutputError where `reserve` would, unless told to overwrite; change nothing."""
        wanted, stored = json.loads(canonical(run)), self._runs()
        self._require_same(stored.get(self.command), wanted, self._found(files))

    def _found(self, files: Sequence[str]) -> list[Path]:
        return sorted(path for pattern in files for path in self.path.glob(pattern))

    def _remove(self, found: Sequence[Path], *, ours: bool) -> None:
        """Remove files, and folders only if a run of this command made them."""
        if folders := [path.name for path in found if path.is_dir() and not ours]:
            raise OutputError(
                f"{self.path} has the folders {listed(folders)}, and no {RUN} says of which run; "
                "delete them yourself, or name another folder"
            )
        for path in found:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _runs(self) -> dict[str, Any]:
        """Return the runs that the folder holds, by command."""
        file = self.path / RUN
        try:
            runs = parse_json(file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise OutputError(f"{file} is damaged ({error}); {_WAY_OUT}") from error
        if not isinstance(runs, dict) or not all(isinstance(run, dict) for run in runs.values()):
            raise OutputError(f"{file} does not say which runs the folder holds; {_WAY_OUT}")
        return runs

    def _require_same(
        self, stored: Mapping[str, Any] | None, wanted: Mapping[str, Any], found: Sequence[Path]
    ) -> None:
        if not found:
            return  # there is nothing to mix: a run that ended before it wrote anything
        if stored is None:
            raise OutputError(
                f"{self.path} has {listed([path.name for path in found])}, but no {RUN} says of "
                f"which run; {_WAY_OUT}"
            )
        require_same(self.path, stored, wanted, _WAY_OUT)


_WAY_OUT = "name another folder, or overwrite it (--overwrite)"


def require_same(
    place: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any], way_out: str
) -> None:
    """Raise an OutputError that shows in which settings two runs differ, if they do.

    >>> wanted = {"config": {"seed": 1, "limit": 3}, "model": "toy"}
    >>> require_same(Path("out"), {"config": {"seed": 1, "limit": 2}}, wanted, "or name another")
    Traceback (most recent call last):
    negtrace.errors.OutputError: out holds another run; it differs in config.limit: 2 / 3, model: \
none / 'toy' (there / now). Give the settings that it was started with to go on, or name another

    Args:
        place: folder or file that holds a run.
        stored: its settings, as JSON values.
        wanted: those of the run that is asked for.
        way_out: what to do instead, as the end of the message.
    """
    if stored == wanted:
        return
    old, new = dict(_flat(stored)), dict(_flat(wanted))
    names = [name for name in (*new, *sorted(set(old) - set(new))) if _differs(name, old, new)]
    differing = [f"{name}: {_shown(name, old)} / {_shown(name, new)}" for name in names]
    raise OutputError(
        f"{place} holds another run; it differs in {listed(differing)} (there / now). Give the "
        f"settings that it was started with to go on, {way_out}"
    )


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value in nested mappings, and in lists of them, with its dotted name."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        value = dict(enumerate(value))
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _differs(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return (name in old) != (name in new) or old[name] != new[name]


def _shown(name: str, values: Mapping[str, Any]) -> str:
    if name not in values:
        return "none"
    value = values[name]
    if isinstance(value, str) and len(value) > LONGEST:
        value = f"{value[:12]}..."  # a digest, as a rule
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
