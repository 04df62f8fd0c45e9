"""The command line: every command on real input, and what it says of bad input."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import negtrace
from negtrace._registry import Registry
from negtrace.bench import SUITES
from negtrace.cli import main
from negtrace.errors import FinetuneError
from negtrace.experiments import NO_EVALUATION, Evaluation
from negtrace.pairs import SOURCES
from negtrace.results import LAYER_SCORES, read_json
from negtrace.training import TRAINING_DATA, WEIGHTINGS


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy")
    assert main(["trace", "toy", "--out", str(out), "--limit", "20", "--formats", "png"]) == 0
    return out


HELP = """
import sys
from negtrace.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""
COMMANDS = (
    *("demo", "trace", "heads", "cues", "bench", "correct", "dataset", "finetune"),
    *("interpolate", "plot", "scores", "check", "pairs", "models"),
)


def help_of(*command: str) -> tuple[str, set[str]]:
    """Return the help of a command on one line, and the packages that were imported for it."""
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-c", HELP, *command, "--help"], capture_output=True, text=True, check=True
    )
    words = " ".join(ended.stdout.replace("│", " ").split())
    return words, set(ended.stderr.split())


def test_help_lists_every_command_without_loading_anything_heavy() -> None:
    words, packages = help_of()
    assert f"{{{','.join(COMMANDS)}}}" in words
    assert not packages & {"numpy", "torch", "transformers", "matplotlib", "pandas"}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_does_not_load_torch(command: str) -> None:
    words, packages = help_of(command)
    assert words.startswith(f"usage: negtrace {command} ")
    assert not packages & {"torch", "transformers", "matplotlib", "pandas"}


@pytest.mark.parametrize(
    ("command", "registry"),
    [
        ("finetune", LAYER_SCORES),
        ("finetune", WEIGHTINGS),
        ("finetune", TRAINING_DATA),
        ("bench", SUITES),
        ("pairs", SOURCES),
    ],
)
def test_the_help_of_an_option_lists_the_registered_names(
    command: str, registry: Registry[object]
) -> None:
    words, _ = help_of(command)
    assert f"(known: {', '.join(registry)}; default: " in words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    words, _ = help_of(command)
    options = words.partition(" options ─")[2]
    assert not re.findall(r"--[a-z-]+ (?:[A-Z|{}\[\]]+ )*\(default", options)


def test_demo_writes_a_heatmap_layer_importance_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path), "--pairs", "24"]) == 0
    for stem in ("heatmap", "layer_importance_denoising", "layer_importance_noising"):
        for suffix in ("png", "svg", "pdf"):
            assert (tmp_path / f"{stem}.{suffix}").stat().st_size > 5000
    for direction in ("denoising", "noising"):
        document = read_json(tmp_path / f"{direction}.json")
        assert document.provenance.model == "phantom"
        assert document.effect().at("embed", "cue").value == pytest.approx(1)
    assert "denoising: " in capsys.readouterr().out


def test_trace_writes_the_files_it_names(toy: Path) -> None:
    names = {path.name for path in toy.iterdir()}
    assert {"denoising.json", "noising.safetensors", "heatmap.png"} <= names
    document = read_json(toy / "noising.json")
    assert document.effect().at("blocks.0", "cue").value == pytest.approx(0.25)
    assert 15 <= len(document.pairs) <= 20


def test_no_statement_reaches_an_output_unless_asked(toy: Path, tmp_path: Path) -> None:
    words = [b"pneumothorax", b"There is", b"The lungs"]
    for path in toy.iterdir():
        assert not any(word in path.read_bytes() for word in words[1:]), path
    args = ["--limit", "4", "--include-text", "--formats", "png", "--direction", "noising"]
    assert main(["trace", "toy", "--out", str(tmp_path), *args]) == 0
    assert b"There is" in (tmp_path / "noising.json").read_bytes()


def test_a_corruption_takes_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["trace", "toy", "--limit", "4", "--out", str(tmp_path), "--formats", "png"]
    args += ["--corruption", "noise", "--set"]
    assert main([*args, "samples=2", "seed=7"]) == 0
    made = read_json(tmp_path / "noising.json").provenance.config["corruption"]
    assert (made["samples"], made["seed"]) == (2, 7)
    assert main([*args, "samples"]) == 1
    assert "has no value; write it as name=value" in capsys.readouterr().err
    assert main([*args, "sigma=1"]) == 1
    assert "its settings are: multiple, samples, seed" in capsys.readouterr().err
    assert main([*args, "samples=many"]) == 1
    assert "samples of 'noise' is 'many'; expected int" in capsys.readouterr().err


