"""Folders of runs: one run at a time, the same run goes on, another run is refused and shown."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import source_files
import torch
from claim_sets import claim_sets, ones
from small_encoders import clip

import negtrace.experiments.trace as traces
from negtrace import bench, build_dataset
from negtrace._files import locked
from negtrace.bench.config import BenchConfig
from negtrace.cli import main
from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import NegtraceError, OutputError, TraceError
from negtrace.experiments import NO_EVALUATION, run_benchmark, selective_finetune
from negtrace.experiments.trace import run_heads, run_trace
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.pair import Pair
from negtrace.pairs.radiology import radiology_pairs
from negtrace.results.run_folder import RunFolder
from negtrace.tracing.config import TraceConfig
from negtrace.tracing.trace import trace

PAIRS = radiology_pairs()[:6]


def traced(out: Path, **options: object) -> None:
    run_trace(ToyEncoder(), out, PAIRS, formats=(), progress=False, **options)


def heads(out: Path, **options: object) -> None:
    run_heads(clip(), out, PAIRS, formats=(), progress=False, **options)


def benched(out: Path, **options: object) -> None:
    config = BenchConfig(suite="collapse", data="text", count=6, resamples=20)
    run_benchmark(ToyEncoder(), config, out, formats=(), **options)


def built(out: Path, **options: object) -> None:
    source = source_files.nih(out.parent / "labels.csv", 20)
    build_dataset(source, out, **options)


def tuned(out: Path, **options: object) -> None:
    encoder = clip()
    settings = {"steps": 2, "batch": 4, "adapter": "full", "evaluation": NO_EVALUATION}
    selective_finetune(encoder, claim_sets(), ones(encoder), out=out, **settings, **options)


COMMANDS = (traced, heads, benched, built, tuned)
every_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)


@pytest.mark.parametrize("include_text", [True, False])
def test_a_run_writes_what_a_trace_gives(include_text: bool, tmp_path: Path) -> None:
    config, pairs = TraceConfig(include_text=include_text), radiology_pairs()[:12]
    options = {"directions": ["noising"], "formats": (), "progress": False}
    [document] = run_trace(ToyEncoder(), tmp_path, pairs, config, **options)
    cte = trace(ToyEncoder(), pairs, config, direction="noising", progress=False)
    one, other = document.effect(), cte.effect()
    for name in ("values", "low", "high"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)
    assert np.isfinite(one.low).any()
    written = document.path.read_text("utf-8")
    assert (pairs[0].true in written) == include_text


@every_command
def test_a_second_run_at_the_same_time_is_refused(
    command: Callable[..., None], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with (
        RunFolder(out, "trace").held(),
        pytest.raises(OutputError, match=r"in use by process \d+ on .* since 20"),
    ):
        command(out)
    assert list(out.iterdir()) == []
    command(out)
    assert not (out / ".lock").exists()


@every_command
def test_the_same_run_again_leaves_the_same_bytes(
    command: Callable[..., None], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command(out)
    files = content(out)
    command(out)
    assert content(out) == files


def content(folder: Path) -> dict[str, bytes]:
    """Return the results in a folder, by name, without the time of a measurement."""
    names = ("*.json", "*.csv", "*.jsonl", "*.safetensors", "adapter/*", "model/*")
    files = {path.name: path.read_bytes() for name in names for path in folder.glob(name)}
    return {name: re.sub(rb'"time": "[^"]*"', b"", data) for name, data in files.items()}


HOLD = """
import sys, time
from pathlib import Path
from negtrace.results.run_folder import RunFolder
from negtrace.tracing.config import TraceConfig
with RunFolder(Path(sys.argv[1]), "trace").held():
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=f"in use by process {process.pid} "):
            traced(tmp_path)
        process.send_signal(signal.SIGKILL)
    traced(tmp_path)
    assert (tmp_path / "noising.json").is_file()


def test_what_killed_runs_left_half_written_is_removed(tmp_path: Path) -> None:
    temporary = f"{'0f' * 8}.tmp"
    stale = [f".run.json.{temporary}", f".noising.progress.{temporary}", ".other.progress.lock"]
    live = [".live.progress.lock", f".live.progress.{temporary}"]
    others = ["notes.tmp", f"notes.{temporary}", ".hidden", ".notes.0123.tmp"]
    for name in (*stale, *live, *others):
        (tmp_path / name).write_bytes(b"")
    with locked(tmp_path / live[0], tmp_path), RunFolder(tmp_path, "trace").held():
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {*live, *others, ".lock"}


