"""Break runs of every command at random moments, start them again, and compare the results.

    python benchmarks/faults.py --trials 40 --out benchmarks/results/faults.json

Each trial runs one command in a process of its own, which is forked so that it starts at once, and
does one thing to it:

* `kill`: SIGKILL at a random moment, up to three times, each time started again;
* `disk`: no file can grow beyond a random size, as on a full disk;
* `rename`: one of its renames fails;
* `sync`: one of its waits for the disk fails;
* `twice`: a second process runs the same command in the same folder at the same time;
* `shards`, of a trace alone: two processes run a half each, and one of them gets SIGKILL.

In the end the command runs undisturbed. A trial is survived if every run ended by the kill, with
status 0, or with status 1 and one line, and the folder holds the bytes of a run that nothing
disturbed, the times of measurements apart.
"""

import argparse
import errno
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import torch
from record import machine, record

from negtrace.cli import main as negtrace

LOG = 1 << 14
"""Bytes that what a command prints never needs: it goes to a file, which must not fill up."""

TIMES = re.compile(rb'\\?"(time|checksum|sha256)\\?": ?\\?"[^"\\]*')
"""The time of a measurement, and checksums of files that hold it; within a header, too."""

FAULTS = ("kill", "disk", "rename", "sync", "twice", "shards")


def commands(inputs: Path) -> dict[str, list[str]]:
    """Return a short run of each command, after making what it reads."""
    labels = inputs / "labels.csv"
    rows = [f"{n:08d}_000.png,{'Effusion' if n % 3 else 'No Finding'},0,{n}" for n in range(3000)]
    labels.write_text("Image Index,Finding Labels,Follow-up #,Patient ID\n" + "\n".join(rows))
    scores, sets = inputs / "scores", inputs / "sets.jsonl"
    sets.write_text("\n".join(map(claim_set, range(24))))
    whole(["trace", "phantom", "--limit", "8", "--direction", "noising"], scores)
    return {
        "trace": ["trace", "phantom", "--limit", "24", "--formats", "svg"],
        "heads": ["heads", "phantom", "--limit", "8", "--formats", "svg"],
        "bench": [
            "bench",
            "phantom",
            "toy",
            "--suite",
            "collapse",
            "--data",
            "text",
            "--count",
            "24",
            "--resamples",
            "50",
        ],
        "dataset": ["dataset", str(labels)],
        "finetune": [
            *("finetune", "phantom", "--cte", str(scores / "noising.json"), "--count", "0"),
            *("--data", str(sets), "--steps", "6", "--save-every", "2", "--batch", "8"),
        ],
    }


def claim_set(number: int) -> str:
    """Return a line of training data."""
    there, absent = f"There is a nodule of {number} mm.", f"No nodule of {number} mm is seen."
    wrong = [{"text": absent, "attribute": "existence"}]
    return json.dumps({"anchor": {"text": there}, "right": there, "wrong": wrong})


def whole(args: list[str], out: Path) -> None:
    """Run a command in this process, so that the forked ones share the modules it loads."""
    with redirect_stdout(io.StringIO()):
        if status := negtrace([*args, "--out", str(out)]):
            raise SystemExit(f"{args[0]} ended with {status}")


@dataclass
class Tally:
    """Counts of one command."""

    trials: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def start(args: list[str], out: Path, log: Path, fault: Callable[[], None] = lambda: None) -> int:
    """Fork a process that runs a command under a fault, and return its number."""
    if pid := os.fork():
        return pid
    status = 70
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        fault()
        status = negtrace([*args, "--out", str(out)])
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(pid: int) -> int:
    """Wait for a process, and return its status; 128 + n after signal n."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - status if status < 0 else status


def content(folder: Path) -> Mapping[str, bytes]:
    """Return every file that a run leaves, without times and what the Trainer keeps for itself."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("checkpoints/"):
            found[name] = TIMES.sub(b"", path.read_bytes())
    return found


