"""Every benchmark can be started, says how, and records the machine beside its figures."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = [path.stem for path in sorted(BENCHMARKS.glob("*.py"))]
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in ("limit", "record")])
def test_it_explains_its_command(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = importlib.import_module(name)
    assert f"python benchmarks/{name}.py" in script.__doc__
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    assert "--out" in capsys.readouterr().out


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_names_its_machine_and_no_folder_of_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "x86_64" in json.loads(text)["machine"]
    assert not re.search(r"(?<![\w.])/\w", text), "an absolute path"


def test_a_record_is_written_whole(tmp_path: Path) -> None:
    from record import machine, record

    record({**machine(threads=1), "figure": 2.0}, tmp_path / "new" / "a.json")
    found = json.loads((tmp_path / "new" / "a.json").read_text("utf-8"))
    assert (found["figure"], found["threads"]) == (2.0, 1)
    assert found["torch"].startswith("2.")