def test_a_finished_direction_is_not_traced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced(tmp_path, directions=("noising",))
    runs: list[str] = []

    def counted(encoder: object, pairs: object, config: TraceConfig, **rest: object):
        runs.append(config.direction)
        return real(encoder, pairs, config, **rest)

    real = traces.trace
    monkeypatch.setattr(traces, "trace", counted)
    traced(tmp_path)
    assert runs == ["denoising"]
    traced(tmp_path)
    assert runs == ["denoising"]
    traced(tmp_path, overwrite=True)
    assert runs == ["denoising", "denoising", "noising"]


def test_a_report_that_is_finished_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BenchConfig(suite="collapse", data="text", count=6, resamples=20)
    one, other = ToyEncoder(), ToyEncoder()
    other.name = "other"
    [first] = bench.run(one, config, out=tmp_path)
    with torch.no_grad():
        one.forward = None  # it would be an error to run it
    reports = bench.run([one, other], config, out=tmp_path)
    assert [report.model["name"] for report in reports] == ["toy", "other"]
    assert reports[0].made == first.made
    changed = ToyEncoder()
    with torch.no_grad():
        next(changed.model.parameters()).mul_(2)
    with pytest.raises(OutputError, match="weights_digest: "):
        bench.run(changed, config, out=tmp_path)
    [again] = bench.run(changed, config, out=tmp_path, overwrite=True)
    assert again.model["weights_digest"] == changed.digest


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"pairs": PAIRS[:5]}, r"pairs\.count: 6 / 5"),
        ({"pairs": PAIRS[::-1]}, r"pairs\.digest: "),
        ({"config": TraceConfig(window=2)}, r"config\.window: 1 / 2"),
        ({"encoder": clip()}, "model: 'toy' / 'clip'"),
    ],
)
def test_another_trace_is_refused_and_the_difference_shown(
    change: dict[str, object], difference: str, tmp_path: Path
) -> None:
    traced(tmp_path)
    files = content(tmp_path)
    other = {"encoder": ToyEncoder(), "pairs": PAIRS, **change}
    with pytest.raises(OutputError, match=rf"holds another run; it differs in .*{difference}"):
        run_trace(out=tmp_path, formats=(), progress=False, **other)
    assert content(tmp_path) == files
    run_trace(out=tmp_path, formats=(), progress=False, overwrite=True, **other)
    assert content(tmp_path)["noising.json"] != files["noising.json"]


def test_a_folder_holds_a_trace_and_a_study_of_heads(tmp_path: Path) -> None:
    traced(tmp_path)
    heads(tmp_path)
    assert set(json.loads((tmp_path / "run.json").read_bytes())) == {"trace", "heads"}
    traced(tmp_path, overwrite=True)
    assert (tmp_path / "heads_noising.json").is_file()


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"trace": 3}', b"[" * 100_000, b"\x00"])
def test_a_damaged_record_of_the_run_is_named(damage: bytes, tmp_path: Path) -> None:
    traced(tmp_path)
    (tmp_path / "run.json").write_bytes(damage)
    with pytest.raises(OutputError, match=r"run\.json .*name another folder"):
        traced(tmp_path)


def test_results_of_no_known_run_are_refused(tmp_path: Path) -> None:
    traced(tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(OutputError, match=r"has denoising\.json, .* but no run\.json"):
        traced(tmp_path)
    traced(tmp_path, overwrite=True)


def test_the_command_refuses_another_model_and_overwrites_it_when_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--limit", "8", "--out", str(tmp_path), "--formats", "png", "--direction", "noising"]
    assert main(["trace", "toy", *options]) == 0
    assert main(["trace", "toy", "--window", "2", *options]) == 1
    assert re.search(r"config\.window: 1 / 2 \(there / now\)", capsys.readouterr().err)
    assert main(["trace", "toy", "--window", "2", "--overwrite", *options]) == 0


def test_a_run_that_failed_before_it_wrote_anything_is_in_nobodys_way(tmp_path: Path) -> None:
    bad = [pair(n) for n in range(2)]
    with pytest.raises(TraceError, match="no pair is left"):
        run_trace(ToyEncoder(), tmp_path, bad, formats=(), progress=False)
    traced(tmp_path)


def pair(number: int) -> Pair:
    """Return a pair whose anchor the encoder cannot read."""
    pixels = np.full((8, 8), number, np.uint8)
    return Pair(true="There is no mass.", false="There is a mass.", anchor=Anchor(image=pixels))


def test_settings_that_do_not_fit_overwrite_nothing(tmp_path: Path) -> None:
    traced(tmp_path)
    files = content(tmp_path)
    for wrong in (TraceConfig(window=9), TraceConfig(settings={"samplse": 3}, corruption="noise")):
        with pytest.raises(NegtraceError):
            traced(tmp_path, config=wrong, overwrite=True)
    assert content(tmp_path) == files
