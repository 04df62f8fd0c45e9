"""Folders of models that name files elsewhere, and settings that cannot hold for a model."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_sentence_transformers import MODULES, folder_of

import negtrace
from negtrace.encoders.huggingface.files import ModelFiles
from negtrace.errors import EncoderError, FinetuneError
from negtrace.experiments import finetune

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
    with pytest.raises(EncoderError, match=r"outside of the model's folder; expected a folder of"):
        negtrace.load(naming(tmp_path, 1, path))


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
