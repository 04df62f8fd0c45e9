"""Runs of the builder: stops, other settings, Parquet, the command."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import source_files

from negtrace import build_dataset
from negtrace.cli import main
from negtrace.datasets import DatasetConfig, build, folder, read_card
from negtrace.datasets.folder import DatasetFolder
from negtrace.errors import DatasetError, ExtraError, OutputError
from negtrace.results.run_folder import RunFolder

BUILD = """
import sys, negtrace
from negtrace.datasets import build
build.EVERY = 7
negtrace.build_dataset(sys.argv[1:-1], sys.argv[-1])
"""


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Two sources, with another view, a study that occurs twice, and a row that cannot be used."""
    rows = [
        f"train/patient00001/study1/{view}.jpg,Female,61,{value}"
        for view, value in [
            ("view2_lateral", "Lateral,,," + ",".join(["1.0"] * 13)),
            ("view2_lateral", "Lateral,,," + ",".join(["1.0"] * 13)),
            ("view2_lateral", "Lateral,,," + ",".join(["2"] * 13)),
        ]
    ]
    labels = source_files.chexpert(tmp_path / "train.csv", 45, rows=rows)
    return [labels, source_files.claims(tmp_path / "claims.jsonl", 40)]


@pytest.fixture
def whole(sources: list[Path], tmp_path: Path) -> dict[str, bytes]:
    """The bytes of a run that nothing stopped."""
    build_dataset(sources, tmp_path / "whole")
    return source_files.content(tmp_path / "whole")


