"""Models whose files lack weights are refused where the score would be that of random numbers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from dual_encoders import image_processor
from language_models import PROMPT, READERS, decoder, reader
from safetensors.torch import load_file, save_file
from small_encoders import bert, clip
from small_models import TEXT, build, word_tokenizer
from test_load import adapter_folder, write

from negtrace.encoders.huggingface.files import holds_whole_weights
from negtrace.encoders.huggingface.weights import LoadedModel, require_weights
from negtrace.encoders.load import load
from negtrace.errors import EncoderError

Weights = dict[str, torch.Tensor]
STATEMENTS = ["There is no effusion.", "The patient has some pneumothorax."]


def edit(folder: Path, change: Callable[[Weights], Weights]) -> Path:
    """Change the weights in a folder."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def without(part: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if part not in name}


def masked_lm(folder: Path) -> Path:
    """Write a BERT that was trained on masked words, so without a pooler."""
    config = transformers.BertConfig(**TEXT, vocab_size=120)
    build(config, torch.float32, transformers.AutoModelForMaskedLM).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def gpt2(folder: Path, **config: object) -> Path:
    sizes = transformers.GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=120, **config)
    model = build(sizes, torch.float32, transformers.AutoModelForCausalLM)
    model.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def dual_folder(folder: Path) -> Path:
    image_processor("clipseg").save_pretrained(folder)
    return write(clip(), folder)


def llava(folder: Path) -> Path:
    reader("llava").model.save_pretrained(folder)
    READERS["llava"][1]().save_pretrained(folder)
    return folder


# What the score uses


@pytest.mark.parametrize("read_out", ["cls", "mean", "pooler"])
def test_a_missing_block_is_refused_by_name(read_out: str, tmp_path: Path) -> None:
    folder = edit(write(bert(), tmp_path / "model"), without("layer.1."))
    with pytest.raises(
        EncoderError,
        match=r"model: its files lack 16 weights that the score uses \(encoder\.layer\.1\..*, "
        r"\.\.\.\), and random numbers would take their place\. Save the model again",
    ):
        load(folder, read_out=read_out, self_check=False)


def test_weights_under_another_prefix_are_refused_with_both_names(tmp_path: Path) -> None:
    folder = edit(
        write(bert(), tmp_path / "model"),
        lambda weights: {f"auto_model.{name}": value for name, value in weights.items()},
    )
    with pytest.raises(
        EncoderError,
        match=r"lack 53 weights that the score uses \(embeddings.*They hold 55 weights under names "
        r"that the model does not have \(auto_model\.embeddings.*rename them",
    ):
        load(folder)


def test_a_missing_pooler_is_refused_only_where_it_is_read(tmp_path: Path) -> None:
    folder = masked_lm(tmp_path / "model")
    with pytest.raises(
        EncoderError,
        match=r"lack 2 weights that the score uses \(pooler\.dense\.bias, pooler\.dense\.weight\)"
        r".*without a pooler; use read_out 'mean' or 'cls'",
    ):
        load(folder, read_out="pooler")
    mean, cls = load(folder), load(folder, read_out="cls")
    # The weights that are not used are no random numbers either, so the digest is always the same.
    assert mean.digest == cls.digest
    assert not mean.model.pooler.dense.weight.any()


@pytest.mark.parametrize("part", ["lm_head", "ln_f", "wpe", "h.1.attn"])
def test_a_language_model_needs_its_head_and_its_norm(part: str, tmp_path: Path) -> None:
    folder = edit(gpt2(tmp_path / "model", tie_word_embeddings=False), without(part))
    with pytest.raises(EncoderError, match=rf"that the score uses \([^)]*{part}"):
        load(folder, prompt=PROMPT)


def test_a_tied_head_needs_no_weights_of_its_own(tmp_path: Path) -> None:
    folder = gpt2(tmp_path / "model")
    assert not [name for name in load_file(folder / "model.safetensors") if "lm_head" in name]
    assert load(folder, prompt=PROMPT).family == "language model"


@pytest.mark.parametrize(
    "part",
    ["logit_scale", "text_projection", "visual_projection", "vision_model.encoder.layers.0"],
)
def test_a_dual_encoder_needs_both_towers_and_its_scale(part: str, tmp_path: Path) -> None:
    folder = edit(dual_folder(tmp_path / "model"), without(part))
    with pytest.raises(EncoderError, match=rf"that the score uses \({part}"):
        load(folder)


