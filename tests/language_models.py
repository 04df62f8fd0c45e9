"""Small language models, with and without images, built from configs."""

from collections.abc import Callable

import torch
import transformers
from small_models import PIXELS, build, word_tokenizer

from negtrace.encoders.base import Encoder
from negtrace.encoders.huggingface.causal_lm import CausalLanguageModel
from negtrace.encoders.huggingface.prompt import Prompt
from negtrace.encoders.huggingface.vision_language import VisionLanguageModel

PROMPT = Prompt(template="{anchor} is {statement} true ? answer :", answers=(" yes", " no"))
IMAGE = 119
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 120,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}

DECODERS: dict[str, Callable[[], transformers.PreTrainedConfig]] = {
    "gpt2": lambda: transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=4, vocab_size=120, n_positions=64, **TOKENS
    ),
    "llama": lambda: transformers.LlamaConfig(**SIZES),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES),
}
TOKENS = {key: SIZES[key] for key in ("pad_token_id", "bos_token_id", "eos_token_id")}


def decoder(name: str, dtype: torch.dtype = torch.float32) -> Encoder:
    model = build(DECODERS[name](), dtype, transformers.AutoModelForCausalLM)
    return CausalLanguageModel(model, word_tokenizer(), name=name, prompt=PROMPT)


def llava_model(dtype: torch.dtype) -> transformers.PreTrainedModel:
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**PIXELS),
        text_config=transformers.LlamaConfig(**SIZES),
        image_token_id=IMAGE,
        image_seq_length=16,
    )
    return build(config, dtype, transformers.AutoModelForImageTextToText)


def llava_processor() -> transformers.LlavaProcessor:
    pixels = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    tokenizer = word_tokenizer(image=IMAGE, around="[BOS] $A")
    return transformers.LlavaProcessor(
        pixels,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def paligemma_model(dtype: torch.dtype) -> transformers.PreTrainedModel:
    config = transformers.PaliGemmaConfig(
        vision_config=transformers.SiglipVisionConfig(**PIXELS),
        text_config=transformers.GemmaConfig(**SIZES),
        image_token_id=IMAGE,
        projection_dim=32,
    )
    return build(config, dtype, transformers.AutoModelForImageTextToText)


def paligemma_processor() -> transformers.PaliGemmaProcessor:
    pixels = transformers.SiglipImageProcessorPil(
        size={"height": 32, "width": 32}, image_seq_length=16
    )
    pixels.image_seq_length = 16
    return transformers.PaliGemmaProcessor(pixels, word_tokenizer(image=IMAGE, around="$A"))


READERS = {
    "llava": (llava_model, llava_processor),
    "paligemma": (paligemma_model, paligemma_processor),
}


def reader(name: str, dtype: torch.dtype = torch.float32) -> Encoder:
    model, processor = READERS[name]
    return VisionLanguageModel(model(dtype), processor(), name=name, prompt=PROMPT)


LANGUAGES: dict[str, Callable[[torch.dtype], Encoder]] = {
    **{name: lambda dtype, name=name: decoder(name, dtype) for name in DECODERS},
    **{name: lambda dtype, name=name: reader(name, dtype) for name in READERS},
}