def limit_files(size: int) -> None:
    """Let no file grow beyond a size: a write behind it fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def fail_call(name: str, nth: int) -> None:
    """Let the nth call of a function of `os` fail, as a broken disk does."""
    real, calls = getattr(os, name), Counter[str]()

    def failing(*args: object, **options: object) -> object:
        calls[name] += 1
        if calls[name] == nth:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*args, **options)

    setattr(os, name, failing)


class Harness:
    """Runs one command under faults, and compares what it leaves.

    Args:
        name: name of the command.
        args: its arguments, without the folder.
        folder: folder for everything.
        rng: random numbers that choose the moments.
    """

    def __init__(self, name: str, args: list[str], folder: Path, rng: random.Random) -> None:
        self.name, self.args, self.folder, self.rng = name, args, folder, rng
        self.log = folder / f"{name}.log"
        reference = folder / f"{name}-whole"
        whole(args, reference)
        self.whole = content(reference)
        self.largest = max(path.stat().st_size for path in reference.rglob("*") if path.is_file())
        shutil.rmtree(reference)
        begun = time.monotonic()
        if failure := self._compared(reference):
            raise SystemExit(f"{name}, undisturbed: {failure}")
        self.seconds = time.monotonic() - begun

    def trial(self, fault: str) -> str | None:
        """Return None if the command survives a fault, or else what went wrong."""
        out = self.folder / f"{self.name}-{fault}"
        shutil.rmtree(out, ignore_errors=True)
        self.log.write_bytes(b"")
        statuses = getattr(self, f"_{fault}")(out)
        if wrong := [status for status in statuses if status not in (0, 1, 128 + signal.SIGKILL)]:
            return f"ended with {wrong[0]}: {self._told()}"
        if b"Traceback" in self.log.read_bytes():
            return f"a traceback: {self._told()}"
        return self._compared(out)

    def _compared(self, out: Path) -> str | None:
        """Run the command undisturbed, and compare what it leaves."""
        if status := ended(start(self.args, out, self.log)):
            return f"did not go on ({status}): {self._told()}"
        found = content(out)
        if found.keys() != self.whole.keys():
            return f"other files: {sorted(found.keys() ^ self.whole.keys())}"
        if other := [name for name in found if found[name] != self.whole[name]]:
            return f"other bytes: {other}"
        return None

    def _told(self) -> str:
        return self.log.read_text(errors="replace").strip()[-400:]

    def _kill(self, out: Path) -> Iterator[int]:
        for _ in range(self.rng.randint(1, 3)):
            pid = start(self.args, out, self.log)
            time.sleep(self.rng.uniform(0, self.seconds))
            os.kill(pid, signal.SIGKILL)
            yield ended(pid)

    def _disk(self, out: Path) -> Iterator[int]:
        size = max(LOG, int(self.largest ** self.rng.uniform(0.3, 1)))
        yield ended(start(self.args, out, self.log, lambda: limit_files(size)))

    def _rename(self, out: Path) -> Iterator[int]:
        nth = self.rng.randint(1, 12)
        yield ended(start(self.args, out, self.log, lambda: fail_call("replace", nth)))

    def _sync(self, out: Path) -> Iterator[int]:
        nth = self.rng.randint(1, 12)
        yield ended(start(self.args, out, self.log, lambda: fail_call("fsync", nth)))

    def _twice(self, out: Path) -> Iterator[int]:
        first = start(self.args, out, self.log)
        time.sleep(self.rng.uniform(0, self.seconds / 2))
        second = start(self.args, out, self.log)
        yield from (ended(first), ended(second))

    def _shards(self, out: Path) -> Iterator[int]:
        halves = [start([*self.args, "--shard", f"{half}/2"], out, self.log) for half in (1, 2)]
        time.sleep(self.rng.uniform(0, self.seconds))
        os.kill(self.rng.choice(halves), signal.SIGKILL)
        yield from map(ended, halves)


def main() -> None:
    """Run the trials of every command, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40, help="trials of each command and fault")
    parser.add_argument("--commands", nargs="*", help="all when not given")
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=FAULTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rng = random.Random(args.seed)  # noqa: S311 - moments, no secrets
    tallies: dict[str, Tally] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands(Path(folder)).items():
            if args.commands and name not in args.commands:
                continue
            harness, tally = Harness(name, command, Path(folder), rng), Tally()
            print(f"{name}: {harness.seconds:.1f} s", file=sys.stderr)
            for fault in args.faults:
                if fault == "shards" and name != "trace":
                    continue
                for _ in range(args.trials):
                    failure = harness.trial(fault)
                    tally.trials[fault] += 1
                    tally.survived[fault] += failure is None
                    if failure:
                        tally.failures.append(f"{fault}: {failure}")
            tallies[name] = tally
    rows = {name: vars(tally) for name, tally in tallies.items()}
    record({**machine(threads=1), "trials": args.trials, "commands": rows}, args.out)
    if any(tally.failures for tally in tallies.values()):
        raise SystemExit("some runs did not survive")


if __name__ == "__main__":
    main()