def test_plot_draws_from_json_alone(toy: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.json"
    alone.write_bytes((toy / "denoising.json").read_bytes())
    assert main(["plot", str(alone), "--out", str(tmp_path), "--formats", "svg"]) == 0
    assert (tmp_path / "heatmap.svg").is_file()
    both = [str(toy / f"{direction}.json") for direction in ("denoising", "noising")]
    assert main(["plot", *both, "--out", str(tmp_path / "two"), "--formats", "png"]) == 0
    assert (tmp_path / "two" / "heatmap.png").read_bytes() == (toy / "heatmap.png").read_bytes()


WITHOUT_TORCH = """
import sys
class Away:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"no {name} here")
sys.meta_path.insert(0, Away())
from negtrace.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["plot", "scores"])
def test_a_json_can_be_opened_without_torch(command: str, toy: Path, tmp_path: Path) -> None:
    run = subprocess.run(  # noqa: S603
        [sys.executable, "-c", WITHOUT_TORCH, command, str(toy / "noising.json")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_scores_prints_and_writes_a_table(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = toy / "denoising.json"
    csv = tmp_path / "scores.csv"
    assert main(["scores", str(path), "--method", "transport", "--csv", str(csv)]) == 0
    shown = capsys.readouterr().out
    assert "transport" in shown
    assert "nast" not in shown
    first = csv.read_text().splitlines()[1]
    assert first.startswith("transport,blocks.0,0.75")
    assert main(["scores", str(path), "--method", "guess"]) == 1
    assert "no layer scores 'guess'; it holds: cue, nast, std, transport" in capsys.readouterr().err


def test_check_prints_every_item(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "phantom"]) == 0
    shown = capsys.readouterr().out
    assert "8 blocks, causal" in shown
    assert "ok    model untouched" in shown


def test_models_lists_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    for name in ("phantom", "toy", "mask, mean, neutral, noise, resample, swap, zero", "transport"):
        assert name in shown


def test_pairs_are_written_and_traced(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "valse.jsonl"
    valse = data_dir / "valse" / "existence_part.json"
    assert main(["pairs", "valse", "--file", str(valse), "--out", str(out)]) == 0
    assert "left out" in capsys.readouterr().err.replace("leaves out", "left out")
    assert len(negtrace.read_pairs(out)) == 127
    options = ["--limit", "5", "--out", str(tmp_path), "--formats", "png"]
    assert main(["trace", "toy", "--pairs", str(out), *options]) == 0
    phantom = tmp_path / "phantom.jsonl"
    assert main(["pairs", "phantom", "--n", "4", "--out", str(phantom)]) == 0
    assert len(negtrace.read_pairs(phantom)) == 4


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["trace", "nowhere/model"], "load takes toy; phantom; a folder with"),
        (["trace", "toy", "--corruption", "shake"], "unknown corruption 'shake'; known: "),
        (["trace", "toy", "--pairs", "none.jsonl"], "none.jsonl"),
        (["plot", "none.json"], "none.json"),
        (["check", "nowhere/model"], "nowhere/model: cannot read its config"),
        (["pairs", "reports"], "known: phantom, radiology, valse"),
    ],
    ids=" ".join,
)
def test_bad_input_gives_a_message_of_one_line(
    args: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(args) == 1
    message = capsys.readouterr().err
    assert message.startswith("negtrace: ")
    assert expected in message
    assert "Traceback" not in message


def test_a_bad_line_is_named_and_can_be_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"true": "No car.", "false": "Some car.", "anchor": {"text": "An empty street."}},
        {"true": "A car.", "false": "Some car.", "anchor": {"text": "A street."}},
    ]
    path.write_text("\n".join([*map(json.dumps, rows), "{broken"]))
    args = ["trace", "toy", "--pairs", str(path), "--out", str(tmp_path / "out")]
    assert main(args) == 1
    message = capsys.readouterr().err
    assert f"{path}:2" in message or f"{path}, line 2" in message
    assert main([*args, "--skip-bad", "--formats", "png"]) == 0
    assert "warning" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert main(["trace", "toy", "--out", str(taken / "out")]) == 1
    assert "name another folder" in capsys.readouterr().err


def test_a_changed_file_is_refused(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((toy / "denoising.json").read_text())
    document["version"] = 99
    changed = toy / "changed.json"
    changed.write_text(json.dumps(document))
    assert main(["plot", str(changed)]) == 1
    assert "version" in capsys.readouterr().err


def test_heads_are_studied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["heads", "phantom", "--limit", "4", "--formats", "png", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "noising: " in capsys.readouterr().out
    assert {"head_heatmap.png", "heads.csv", "heads_noising.json"} <= {
        path.name for path in tmp_path.iterdir()
    }


def test_cues_of_a_file_are_listed_without_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "reports.txt"
    file.write_text("There is a nodule.\nThere is no evidence of pneumothorax.\n", "utf-8")
    assert main(["cues", str(file)]) == 0
    [row] = capsys.readouterr().out.splitlines()
    assert json.loads(row)["line"] == 2
    assert "evidence" not in str({k: v for k, v in json.loads(row).items() if k != "reason"})
    assert main(["cues", str(file), "--include-text"]) == 0
    assert "no evidence of" in capsys.readouterr().out


def test_a_benchmark_is_written(tmp_path: Path) -> None:
    assert main(["bench", "phantom", "--count", "24", "--out", str(tmp_path)]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} >= {".json", ".png"}


def test_sites_and_methods_are_chosen_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["trace", "phantom", "--limit", "4", "--formats", "png", "--out", str(tmp_path)]
    chosen = ["--sites", "resid", "attn_out", "--method", "attribution", "--verify", "5"]
    assert main([*command, *chosen, "--positions", "cue", "end"]) == 0
    assert "an APPROXIMATION by attribution; 5 largest and 5 random" in capsys.readouterr().out
    assert {"heatmap_resid.png", "heatmap_attn_out.png"} <= {p.name for p in tmp_path.iterdir()}
    assert main([*command, "--sites", "head.99"]) == 1
    assert "no head 99; phantom has heads 0 to 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], Evaluation(count=600)),
        (["--count", "40", "--questions", "text"], Evaluation(count=40, data="text")),
        (["--count", "0"], NO_EVALUATION),
    ],
)
def test_finetune_is_measured_with_the_number_of_questions_that_is_asked_for(
    options: list[str], expected: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Evaluation] = []

    def note(*_: object, evaluation: Evaluation, **__: object) -> None:
        given.append(evaluation)
        raise FinetuneError("nothing is trained here")

    monkeypatch.setattr("negtrace.experiments.selective_finetune", note)
    paths = ["--cte", "cte.json", "--data", "sets.jsonl", "--out", str(tmp_path / "out")]
    assert main(["finetune", "toy", *paths, *options]) == 1
    assert given == [expected]


def started(*command: str, prefix: str = "pass", **environment: str) -> "subprocess.Popen[str]":
    code = f"import sys; from negtrace.cli import main; {prefix}; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


SLOW = """
import time, negtrace.tracing.engines.exact as exact
def run(self, sweep, real=exact.Exact.run):
    for scores in real(self, sweep):
        yield scores
        print('one', flush=True)
        time.sleep(60)
exact.Exact.run = run
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_a_command_in_order_and_the_same_command_goes_on(
    name: str, tmp_path: Path
) -> None:
    number = signal.Signals[name]
    command = ["trace", "toy", "--limit", "8", "--out", str(tmp_path), "--direction", "noising"]
    # Under nohup or behind "&" the tests ignore a signal themselves, and a process inherits that.
    heard = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    heard += "; signal.signal(signal.SIGINT, signal.default_int_handler)"
    slow = f"{heard}; exec({SLOW!r})"
    with started(*command, "--no-self-check", prefix=slow) as process:
        assert process.stdout is not None
        while "one" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        _, told = process.communicate()
    assert process.returncode == 128 + number
    assert told.splitlines()[-1].startswith(f"negtrace: stopped by {name}; ")
    assert "Traceback" not in told
    assert {path.name for path in tmp_path.iterdir()} == {"noising.partial", "run.json"}
    assert main([*command, "--no-self-check", "--formats", "png"]) == 0


def test_a_reader_that_goes_away_and_a_terminal_without_letters_are_no_errors(
    tmp_path: Path,
) -> None:
    with started("models", PYTHONUNBUFFERED="1") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        told = process.stderr.read()
    assert (told, process.returncode) == ("", 128 + signal.SIGPIPE)
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    file = tmp_path / "texts.txt"
    file.write_text("Kein Erguss, \u00b5 \u2265 3: no effusion \u2713", "utf-8")
    with started("cues", str(file), **ascii_only) as process:
        _, told = process.communicate()
    assert (told, process.returncode) == ("", 0)


def test_a_closed_stdout_is_no_error() -> None:
    with started("models", prefix="import os; os.close(1); sys.stdout = None") as process:
        _, told = process.communicate()
    assert (told, process.returncode) == ("", 0)
