"""The recorder that every job works with: it runs commands and stores what they print."""

import io
import shlex
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from stored_form import placeholders, store_arrays, to_json, write

from negtrace.cli import main


@dataclass
class Recorder:
    """Runs commands in the current folder, and stores results that are not files."""

    folder: Path
    """Folder that takes the results."""
    failures: list[str] = field(default_factory=list)
    """Labels of the commands that failed, with their exit codes."""

    def run(self, label: str, command: str) -> None:
        """Run a command of `negtrace`; store its output and exit code."""
        args, out, err = shlex.split(command), io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = _exit_code(args)
        # Other packages draw progress bars on stderr. Our own lines begin with our name.
        own_lines = [line for line in err.getvalue().splitlines() if line.startswith("negtrace:")]
        printed = {"out": out.getvalue().splitlines(), "err": own_lines}
        record = {"command": args, "code": code, **printed}
        write(self.folder / "said" / f"{label}.json", to_json(placeholders(record)))
        if code:
            self.failures.append(f"{label} ({code})")

    def trace(self, label: str, options: str, *, with_scores: bool = True) -> None:
        """Trace into the folder `label`, without pictures, and print the layer scores."""
        self.run(label, f"trace {options} --out {label} --formats")
        for direction in ("denoising", "noising"):
            stem = f"{label}/{direction}"
            if with_scores and Path(f"{stem}.json").is_file():
                self.run(f"{label}-{direction}-scores", f"scores {stem}.json --csv {stem}.csv")

    def bench(self, label: str, options: str) -> None:
        """Run a benchmark into the folder `label`, without pictures."""
        count = "" if "--count" in options else "--count 24"
        self.run(label, f"bench {options} {count} --resamples 200 --out {label} --formats")

    def value(self, label: str, value: Any) -> None:
        """Store a JSON value."""
        write(self.folder / "values" / f"{label}.json", to_json(placeholders(value)))

    def table(self, label: str, frame: Any) -> None:
        """Store a pandas data frame as CSV."""
        write(self.folder / "values" / f"{label}.csv", frame.to_csv(index=False))

    def arrays(self, label: str, arrays: Mapping[str, Any]) -> None:
        """Store arrays by name."""
        path = self.folder / "values" / label
        store_arrays(path, {name: np.asarray(array) for name, array in arrays.items()})


def _exit_code(args: Sequence[str]) -> int | str:
    """Run the command line in this process and return its exit code, or the text of an error."""
    try:
        return main(args)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int | str) else 0
    except Exception as error:
        return f"{type(error).__name__}: {error}"
