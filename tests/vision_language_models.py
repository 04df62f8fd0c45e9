"""Small vision-language models whose images take different numbers of tokens."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from language_models import PROMPT, SIZES
from small_models import build, word_tokenizer

from negtrace.encoders.huggingface.files import without_videos
from negtrace.encoders.huggingface.vision_language import VisionLanguageModel

SPECIAL = {
    "image_token": "<image>",
    "video_token": "<video>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<image>",
}
TEXT = SIZES | {"max_position_embeddings": 256, "num_hidden_layers": 3}
ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
VISION = {"hidden_size": 32, "num_heads": 4, "depth": 2, "patch_size": 4, "spatial_merge_size": 2}
PATCHES = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
BOUNDS = {"shortest_edge": 16 * 16, "longest_edge": 48 * 48}


def tokenizer() -> Any:
    """Return a tokenizer of words with an image token and tokens around it."""
    words = word_tokenizer(around="$A")
    words.add_special_tokens({"additional_special_tokens": sorted(set(SPECIAL.values()))})
    for name, token in SPECIAL.items():
        setattr(words, name, token)
        setattr(words, f"{name}_id", words.convert_tokens_to_ids(token))
    return words


def ids() -> dict[str, int]:
    words = tokenizer()
    return {
        "image_token_id": words.convert_tokens_to_ids("<image>"),
        "video_token_id": words.convert_tokens_to_ids("<video>"),
    }


def qwen(name: str, **vision: object) -> transformers.PreTrainedConfig:
    text = TEXT | {"rope_parameters": ROPE}
    config = getattr(transformers, f"{name}Config")
    return config(vision_config=VISION | vision, text_config=text, **ids())


def internvl() -> transformers.PreTrainedConfig:
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "image_size": [16, 16],
        "patch_size": [4, 4],
    }
    return transformers.InternVLConfig(
        vision_config=vision,
        text_config=transformers.Qwen2Config(**TEXT),
        image_token_id=ids()["image_token_id"],
        image_seq_length=4,
    )


CONFIGS: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "qwen2_vl": lambda: qwen("Qwen2VL", embed_dim=32, num_heads=4),
    "qwen2_5_vl": lambda: qwen(
        "Qwen2_5_VL",
        out_hidden_size=32,
        intermediate_size=64,
        window_size=16,
        fullatt_block_indexes=[1],
    ),
    "qwen3_vl": lambda: qwen(
        "Qwen3VL",
        out_hidden_size=32,
        intermediate_size=64,
        num_position_embeddings=16,
        deepstack_visual_indexes=[0, 1],
    ),
    "internvl": internvl,
}


def _processor(name: str) -> Any:
    words = tokenizer()
    if name == "internvl":
        pixels = transformers.GotOcr2ImageProcessorPil(
            size={"height": 16, "width": 16}, min_patches=1, max_patches=4
        )
        return transformers.InternVLProcessor(pixels, words, image_seq_length=4)
    pixels = transformers.Qwen2VLImageProcessorPil(**PATCHES, size=BOUNDS)
    kind = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[name]
    return getattr(transformers, f"{kind}Processor")(pixels, words)


with without_videos():
    PROCESSORS = {name: _processor(name) for name in CONFIGS}


def save_processor(name: str, folder: Path) -> None:
    """Write a processor whose tokenizer knows the tokens around an image when it is read again."""
    with without_videos():
        PROCESSORS[name].save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(config | {"extra_special_tokens": SPECIAL}), "utf-8")


def model(name: str, dtype: torch.dtype = torch.float32) -> transformers.PreTrainedModel:
    return build(CONFIGS[name](), dtype, transformers.AutoModelForImageTextToText)


def varying(name: str, dtype: torch.dtype = torch.float32) -> VisionLanguageModel:
    return VisionLanguageModel(model(name, dtype), PROCESSORS[name], name=name, prompt=PROMPT)
