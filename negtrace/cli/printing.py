"""What commands print."""

__all__ = ["say", "say_written", "show_warning"]

import sys
from collections.abc import Iterable
from pathlib import Path


def say(*lines: object) -> None:
    """Print lines."""
    sys.stdout.writelines(f"{line}\n" for line in lines)


def say_written(out: Path, files: Iterable[Path] | None = None) -> None:
    """Say what is in a folder now; all of it, where not told which files."""
    names = sorted(path.name for path in (out.iterdir() if files is None else files))
    say(f"written to {out}: {', '.join(names)}")


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Show a warning as one line, without the place in the code."""
    sys.stderr.write(f"negtrace: warning: {message}\n")
