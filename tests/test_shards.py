"""Several processes: shards of a trace merge to the result of a single process."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

import negtrace
from negtrace import cli
from negtrace._files import pack, unpack
from negtrace.errors import OutputError, TraceError, UnknownNameError
from negtrace.experiments import run_shard, run_trace
from negtrace.pairs.pair import Pair
from negtrace.tracing import Shard, TraceConfig, trace_shard
from negtrace.tracing.begun import begun_trace
from negtrace.tracing.checkpoint import Checkpoint
from negtrace.tracing.engines.exact import batch_indices
from negtrace.tracing.progress import EVERY, _sampled
from negtrace.tracing.records import RecordFile

FORMATS = ("png",)


def pairs() -> list[Pair]:
    return negtrace.radiology_pairs()[:40]


def results(folder: Path) -> dict[str, Any]:
    """Return JSON and arrays of a trace, without the time and the digest of what holds it."""
    found: dict[str, Any] = {}
    for direction in ("denoising", "noising"):
        document = json.loads((folder / f"{direction}.json").read_bytes())
        document["provenance"].pop("time")
        del document["raw"], document["checksum"]
        found[direction] = document, load_file(folder / f"{direction}.safetensors")
    return found


def assert_same(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    """Require the same JSON and the same bytes of every array."""
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    for name, array in one[1].items():
        assert array.tobytes() == other[1][name].tobytes(), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of a single process."""
    out = tmp_path_factory.mktemp("alone")
    run_trace(negtrace.load("toy"), out, pairs(), formats=FORMATS)
    return results(out)


def test_shards_merge_to_the_result_of_a_single_process(
    tmp_path: Path, alone: dict[str, Any]
) -> None:
    for number in (3, 1, 2):
        run_shard(negtrace.load("toy"), tmp_path, pairs(), shard=Shard(number, 3))
    run_trace(negtrace.load("toy"), tmp_path, pairs(), formats=FORMATS)
    for direction, result in results(tmp_path).items():
        assert_same(result, alone[direction])
    assert not list(tmp_path.glob("*partial*"))


def test_the_merge_runs_nothing_that_a_shard_has_run(tmp_path: Path) -> None:
    encoder, whole = negtrace.load("toy"), tmp_path / "whole.partial"
    files = [
        trace_shard(encoder, pairs(), shard=Shard(n, 2), checkpoint=whole, row_tokens=1024)
        for n in (1, 2)
    ]
    ran: list[int] = []
    real = Checkpoint.add

    def add(self: Checkpoint, scores: Any) -> None:
        ran.append(scores.index)
        real(self, scores)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "add", add)
        files[0].unlink()
        negtrace.trace(encoder, pairs(), checkpoint=whole, row_tokens=1024)
        assert 0 < len(ran) < 40  # the half of the lost shard
        ran.clear()
        negtrace.trace(encoder, pairs(), checkpoint=whole, row_tokens=1024)
        assert not ran


def test_a_shard_that_is_missing_is_run_by_the_merge(tmp_path: Path, alone: dict[str, Any]) -> None:
    run_shard(negtrace.load("toy"), tmp_path, pairs(), shard=Shard(2, 2), directions=["noising"])
    run_trace(negtrace.load("toy"), tmp_path, pairs(), formats=FORMATS)
    for direction, result in results(tmp_path).items():
        assert_same(result, alone[direction])


def test_a_shard_of_another_trace_is_refused_by_the_merge(tmp_path: Path) -> None:
    encoder, checkpoint = negtrace.load("toy"), tmp_path / "x"
    trace_shard(encoder, pairs(), shard=Shard(1, 2), checkpoint=checkpoint)
    with pytest.raises(OutputError, match=r"holds another run; it differs in .*direction"):
        negtrace.trace(encoder, pairs(), checkpoint=checkpoint, direction="noising")


def test_a_trace_is_refused_while_a_shard_runs(tmp_path: Path) -> None:
    encoder, checkpoint = negtrace.load("toy"), tmp_path / "x"
    file = trace_shard(encoder, pairs()[:4], shard=Shard(1, 2), checkpoint=checkpoint)
    with RecordFile(file, b"") as records:
        header = json.loads(next(iter(records.records())))
    with (
        Checkpoint.held(file, header["trace"]),
        pytest.raises(OutputError, match=rf"in use by process {os.getpid()}"),
    ):
        negtrace.trace(encoder, pairs()[:4], checkpoint=checkpoint)


@pytest.mark.parametrize(
    "name", ["0/4", "5/4", "1/0", "1", "a/b", "1/4/2", "-1/4", "1/" + "9" * 50]
)
def test_a_shard_that_is_none_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TraceError, match="shard"):
        Shard.named(name)
    assert cli.main(["trace", "toy", f"--shard={name}"]) == 1
    assert "shard" in capsys.readouterr().err


