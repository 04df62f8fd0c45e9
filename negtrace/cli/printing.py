"""Printing, as all commands do it: results to stdout, warnings to stderr."""

__all__ = ["flush", "once_each", "printable", "say", "say_written", "unread"]

import io
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


def printable() -> None:
    """Let stdout print characters that the terminal does not know, as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(*lines: object) -> None:
    """Print lines to stdout, if it is open."""
    if sys.stdout is not None:
        sys.stdout.writelines(f"{line}\n" for line in lines)


def flush() -> None:
    """Print what waits to be printed, if stdout is open."""
    if sys.stdout is not None:
        sys.stdout.flush()


def unread() -> int:
    """Let nothing more be printed, since nobody reads it; return the exit status that says so."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return 128 + getattr(signal, "SIGPIPE", 13)


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
