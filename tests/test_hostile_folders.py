"""Folders of models that name files elsewhere, and settings that cannot hold for a model."""

import json
import time
from pathlib import Path
from typing import Any

import peft
import pytest
from model_states import unchanged
from safetensors.torch import load_file
from small_encoders import bert
from test_sentence_transformers import MODULES, folder_of

import negtrace
from negtrace.encoders import adapter_patterns
from negtrace.encoders.huggingface.files import HUB_NAME, ModelFiles
from negtrace.encoders.lora import merge_adapter
from negtrace.errors import EncoderError, FinetuneError, NegtraceError
from negtrace.experiments import finetune

# peft reads attributes that transformers is about to rename.
pytestmark = pytest.mark.filterwarnings("ignore:.*_gradient_checkpointing:FutureWarning")

OUTSIDE = [
    "../payload",
    "1_Pooling/../../payload",
    "/payload",
    "..\\payload",
    "C:\\payload",
    "\\\\h\\p",
]


def naming(folder: Path, index: int, path: str) -> Path:
    """Return a model whose modules.json names another folder for one of its modules."""
    model = folder_of(folder / "model", later=[("Normalize", {})])
    listing = json.loads((model / "modules.json").read_text())
    listing[index]["path"] = path
    (model / "modules.json").write_text(json.dumps(listing))
    payload = folder / "payload"
    payload.mkdir()
    (payload / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    return model


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_module_outside_of_the_model_is_not_read(path: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"outside of the model's folder; expected a place"):
        negtrace.load(naming(tmp_path, 1, path))


def test_every_module_is_checked_before_a_model_is_used(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model")
    only = [{"idx": 0, "name": "0", "path": "../payload", "type": MODULES + "Transformer"}]
    (model / "modules.json").write_text(json.dumps(only))
    with pytest.raises(EncoderError, match=r"model: its modules.json names '../payload'"):
        negtrace.load(model, read_out="mean")


@pytest.mark.parametrize(
    "listing",
    [
        {"a": 1},
        [1],
        [{"type": 1, "path": ""}],
        [{"type": MODULES + "Transformer", "path": None}],
        [{"type": MODULES + "Pooling"}],
        "text",
    ],
)
def test_a_listing_of_something_else_is_named(listing: object, tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model")
    (model / "modules.json").write_text(json.dumps(listing))
    with pytest.raises(EncoderError, match=r"model: its modules.json is no list of modules"):
        negtrace.load(model)


def test_a_pooling_that_is_not_there_is_no_mean(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model", "cls")
    (model / "1_Pooling" / "config.json").unlink()
    with pytest.raises(EncoderError, match=r"the folder '1_Pooling', which holds no config.json"):
        negtrace.load(model)


def test_weights_outside_of_the_model_are_not_read(tmp_path: Path) -> None:
    model = folder_of(tmp_path / "model")
    names = list(load_file(model / "model.safetensors"))
    (model / "model.safetensors").rename(tmp_path / "payload.safetensors")
    index = model / "model.safetensors.index.json"
    shards = dict.fromkeys(names, "../payload.safetensors")
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    with pytest.raises(EncoderError, match=r"index.json names '../payload.safetensors', which is"):
        negtrace.load(model)
    for damaged in ("[]", "{", '{"weight_map": []}'):
        index.write_text(damaged)
        with pytest.raises(EncoderError, match=r"cannot read its model.safetensors.index.json"):
            negtrace.load(model)


def test_a_long_name_is_refused_at_once() -> None:
    name = f"{'a' * 20_000}/{'a' * 20_000}!"
    start = time.monotonic()
    with pytest.raises(NegtraceError):
        negtrace.load(name)
    assert time.monotonic() - start < 5
    assert HUB_NAME.fullmatch("a" * 20_000 + "/" + "b" * 20_000)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_tuned_model_writes_nothing_outside_of_its_folder(path: str, tmp_path: Path) -> None:
    model = naming(tmp_path, 2, "2_Normalize")
    encoder: Any = negtrace.load(model)
    listing = json.loads((model / "modules.json").read_text())
    listing.append({"idx": 3, "name": "3", "path": path, "type": MODULES + "Dropout"})
    (model / "modules.json").write_text(json.dumps(listing))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(EncoderError, match="outside of the model's folder"):
        ModelFiles(source=str(model)).write_beside(encoder.model, tmp_path / "deep" / "tuned")
    outside = [p for p in sorted(tmp_path.rglob("*")) if p not in before]
    assert all(tmp_path / "deep" in [p, *p.parents] for p in outside)


def test_a_weighting_of_more_blocks_than_the_model_has_is_refused_before_any_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = negtrace.load("phantom")
    cte = negtrace.trace(encoder, negtrace.radiology_pairs()[:8])
    scores = negtrace.layer_scores(cte, "transport")

    def measured(*_: Any, **__: Any) -> Any:
        raise AssertionError("work before the settings were checked")

    monkeypatch.setattr(finetune, "measure", measured)
    monkeypatch.setattr(finetune, "fit", measured)
    with pytest.raises(FinetuneError, match=r"k is 99; expected 1 \.\. \d+, the number of blocks"):
        negtrace.selective_finetune(encoder, "claims", scores, weighting="top", k=99)


def adapter(folder: Path, **changes: object) -> Path:
    """Return the files of an adapter on a small BERT, with its configuration changed."""
    config = peft.LoraConfig(target_modules=["query"], r=2, init_lora_weights=False)
    peft.get_peft_model(bert().model, config).save_pretrained(folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


ENDLESS = r"(([a-z.0-9_])+)+!"
FIELDS: dict[str, object] = {
    "target_modules": ENDLESS,
    "exclude_modules": ENDLESS,
    "modules_to_save": ["query", ENDLESS],
    "rank_pattern": {"key": 2, ENDLESS: 4},
    "alpha_pattern": {ENDLESS: 4},
    "layers_pattern": ["layer", ENDLESS],
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_pattern_of_an_adapter_that_never_ends_is_refused(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter_patterns, "SECONDS", 2.0)
    extra = {"layers_to_transform": [0]} if field == "layers_pattern" else {}
    folder = adapter(tmp_path / "mine", **{field: FIELDS[field]}, **extra)
    message = rf"mine: its adapter_config.json: {field} is '\(\(\[a-z.*more than 2 s to match"
    start = time.monotonic()
    with unchanged(model := bert().model), pytest.raises(EncoderError, match=message):
        merge_adapter(model, folder)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("pattern", ["(", "a{99999999999}", "(" * 5000 + ")" * 5000])
def test_a_pattern_that_is_none_is_named(pattern: str, tmp_path: Path) -> None:
    folder = adapter(tmp_path / "mine", target_modules=pattern)
    with pytest.raises(EncoderError, match=r"target_modules is '.*', which is no regular express"):
        merge_adapter(bert().model, folder)


def test_patterns_of_real_adapters_are_used(tmp_path: Path) -> None:
    pattern = r"(?:.*?(?:encoder|text).*?(?:self|attn|mlp).*?(?:query|q_proj|value).*?)|lm_head"
    folder = adapter(tmp_path / "mine", target_modules=pattern.replace("|value", ""))
    model = bert().model
    merge_adapter(model, folder)
    before = dict(bert().model.named_parameters())
    changed = [name for name, weight in model.named_parameters() if (weight != before[name]).any()]
    assert changed
    assert all("query" in name for name in changed)