def test_a_shard_cannot_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["trace", "toy", "--out", str(tmp_path), "--shard", "1/2", "--overwrite"]
    assert cli.main(command) == 1
    assert "would remove the work of the other shards" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    "accelerate": ["accelerate.commands.launch", "--cpu", "--num_processes", "2"],
}


def two_processes(*command: str, by: str = "torchrun") -> "subprocess.CompletedProcess[str]":
    """Run a command in two processes of a launcher."""
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", *LAUNCHERS[by], "-m", "negtrace", *command],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_of_a_launcher_share_the_work(launcher: str, tmp_path: Path) -> None:
    command = ["trace", "toy", "--limit", "12", "--formats", "png"]
    assert cli.main([*command, "--out", str(tmp_path / "one")]) == 0
    run = two_processes(*command, "--out", str(tmp_path / "two"), by=launcher)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    # The first process alone says what is traced, and reports.
    assert run.stdout.count("12 pairs: 6 negated, 6 affirmative;") == 1
    assert run.stdout.count("written to ") == 1
    one, two = results(tmp_path / "one"), results(tmp_path / "two")
    for direction in one:
        assert_same(two[direction], one[direction])


def test_a_process_that_fails_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    run = two_processes("trace", "toy", "--window", "99", "--out", str(tmp_path))
    assert run.returncode != 0
    assert "negtrace: a window of 99" in run.stderr


def test_an_unknown_direction_is_refused_before_another_one_is_traced(tmp_path: Path) -> None:
    encoder, directions = negtrace.load("toy"), ["denoising", "sideways"]
    with pytest.raises(UnknownNameError, match="unknown direction 'sideways'"):
        run_trace(encoder, tmp_path, pairs(), directions=directions)
    with pytest.raises(UnknownNameError, match="unknown direction 'sideways'"):
        run_shard(encoder, tmp_path, pairs(), shard=Shard(1, 2), directions=directions)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_with_sound_records_of_something_else_is_refused(tmp_path: Path) -> None:
    encoder = negtrace.load("toy")
    file = trace_shard(encoder, pairs()[:4], shard=Shard(1, 1), checkpoint=tmp_path / "x")
    with RecordFile(file, b"") as records:
        header = next(iter(records.records()))
    known = b'{"format":"negtrace.progress","version":3'
    deep = known + b',"trace":' + b"[" * 99999 + b"]" * 99999 + b"}"
    for first, second, message in (
        (known + b"}", b"", "damaged, or no progress"),
        (deep, b"", "damaged, or no progress"),
        (header, pack({}, {"else": 1}), "a record that is no scores"),
        (header, pack({}, {"done": [[1, 2]]}), "a record that is no scores"),
        (header, b"not packed", "a record that is no scores"),
    ):
        file.unlink()
        with RecordFile(file, first) as records:
            list(records.records())
            if second:
                records.append(second)
        with pytest.raises(OutputError, match=f"{message}.*delete the file"):
            trace_shard(encoder, pairs()[:4], shard=Shard(1, 1), checkpoint=tmp_path / "x")


def test_batches_are_dealt_out_by_their_cost() -> None:
    batches, costs = ["small", "tiny", "huge", "large"], [3, 2, 9, 4]
    assert Shard(1, 2).of(batches, costs) == ["huge"]
    assert Shard(2, 2).of(batches, costs) == ["small", "tiny", "large"]


def test_no_two_shards_run_a_contrast(tmp_path: Path) -> None:
    checkpoint, finished = tmp_path / "whole.partial", list[set[int]]()
    for number in (1, 2, 3):
        file = trace_shard(
            negtrace.load("toy"), pairs(), shard=Shard(number, 3), checkpoint=checkpoint
        )
        with RecordFile(file, b"") as records:
            _, *scores = records.records()
        finished.append({index for each in scores for index, _, _ in unpack(each)[1]["done"]})
    assert set.union(*finished) == set(range(len(pairs())))
    assert sum(map(len, finished)) == len(pairs())


def test_a_sample_of_what_is_finished_has_every_length() -> None:
    encoder, config = negtrace.load("toy"), TraceConfig(row_tokens=64)
    with torch.inference_mode():
        sweep = begun_trace(encoder, pairs(), config, progress=False).sweep
    lengths, whole = list(sweep.lengths), range(len(pairs()))
    sampled = list(_sampled(sweep, whole))
    assert {lengths[batch[0]] for batch in sampled} == set(lengths)
    batches = list(batch_indices(replace(sweep, progress=False)))
    assert len(batches) // EVERY <= len(sampled) < len(batches) / 2
    assert [*_sampled(sweep, {5})] == [batch for batch in batches if 5 in batch]
    assert not [*_sampled(sweep, ())]
