"""Folders of sentence-transformers: embeddings as that library makes them, or a refusal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from small_encoders import exact_scores, oracle
from small_models import TEXT, build, word_tokenizer
from tokenizers import normalizers

from negtrace.encoders.huggingface.files import ModelFiles
from negtrace.encoders.load import load
from negtrace.errors import EncoderError
from negtrace.pairs import radiology_pairs
from negtrace.tracing.corruptions.base import corruption_named

STATEMENTS = ["There is no effusion.", "The patient has some pneumothorax.", "No heart."]
SIZES = {"vocab_size": 120, **TEXT}
T5 = {"vocab_size": 120, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4}
QWEN = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True}
MODULES = "sentence_transformers.models."
PROMPTED = {"prompts": {"query": "patient with: "}, "default_prompt_name": "query"}


def backbone(kind: str, dtype: torch.dtype = torch.float64) -> Any:
    if kind == "t5":
        return build(transformers.T5Config(**T5), dtype, transformers.AutoModelForSeq2SeqLM)
    if kind == "t5-encoder":
        return transformers.T5EncoderModel(backbone("t5").config).to(dtype).eval()
    if kind == "qwen3":
        return build(transformers.Qwen3Config(**QWEN), dtype, transformers.AutoModelForCausalLM)
    return build(transformers.BertConfig(**SIZES), dtype)


def write_json(folder: Path, name: str, content: object) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def folder_of(
    folder: Path,
    pooling: object = "mean",
    *,
    kind: str = "bert",
    model: dict | None = None,
    transformer: dict | None = None,
    later: list[tuple[str, dict]] | None = None,
    cased: bool = False,
    include_prompt: bool = True,
) -> Path:
    """Write a small sentence-transformers model, with Dense weights where it has such modules."""
    backbone(kind).save_pretrained(folder)
    tokenizer = word_tokenizer()
    if cased:
        tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.save_pretrained(folder)
    width = 32 * (len(pooling) if isinstance(pooling, list) else 1)
    config = {"embedding_dimension": 32, "include_prompt": include_prompt}
    config |= pooling if isinstance(pooling, dict) else {"pooling_mode": pooling}
    parts = [("Transformer", ""), ("Pooling", "1_Pooling")]
    write_json(folder, "1_Pooling/config.json", config)
    torch.manual_seed(5)
    for index, (name, extra) in enumerate(later or [], start=2):
        path = f"{index}_{name}"
        parts.append((name, path))
        (folder / path).mkdir()
        if name == "Dense":
            sizes = {"in_features": width, "out_features": 12, "bias": True}
            write_json(folder, f"{path}/config.json", {**sizes, **extra})
            weights = {"linear.weight": torch.randn(12, width), "linear.bias": torch.randn(12)}
            if extra.get("use_residual") and width != 12:
                weights["residual.weight"] = torch.randn(12, width)
            save_file(weights, folder / path / "model.safetensors")
            width = 12
    listing = [
        {"idx": i, "name": str(i), "path": path, "type": MODULES + name}
        for i, (name, path) in enumerate(parts)
    ]
    write_json(folder, "modules.json", listing)
    if transformer:
        write_json(folder, "sentence_bert_config.json", transformer)
    if model:
        write_json(folder, "config_sentence_transformers.json", model)
    return folder


TANH = {"activation_function": "torch.nn.modules.activation.Tanh"}
IDENTITY = {"activation_function": "torch.nn.modules.linear.Identity"}
KINDS: dict[str, dict[str, Any]] = {
    "mean": {},
    "cls": {"pooling": "cls"},
    "max": {"pooling": {"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}},
    "mean_sqrt_len": {"pooling": "mean_sqrt_len_tokens"},
    "weightedmean": {"pooling": "weightedmean"},
    "lasttoken": {"pooling": "lasttoken", "kind": "qwen3"},
    "mean and cls": {"pooling": ["mean", "cls"]},
    "flags": {"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}},
    "dense": {"later": [("Dense", TANH), ("Normalize", {})]},
    "two denses": {
        "pooling": ["cls", "max"],
        "later": [("Dense", IDENTITY | {"use_residual": True}), ("Normalize", {}), ("Dense", TANH)],
    },
    "prompt": {"model": PROMPTED},
    "prompt not pooled": {"model": PROMPTED, "include_prompt": False},
    "prompt not weighted": {
        "model": PROMPTED,
        "include_prompt": False,
        "pooling": ["weightedmean", "lasttoken", "mean_sqrt_len_tokens", "max"],
    },
    "lower case": {"cased": True, "transformer": {"max_seq_length": 20, "do_lower_case": True}},
    "truncated": {"model": {"truncate_dim": 7}, "later": [("Normalize", {})]},
    "t5": {"kind": "t5", "later": [("Dense", IDENTITY), ("Normalize", {})]},
}


def their_embeddings(folder: Path) -> torch.Tensor:
    """Return what sentence-transformers makes of each statement alone, in float64."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True).double()
    rows = [model.encode(each, convert_to_tensor=True) for each in STATEMENTS]
    return torch.stack(rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_those_of_sentence_transformers(kind: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", **KINDS[kind])
    encoder = load(folder, dtype="float64")
    assert encoder.family == "text encoder"
    with torch.inference_mode():
        ours = encoder.embed_texts(STATEMENTS)
    theirs = their_embeddings(folder)
    assert ours.shape == theirs.shape
    cosines = torch.cosine_similarity(ours, theirs)
    assert cosines.tolist() == pytest.approx([1.0] * 3, abs=1e-9)
    # Statements differ, so that a wrong one would be noticed.
    assert torch.cosine_similarity(theirs[0], theirs[1], dim=0) < 0.9999


def test_a_read_out_that_does_not_fit_a_dense_module_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", ["mean", "cls"], later=[("Dense", TANH)])
    assert load(folder).embed_texts(STATEMENTS).shape == (3, 12)
    message = (
        "an embedding of width 32 reaches the Dense module in 2_Dense, which expects 64; leave"
    )
    with pytest.raises(EncoderError, match=message):
        load(folder, read_out="mean")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"later": [("LayerNorm", {})]}, "module 'LayerNorm'; expected Transformer, Pooling"),
        ({"pooling": "median"}, "pools by median; expected cls, max, mean"),
        ({"model": {"default_prompt_name": "q"}}, "its default prompt is 'q', but"),
        ({"model": {"model_type": "SparseEncoder"}}, "a SparseEncoder of sentence-transformers"),
        ({"transformer": {"query_expansion": {"a": 1}}}, "sets query_expansion, which is not"),
        (
            {"pooling": "cls", "model": PROMPTED, "include_prompt": False},
            "pools by cls behind a prompt",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    options: dict, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(EncoderError, match=reason):
        load(folder_of(tmp_path / "model", **options))


@pytest.mark.parametrize("key", ["unpad_inputs", "transformer_task", "module_output_name"])
def test_settings_that_leave_the_embedding_as_it_is_are_accepted(key: str, tmp_path: Path) -> None:
    values = {"unpad_inputs": True, "transformer_task": "feature-extraction"}
    folder = folder_of(tmp_path, transformer={key: values.get(key, "token_embeddings")})
    plain = load(folder_of(tmp_path / "plain")).embed_texts(STATEMENTS)
    torch.testing.assert_close(load(folder).embed_texts(STATEMENTS), plain)


def test_tokens_of_a_prompt_are_read_and_have_no_span(tmp_path: Path) -> None:
    encoder = load(folder_of(tmp_path / "model", model=PROMPTED))
    [tokens] = encoder.tokenize(["No effusion."])
    assert tokens.spans == ((0, 0),) * 4 + ((0, 2), (3, 11), (11, 12), (0, 0))


def test_a_text_beyond_max_seq_length_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", transformer={"max_seq_length": 7})
    encoder = load(folder, self_check=False)
    assert encoder.embed_texts(["No effusion."]).shape == (1, 32)
    with pytest.raises(EncoderError, match="reads at most 7"):
        encoder.embed_texts(["There is no effusion in the chest."])


@pytest.mark.parametrize("kind", ["lasttoken", "t5", "two denses", "prompt not pooled"])
def test_every_cell_agrees_with_the_oracle(kind: str, tmp_path: Path) -> None:
    encoder = load(folder_of(tmp_path / "model", **KINDS[kind]), dtype="float64")
    pair = radiology_pairs()[0]
    true, false = encoder.tokenize([pair.true, pair.false])
    contrasts = corruption_named("swap").contrasts(pair, true, false, encoder)
    with torch.inference_mode():
        anchor = encoder.embed_anchors([pair.anchor])
        [scores] = exact_scores(encoder, contrasts, anchor, direction="denoising")
    expected = oracle(encoder, contrasts[0], anchor[0], "denoising")
    d = scores.clean - scores.corrupt
    np.testing.assert_allclose(scores.patched[0] / d, expected / d, atol=1e-9)


@pytest.mark.parametrize("kind", ["two denses", "prompt not pooled", "lower case"])
def test_a_model_written_again_embeds_alike(kind: str, tmp_path: Path) -> None:
    encoder = load(folder_of(tmp_path / "model", **KINDS[kind]), dtype="float64")
    written = tmp_path / "written"
    ModelFiles(source=str(tmp_path / "model")).write_beside(encoder.model, written)
    again = load(written, dtype="float64")
    with torch.inference_mode():
        torch.testing.assert_close(again.embed_texts(STATEMENTS), encoder.embed_texts(STATEMENTS))


def test_a_t5_with_its_decoder_is_read_as_it_is_asked_to_be(tmp_path: Path) -> None:
    for kind in ("t5", "t5-encoder"):
        backbone(kind).save_pretrained(tmp_path / kind)
        word_tokenizer().save_pretrained(tmp_path / kind)
    assert len(load(tmp_path / "t5-encoder").blocks) == 3
    assert len(load(tmp_path / "t5", read_out="mean").blocks) == 3
    with pytest.raises(EncoderError, match="is an encoder with a decoder; to trace its encoder"):
        load(tmp_path / "t5")


def test_a_class_of_the_models_own_is_not_taken_for_a_known_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    listing = json.loads((folder / "modules.json").read_text())
    listing[1]["type"] = "custom_st.Pooling"
    write_json(folder, "modules.json", listing)
    with pytest.raises(EncoderError, match=r"a sentence-transformers module 'custom_st\.Pooling'"):
        load(folder)


def test_the_length_of_the_tokenizer_bounds_a_text_where_no_other_file_does(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder, "tokenizer_config.json", {**config, "model_max_length": 9})
    assert load(folder).max_tokens == 9
    write_json(folder, "sentence_bert_config.json", {"max_seq_length": 11})
    assert load(folder).max_tokens == 11


@pytest.mark.parametrize("kind", ["CLIPModel", "WordEmbeddings", "StaticEmbedding", "Router"])
def test_a_folder_of_other_modules_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    write_json(tmp_path, "modules.json", [{"path": f"0_{kind}", "type": MODULES + kind}])
    with pytest.raises(EncoderError, match=f"a sentence-transformers module '{kind}'"):
        load(tmp_path)
