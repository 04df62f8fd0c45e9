"""Families of encoders, and options of `load`: each one is applied or refused, never ignored."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from dual_encoders import image_processor
from language_models import PROMPT, READERS, decoder, reader
from open_clip_models import biomed_folder
from safetensors.torch import load_file, save_file
from small_encoders import bert, clip
from small_models import word_tokenizer

from negtrace.cli import main
from negtrace.cli.models import Loading
from negtrace.encoders.base import Encoder
from negtrace.encoders.check import CheckItem, CheckReport
from negtrace.encoders.families import BUILT_IN, FAMILIES, Family, LoadRequest
from negtrace.encoders.load import load, options_for
from negtrace.encoders.lora import attach, write_adapter
from negtrace.encoders.options import LoadOptions
from negtrace.encoders.toy import ToyEncoder
from negtrace.errors import EncoderError, NegtraceError, UnknownNameError
from negtrace.phantom import CHECKPOINT

STATEMENTS = ["There is no effusion.", "The patient has some pneumothorax."]
OPTIONS = {
    "read_out": "cls",
    "revision": "v1",
    "trust_remote_code": True,
    "prompt": PROMPT,
}
"""Options that do not apply to every family, each with a value."""


def write(encoder: Encoder, folder: Path) -> Path:
    encoder.model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def dual_folder(folder: Path) -> Path:
    image_processor("clipseg").save_pretrained(folder)
    return write(clip(), folder)


def vision_language_folder(folder: Path) -> Path:
    reader("llava").model.save_pretrained(folder)
    READERS["llava"][1]().save_pretrained(folder)
    return folder


def adapter_folder(folder: Path, base: Path | str, encoder: Encoder) -> Path:
    """Write an adapter of `base`, with weights that matter."""
    torch.manual_seed(1)
    attached = attach(encoder, rank=2, alpha=4.0)
    with torch.no_grad():
        for weight in attached.weights.values():
            weight.normal_(std=0.3)
    write_adapter(attached, folder, str(base))
    return folder


WRITERS: dict[str, Callable[[Path], Path]] = {
    "open_clip": biomed_folder,
    "dual encoder": dual_folder,
    "language model": lambda folder: write(decoder("gpt2"), folder),
    "vision-language model": vision_language_folder,
    "text encoder": lambda folder: write(bert(), folder),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small model of every built-in family, by what `load` is given for it."""
    root = tmp_path_factory.mktemp("families")
    written = {name: str(make(root / name)) for name, make in WRITERS.items()}
    adapter = adapter_folder(root / "adapter", root / "text encoder", bert())
    return {"toy": "toy", "phantom": "phantom", "LoRA adapter": str(adapter), **written}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_family_recognises_its_own_models_only(name: str, folders: dict[str, str]) -> None:
    request = LoadRequest(name_or_path=folders[name], options=LoadOptions())
    # The families after it are not asked, so they need not tell it apart from their own models.
    before = list(BUILT_IN)[: list(BUILT_IN).index(name)]
    assert FAMILIES[name]().matches(request)
    assert not any(FAMILIES[other]().matches(request) for other in before)


# A decoder with a read-out is a text encoder, so the option applies.
REFUSED = [
    (name, option)
    for name in BUILT_IN
    for option in OPTIONS
    if option not in FAMILIES[name].options and not (option == "read_out" and "language" in name)
]


@pytest.mark.parametrize(("name", "option"), REFUSED)
def test_an_option_that_does_not_apply_is_refused(
    name: str, option: str, folders: dict[str, str]
) -> None:
    with pytest.raises(EncoderError, match=f"{option} does not apply to the family '{name}'"):
        load(folders[name], **{option: OPTIONS[option]})


@pytest.mark.parametrize("name", ["dual encoder", "text encoder", "language model"])
def test_a_folder_has_no_revisions(name: str, folders: dict[str, str]) -> None:
    with pytest.raises(EncoderError, match="a folder holds one revision; only a model on the hub"):
        load(folders[name], revision="v1")


