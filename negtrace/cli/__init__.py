"""The command line: one frozen dataclass for each command.

The fields of a command are its options, and their docs are the help text. A command over the
settings of a room holds the config of that room, so every setting is written once. To add a
command, write such a class with a `run` method and list it in `COMMANDS`.
"""

__all__ = ["COMMANDS", "main"]

import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import tyro

import negtrace
from negtrace.cli.benchmark import Bench
from negtrace.cli.correction import CorrectText
from negtrace.cli.dataset import Dataset
from negtrace.cli.finetune import Finetune, Interpolate
from negtrace.cli.language import Cues, MakePairs
from negtrace.cli.models import CheckModel, Models
from negtrace.cli.printing import flush, once_each, printable, unread
from negtrace.cli.results import Plot, Scores
from negtrace.cli.signals import Stopped, stopped_by_signals
from negtrace.cli.tracing import Demo, Heads, Trace
from negtrace.errors import NegtraceError, NegtraceWarning

# A command imports what is heavy when it runs, so `--help` answers at once.

COMMANDS = (
    Annotated[Demo, tyro.conf.subcommand("demo")]
    | Annotated[Trace, tyro.conf.subcommand("trace")]
    | Annotated[Heads, tyro.conf.subcommand("heads")]
    | Annotated[Cues, tyro.conf.subcommand("cues")]
    | Annotated[Bench, tyro.conf.subcommand("bench")]
    | Annotated[CorrectText, tyro.conf.subcommand("correct")]
    | Annotated[Dataset, tyro.conf.subcommand("dataset")]
    | Annotated[Finetune, tyro.conf.subcommand("finetune")]
    | Annotated[Interpolate, tyro.conf.subcommand("interpolate")]
    | Annotated[Plot, tyro.conf.subcommand("plot")]
    | Annotated[Scores, tyro.conf.subcommand("scores")]
    | Annotated[CheckModel, tyro.conf.subcommand("check")]
    | Annotated[MakePairs, tyro.conf.subcommand("pairs")]
    | Annotated[Models, tyro.conf.subcommand("models")]
)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit code.

    Args:
        args: the arguments; those of the process when not given.

    Returns:
        0 after success; 1 after an error that negtrace raised on purpose; 128 + n after signal n:
        Ctrl-C, SIGTERM, SIGHUP, or SIGPIPE when nobody reads the output any more. A message of one
        line goes to stderr, and so does every warning, once.

    Raises:
        SystemExit: for `--help`, and for arguments that do not fit the command.
    """
    printable()
    try:
        command = tyro.cli(COMMANDS, prog="negtrace", args=args, description=negtrace.__doc__)
        with warnings.catch_warnings(), stopped_by_signals():
            warnings.simplefilter("always", NegtraceWarning)
            warnings.showwarning = once_each()
            command.run()
            flush()
    except NegtraceError as error:
        sys.stderr.write(f"negtrace: {error}\n")
        return 1
    except BrokenPipeError:
        return unread()
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        name = signal.Signals(number).name
        sys.stderr.write(
            f"negtrace: stopped by {name}; what is finished is kept where there is a folder, and "
            "the same command goes on\n"
        )
        return 128 + number
    return 0
