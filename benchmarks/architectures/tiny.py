"""Tiny: a small model of any class of transformers, with random weights that matter.

Fields of a configuration are known by their names, so one table shrinks most classes. What the
table does not get right stands in `SPECIAL`, one line a model type.
"""

__all__ = ["build", "tiny_config"]

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from special import SPECIAL
from torch import Tensor, nn
from words import EOS, VOCABULARY

LAYERS = 3

SIZES: dict[str, Any] = {
    # Widths.
    **dict.fromkeys(
        ["hidden_size", "d_model", "n_embd", "dim", "embed_dim", "emb_dim", "embedding_size"], 32
    ),
    **dict.fromkeys(["input_embedding_size", "output_embedding_size", "word_embed_proj_dim"], 32),
    **dict.fromkeys(["mamba_d_ssm", "lru_width", "attention_hidden_size", "project_dim"], 32),
    **dict.fromkeys(["intra_bottleneck_size", "encoder_hidden_size", "projection_size"], 32),
    **dict.fromkeys(
        ["intermediate_size", "n_inner", "d_ff", "dff", "d_inner", "ffn_dim", "hidden_dim"], 64
    ),
    **dict.fromkeys(["encoder_ffn_dim", "decoder_ffn_dim", "feed_forward_size", "dim_ff"], 64),
    **dict.fromkeys(["intermediate_size_mlp", "dense_intermediate_size", "ffn_hidden_size"], 64),
    **dict.fromkeys(
        ["moe_intermediate_size", "shared_expert_intermediate_size", "shared_intermediate_size"], 32
    ),
    **dict.fromkeys(
        ["moe_shared_expert_intermediate_size", "shared_experts_intermediate_size"], 32
    ),
    **dict.fromkeys(["expert_ffn_hidden_size", "prefix_dense_intermediate_size"], 32),
    **dict.fromkeys(["projection_dim", "projection_intermediate_dim"], 16),
    # Depths.
    **dict.fromkeys(["num_hidden_layers", "n_layer", "num_layers", "n_layers", "num_blocks"], 3),
    **dict.fromkeys(["encoder_layers", "decoder_layers", "num_encoder_layers"], LAYERS),
    **dict.fromkeys(["num_decoder_layers"], LAYERS),
    # Heads.
    **dict.fromkeys(
        ["num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads"], 4
    ),
    **dict.fromkeys(["encoder_attention_heads", "decoder_attention_heads"], 4),
    **dict.fromkeys(["num_encoder_attention_heads", "num_decoder_attention_heads"], 4),
    **dict.fromkeys(["num_key_value_heads", "num_kv_heads", "linear_num_key_heads"], 2),
    **dict.fromkeys(["linear_num_value_heads", "linear_num_heads", "index_n_heads"], 4),
    **dict.fromkeys(["head_dim", "d_kv", "dim_head", "d_head", "kv_channels", "v_head_dim"], 8),
    **dict.fromkeys(["linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"], 8),
    **dict.fromkeys(["qk_nope_head_dim", "index_head_dim", "kv_lora_rank"], 8),
    **dict.fromkeys(["swa_head_dim", "global_head_dim", "attention_head_size"], 8),
    **dict.fromkeys(["qk_rope_head_dim", "rotary_dim"], 4),
    **dict.fromkeys(["q_lora_rank", "o_lora_rank"], 16),
    # Experts.
    **dict.fromkeys(["num_experts", "num_local_experts", "n_routed_experts"], 4),
    **dict.fromkeys(["moe_num_experts"], 4),
    **dict.fromkeys(["num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"], 2),
    **dict.fromkeys(["n_group", "topk_group", "n_shared_experts", "num_shared_experts"], 1),
    **dict.fromkeys(["moe_num_shared_experts", "first_k_dense_replace", "num_dense_layers"], 1),
    # State spaces.
    **dict.fromkeys(["state_size", "mamba_d_state", "ssm_state_size"], 8),
    **dict.fromkeys(["mamba_n_heads", "mamba_num_heads", "n_mamba_heads"], 8),
    **dict.fromkeys(["mamba_d_head", "mamba_head_dim"], 8),
    **dict.fromkeys(["mamba_n_groups", "n_groups", "mamba_ngroups"], 1),
    # Lengths. The long statements go beyond every window and chunk, the short ones stay within.
    **dict.fromkeys(["max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"], 128),
    **dict.fromkeys(["context_length", "max_target_positions", "max_source_positions"], 128),
    **dict.fromkeys(["sliding_window", "attention_window_size", "local_attention"], 24),
    **dict.fromkeys(["attention_chunk_size", "window_size", "keep_window_size"], 24),
    **dict.fromkeys(["attention_window", "chunk_size", "mamba_chunk_size", "block_size"], 8),
    **dict.fromkeys(["local_attn_chunk_length", "lsh_attn_chunk_length"], 8),
    **dict.fromkeys(["position_buckets", "relative_attention_num_buckets"], 8),
    **dict.fromkeys(["index_topk", "index_topk_blocks"], 16),
    # Tokens.
    **dict.fromkeys(["vocab_size", "vocab_size_per_layer_input", "audio_vocab_size"], VOCABULARY),
    **dict.fromkeys(["decoder_vocab_size", "entity_vocab_size"], VOCABULARY),
    "pad_token_id": 0,
    "bos_token_id": 2,
    "cls_token_id": 2,
    "eos_token_id": EOS,
    "sep_token_id": EOS,
    "decoder_start_token_id": 2,
    # Images and sounds, which no statement needs.
    "image_size": 32,
    "patch_size": 8,
    # What would make two runs differ, or run code that is not installed.
    "use_mamba_kernels": False,
    "use_cache": False,
}