def test_a_dual_encoder_that_reads_no_images_needs_no_image_tower(tmp_path: Path) -> None:
    folder = edit(write(clip(), tmp_path / "model"), without("vision_model"))
    encoder = load(folder)
    assert not encoder.reads_images
    assert encoder.embed_texts(STATEMENTS).isfinite().all()


@pytest.mark.parametrize("part", ["multi_modal_projector", "vision_tower", "lm_head"])
def test_a_vision_language_model_needs_all_its_weights(part: str, tmp_path: Path) -> None:
    folder = edit(llava(tmp_path / "model"), without(part))
    with pytest.raises(EncoderError, match="that the score uses"):
        load(folder, prompt=PROMPT)


def test_weights_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    name = "embeddings.word_embeddings.weight"
    folder = edit(
        write(bert(), tmp_path / "model"),
        lambda weights: {**weights, name: weights[name][:100].clone()},
    )
    with pytest.raises(
        EncoderError,
        match=r"model: 1 of its weights have another size than its config\.json says: "
        rf"{name} is \[100, 32\], and \[120, 32\] was expected",
    ):
        load(folder)


def test_a_weight_in_a_block_counts_whatever_the_probe_uses() -> None:
    encoder = bert()
    encoder.model.encoder.layer[1].spare = torch.nn.Linear(2, 2)  # an expert that is not asked
    loaded = LoadedModel(model=encoder.model, missing=("encoder.layer.1.spare.weight",))
    with pytest.raises(
        EncoderError, match=r"lack 1 weight that the score uses \(encoder\.layer\.1"
    ):
        require_weights(encoder, loaded)


def test_positions_that_count_need_no_file() -> None:
    encoder = bert()
    encoder.model.register_buffer("position_ids", torch.arange(9)[None])
    loaded = LoadedModel(model=encoder.model, missing=("position_ids",))
    require_weights(encoder, loaded)
    assert encoder.model.position_ids.tolist() == [list(range(9))]
    encoder.model.position_ids.fill_(7)
    with pytest.raises(EncoderError, match=r"lack 1 weight that the score uses \(position_ids\)"):
        require_weights(encoder, loaded)


# Adapters


def test_an_adapter_of_a_model_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    base = write(bert(), tmp_path / "base")
    folder = adapter_folder(tmp_path / "adapter", base, bert())
    assert load(folder).name == "adapter"
    edit(base, without("layer.1."))
    with pytest.raises(EncoderError, match="base: its files lack 16 weights"):
        load(folder)


def test_whole_weights_beside_an_adapter_are_refused(tmp_path: Path) -> None:
    base = write(bert(), tmp_path / "base")
    adapter = adapter_folder(tmp_path / "adapter", base, bert())
    both = shutil.copytree(base, tmp_path / "both")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(adapter / name, both)
    with pytest.raises(
        EncoderError,
        match=r"both holds both whole weights and an adapter \(adapter_config\.json\).*a folder of "
        "their own, and load that folder",
    ):
        load(both)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("model.safetensors", True),
        ("model.safetensors.index.json", True),
        ("pytorch_model.bin", True),
        ("pytorch_model-00001-of-00002.bin", True),
        ("pytorch_model.bin.index.json", True),
        ("adapter_model.safetensors", False),
        ("adapter_model.bin", False),
        ("optimizer.bin", False),
        ("config.json", False),
    ],
)
def test_whole_weights_are_known_by_the_names_of_their_files(
    name: str, whole: bool, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    assert holds_whole_weights(tmp_path) == whole


def test_an_adapter_in_a_trainers_folder_is_an_adapter(tmp_path: Path) -> None:
    base = write(bert(), tmp_path / "base")
    adapter = adapter_folder(tmp_path / "adapter", base, bert())
    expected = load(adapter).embed_texts(STATEMENTS)
    shutil.copy(base / "config.json", adapter)
    (adapter / "training_args.bin").write_bytes(b"settings of a trainer")
    torch.testing.assert_close(load(adapter).embed_texts(STATEMENTS), expected)


def test_an_adapter_of_a_sentence_transformers_model_is_refused(tmp_path: Path) -> None:
    base = write(bert(), tmp_path / "base")
    adapter = adapter_folder(tmp_path / "adapter", base, bert())
    (adapter / "modules.json").write_text("[]")
    with pytest.raises(EncoderError, match=r"adapter and modules\.json.*Merge it with that"):
        load(adapter)


def test_a_decoder_is_read_as_a_text_encoder_without_its_head(tmp_path: Path) -> None:
    folder = edit(write(decoder("gpt2"), tmp_path / "model"), without("lm_head"))
    assert load(folder, read_out="mean").family == "text encoder"
