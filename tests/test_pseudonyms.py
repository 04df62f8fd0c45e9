"""Pseudonyms: no name of a patient, a file or a folder is in a data set, and only the key links."""

import json
import stat
from pathlib import Path

import pytest
import source_files

from negtrace import build_dataset
from negtrace.cli import main
from negtrace.datasets import DatasetConfig
from negtrace.datasets.pseudonyms import Pseudonyms, key_of
from negtrace.errors import DatasetError, OutputError

NAMES = ("p10000032", "Mueller", "secret-ward")


def reports(folder: Path) -> Path:
    """Write a folder of reports whose names say who the patients are."""
    root = folder / "secret-ward"
    for number, patient in enumerate(("p10000032", "p10000033", "p10000034")):
        (root / patient).mkdir(parents=True)
        report = f"There is a left pleural effusion. No pneumothorax. Film {number}."
        (root / patient / "Mueller-1.txt").write_text(report)
        (root / patient / "Mueller-2.txt").write_text("  ")  # left out, and counted
    return root


def written(folder: Path) -> str:
    """Return everything that a build leaves, also while it is not finished."""
    return "".join(p.read_bytes().decode("latin-1") for p in folder.rglob("*") if p.is_file())


def test_no_name_of_a_patient_or_a_report_is_written(tmp_path: Path) -> None:
    build_dataset(reports(tmp_path), tmp_path / "out", DatasetConfig(anchors="text"))
    found = written(tmp_path / "out")
    assert "effusion" in found
    assert not [name for name in (*NAMES, str(tmp_path)) if name in found]
    card = json.loads((tmp_path / "out" / "card.json").read_bytes())
    assert len(card["examples"]["empty_report"]) == 3


def test_nothing_is_named_while_a_build_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from negtrace.datasets.folder import DatasetFolder

    def stopped(self: DatasetFolder, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DatasetFolder, "publish", stopped)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(reports(tmp_path), tmp_path / "out", DatasetConfig(anchors="text"))
    found = written(tmp_path / "out")
    assert "effusion" in found
    assert not [name for name in NAMES if name in found]


def test_one_key_gives_the_same_bytes_and_another_one_links_nothing(tmp_path: Path) -> None:
    source = source_files.chexpert(tmp_path / "t.csv", 20)
    for name, key in (("a", "one"), ("b", "one"), ("c", "other")):
        build_dataset(source, tmp_path / name, DatasetConfig(key_file=tmp_path / key))
    a, b, c = (source_files.content(tmp_path / name) for name in "abc")
    assert a == b
    assert a["claims-train.jsonl"] != c["claims-train.jsonl"]
    ours, theirs = (source_files.lines(tmp_path / name, "claims", "train") for name in "ac")
    assert not {row["id"] for row in ours} & {row["id"] for row in theirs}
    # Wording and splits do not depend on the key.
    assert [row["right"] for row in ours] == [row["right"] for row in theirs]
    with pytest.raises(OutputError, match="key: "):
        build_dataset(source, tmp_path / "a", DatasetConfig(key_file=tmp_path / "other"))


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "settings" / "key"
    key = key_of(path)
    assert key_of(path) == key
    assert len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert Pseudonyms(key).of("patient", "1") != Pseudonyms(key[::-1]).of("patient", "1")


def test_a_key_that_is_short_or_beside_the_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = source_files.chexpert(tmp_path / "t.csv", 4)
    (tmp_path / "short").write_text("12345")
    with pytest.raises(DatasetError, match="holds 5 bytes; expected 16 or more"):
        build_dataset(source, tmp_path / "out", DatasetConfig(key_file=tmp_path / "short"))
    inside = str(tmp_path / "out" / "key")
    assert main(["dataset", str(source), "--out", str(tmp_path / "out"), "--key-file", inside]) == 1
    assert "the key file is in the folder of the data set" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match=r"the key file .* cannot be made"):
        key_of(tmp_path / "short" / "key")
