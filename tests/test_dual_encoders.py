"""Dual encoders of transformers, all read by one class."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from dual_encoders import CONFIGS, PATCHES, TEXT_ONLY, WORDS, dual, image_processor, two_towers
from PIL import Image
from small_models import build, word_tokenizer

from negtrace.encoders.huggingface.dual import DualEncoder
from negtrace.encoders.load import load
from negtrace.errors import EncoderError
from negtrace.pairs.anchor import Anchor
from negtrace.pairs.radiology import radiology_pairs

STATEMENT = "There is no effusion."
IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))

# FLAVA computes its logits in a training head; X-CLIP and CLAP from videos and sounds.
WITH_LOGITS = sorted(set(CONFIGS) - TEXT_ONLY - {"flava"})


@pytest.mark.parametrize("name", WITH_LOGITS)
def test_the_score_is_the_models_own_logit(name: str) -> None:
    encoder = dual(name)
    pixels = image_processor(name)(images=[IMAGE], return_tensors="pt")
    [tokens] = encoder.tokenize([STATEMENT])
    with torch.inference_mode():
        anchor = encoder.embed_anchors([Anchor(image=IMAGE)])
        score = encoder.score(encoder.embed_texts([STATEMENT]), anchor)
        output = encoder.model(input_ids=torch.tensor([tokens.ids]), **pixels)
    assert score.item() == pytest.approx(output.logits_per_text.item(), rel=1e-5)


def test_flava_is_read_at_the_first_token_of_both_towers() -> None:
    encoder = dual("flava")
    [tokens] = encoder.tokenize([STATEMENT])
    pixels = image_processor("flava")(images=[IMAGE], return_tensors="pt")
    with torch.inference_mode():
        anchor = encoder.embed_anchors([Anchor(image=IMAGE)])
        score = encoder.score(encoder.embed_texts([STATEMENT]), anchor)
        text = encoder.model.get_text_features(torch.tensor([tokens.ids])).pooler_output[:, 0]
        image = encoder.model.get_image_features(**pixels).pooler_output[:, 0]
        logit = torch.cosine_similarity(text, image) * encoder.model.logit_scale.exp()
    assert score.item() == pytest.approx(logit.item(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(TEXT_ONLY))
def test_models_of_videos_and_sounds_take_text_anchors_only(name: str) -> None:
    processor = image_processor("clipseg")
    encoder = DualEncoder(dual(name).model, word_tokenizer(119), processor, name=name)
    assert not encoder.reads_images


def tokenizer_of(name: str) -> transformers.PreTrainedTokenizerFast:
    """Return a tokenizer of the class that transformers reads for this model."""
    if name != "siglip2":
        return word_tokenizer(119)
    texts = [pair.true for pair in radiology_pairs()] + [pair.false for pair in radiology_pairs()]
    return transformers.Siglip2Tokenizer().train_new_from_iterator(texts, vocab_size=118)


@pytest.mark.parametrize("name", ["siglip2", "altclip", "blip", "bert_and_vit"])
def test_a_saved_folder_loads_with_its_images(name: str, tmp_path: Path) -> None:
    encoder = dual(name)
    encoder.model.save_pretrained(tmp_path)
    tokenizer_of(name).save_pretrained(tmp_path)
    image_processor(name).save_pretrained(tmp_path)
    loaded = load(tmp_path, name=name)
    assert loaded.digest == encoder.digest
    assert loaded.reads_images
    assert loaded.family == "dual encoder"
    with torch.inference_mode():
        expected, embedded = (
            each.embed_images([Anchor(image=IMAGE)]) for each in (encoder, loaded)
        )
    torch.testing.assert_close(embedded, expected)


def test_a_padding_index_leaves_fewer_positions_for_tokens() -> None:
    """In RoBERTa the first token stands at the padding index plus one."""
    assert dual("altclip").max_tokens == 24 - 1
    assert dual("blip").max_tokens == 24


def test_a_model_without_an_image_text_logit_is_refused() -> None:
    opt = transformers.OPTConfig(
        hidden_size=32,
        ffn_dim=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=120,
        word_embed_proj_dim=32,
    )
    config = transformers.Blip2Config(vision_config={**PATCHES, "image_size": 32}, text_config=opt)
    config.qformer_config = transformers.Blip2QFormerConfig(**WORDS)
    model = build(config, torch.float32)
    with pytest.raises(EncoderError, match=r"Blip2Model has neither logit_scale nor temperature"):
        DualEncoder(model, word_tokenizer(), None, name="blip2")


def test_a_tower_that_reads_a_token_in_the_middle_is_refused() -> None:
    """OwlViT reads at the highest token id, which in another tokenizer is some word."""
    model = build(two_towers("OwlViT"), torch.float32)
    with pytest.raises(EncoderError, match="read at position 8 of 10; expected the first, the las"):
        DualEncoder(model, word_tokenizer(), None, name="owlvit")
