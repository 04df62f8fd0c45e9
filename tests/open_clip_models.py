"""Small models of open_clip, with its own text towers and with one of transformers (BiomedCLIP)."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from open_clip_package import open_clip
from small_models import word_tokenizer

from negtrace.encoders.base import Encoder
from negtrace.encoders.open_clip import OpenClipEncoder

CONTEXT = 20
VISION = {"image_size": 32, "layers": 1, "width": 32, "head_width": 8, "patch_size": 16}
TEXT = {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
HF_TEXT = {
    "context_length": CONTEXT,
    "hf_model_pretrained": False,
    "hf_proj_type": "mlp",
    "hf_pooler_type": "cls_last_hidden_state_pooler",
}

NATIVE: dict[str, dict[str, Any]] = {
    "open_clip": {"text_cfg": TEXT},
    "open_clip-custom": {
        "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407},
        "custom_text": True,
    },
    "open_clip-filled": {
        "text_cfg": {**TEXT, "no_causal_mask": True, "pool_type": "last"},
        "custom_text": True,
        "init_logit_bias": -10.0,
    },
}


def fill(model: torch.nn.Module) -> torch.nn.Module:
    """Give a model weights large enough that every block matters."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=0.3)
    return model


def model_of(config: dict[str, Any]) -> torch.nn.Module:
    """Return a model as `open_clip.create_model` makes it from a configuration."""
    library = open_clip()
    options = {"embed_dim": 16, "vision_cfg": VISION, **config}
    custom = options.pop("custom_text", "hf_model_name" in options["text_cfg"])
    kind = library.CustomTextCLIP if custom else library.CLIP
    return fill(kind(**options)).eval()


def preprocess() -> Callable[[Any], torch.Tensor]:
    transform: Callable[[Any], torch.Tensor] = open_clip().image_transform(32, is_train=False)
    return transform


def native(name: str, dtype: torch.dtype = torch.float32) -> Encoder:
    tokenizer = open_clip().SimpleTokenizer(context_length=CONTEXT)
    model = model_of(NATIVE[name]).to(dtype)
    return OpenClipEncoder(model, tokenizer, preprocess(), name=name)


def biomed_folder(folder: Path) -> Path:
    """Write a model with the files of BiomedCLIP into a folder, and return the folder."""
    bert = folder / "bert"
    transformers.BertConfig(
        vocab_size=120,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    ).save_pretrained(bert)
    text = {**HF_TEXT, "hf_model_name": str(bert), "hf_tokenizer_name": str(bert)}
    config = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": text}
    model = model_of(config)
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    word_tokenizer().save_pretrained(folder)
    return folder


def biomed(dtype: torch.dtype = torch.float32) -> Encoder:
    with TemporaryDirectory() as folder:
        name = f"local-dir:{biomed_folder(Path(folder))}"
        model, _, transform = open_clip().create_model_and_transforms(name)
        tokenizer = open_clip().get_tokenizer(name)
    model = model.to(dtype).eval()
    return OpenClipEncoder(model, tokenizer, transform, name="open_clip-bert")


OPEN_CLIPS: dict[str, Callable[[torch.dtype], Encoder]] = {
    **{name: lambda dtype, name=name: native(name, dtype) for name in NATIVE},
    "open_clip-bert": biomed,
}
