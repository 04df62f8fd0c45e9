"""Trace every text model that transformers can build, and compare each cell with a plain forward.

    python benchmarks/architectures --out benchmarks/results/architectures.json

Every decoder, text encoder and dual encoder of the installed transformers is built tiny with random
weights, saved, loaded by `negtrace.load`, checked and traced. Each score is compared with one plain
forward of the model that changes the same state by a plain hook.
"""

import argparse
import dataclasses
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(1, str(Path(__file__).parents[1]))

import torch
import transformers
from case import LIMITS, Outcome, examine
from catalogue import Entry, entries
from record import machine, record

SECONDS = 120
"""Time after which a class is given up; it counts as a crash."""


def main() -> None:
    """Examine the classes, print a line for each, and write what was found."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/architectures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names such as decoder/llama")
    parser.add_argument("--jobs", type=int, default=1, help="classes that run at once")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    chosen = [entry for entry in entries() if _is_chosen(entry, options.only)]
    start = time.perf_counter()
    outcomes = []
    for outcome in _all(chosen, options.jobs):
        sys.stderr.write(line(outcome) + "\n")
        outcomes.append(outcome)
    order = {entry.name: rank for rank, entry in enumerate(chosen)}
    figures = {
        **machine(threads=1),
        "limits": LIMITS,
        "seconds": round(time.perf_counter() - start),
        "verdicts": dict(Counter(outcome.verdict for outcome in outcomes)),
        "classes": [
            dataclasses.asdict(outcome)
            for outcome in sorted(outcomes, key=lambda each: order[each.name])
        ],
    }
    record(figures, options.out)


def _is_chosen(entry: Entry, only: Sequence[str] | None) -> bool:
    return not only or bool({entry.name, entry.model_type, entry.kind, entry.class_name} & {*only})


def line(outcome: Outcome) -> str:
    """Return a line about a class."""
    gap = "" if outcome.gap is None else f" {outcome.gap:.1e} d, {outcome.cells} cells;"
    return f"{outcome.verdict:8}{outcome.name}:{gap} {outcome.stage} {outcome.message}".rstrip()


def _all(chosen: Sequence[Entry], jobs: int) -> Iterator[Outcome]:
    """Yield the result of every class, each in a process of its own that may be ended."""
    context = multiprocessing.get_context("fork")
    waiting, running = list(chosen), []
    while waiting or running:
        while waiting and len(running) < jobs:
            entry = waiting.pop(0)
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_send, args=(entry, sender))
            process.start()
            sender.close()
            running.append((entry, process, receiver, time.monotonic()))
        multiprocessing.connection.wait([receiver for _, _, receiver, _ in running], timeout=1)
        for each in list(running):
            if outcome := _ended(*each):
                running.remove(each)
                yield outcome


def _send(entry: Entry, sender: Connection) -> None:
    sender.send(examine(entry))


def _ended(entry: Entry, process: Any, receiver: Connection, start: float) -> Outcome | None:
    """Return the result of a class whose process has ended or has run too long."""
    message = ""
    if receiver.poll():
        try:
            outcome: Outcome = receiver.recv()
        except EOFError:
            message = "the process ended without a result"
        else:
            process.join()
            return outcome
    elif time.monotonic() - start > SECONDS:
        message = f"no result after {SECONDS} s"
        process.kill()
    if not message:
        return None
    process.join()
    return Outcome(
        name=entry.name,
        class_name=entry.class_name,
        verdict="crash",
        stage="process",
        message=message,
    )


if __name__ == "__main__":
    main()