PATTERNS = ("layer_types", "mlp_layer_types", "layers_block_type", "block_types")
"""Fields that name the kind of each layer: every kind of the default takes part."""


def tiny_config(config_class: Any, **changes: Any) -> Any:
    """Return a small configuration of any class."""
    return config_class(**_shrunk(config_class, config_class.model_type, None) | changes)


def _shrunk(config_class: Any, model_type: str, default: Any) -> dict[str, Any]:
    """Return the fields of a configuration that differ from its defaults."""
    default = config_class() if default is None else default
    names = {field.name for field in dataclasses.fields(config_class)}
    fields = {name: value for name, value in SIZES.items() if name in names}
    if "qk_rope_head_dim" in names:  # latent attention: all heads have keys, which turn in part
        fields |= {"head_dim": 4, "num_key_value_heads": 4}
    if sections := getattr(default, "rope_parameters", None) and _sections(default.rope_parameters):
        fields["rope_parameters"] = {**default.rope_parameters, "mrope_section": sections}
    for name in PATTERNS:
        if name in names and (kinds := getattr(default, name, None)):
            fields[name] = list(itertools.islice(itertools.cycle(dict.fromkeys(kinds)), LAYERS))
    fields |= _reserved_tokens(names, default)
    for name in getattr(config_class, "sub_configs", {}):
        part = getattr(default, name, None)
        if part is not None and name in names:
            fields[name] = _shrunk(type(part), part.model_type, part)
            if "AutoConfig" in str(config_class.sub_configs[name]):
                fields[name]["model_type"] = part.model_type
    return _merged(fields, SPECIAL.get(model_type, {}))


def _sections(rope: Mapping[str, Any]) -> list[int]:
    """Return sizes of the parts of a head that turn with time, height and width, if there are."""
    if "mrope_section" not in rope:
        return []
    pairs = int(SIZES["head_dim"] // 2 * rope.get("partial_rotary_factor", 1))
    return [pairs - 2 * (pairs // 3), pairs // 3, pairs // 3]


def _merged(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with changes; the fields of a part are merged, those that are None left out."""
    merged = dict(fields)
    for name, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            value = _merged(merged[name], value)
        merged[name] = value
    return {name: value for name, value in merged.items() if value is not ...}


def _reserved_tokens(names: set[str], default: Any) -> dict[str, int]:
    """Return ids above those of the words for the tokens of images, sounds and the like."""
    free = itertools.count(EOS + 1)
    reserved = {}
    for name in sorted(names - {*SIZES}):
        if name.endswith(("_token_id", "_token_index")):
            value = getattr(default, name, None)
            if isinstance(value, int) and value >= EOS:
                reserved[name] = next(free)
    return reserved


def build(model_class: Any, *, decoder: bool) -> Any:
    """Return a tiny model of a class in eval mode, with random weights that matter.

    Args:
        model_class: a class of transformers.
        decoder: make a decoder of a class that may be a decoder or an encoder, such as BERT's.
    """
    config_class = model_class.config_class
    may_be_both = decoder and "is_decoder" in {f.name for f in dataclasses.fields(config_class)}
    torch.manual_seed(0)
    config = tiny_config(config_class, **({"is_decoder": True} if may_be_both else {}))
    model = model_class(config).eval()
    transformers.set_seed(0)
    randomize(model)
    return model


def randomize(model: nn.Module) -> None:
    """Give every weight a random value of a size that keeps states near 1, from a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 0 or not weight.is_floating_point():  # a scale of its own, a count
                continue
            noise = torch.randn(weight.shape, generator=generator).to(weight)
            if id(weight) in embeddings:
                weight.copy_(noise)
            elif weight.ndim == 1:
                weight.add_(0.1 * noise)
            else:
                weight.copy_(noise * _spread(weight))


def _spread(weight: Tensor) -> float:
    """Return the standard deviation that keeps the size of what the weight is multiplied with."""
    # The last axis of experts [expert, out, in] is the input; a convolution adds its kernel.
    inputs = weight.shape[-1] if weight.shape[-1] >= 8 else weight[0].numel()
    return 1.2 / inputs**0.5