def test_a_refusal_names_the_families_that_the_option_applies_to() -> None:
    with pytest.raises(EncoderError) as error:
        load("toy", read_out="cls")
    assert "the options that apply are name, device, dtype, self_check" in str(error.value)
    assert "read_out applies to: LoRA adapter, text encoder" in str(error.value)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_family_takes_a_name_and_a_dtype(name: str, folders: dict[str, str]) -> None:
    encoder = load(folders[name], name="mine", dtype="float64", self_check=False)
    assert encoder.name == "mine"
    assert next(encoder.model.parameters()).dtype is torch.float64


def test_options_and_keywords_are_the_same() -> None:
    encoder = load("toy", LoadOptions(name="theirs", dtype="float64"), name="mine")
    assert encoder.name == "mine"
    assert next(encoder.model.parameters()).dtype is torch.float64
    with pytest.raises(UnknownNameError, match="unknown option of load 'nmae'; known: name, read_"):
        load("toy", nmae="mine")


def test_the_self_check_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = CheckReport(
        encoder="toy", items=(CheckItem(name="states", holds=False, detail="none"),)
    )
    monkeypatch.setattr(sys.modules["negtrace.encoders.load"], "check_structure", lambda _: failing)
    with pytest.raises(EncoderError, match="does not pass its self-check; states: none"):
        load("toy")
    assert load("toy", self_check=False).name == "toy"


# Adapters


@pytest.mark.parametrize("read_out", ["cls", "mean"])
def test_an_adapter_is_read_as_its_base_is_asked_to_be(
    read_out: str, folders: dict[str, str], tmp_path: Path
) -> None:
    base = folders["text encoder"]
    encoder = load(base, read_out=read_out)
    plain = encoder.embed_texts(STATEMENTS)
    folder = adapter_folder(tmp_path / "adapter", base, encoder)  # the adapter stays on its model
    expected = encoder.embed_texts(STATEMENTS)
    loaded = load(folder, read_out=read_out)
    torch.testing.assert_close(loaded.embed_texts(STATEMENTS), expected)
    assert not torch.allclose(plain, expected, atol=1e-3)
    assert loaded.tokenize(STATEMENTS)[0].read_out == (0 if read_out == "cls" else None)
    assert loaded.name == "adapter"


def test_an_adapter_names_the_folder_its_base_was_loaded_from(
    folders: dict[str, str], tmp_path: Path
) -> None:
    base = folders["text encoder"]
    write_adapter(attach(load(base), rank=2, alpha=4.0), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base
    assert load(tmp_path / "adapter").family == "text encoder"


def test_options_that_do_not_apply_to_the_base_of_an_adapter_are_refused(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "adapter", "phantom", load("phantom", self_check=False))
    assert load(folder, name="mine").name == "mine"
    with pytest.raises(EncoderError, match="read_out does not apply to the family 'phantom'"):
        load(folder, read_out="cls")


def test_an_adapter_that_does_not_name_its_base_is_refused(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "adapter", "phantom", load("phantom", self_check=False))
    config = folder / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": ""}))
    with pytest.raises(EncoderError, match="does not name the model that was adapted; load that"):
        load(folder)


# The phantom


def test_a_model_says_whether_it_was_trained_on_the_phantom(tmp_path: Path) -> None:
    encoder = load("phantom", name="renamed")
    assert encoder.trained_on_phantom
    assert load(CHECKPOINT).trained_on_phantom
    encoder.model.save_pretrained(tmp_path / "tuned")
    word_tokenizer().save_pretrained(tmp_path / "tuned")
    assert load(tmp_path / "tuned", self_check=False).trained_on_phantom
    assert load(adapter_folder(tmp_path / "adapter", "phantom", encoder)).trained_on_phantom
    assert not load(dual_folder(tmp_path / "phantom"), name="phantom").trained_on_phantom


# Code that comes with the model

REMOTE = """
import torch
from transformers import BertConfig, BertModel


class PairedConfig(BertConfig):
    model_type = "paired"


class Paired(BertModel):
    config_class = PairedConfig

    def __init__(self, config, **rest):
        super().__init__(config, **rest)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))

    def get_text_features(self, input_ids):
        return self(input_ids=input_ids).last_hidden_state[:, 0]
"""


def test_a_dual_encoder_in_its_own_code_is_recognised(tmp_path: Path) -> None:
    folder = write(bert(), tmp_path / "paired")
    weights = {**load_file(folder / "model.safetensors"), "logit_scale": torch.tensor(2.0)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "paired.py").write_text(REMOTE)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "paired.PairedConfig", "AutoModel": "paired.Paired"}
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "paired"}))
    encoder = load(folder, trust_remote_code=True)
    assert encoder.family == "dual encoder"
    assert encoder.scale == pytest.approx(torch.tensor(2.0).exp().item())
    with pytest.raises(EncoderError, match="cannot read its config"):
        load(folder)
    (folder / "paired.py").write_text(REMOTE.replace("class Paired(", "class Other("))
    broken = folder.rename(tmp_path / "broken")
    with pytest.raises(EncoderError, match="broken: cannot read its code"):
        load(broken, trust_remote_code=True)


