"""Small dual encoders of every kind in transformers, built from configs."""

from collections.abc import Callable

import torch
import transformers
from small_models import PIXELS, TEXT, build, word_tokenizer

from negtrace.encoders.base import Encoder
from negtrace.encoders.huggingface.dual import DualEncoder

EOS = 119
WORDS = {
    **TEXT,
    "num_hidden_layers": 2,
    "vocab_size": 120,
    "eos_token_id": EOS,
    "bos_token_id": 2,
    "pad_token_id": 0,
}
MIT = {f"mit_{key}": PIXELS[key] for key in ("hidden_size", "intermediate_size")}
PATCHES = {key: value for key, value in PIXELS.items() if key != "image_size"}


def two_towers(kind: str, **options: object) -> transformers.PreTrainedConfig:
    config = getattr(transformers, f"{kind}Config")
    towers = {"text_config": WORDS, "vision_config": PIXELS, "projection_dim": 16}
    return config(**{**towers, **options})


CONFIGS: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "siglip2": lambda: transformers.Siglip2Config(
        text_config={**WORDS, "projection_size": 32, "max_position_embeddings": 16},
        vision_config={**PATCHES, "num_patches": 16},
    ),
    "altclip": lambda: two_towers("AltCLIP", text_config={**WORDS, "project_dim": 32}),
    "chinese_clip": lambda: two_towers("ChineseCLIP"),
    "metaclip2": lambda: two_towers("MetaClip2"),
    "clipseg": lambda: two_towers("CLIPSeg"),
    "owlvit": lambda: two_towers("OwlViT"),
    "aimv2": lambda: two_towers("Aimv2"),
    "blip": lambda: two_towers("Blip"),
    "tipsv2": lambda: two_towers("Tipsv2"),
    "groupvit": lambda: two_towers(
        "GroupViT",
        vision_config={
            **PIXELS,
            "depths": [1, 1, 1],
            "num_group_tokens": [4, 2, 0],
            "num_output_groups": [4, 2, 2],
        },
        projection_intermediate_dim=16,
    ),
    "align": lambda: two_towers(
        "Align",
        vision_config={
            "image_size": 32,
            "hidden_dim": 16,
            "width_coefficient": 1.0,
            "depth_coefficient": 1.0,
            "in_channels": [32, 16],
            "out_channels": [16, 16],
            "kernel_sizes": [3, 3],
            "depthwise_padding": [],
            "strides": [1, 2],
            "num_block_repeats": [1, 1],
            "expand_ratios": [1, 1],
        },
    ),
    "xclip": lambda: two_towers(
        "XCLIP",
        vision_config={
            **PIXELS,
            **MIT,
            "num_frames": 2,
            "mit_num_hidden_layers": 1,
            "mit_num_attention_heads": 4,
        },
    ),
    "flava": lambda: transformers.FlavaConfig(
        text_config=WORDS,
        image_config=PIXELS,
        multimodal_config=TEXT,
        projection_dim=16,
        hidden_size=32,
    ),
    "clap": lambda: transformers.ClapConfig(
        text_config=WORDS,
        audio_config={
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "hidden_size": 32,
            "patch_embeds_hidden_size": 16,
            "spec_size": 64,
            "num_mel_bins": 16,
        },
        projection_dim=16,
    ),
    "bert_and_vit": lambda: transformers.VisionTextDualEncoderConfig.from_vision_text_configs(
        transformers.ViTConfig(**PIXELS), transformers.BertConfig(**WORDS), projection_dim=16
    ),
}

TEXT_ONLY = {"xclip", "clap"}
"""Models of videos or sounds, whose anchors are texts."""


def image_processor(name: str) -> object | None:
    if name in TEXT_ONLY:
        return None
    if name == "siglip2":
        return transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    return transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )


def dual(name: str, dtype: torch.dtype = torch.float32) -> Encoder:
    model = build(CONFIGS[name](), dtype)
    return DualEncoder(model, word_tokenizer(EOS), image_processor(name), name=name)


DUALS: dict[str, Callable[[torch.dtype], Encoder]] = {
    name: lambda dtype, name=name: dual(name, dtype) for name in CONFIGS
}
