"""Models of open_clip: scores, padding and loading."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip_models import (
    CONTEXT,
    NATIVE,
    OPEN_CLIPS,
    TEXT,
    biomed_folder,
    model_of,
    native,
    preprocess,
)
from open_clip_package import open_clip
from PIL import Image

from negtrace.encoders.load import load
from negtrace.encoders.open_clip import OpenClipEncoder
from negtrace.errors import EncoderError, ExtraError
from negtrace.pairs.anchor import Anchor

STATEMENTS = ["There is no effusion.", "The patient has some pneumothorax."]
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_the_score_is_open_clips_logit_of_the_padded_row(name: str) -> None:
    encoder = native(name)
    rows = open_clip().SimpleTokenizer(context_length=CONTEXT)(STATEMENTS)
    assert rows.shape == (2, CONTEXT)
    with torch.inference_mode():
        anchor = encoder.embed_anchors([Anchor(image=IMAGE)] * 2)
        score = encoder.score(encoder.embed_texts(STATEMENTS), anchor)
        image, text, scale, *bias = encoder.model(preprocess()(IMAGE)[None], rows)
    logits = scale * (text @ image.T).flatten() + sum(bias)
    torch.testing.assert_close(score, logits, rtol=1e-4, atol=1e-4)


def test_a_statement_is_padded_only_if_its_embedding_depends_on_it() -> None:
    for name in ("open_clip", "open_clip-custom", "open_clip-bert"):
        [tokens] = OPEN_CLIPS[name](torch.float32).tokenize(STATEMENTS[:1])
        assert not any(tokens.padding)
    [tokens] = native("open_clip-filled").tokenize(STATEMENTS[:1])
    assert len(tokens) == CONTEXT
    assert tokens.read_out == CONTEXT - 1


def test_a_call_leaves_the_models_positions_as_they_were() -> None:
    encoder = native("open_clip")
    positions = encoder.model.positional_embedding
    encoder.embed_texts(STATEMENTS)
    assert encoder.model.positional_embedding is positions
    assert positions.shape[0] == encoder.model.attn_mask.shape[0] == CONTEXT


def test_a_folder_like_biomedclip_loads(tmp_path: Path) -> None:
    encoder = load(biomed_folder(tmp_path / "biomed"))
    assert encoder.name == "biomed"
    assert encoder.family == "open_clip"
    assert encoder.block_names == (
        "text.transformer.encoder.layer.0",
        "text.transformer.encoder.layer.1",
    )
    padded = open_clip().get_tokenizer(f"local-dir:{tmp_path / 'biomed'}")(STATEMENTS)
    with torch.inference_mode():
        texts, expected = encoder.embed_texts(STATEMENTS), encoder.model.encode_text(padded)
    torch.testing.assert_close(texts, expected, rtol=1e-4, atol=1e-5)


def test_spans_are_those_of_the_statement_before_cleaning(tmp_path: Path) -> None:
    encoder = load(biomed_folder(tmp_path))
    statement = "There  is   no effusion."
    [tokens] = encoder.tokenize([statement])
    words = [statement[slice(*span)] for span in tokens.spans if span != (0, 0)]
    assert words == ["There", "is", "no", "effusion", "."]


def test_a_statement_longer_than_the_context_is_refused() -> None:
    with pytest.raises(EncoderError, match=f"tokens, but open_clip reads at most {CONTEXT}"):
        native("open_clip").embed_texts(["no effusion " * 20])


def test_a_tower_that_is_read_before_its_padding_is_refused() -> None:
    config = {"text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "first"}}
    model = model_of({**config, "custom_text": True})
    tokenizer = open_clip().SimpleTokenizer(context_length=CONTEXT)
    with pytest.raises(EncoderError, match="depends on the padding, but is not read behind it"):
        OpenClipEncoder(model, tokenizer, None, name="first")


def test_coca_and_tokenizers_that_rewrite_ids_are_refused() -> None:
    tokenizer = open_clip().SimpleTokenizer(context_length=CONTEXT)
    config = {"text_cfg": {**TEXT, "embed_cls": True, "output_tokens": False}, "custom_text": True}
    with pytest.raises(EncoderError, match=r"appends a class token to every row \(CoCa\)"):
        OpenClipEncoder(model_of(config), tokenizer, None, name="coca")

    class Clips:
        tokenizer_mode = "clips"

    with pytest.raises(EncoderError, match="rewrites token ids"):
        OpenClipEncoder(native("open_clip").model, Clips(), None, name="clips")


def test_a_bad_name_or_folder_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    open_clip()
    with pytest.raises(EncoderError, match=r"expected open_clip:ARCHITECTURE/WEIGHTS"):
        load("open_clip:ViT-B-32")
    with pytest.raises(EncoderError, match="open_clip cannot read it: Model config for 'Nothing'"):
        load("open_clip:Nothing/openai")
    folder = tmp_path / "secret" / "mine"
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"^mine: open_clip cannot read it"):
        load(folder)


def test_a_folder_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    folder = biomed_folder(tmp_path / "biomed")
    weights = folder / "open_clip_pytorch_model.bin"
    state = torch.load(weights, weights_only=True)
    dropped = next(name for name in state if "layer.1." in name and name.startswith("text."))
    torch.save({name: value for name, value in state.items() if name != dropped}, weights)
    with pytest.raises(EncoderError, match="biomed: open_clip cannot read it: Error"):
        load(folder)
    weights.unlink()  # open_clip would then go on with random ones
    with pytest.raises(EncoderError, match="biomed: open_clip cannot read it"):
        load(folder)


def test_a_revision_is_refused() -> None:
    with pytest.raises(
        EncoderError,
        match=r"hf-hub:a/b: the option revision .* newest one only; download the revision",
    ):
        load("hf-hub:a/b", revision="v1")


def test_without_open_clip_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ExtraError, match=r"pip install 'negtrace\[open_clip\]'"):
        load("open_clip:ViT-B-32/openai")
