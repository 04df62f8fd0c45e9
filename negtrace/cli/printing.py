"""Printing, as all commands do it: results to stdout, warnings to stderr."""

__all__ = ["once_each", "say", "say_written"]

import sys
from collections.abc import Callable, Iterable
from pathlib import Path


def say(*lines: object) -> None:
    """Print lines to stdout."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def say_written(out: Path, files: Iterable[Path] | None = None) -> None:
    """Print the names of the files that were written to a folder.

    Args:
        out: the folder.
        files: the files; every file in the folder when not given.
    """
    names = sorted(path.name for path in (out.iterdir() if files is None else files))
    say(f"written to {out}: {', '.join(names)}")


def once_each() -> Callable[..., None]:
    """Return a function that prints a warning to stderr as one line, without its place in the code.

    A warning that it printed before is left out, such as that of the other direction of a trace.
    """
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in shown:
            shown.add(str(message))
            sys.stderr.write(f"negtrace: warning: {message}\n")

    return show