def test_what_a_run_left_that_was_killed_at_its_end_is_removed(
    sources: list[Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    left = tmp_path / "whole" / ".partial"
    left.mkdir()
    (left / "studies.sqlite").write_bytes(b"")
    with RunFolder(tmp_path / "whole", "dataset").held():  # another run is still at it
        build_dataset(sources, tmp_path / "whole")
        assert left.exists()
    build_dataset(sources, tmp_path / "whole")
    assert source_files.content(tmp_path / "whole") == whole
    assert {path.name for path in (tmp_path / "whole").iterdir()} == set(whole)


@pytest.mark.parametrize("stop", [1, 7, 8, 20, 47, 80])
def test_a_stopped_run_ends_in_the_same_bytes(
    stop: int,
    sources: list[Path],
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "EVERY", 7)
    real = DatasetFolder.is_new

    def stopping(self: DatasetFolder, number: int, *study: str) -> bool:
        if number >= stop:
            raise KeyboardInterrupt
        return real(self, number, *study)

    out = tmp_path / "out"
    for _ in range(2):
        monkeypatch.setattr(DatasetFolder, "is_new", stopping)
        with pytest.raises(KeyboardInterrupt):
            build_dataset(sources, out)
        assert [path.name for path in out.iterdir()] == [".partial"]
        stop += 1
    monkeypatch.setattr(DatasetFolder, "is_new", real)
    build_dataset(sources, out)
    assert source_files.content(out) == whole


def test_a_stop_within_a_checkpoint_makes_no_duplicates(
    sources: list[Path],
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "EVERY", 7)
    real, written = folder.write_bytes, []

    def failing(path: Path, data: bytes) -> Path:
        written.append(path.name)
        if len(written) == 4:
            raise KeyboardInterrupt
        return real(path, data)

    monkeypatch.setattr(folder, "write_bytes", failing)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(sources, tmp_path / "out")
    assert set(written) == {"progress.json"}
    build_dataset(sources, tmp_path / "out")
    assert source_files.content(tmp_path / "out") == whole


def test_a_stopped_run_goes_on_from_its_checkpoint(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "EVERY", 7)
    met: list[int] = []
    real = DatasetFolder.is_new

    def noting(self: DatasetFolder, number: int, *study: str) -> bool:
        met.append(number)
        if number == 20 and met.count(20) == 1:
            raise KeyboardInterrupt
        return real(self, number, *study)

    monkeypatch.setattr(DatasetFolder, "is_new", noting)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(sources, tmp_path / "out")
    del met[:-1]
    build_dataset(sources, tmp_path / "out")
    assert min(met[1:]) == 14


def test_a_killed_run_ends_in_the_same_bytes(
    sources: list[Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    dying = (
        "import os\nfrom negtrace.datasets import folder\n"
        "real = folder.DatasetFolder.is_new\n"
        "def is_new(self, number, *study):\n"
        "    if number == 30: os._exit(9)\n"
        "    return real(self, number, *study)\n"
        "folder.DatasetFolder.is_new = is_new\n"
    )
    command = [sys.executable, "-c", dying + BUILD, *map(str, sources), str(tmp_path / "out")]
    assert subprocess.run(command, check=False).returncode == 9  # noqa: S603
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".partial", ".lock"}
    build_dataset(sources, tmp_path / "out")
    assert source_files.content(tmp_path / "out") == whole


def test_a_run_killed_by_a_signal_ends_in_the_same_bytes(tmp_path: Path) -> None:
    source = source_files.nih(tmp_path / "n.csv", 6_000)
    out = tmp_path / "out"
    command = [sys.executable, "-c", BUILD, str(source), str(out)]
    process = subprocess.Popen(command)  # noqa: S603
    state = out / ".partial" / "progress.json"
    while not state.exists() or json.loads(state.read_bytes())["done"] < 500:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "card.json").exists()
    subprocess.run(command, check=True)  # noqa: S603
    subprocess.run([*command[:-1], str(tmp_path / "whole")], check=True)  # noqa: S603
    assert source_files.content(out) == source_files.content(tmp_path / "whole")


def test_a_stop_while_files_are_moved_is_repaired(
    sources: list[Path],
    whole: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    real = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if Path(target) == out / "captions-test.jsonl":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(sources, out)
    monkeypatch.setattr(Path, "replace", real)
    assert (out / "claims-train.jsonl").exists()
    assert not (out / "card.json").exists()
    build_dataset(sources, out)
    assert source_files.content(out) == whole


def test_a_complete_data_set_is_not_built_again(
    sources: list[Path], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whole
    monkeypatch.setattr(folder.DatasetFolder, "is_new", None)
    card = build_dataset(sources, tmp_path / "whole")
    assert card == read_card(tmp_path / "whole")


def test_a_folder_with_another_data_set_is_refused(sources: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    build_dataset(sources, out)
    before = source_files.content(out)
    with pytest.raises(OutputError, match=r"another run; it differs in config\.seed: 0 / 1"):
        build_dataset(sources, out, DatasetConfig(seed=1))
    with pytest.raises(OutputError, match=r"sources\.1\.layout: 'claims' / none"):
        build_dataset(sources[:1], out)
    sources[0].write_text(sources[0].read_text("utf-8").replace("1.0", "0.0"), "utf-8")
    with pytest.raises(OutputError, match=r"sources\.0\.digest: "):
        build_dataset(sources, out)
    assert source_files.content(out) == before
    (out / "card.json").unlink()
    with pytest.raises(OutputError, match=r"claims-train\.jsonl, which has no data card"):
        build_dataset(sources, out)
    (out / "card.json").write_text("{")
    with pytest.raises(OutputError, match="is no data card"):
        build_dataset(sources, out)


def test_another_config_cannot_continue_a_stopped_run(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DatasetFolder, "is_new", None)
    with pytest.raises(TypeError):
        build_dataset(sources, tmp_path / "out")
    with pytest.raises(OutputError, match=r"config\.seed: 0 / 1"):
        build_dataset(sources, tmp_path / "out", DatasetConfig(seed=1))


def test_parquet_holds_the_same_rows(sources: list[Path], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    card = build_dataset(sources, tmp_path / "out", DatasetConfig(parquet=True))
    assert sum(name.endswith(".parquet") for name in card.files) == 9
    for kind in ("claims", "captions", "pairs"):
        for split in ("train", "val", "test"):
            table = pq.read_table(tmp_path / "out" / f"{kind}-{split}.parquet").to_pylist()
            rows = source_files.lines(tmp_path / "out", kind, split)
            assert len(table) == len(rows)
            for parquet, other in zip(table, rows, strict=True):
                anchor = {k: v for k, v in parquet.pop("anchor").items() if v is not None}
                assert anchor == other.pop("anchor")
                assert parquet == other


def test_parquet_without_its_package_says_how_to_get_it(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExtraError, match=r"pip install 'negtrace\[parquet\]'"):
        build_dataset(sources, tmp_path / "out", DatasetConfig(parquet=True))


def test_the_command_prints_what_it_made(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["dataset", *map(str, sources), "--out", str(out), "--val", "0.2"]) == 0
    printed = capsys.readouterr().out
    card = read_card(out)
    assert f"claims: {card.of('claims')['train']} train, {card.of('claims')['val']} val" in printed
    assert "left out, duplicate_study: 1" in printed
    assert "left out, further_view: 1" in printed
    assert "left out, label: 1" in printed
    assert main(["dataset", *map(str, sources), "--out", str(out)]) == 1
    assert "config.val: 0.2 / 0.1" in capsys.readouterr().err
    assert main(["dataset", "--out", str(tmp_path / "none")]) == 1


def test_a_card_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is no data card"):
        read_card(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="peak memory is read as on Linux")
def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    measure = (
        "import resource, sys, negtrace\n"
        "negtrace.build_dataset(sys.argv[1], sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for count in (3_000, 24_000):
        source = source_files.nih(tmp_path / f"{count}.csv", count)
        command = [sys.executable, "-c", measure, str(source), str(tmp_path / str(count))]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        peaks.append(int(shown.stdout) / 1024)
    assert peaks[1] - peaks[0] < 12, peaks
