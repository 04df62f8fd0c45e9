"""Every benchmark can be started, says how, and records the machine beside its figures."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from negtrace.language.findings import FINDINGS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = [path.stem for path in sorted(BENCHMARKS.glob("*.py"))]
SHARED = ("limit", "record", "subjects")
"""What scripts share; they are no commands."""
MINILM = "all-MiniLM-L6-v2"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in SHARED])
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


def runs(weighting: str, negated: list[float], mode: str = "lr") -> list[dict[str, object]]:
    """Return a run of the fine-tuning experiment for each seed."""
    about = {"model": "m", "mode": mode, "weighting": weighting, "norms": [1.0, 3.0]}
    return [{**about, "seed": k, "negated": found} for k, found in enumerate(negated)]


def test_weightings_are_set_against_uniform_of_the_same_seed() -> None:
    from selective import marked_mean, summary

    found = [
        *runs("uniform", [0.2, 0.6, 0.4]),
        *runs("permuted", [0.3, 0.7, 0.6]),
        *runs("nast", [0.3, 0.7, 0.5]),
        *runs("cue", [0.1], mode="grad"),
    ]
    rows = {(row["mode"], row["weighting"]): row for row in summary(found)}
    assert rows["lr", "uniform"]["over_uniform"] is None
    assert rows["lr", "permuted"]["seeds"] == 3
    middle, low, high = rows["lr", "permuted"]["over_uniform"]["negated"]
    assert middle == pytest.approx(0.4 / 3)
    # Student's t of two degrees, 4.3027, times the standard error.
    assert high - middle == middle - low == pytest.approx(4.3027 * 0.0577350 / 3**0.5, rel=1e-4)
    assert marked_mean(rows["lr", "permuted"], "negated") == "0.533"
    assert (
        marked_mean(rows["lr", "nast"], "negated") == "0.500+"
    )  # its differences do not vary at all
    assert rows["grad", "cue"]["over_uniform"] is None  # a seed alone has no spread


def test_the_results_page_shows_the_experiment() -> None:
    from selective import short_table

    folder = BENCHMARKS / "results" / "selective"
    found = json.loads((folder / "selective.json").read_text("utf-8"))
    assert found["of_the_grid_to_come"] == 0
    short = short_table(found["rows"], found["before"])
    page = (BENCHMARKS.parent / "docs" / "results.md").read_text("utf-8")
    assert short in page
    assert short in (folder / "selective.md").read_text("utf-8")
    plain = next(r for r in found["rows"] if (r["model"], r["weighting"]) == (MINILM, "uniform"))
    for name in ("templates", "clinical", "general"):
        before, after = found["before"][MINILM][name], plain["mean"][name]
        assert re.search(rf"{before:.3f}\s+to\s+{after:.3f}".replace("0.", r"\."), page)


def test_the_results_page_shows_every_measure() -> None:
    from measures import LINES, table

    found = json.loads((BENCHMARKS / "results" / "measures.json").read_text("utf-8"))
    shown = table(found["rows"])
    assert shown.count("\n") == len(LINES) + 1
    assert shown in (BENCHMARKS.parent / "docs" / "results.md").read_text("utf-8")


def test_the_docs_show_how_far_the_gap_was_closed() -> None:
    found = json.loads((BENCHMARKS / "results" / "finetune.json").read_text("utf-8"))
    docs = (BENCHMARKS.parent / "docs" / "results.md").read_text("utf-8")
    for figures in (found["before"], *found["runs"]):
        shown = [f"{figures[name]:.3f}" for name in ("affirmative", "negated", "gap", "R@5")]
        assert f"| {' | '.join(shown)} |" in docs
    for run in found["runs"]:
        assert f"| {run['seed']} | {run['closed']:.0%} | {run['seconds']:.0f} |" in docs


def test_a_run_that_was_cut_off_is_none(tmp_path: Path) -> None:
    from selective import read_runs

    assert read_runs(tmp_path / "runs.jsonl") == []
    (tmp_path / "runs.jsonl").write_text('{"seed": 0}\n{"seed": 1}\n{"se')
    assert read_runs(tmp_path / "runs.jsonl") == [{"seed": 0}, {"seed": 1}]


def test_each_run_of_the_grid_stands_once(tmp_path: Path) -> None:
    from argparse import Namespace

    from selective import grid

    options = Namespace(seeds=5, models=["phantom"], steps=None, data=tmp_path)
    cells = [cell.key for cell in grid(options)]
    assert len(cells) == len(set(cells)) == 85
    assert ("phantom", "grad", "uniform", 0) not in cells


def test_nothing_asked_is_trained_on(data_dir: Path) -> None:
    from subjects import MODELS

    for model in MODELS.values():
        about = model(data_dir)
        said = {
            text.lower() for one in about.sets(0)[:200] for text in (one.caption, *one.statements)
        }
        asked = {
            text.lower() for items in about.questions.values() for i in items for text in i.texts
        }
        assert not {text for text in said & asked if "no " in text}
        terms = [FINDINGS[key].term for key in about.held_out]
        assert not [(text, term) for text in said for term in terms if term in text]


def compared(first: Path, second: Path, *options: str) -> tuple[int, str]:
    """Return the exit code and the output of `python benchmarks/golden compare`."""
    command = [sys.executable, str(BENCHMARKS / "golden"), "compare", str(first), str(second)]
    run = subprocess.run(  # noqa: S603
        [*command, *options], capture_output=True, text=True, check=False
    )
    assert not run.stderr
    return run.returncode, run.stdout


def stored(folder: Path, job: str, number: float, values: Sequence[float]) -> Path:
    """Write what a job might store: a number, a page and an array; return the folder."""
    (folder / job).mkdir(parents=True)
    (folder / job / "report.json").write_text(json.dumps({"effect": [number]}))
    (folder / job / "page.md").write_text("one\ntwo\n")
    (folder / job / "raw.json").write_text(json.dumps({"digest": str(values)}))
    np.savez(folder / job / "raw.npz", scores=np.array(values))
    return folder


def test_compare_finds_a_changed_number_a_missing_file_and_a_changed_array(tmp_path: Path) -> None:
    first = stored(tmp_path / "first", "cues", 0.5, [1.0, 2.0, np.nan])
    second = stored(tmp_path / "second", "cues", 0.25, [1.0, 2.5, 3.0])
    (second / "cues" / "page.md").unlink()
    code, printed = compared(first, second)
    assert code == 1
    assert "differs    cues/report.json\n    $.effect[0]: 0.5 | 0.25" in printed
    assert "only in A  cues/page.md" in printed
    assert "array scores: differs by at most 0.5, NaN in one only: 1" in printed
    assert printed.endswith("0 same, 2 differs, 1 only in A, 0 only in B\n")


def test_compare_looks_at_the_jobs_that_are_named(tmp_path: Path) -> None:
    first = stored(tmp_path / "first", "cues", 0.5, [1.0])
    second = stored(tmp_path / "second", "cues", 0.5, [1.0])
    stored(second, "pairs", 0.5, [1.0])
    assert compared(first, second, "--jobs", "cues", "--quiet") == (
        0,
        "3 same, 0 differs, 0 only in A, 0 only in B\n",
    )
    code, printed = compared(first, second, "--quiet")
    assert code == 1
    assert "only in B  pairs/page.md" in printed