# A family from outside


class Greeting(Family):
    """A toy that is named by a greeting."""

    accepts: ClassVar[str] = "hello:NAME"
    options: ClassVar[tuple[str, ...]] = ("revision",)

    def matches(self, request: LoadRequest) -> bool:
        return request.name_or_path.startswith(("hello:", "toy"))

    def load(self, request: LoadRequest) -> Encoder:
        encoder = ToyEncoder(request.dtype, name=request.name)
        encoder.revision = request.options.revision
        return encoder


def test_a_registered_family_is_asked_first_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with FAMILIES.restored():
        FAMILIES.register("greeting")(Greeting)
        assert load("hello:world", revision="v1").revision == "v1"
        assert load("toy", revision="v1").revision == "v1"
        with pytest.raises(EncoderError, match="read_out does not apply to the family 'greeting'"):
            load("hello:world", read_out="cls")
        with pytest.raises(EncoderError, match="load takes hello:NAME; toy; phantom"):
            load("gone/nowhere")
        assert main(["models"]) == 0
        assert "A toy that is named by a greeting." in capsys.readouterr().out
        with pytest.raises(NegtraceError, match="'toy' is already registered"):
            FAMILIES.register("toy")(Greeting)
    with pytest.raises(EncoderError, match="revision does not apply to the family 'toy'"):
        load("toy", revision="v1")


# Several models


def test_each_of_several_models_gets_the_options_that_apply(folders: dict[str, str]) -> None:
    options = LoadOptions(dtype="float64", prompt=PROMPT)
    assert options_for("toy", options) == LoadOptions(dtype="float64")
    assert options_for(folders["language model"], options) == options
    loading = Loading(template=PROMPT.template, dtype="float64")
    toy, gpt2 = loading.load_all(["toy", folders["language model"]], ["one", "two"])
    assert (toy.name, gpt2.name) == ("one", "two")
    assert gpt2.prompt.template == PROMPT.template
    with pytest.raises(EncoderError, match="prompt does not apply to the family 'toy'"):
        loading.load_all(["toy", "toy"], [])
    with pytest.raises(EncoderError, match="revision does not apply to the family 'toy'"):
        replace(loading, revision="v1").load_all(["toy", folders["language model"]], [])


def test_a_family_cannot_add_an_option_to_load() -> None:
    with pytest.raises(UnknownNameError, match="unknown option of load 'depth'; known: name, read"):

        class Deep(Family):
            """A family with an option that `load` does not have."""

            options: ClassVar[tuple[str, ...]] = ("depth",)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("models/tinybrt", r"there is a folder models; did you mean models/tinybert\?"),
        ("./tinybert", "`owner/model`"),
        ("../models/tinybert", "`owner/model`"),
        ("/data/tinybert", "`owner/model`"),
        ("~/tinybert", "`owner/model`"),
        ("a/b/tinybert", "`owner/model`"),
        ("tinybert/", "`owner/model`"),
        ("models\\tinybert", "`owner/model`"),
    ],
)
def test_the_hub_is_not_asked_for_what_looks_like_a_path(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    (tmp_path / "models" / "tinybert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", asked)
    monkeypatch.setattr("negtrace.encoders.huggingface.files.cached_file", asked)
    with pytest.raises(EncoderError, match=rf"the hub was not asked, .*{reason}"):
        load(name)


def test_an_adapter_of_itself_is_refused(tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "base_model_name_or_path": str(tmp_path)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=r"names is an adapter too"):
        load(tmp_path)
