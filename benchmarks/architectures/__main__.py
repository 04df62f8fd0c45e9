"""Trace every text model that transformers can build, and compare each cell with a plain forward.

    python benchmarks/architectures --out benchmarks/results/architectures.json

Every decoder, text encoder and dual encoder of the installed transformers is built tiny with random
weights, saved, loaded by `negtrace.load`, checked and traced. Each score is compared with one plain
forward of the model that changes the same state by a plain hook.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, get_args

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(1, str(Path(__file__).parents[1]))

import torch
import transformers
from case import LIMITS, OWN_STAGES, Outcome, Verdict, examine
from catalogue import Entry, entries
from record import machine, record

COMMAND = "python benchmarks/architectures --out benchmarks/results/architectures.json"

SECONDS = 120
"""Time after which a class is given up; it counts as a crash."""


@dataclasses.dataclass
class Running:
    """A class whose process runs."""

    entry: Entry
    process: Any
    receiver: Connection
    start: float = dataclasses.field(default_factory=time.monotonic)
    stage: str = "build"
    """Stage that began last."""


def main() -> None:
    """Examine the classes, print a line for each, and write what was found."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/architectures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names such as decoder/llama")
    parser.add_argument("--jobs", type=int, default=1, help="classes that run at once")
    parser.add_argument("--keep", action="store_true", help="keep other classes of the JSON file")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    chosen = [entry for entry in entries() if _is_chosen(entry, options.only)]
    outcomes = []
    for outcome in _all(chosen, options.jobs):
        sys.stderr.write(line(outcome) + "\n")
        outcomes.append(outcome)
    rows = {(each.name, each.class_name): _facts(each) for each in outcomes}
    if options.keep:
        rows = _kept(options.out) | rows
    keys = [(entry.name, entry.class_name) for entry in entries()]
    ordered = [rows[key] for key in keys if key in rows]
    verdicts = Counter(row["verdict"] for row in ordered)
    figures = {
        **machine(threads=1),
        "command": COMMAND,
        "limits": LIMITS,
        "verdicts": {name: verdicts[name] for name in get_args(Verdict)},
        "classes": ordered,
    }
    record(figures, options.out)


def _is_chosen(entry: Entry, only: Sequence[str] | None) -> bool:
    return not only or bool({entry.name, entry.model_type, entry.kind, entry.class_name} & {*only})


def _kept(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of a file by their keys; it must be of this machine and these versions."""
    figures = json.loads(path.read_text("utf-8"))
    here = machine(threads=1)
    for name in ("machine", "instructions", "torch", "transformers", "negtrace"):
        if figures[name] != here[name]:
            raise SystemExit(f"{path} is of {name} {figures[name]}, and this is {here[name]}")
    return {(row["name"], row["class_name"]): row for row in figures["classes"]}


def _facts(outcome: Outcome) -> dict[str, Any]:
    """Return the facts of a class that are known."""
    facts = dataclasses.asdict(outcome)
    return {name: value for name, value in facts.items() if value not in (None, "", (), {})}


def line(outcome: Outcome) -> str:
    """Return a line about a class."""
    gap = "" if outcome.gap is None else f" {outcome.gap:.1e} d, {outcome.cells} cells;"
    return f"{outcome.verdict:8}{outcome.name}:{gap} {outcome.stage} {outcome.message}".rstrip()


def _all(chosen: Sequence[Entry], jobs: int) -> Iterator[Outcome]:
    """Yield the result of every class, each in a process of its own that may be ended."""
    context = multiprocessing.get_context("fork")
    waiting = list(chosen)
    running: list[Running] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            entry = waiting.pop(0)
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(entry, sender))
            process.start()
            sender.close()
            running.append(Running(entry, process, receiver))
        multiprocessing.connection.wait([each.receiver for each in running], timeout=1)
        for each in list(running):
            if outcome := _ended(each):
                running.remove(each)
                yield outcome


def _send(entry: Entry, sender: Connection) -> None:
    """Send the stages of a class as they begin, then its result."""
    sender.send(examine(entry, tell=sender.send))


def _ended(running: "Running") -> Outcome | None:
    """Return the result of a class whose process has ended or has run too long."""
    try:
        while running.receiver.poll():
            message = running.receiver.recv()
            if isinstance(message, Outcome):
                running.process.join()
                return message
            running.stage = message
    except EOFError:
        running.process.join()
        return _cut_off(running, f"the process ended without a result ({running.process.exitcode})")
    if time.monotonic() - running.start < SECONDS:
        return None
    running.process.kill()
    running.process.join()
    return _cut_off(running, f"no result after {SECONDS} s")


def _cut_off(running: "Running", message: str) -> Outcome:
    """Return the result of a class whose process was ended: not negtrace's before it began."""
    return Outcome(
        name=running.entry.name,
        class_name=running.entry.class_name,
        verdict="not built" if running.stage in OWN_STAGES else "crash",
        stage=running.stage,
        message=message,
    )


if __name__ == "__main__":
    main()
